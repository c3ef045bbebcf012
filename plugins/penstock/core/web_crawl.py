"""Follow the pages of a site from link to link, politely and to an end, and land their rows in the lake.

What a page said of its age (`ETag`, `Last-Modified`) is kept beside the rows. A later slice asks with it, and takes the
rows that an unchanged page had from the lake.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Final

from penstock.core.errors import SourceError
from penstock.core.lake import LakePath, LakeWriter, landed_fields, landed_text, read_parts
from penstock.core.web_page import PageShape, Parsed, Record, parse_page

PAGES: Final = "pages.json"


@dataclass(frozen=True, slots=True)
class Validators:
    """What a page said of its age; empty texts where it said nothing."""

    etag: str = ""
    modified: str = ""

    def __bool__(self) -> bool:
        return bool(self.etag or self.modified)


@dataclass(frozen=True, slots=True)
class Page:
    """An answer.

    Attributes:
        url: Where it was found, after redirects.
        text: The page; None where it has not changed since it said the validators it was asked with.
        validators: What it says of its age.
    """

    url: str
    text: str | None
    validators: Validators = Validators()


Get = Callable[[str, Validators], Page]
"""Fetches a page; with validators, only if it has changed."""


@dataclass(frozen=True, slots=True)
class _Visited:
    url: str
    part: int | None
    next: str | None
    etag: str
    modified: str


@dataclass
class Before:
    """The pages of an earlier attempt.

    Attributes:
        folder: Its folder in the lake.
    """

    folder: LakePath
    _visited: dict[str, _Visited] = field(default_factory=dict)
    _parts: list[list[Record]] | None = None

    def __post_init__(self) -> None:
        try:
            with (self.folder / PAGES).open("r") as file:
                self._visited = {item["url"]: _Visited(**item) for item in json.load(file)}
        except (FileNotFoundError, ValueError, TypeError, KeyError):
            self._visited = {}  # it was cleaned up, or is of another kind: all pages are fetched

    def validators(self, url: str) -> Validators:
        """Return what a page said of its age."""
        found = self._visited.get(url)
        return Validators(found.etag, found.modified) if found else Validators()

    def parsed(self, url: str) -> Parsed:
        """Return what a page held.

        Raises:
            SourceError: The lake's files are not what their manifest says.
        """
        found = self._visited[url]
        if self._parts is None:
            names = landed_fields(self.folder)
            self._parts = [
                [{name: landed_text(value) for name, value in row.items()} for row in part.to_pylist()]
                for part in read_parts(self.folder, {name: name for name in names})
            ]
        return Parsed(self._parts[found.part] if found.part is not None else [], found.next)


def crawl(get: Get, start: str, shape: PageShape, writer: LakeWriter, *, max_pages: int, before: Before | None) -> int:
    """Land the rows of a page and of all that follow it; return how many pages had not changed.

    Args:
        get: Fetches a page.
        start: The first page's address.
        shape: What of a page is a row.
        writer: Writes the attempt; it is closed here.
        max_pages: More pages than this are an error.
        before: The pages of an earlier slice, read in the same way; None where there is none.

    Raises:
        SourceError: A page is not as the shape says; the links lead in a circle, or do not end.
    """
    visited: list[_Visited] = []
    unchanged = 0
    for url, page, parsed in _pages(get, start, shape, max_pages, before):
        part = None
        if parsed.records:
            part = sum(item.part is not None for item in visited)
            writer.write(parsed.records)
        unchanged += page.text is None
        visited.append(_Visited(url, part, parsed.next, page.validators.etag, page.validators.modified))
    manifest_of_pages = [asdict(item) for item in visited]
    writer.folder.mkdir(parents=True, exist_ok=True)
    with (writer.folder / PAGES).open("w") as out:
        json.dump(manifest_of_pages, out, indent=1)
    writer.close()
    return unchanged


def _pages(
    get: Get, start: str, shape: PageShape, max_pages: int, before: Before | None
) -> Iterator[tuple[str, Page, Parsed]]:
    seen: set[str] = set()
    url: str | None = start
    while url is not None:
        if url in seen:
            raise SourceError(
                f"The links lead in a circle: {url} comes again after {len(seen)} pages.",
                next_step="correct `next` in the DAG and clear `extract`.",
            )
        if len(seen) == max_pages:
            raise SourceError(
                f"The links do not end: after {max_pages:,} pages comes {url}.",
                next_step="correct `next` in the DAG, or raise `max_pages`, and clear `extract`.",
            )
        seen.add(url)
        known = before.validators(url) if before else Validators()
        page = get(url, known)
        if page.text is not None:
            parsed = parse_page(page.text, page.url, shape)
        else:
            assert before is not None  # noqa: S101 - only what is known is asked for by its validators
            parsed = before.parsed(url)
        yield url, page, parsed
        url = parsed.next
