"""How an API pages is told from its first answer, and where it is not told, that is said."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.core.errors import PagingError
from penstock.core.paging import (
    Answer,
    Cursor,
    NextUrl,
    Offset,
    PageNumber,
    Plan,
    Request,
    SinglePage,
    begin,
    read_pages,
)
from penstock.core.paging.detect import detect_paging, detect_records, detect_total, is_suspicious
from tests.paged_source import TOLD, PagedSource

ROW = {"id": "1"}


@pytest.mark.parametrize("way", TOLD)
def test_every_row_comes_without_a_word_in_the_dag(way: str) -> None:
    """And the guess is said."""
    source, said = PagedSource(way, 11), list[str]()
    pages = read_pages(source, begin(Request("/rows"), Plan()), say=said.append)
    assert [row["id"] for page in pages for row in page.rows] == [row["id"] for row in source.rows]
    assert len(said) == 1
    assert said[0].startswith("Told from the first answer: paging=")


@pytest.mark.parametrize(
    ("body", "paging"),
    [
        ({"data": [ROW], "links": {"next": "/2"}}, NextUrl("links.next")),
        ({"value": [ROW], "@odata.nextLink": "http://h/2"}, NextUrl("['@odata.nextLink']")),
        ({"data": [ROW], "paging": {"next": "http://h/2"}}, NextUrl("paging.next")),
        ({"data": [ROW], "links": [{"rel": "next", "href": "/2"}]}, NextUrl("links[?@.rel=='next'].href")),
        ({"items": [ROW], "nextPageToken": "x"}, Cursor("nextPageToken", "pageToken")),
        (
            {"items": [ROW], "has_more": True, "next_cursor": "x"},
            Cursor("next_cursor", "cursor", more="has_more"),
        ),
        (
            {"data": [ROW], "meta": {"current_page": "1", "last_page": "4"}},
            PageNumber("page", rows_per_page=None, pages="meta.last_page"),
        ),
        (
            {"content": [ROW], "number": "0", "totalPages": "4"},
            PageNumber("page", rows_per_page=None, first_page=0, pages="totalPages"),
        ),
        ({"issues": [ROW], "startAt": "0", "total": "9"}, Offset("startAt", rows_per_page=None)),
        ([ROW], SinglePage()),
        ({"data": [ROW], "next": None}, SinglePage()),
    ],
)
def test_known_forms(body: Any, paging: object) -> None:
    """The forms in which well-known APIs tell their pages."""
    assert detect_paging(Answer(body), [ROW], None) == paging


@pytest.mark.parametrize(
    ("body", "records"),
    [
        ([ROW], "$"),
        ([], "$"),
        ({"results": [ROW], "others": [ROW]}, "results"),
        ({"readings": [ROW], "page": "1"}, "readings"),
        ({"_embedded": {"a b": [ROW]}}, "_embedded['a b']"),
        ({"hits": {"hits": [ROW]}}, "hits.hits"),
        ({"it's": [ROW]}, "['it\\'s']"),
    ],
)
def test_finds_the_rows(body: Any, records: str) -> None:
    """The whole answer, a usual name, or the only list of objects."""
    assert detect_records(body) == records


@pytest.mark.parametrize("body", [{"a": [ROW], "b": [ROW]}, {"error": "no"}, {}])
def test_rows_that_are_not_told_are_asked_for(body: Any) -> None:
    """The error says what is there and which argument names the rows."""
    with pytest.raises(PagingError, match="records="):
        detect_records(body)


@pytest.mark.parametrize(
    ("answer", "place"),
    [
        (Answer({"total": "2"}), "total"),
        (Answer({"total": "1"}), ""),  # fewer than the page itself
        (Answer({"count": "2"}), ""),  # the page's own
        (Answer({"count": "3"}), "count"),
        (Answer({"total": "much"}), ""),
        (Answer({"meta": {"total_count": "9"}}), "meta.total_count"),
        (Answer([], headers={"x-total-count": "9"}), "header:x-total-count"),
        (Answer([], headers={"content-range": "items 0-1/9"}), "header:content-range"),
        (Answer([]), ""),
    ],
)
def test_finds_the_total(answer: Answer, place: str) -> None:
    """What cannot be one is not taken for one."""
    assert detect_total(answer, [ROW, ROW]) == place


@pytest.mark.parametrize(("body", "total"), [({"data": [ROW]}, 5), ({"data": [ROW], "has_more": True}, None)])
def test_more_rows_and_no_way_to_them_is_an_error(body: Any, total: int | None) -> None:
    """A first page never passes for the whole."""
    with pytest.raises(PagingError, match="does not say how to ask for the others"):
        detect_paging(Answer(body), [ROW], total)


def test_a_round_number_of_rows_is_suspicious() -> None:
    """Just 100 rows without any sign of pages: people are told."""
    said = list[str]()
    rows = [{"id": str(number)} for number in range(100)]
    list(read_pages(lambda _: Answer(rows), begin(Request("/"), Plan()), say=said.append))
    assert "exactly 100 rows" in said[1]
    assert not is_suspicious(SinglePage(), rows, 100)
    assert not is_suspicious(SinglePage(), rows[:99], None)
