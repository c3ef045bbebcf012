"""Page through the answers of an HTTP API, in whichever way it pages."""

from penstock.core.paging.kinds import (
    Cursor,
    Keyset,
    LinkHeader,
    NextUrl,
    Offset,
    PageNumber,
    Paging,
    SinglePage,
)
from penstock.core.paging.page import Answer, Fetch, Request
from penstock.core.paging.read import Page, Plan, Progress, Repeated, begin, read_pages

__all__ = [
    "Answer",
    "Cursor",
    "Fetch",
    "Keyset",
    "LinkHeader",
    "NextUrl",
    "Offset",
    "Page",
    "PageNumber",
    "Paging",
    "Plan",
    "Progress",
    "Repeated",
    "Request",
    "SinglePage",
    "begin",
    "read_pages",
]
