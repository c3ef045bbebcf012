"""The ways in which APIs page: each tells the request for the next page from a request and its answer.

None of them keeps anything between two pages, so a read can go on from any request.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, Literal, Protocol

from penstock.core.errors import SourceError
from penstock.core.json_path import find_one
from penstock.core.paging.page import Answer, Request, count_at, found_at, linked, position_at

End = Literal["empty", "short"]
"""Which page is the last where the source does not say: an empty one, or one with fewer rows than were asked for."""

Rows = Sequence[Mapping[str, Any]]


class Paging(Protocol):
    """A way to page."""

    def first(self, request: Request) -> Request:
        """Return the request for the first page.

        Args:
            request: What is asked for, without any paging.
        """
        ...

    def following(self, request: Request, answer: Answer, rows: Rows, left: int | None) -> Request | None:
        """Return the request for the page after an answer; None after the last.

        Args:
            request: What was asked.
            answer: What came.
            rows: The rows in it.
            left: How many rows are still to come; None where the source does not say.

        Raises:
            SourceError: The answer does not hold what tells the next page.
            PagingError: The next page is at another host.
        """
        ...


def _says_no(answer: Answer, more: str) -> bool:
    if not more:
        return False
    value = found_at(answer, more)
    if isinstance(value, bool) or value in ("true", "false"):
        return value in (False, "false")
    raise SourceError(f"At {more!r} the answer says neither true nor false but {str(value)[:80]!r}.")


def _is_last(rows: Rows, left: int | None, end: End, asked_for: int | None) -> bool:
    if left is not None and left <= 0:
        return True
    return not rows or (end == "short" and asked_for is not None and len(rows) < asked_for)


@dataclass(frozen=True, slots=True)
class SinglePage:
    """One answer holds everything."""

    def first(self, request: Request) -> Request:
        """Return the request as it is."""
        return request

    def following(self, request: Request, answer: Answer, rows: Rows, left: int | None) -> Request | None:  # noqa: ARG002
        """Return None."""
        return None


@dataclass(frozen=True, slots=True)
class PageNumber:
    """Pages are counted.

    The last page is told by `pages`, `more` or the total where the source sends one, else by `end`.

    Attributes:
        page: Parameter that takes the page's number.
        size: Parameter that takes the number of rows in a page.
        rows_per_page: What to ask for; None leaves it to the source.
        first_page: Number of the first page.
        pages: Where the answer holds the number of pages.
        more: Where it says whether more follow.
        end: Which page is the last one otherwise. `short` saves a request, and loses rows where the source sends
            smaller pages than it is asked for.
    """

    page: str = "page"
    size: str = "per_page"
    rows_per_page: int | None = 500
    first_page: int = 1
    pages: str = ""
    more: str = ""
    end: End = "empty"

    def first(self, request: Request) -> Request:
        """Return the request for the first page."""
        sized = request.with_parameter(self.size, self.rows_per_page) if self.rows_per_page else request
        return sized.with_parameter(self.page, self.first_page)

    def following(self, request: Request, answer: Answer, rows: Rows, left: int | None) -> Request | None:
        """Return the request for the page after this one."""
        number = self.number(request)
        if self.pages:
            if number - self.first_page + 1 >= count_at(answer, self.pages):
                return None
        elif _says_no(answer, self.more) or _is_last(rows, left, self.end, self.rows_per_page):
            return None
        return request.with_parameter(self.page, number + 1)

    def number(self, request: Request) -> int:
        """Return the number of the page that is asked for."""
        asked = request.parameter(self.page)
        return int(asked) if asked is not None else self.first_page


@dataclass(frozen=True, slots=True)
class Offset:
    """Rows are counted: each request says how many come before its first one.

    Attributes:
        offset: Parameter that takes the number of rows before the page.
        limit: Parameter that takes the number of rows in a page.
        rows_per_page: What to ask for; None leaves it to the source. Smaller pages are followed as they come.
        more: Where the answer says whether more follow.
        end: Which page is the last one, where the source sends no total (see `PageNumber`).
    """

    offset: str = "offset"
    limit: str = "limit"
    rows_per_page: int | None = 500
    more: str = ""
    end: End = "empty"

    def first(self, request: Request) -> Request:
        """Return the request for the first page."""
        sized = request.with_parameter(self.limit, self.rows_per_page) if self.rows_per_page else request
        return sized.with_parameter(self.offset, 0)

    def following(self, request: Request, answer: Answer, rows: Rows, left: int | None) -> Request | None:
        """Return the request for the rows after these."""
        if _says_no(answer, self.more) or _is_last(rows, left, self.end, self.rows_per_page):
            return None
        return request.with_parameter(self.offset, self.position(request) + len(rows))

    def position(self, request: Request) -> int:
        """Return how many rows come before the page that is asked for."""
        return int(request.parameter(self.offset) or 0)


@dataclass(frozen=True, slots=True)
class Cursor:
    """The answer holds a text that stands for the next page.

    Attributes:
        next: Where the answer holds it; after the last page it is missing, null or empty.
        parameter: Parameter that takes it.
        size: Parameter that takes the number of rows in a page.
        rows_per_page: What to ask for; None leaves it to the source.
        more: Where the answer says whether more follow, for sources that send a cursor with the last page too.
    """

    next: str
    parameter: str = "cursor"
    size: str = "limit"
    rows_per_page: int | None = None
    more: str = ""

    def first(self, request: Request) -> Request:
        """Return the request for the first page."""
        return request.with_parameter(self.size, self.rows_per_page) if self.rows_per_page else request

    def following(self, request: Request, answer: Answer, rows: Rows, left: int | None) -> Request | None:  # noqa: ARG002
        """Return the request with the cursor."""
        cursor = None if _says_no(answer, self.more) else position_at(answer, self.next)
        return None if cursor is None else request.with_parameter(self.parameter, cursor)


@dataclass(frozen=True, slots=True)
class NextUrl:
    """The answer holds the next page's URL, in its body (also HATEOAS: `_links.next.href`) or in a header.

    Attributes:
        next: Where, e.g. `links.next`, `links[?@.rel=='next'].href`, `header:X-Next-Page`.
    """

    next: str = "next"

    def first(self, request: Request) -> Request:
        """Return the request as it is."""
        return request

    def following(self, request: Request, answer: Answer, rows: Rows, left: int | None) -> Request | None:  # noqa: ARG002
        """Return the request for that URL."""
        url = position_at(answer, self.next)
        return None if url is None else Request(linked(answer, url), {}, request.body)


@dataclass(frozen=True, slots=True)
class LinkHeader:
    """The header `Link` names the next page (RFC 8288).

    Attributes:
        relation: What the link to it is called.
    """

    relation: str = "next"

    def first(self, request: Request) -> Request:
        """Return the request as it is."""
        return request

    def following(self, request: Request, answer: Answer, rows: Rows, left: int | None) -> Request | None:  # noqa: ARG002
        """Return the request for that URL."""
        url = answer.links.get(self.relation)
        return None if url is None else Request(linked(answer, url), {}, request.body)


@dataclass(frozen=True, slots=True)
class Keyset:
    """Each request names the last row that came: the source sends, in the order of a key, those after it.

    Attributes:
        key: Path to the key in a row.
        parameter: Parameter that takes the last key.
        size: Parameter that takes the number of rows in a page.
        rows_per_page: What to ask for; None leaves it to the source.
        more: Where the answer says whether more follow.
        end: Which page is the last one otherwise (see `PageNumber`).
    """

    key: str = "id"
    parameter: str = "since_id"
    size: str = "limit"
    rows_per_page: int | None = 500
    more: str = ""
    end: End = "empty"

    def first(self, request: Request) -> Request:
        """Return the request for the first page."""
        return request.with_parameter(self.size, self.rows_per_page) if self.rows_per_page else request

    def following(self, request: Request, answer: Answer, rows: Rows, left: int | None) -> Request | None:
        """Return the request for the rows after the last one."""
        if _says_no(answer, self.more) or _is_last(rows, left, self.end, self.rows_per_page):
            return None
        last = find_one(self.key, rows[-1])
        if not isinstance(last, str) or not last:
            raise SourceError(f"The last row of a page has no key at {self.key!r}, after which to go on.")
        return request.with_parameter(self.parameter, last)


_KINDS: Final = {kind.__name__: kind for kind in (SinglePage, PageNumber, Offset, Cursor, NextUrl, LinkHeader, Keyset)}


def as_json(paging: Paging) -> dict[str, Any]:
    """Return a way to page as JSON can hold it."""
    return {"kind": type(paging).__name__} | {
        item.name: getattr(paging, item.name)
        for item in fields(paging)  # type: ignore[arg-type]
    }


def from_json(value: Mapping[str, Any]) -> Paging:
    """Return the way to page that `as_json` made this of."""
    rest = {name: item for name, item in value.items() if name != "kind"}
    paging: Paging = _KINDS[value["kind"]](**rest)
    return paging


def in_words(paging: Paging) -> str:
    """Return a way to page as it would be written in a DAG file."""
    given = {item.name: getattr(paging, item.name) for item in fields(paging)}  # type: ignore[arg-type]
    return f"{type(paging).__name__}({', '.join(f'{name}={value!r}' for name, value in given.items() if value != '')})"
