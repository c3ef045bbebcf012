"""Tell from the first answer of an API where its rows are, how many there are in all, and how it pages.

Nothing here is sent. A guess that is wrong shows: rows that repeat, a request that leads back, a total that is not met.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from penstock.core.errors import PagingError, SourceError
from penstock.core.paging.kinds import (
    Cursor,
    LinkHeader,
    NextUrl,
    Offset,
    PageNumber,
    Paging,
    Rows,
    SinglePage,
)
from penstock.core.paging.page import HEADER, Answer, count_at, found_at

_ENVELOPES: Final = ("", "meta", "pagination", "paging", "page_info", "pageInfo", "page", "info", "response_metadata")
_RECORDS: Final = ("data", "results", "items", "records", "value", "rows", "entries", "values", "content", "hits.hits")
_NEXT_URLS: Final = (
    *("_links.next.href", "_links.next", "links.next.href", "links.next", "links[?@.rel=='next'].href"),
    *("['@odata.nextLink']", "next.href", "next", "next_url", "nextUrl", "next_page_url", "nextPageUrl", "next_link"),
    *("nextLink", "next_page", "nextPage"),
)
_NEXT_HEADERS: Final = (
    "x-next-page-url",
    "x-next-url",
    "x-next-link",
    "x-next",
    "next",
    "x-next-page",
    "x-pagination-next",
)
_CURSORS: Final = {
    "next_cursor": "cursor",
    "nextCursor": "cursor",
    "cursor.next": "cursor",
    "cursors.after": "after",
    "end_cursor": "after",
    "endCursor": "after",
    "after": "after",
    "next_page_token": "page_token",
    "nextPageToken": "pageToken",
    "next_token": "next_token",
    "nextToken": "nextToken",
    "continuation_token": "continuation_token",
    "continuationToken": "continuationToken",
    "scroll_id": "scroll_id",
    "bookmark": "bookmark",
}
_CURSOR_HEADERS: Final = {
    "x-next-cursor": "cursor",
    "x-next-page": "page",
    "x-continuation-token": "continuation_token",
}
_PAGES: Final = ("pages", "total_pages", "totalPages", "page_count", "pageCount", "last_page", "lastPage", "num_pages")
_PAGE: Final = {
    "page": "page",
    "current_page": "page",
    "currentPage": "page",
    "page_number": "page_number",
    "pageNumber": "pageNumber",
    "number": "page",
}
_OFFSET: Final = {"offset": "offset", "skip": "skip", "start": "start", "startAt": "startAt"}
_MORE: Final = ("has_more", "hasMore", "has_next", "hasNext", "has_next_page", "hasNextPage", "more")
_TOTALS: Final = (
    *("total", "total_count", "totalCount", "total_results", "totalResults", "total_items", "totalItems"),
    *("totalElements", "total_records", "totalRecords", "['@odata.count']", "count", "hits.total.value"),
)
_TOTAL_HEADERS: Final = ("x-total-count", "x-total", "total-count", "x-pagination-total-count", "content-range")
_ROUND: Final = frozenset((10, 20, 25, 30, 40, 50, 100, 200, 250, 500, 1000, 2000, 5000, 10000))


def _is_rows(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, Mapping) for item in value)


def detect_records(body: Any) -> str:
    """Return the path to the rows of an answer.

    Raises:
        PagingError: Nothing, or more than one thing, looks like them.
    """
    if isinstance(body, list):
        return "$"
    if not isinstance(body, Mapping):
        raise SourceError("The answer is neither an object nor a list.")
    answer = Answer(body)
    for place in _RECORDS:
        if _is_rows(found_at(answer, place)):
            return place
    embedded = body.get("_embedded")
    inside = {f"_embedded{_step(key)}": item for key, item in embedded.items()} if isinstance(embedded, Mapping) else {}
    found = [name for name, item in {_path(key): item for key, item in body.items()}.items() if _is_rows(item)]
    found += [name for name, item in inside.items() if _is_rows(item)]
    if len(found) == 1:
        return found[0]
    what = f"several lists of objects, {', '.join(found[:5])}" if found else "no list of objects"
    keys = ", ".join(str(key)[:40] for key in list(body)[:10])
    raise PagingError(
        f"The answer has {what}; it is an object of: {keys}.",
        next_step="if that is the source's usual answer, name the path to the rows: `records=`.",
    )


def _step(key: str) -> str:
    return f".{key}" if key.isidentifier() else "['" + key.replace("\\", "\\\\").replace("'", "\\'") + "']"


def _path(key: str) -> str:
    return _step(key).removeprefix(".")


def _places(names: Any) -> Iterator[tuple[str, str, str]]:
    """Yield path, envelope and name of every place where one of the names may stand."""
    for envelope in _ENVELOPES:
        for name in names:
            yield (
                (f"{envelope}{name}" if name.startswith("[") else f"{envelope}.{name}") if envelope else name,
                envelope,
                name,
            )


def _count(answer: Answer, place: str) -> int | None:
    try:
        return count_at(answer, place)
    except SourceError:
        return None


def detect_total(answer: Answer, rows: Rows) -> str:
    """Return the place of the number of rows in all pages, or the empty text.

    A number that is smaller than the first page is something else; so is `count` where it is the page's own.
    """
    for header in _TOTAL_HEADERS:
        count = _count(answer, HEADER + header)
        if count is not None and count >= len(rows):
            return HEADER + header
    for place, _, name in _places(_TOTALS):
        count = _count(answer, place) if isinstance(answer.body, Mapping) else None
        if count is not None and count >= len(rows) and (name != "count" or count > len(rows)):
            return place
    return ""


def _link(answer: Answer) -> Paging | None:
    return LinkHeader() if "next" in answer.links else None


def _looks_like_url(value: Any) -> bool:
    return isinstance(value, str) and value.startswith(("http://", "https://", "/", "?"))


def _next_url(answer: Answer) -> Paging | None:
    for place, _, _ in _places(_NEXT_URLS):
        if _looks_like_url(found_at(answer, place)):
            return NextUrl(place)
    for header in _NEXT_HEADERS:
        if _looks_like_url(answer.headers.get(header)):
            return NextUrl(HEADER + header)
    return None


def _cursor(answer: Answer) -> Paging | None:
    for place, _, name in _places(_CURSORS):
        value = found_at(answer, place)
        if isinstance(value, str) and value:
            return Cursor(place, _CURSORS[name], more=_more(answer))
    for header, parameter in _CURSOR_HEADERS.items():
        if answer.headers.get(header):
            return Cursor(HEADER + header, parameter)
    return None


def _more(answer: Answer) -> str:
    return next((place for place, _, _ in _places(_MORE) if isinstance(found_at(answer, place), bool)), "")


def _page_number(answer: Answer) -> Paging | None:
    for place, _, name in _places(_PAGE):
        number = _count(answer, place)
        if number is None or number > 1:
            continue
        pages = next((found for found, _, _ in _places(_PAGES) if _count(answer, found) is not None), "")
        more = "" if pages else _more(answer)
        if pages or more or detect_total(answer, [{}]):
            return PageNumber(_PAGE[name], rows_per_page=None, first_page=number, pages=pages, more=more)
    if _count(answer, f"{HEADER}x-total-pages") is not None:
        return PageNumber(rows_per_page=None, pages=f"{HEADER}x-total-pages")
    return None


def _offset(answer: Answer) -> Paging | None:
    for place, _, name in _places(_OFFSET):
        if _count(answer, place) == 0:
            return Offset(_OFFSET[name], rows_per_page=None, more=_more(answer))
    return None


_WAYS: Final[tuple[Callable[[Answer], Paging | None], ...]] = (_link, _next_url, _cursor, _page_number, _offset)


def detect_paging(answer: Answer, rows: Rows, total: int | None) -> Paging:
    """Return the way in which the source pages, by its first answer to a request that says nothing of pages.

    Raises:
        PagingError: It says that there are more rows, and not how to ask for them.
    """
    for way in _WAYS:
        if found := way(answer):
            return found
    more = _more(answer)
    if (total is not None and total > len(rows)) or (more and found_at(answer, more) is True):
        announced = f"{total:,} rows" if total is not None and total > len(rows) else f"more rows ({more!r})"
        raise PagingError(
            f"The source announced {announced}, sent {len(rows):,}, and does not say how to ask for the others.",
            next_step="name the way in the DAG: `paging=PageNumber(…)`, `Offset(…)` or `Keyset(…)`.",
        )
    return SinglePage()


def is_suspicious(paging: Paging, rows: Rows, total: int | None) -> bool:
    """Tell whether an answer that was taken for all there is may be a first page: a round number of rows, no total."""
    return isinstance(paging, SinglePage) and total is None and len(rows) in _ROUND
