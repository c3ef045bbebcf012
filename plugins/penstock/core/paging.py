"""Page through a JSON API by page number."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from penstock.core.errors import SourceError

Fetch = Callable[[Mapping[str, str]], Any]
"""Sends one request with these query parameters and returns the decoded JSON."""


@dataclass(frozen=True, slots=True)
class PageNumber:
    """Pages counted from 1; the answer says how many there are.

    Attributes:
        page: Query parameter that takes the page's number.
        size: Query parameter that takes the number of rows in a page.
        rows_per_page: What to ask for.
        records: Field of the answer that holds the rows.
        pages: Field of the answer that holds the number of pages.
        total: Field of the answer that holds the number of rows in all pages.
    """

    page: str = "page"
    size: str = "per_page"
    rows_per_page: int = 500
    records: str = "data"
    pages: str = "pages"
    total: str = "total"


def _count(answer: Mapping[str, Any], name: str) -> int:
    try:
        return int(answer[name])
    except (KeyError, TypeError, ValueError):
        raise SourceError(f"The answer's field {name!r} is not a count.") from None


def _records(answer: Any, paging: PageNumber) -> Sequence[Mapping[str, Any]]:
    records = answer.get(paging.records) if isinstance(answer, Mapping) else None
    if not isinstance(records, list) or not all(isinstance(record, Mapping) for record in records):
        raise SourceError(f"The answer has no list of objects in the field {paging.records!r}.")
    return records


def read_pages(
    fetch: Fetch, paging: PageNumber, parameters: Mapping[str, str]
) -> Iterator[Sequence[Mapping[str, Any]]]:
    """Yield the rows of each page, and hold the pages to the total that the source announced.

    Raises:
        SourceError: An answer is not of the expected shape, or the pages together do not hold the announced
            number of rows (rows came or went while the pages were read).
    """
    number, last, received, total = 1, 1, 0, 0
    while number <= last:
        query = {**parameters, paging.page: str(number), paging.size: str(paging.rows_per_page)}
        answer = fetch(query)
        records = _records(answer, paging)
        last, total = _count(answer, paging.pages), _count(answer, paging.total)
        received += len(records)
        if received > total:
            break
        yield records
        number += 1
    if received != total:
        raise SourceError(f"The source announced {total:,} rows and sent {received:,}.")
