"""The pages of an earlier attempt, which their source may say to be unchanged.

What an answer said of its version or age (`ETag`, `Last-Modified`) is kept in the manifest beside the part that its
rows went to. A later read asks with it, and takes the part of a page that has not changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from penstock.core.errors import SourceError
from penstock.core.lake import LakePath, read_manifest
from penstock.core.paging import Plan, Request
from penstock.core.paging.read import Known, Page

PAGE: Final = "page"
"""In what a manifest says of a part: what is known of the page whose rows it holds."""


@dataclass(frozen=True, slots=True)
class KnownPages:
    """What is known of pages, by the request that each was the answer to.

    Attributes:
        folder: The earlier attempt's folder.
        parts: What its manifest says of the part of each page.
        plan: How the source was read.
    """

    folder: LakePath
    parts: Mapping[str, Mapping[str, Any]]
    plan: Plan

    def recall(self, request: Request) -> Known | None:
        """Return what is known of the page that a request is for."""
        part = self.parts.get(_key(request))
        return Known.from_json({**part[PAGE]["known"], "plan": self.plan.as_json()}) if part else None

    def part(self, request: Request) -> Mapping[str, Any]:
        """Return what the manifest says of the part of a page."""
        return self.parts[_key(request)]


def known_pages(folder: LakePath | None, asked: str) -> KnownPages | None:
    """Return what an attempt knows of its pages; None where it knows nothing, or other things were asked for.

    Args:
        folder: Its folder.
        asked: Digest of what is asked for now.
    """
    if folder is None:
        return None
    try:
        manifest = read_manifest(folder)
        if manifest.get("asked") != asked:
            return None
        parts = {part[PAGE]["of"]: part for part in manifest["parts"] if PAGE in part}
        return KnownPages(folder, parts, Plan.from_json(manifest["plan"]))
    except (SourceError, KeyError, TypeError, ValueError):
        return None  # it has left the lake, or was written by another version: every page is asked for


def page_detail(page: Page) -> dict[str, Any]:
    """Return what is kept with a part of the page whose rows it holds."""
    if page.known is None:
        return {}
    known = {name: value for name, value in page.known.as_json().items() if name != "plan"}
    return {PAGE: {"of": _key(page.request), "known": known}}


def _key(request: Request) -> str:
    return hashlib.sha256(request.key.encode()).hexdigest()[:32]
