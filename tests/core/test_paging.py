"""Pages by number: all of them, in order, and held to the total that the source announced."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.errors import SourceError
from penstock.core.paging import PageNumber, read_pages


class Source:
    """Pages a list as a JSON API does; remembers what it was asked for."""

    def __init__(self, rows: int, **answer: Any) -> None:
        self.rows = [{"n": str(number)} for number in range(rows)]
        self.answer = answer
        self.asked: list[dict[str, str]] = []

    def __call__(self, query: Mapping[str, str]) -> Any:
        """Answer one request."""
        self.asked.append(dict(query))
        page, size = int(query["page"]), int(query["per_page"])
        data = self.rows[(page - 1) * size : page * size]
        pages = -(-len(self.rows) // size)
        return {"data": data, "page": page, "pages": pages, "total": len(self.rows)} | self.answer


@given(rows=st.integers(0, 40), size=st.integers(1, 12))
def test_every_row_comes_once_and_in_order(rows: int, size: int) -> None:
    """Whatever the number of rows and the size of a page, all rows come, once, in the order of the source."""
    source = Source(rows)
    pages = list(read_pages(source, PageNumber(rows_per_page=size), {"since": "a"}))
    assert [record for page in pages for record in page] == source.rows
    assert [int(query["page"]) for query in source.asked] == list(range(1, max(1, len(pages)) + 1))


def test_the_parameters_go_with_every_request() -> None:
    """The caller's parameters and the size of a page are part of each request."""
    source = Source(5)
    list(read_pages(source, PageNumber(rows_per_page=2), {"since": "a"}))
    assert all(query.items() >= {"since": "a", "per_page": "2"}.items() for query in source.asked)
    assert len(source.asked) == 3


def test_the_names_of_fields_and_parameters_can_be_set() -> None:
    """A source that calls things otherwise is read alike."""
    paging = PageNumber("p", "n", 10, "rows", "last", "count")
    asked: list[Mapping[str, str]] = []

    def fetch(query: Mapping[str, str]) -> Any:
        asked.append(query)
        return {"rows": [{"a": "1"}], "last": 1, "count": "1"}

    assert list(read_pages(fetch, paging, {})) == [[{"a": "1"}]]
    assert asked == [{"p": "1", "n": "10"}]


@pytest.mark.parametrize("total", [4, 6])
def test_a_total_that_the_pages_do_not_hold_is_an_error(total: int) -> None:
    """Rows that came or went while the pages were read cannot pass as a whole slice; the error has both counts."""
    with pytest.raises(SourceError, match=rf"announced {total} rows and sent \d"):
        list(read_pages(Source(5, total=total), PageNumber(rows_per_page=2), {}))


@pytest.mark.parametrize(
    "answer",
    [
        [],
        None,
        {"pages": 1, "total": 0},
        {"data": {}, "pages": 1, "total": 0},
        {"data": ["a"], "pages": 1, "total": 1},
        {"data": [], "total": 0},
        {"data": [], "pages": "many", "total": 0},
        {"data": [], "pages": 1, "total": None},
    ],
)
def test_an_answer_of_another_shape_is_an_error(answer: Any) -> None:
    """Whatever JSON comes instead of a page is reported as the source's fault, which is retried."""
    with pytest.raises(SourceError) as caught:
        list(read_pages(lambda _: answer, PageNumber(), {}))
    assert caught.value.retryable
