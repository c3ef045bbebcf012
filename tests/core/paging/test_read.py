"""Pages that repeat, go round, have no end or do not hold what was announced never pass for a whole slice."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest

from penstock.core.errors import PagingError, SourceError
from penstock.core.paging import (
    Answer,
    Cursor,
    LinkHeader,
    NextUrl,
    Offset,
    PageNumber,
    Plan,
    Request,
    begin,
    read_pages,
)
from penstock.core.paging.read import rows_of


def read(fetch: Any, **plan: Any) -> list[str]:
    """The keys of all rows."""
    return [row["id"] for page in read_pages(fetch, begin(Request("/"), Plan(**plan))) for row in page.rows]


def rows(*names: object) -> list[dict[str, str]]:
    """Rows of these keys."""
    return [{"id": str(name)} for name in names]


@pytest.mark.parametrize("total", [3, 6, 1])
def test_a_total_that_the_pages_do_not_hold_is_an_error(total: int) -> None:
    """Rows that came or went while the pages were read are told with both counts, and tried again."""

    def fetch(request: Request) -> Answer:
        start = int(request.query["offset"])
        return Answer({"data": rows(*range(start, min(start + 2, 5))), "total": str(total)})

    with pytest.raises(SourceError, match=rf"announced {total} rows and sent \d") as caught:
        read(fetch, paging=Offset(), total="total")
    assert caught.value.retryable


def test_a_source_that_ignores_the_page_is_found_out() -> None:
    """Even where the rows of the same page, again and again, would make up the total."""
    answer = Answer({"data": rows(1, 2), "total": "4", "pages": "2"})
    with pytest.raises(PagingError, match="same 2 rows") as caught:
        read(lambda _: answer, paging=PageNumber())
    assert not caught.value.retryable


def test_a_repeated_page_is_the_end_where_it_is_said() -> None:
    """The repeated page is not read twice; a total is held even then."""

    def fetch(request: Request) -> Answer:
        return Answer(rows(min(int(request.query["page"]), 3)), headers={"x-total-count": "3"})

    assert read(fetch, paging=PageNumber(), repeated="end", total="") == ["1", "2", "3"]
    with pytest.raises(SourceError, match="announced 4 rows and sent 3"):
        read(
            lambda request: Answer(fetch(request).body, headers={"x-total-count": "4"}),
            paging=PageNumber(),
            repeated="end",
        )


def test_equal_pages_are_rows_where_it_is_said() -> None:
    """A source whose rows say nothing but the same."""
    pages = [rows("a"), rows("a"), []]
    assert read(lambda r: Answer(pages[int(r.query["page"]) - 1]), paging=PageNumber(), repeated="rows") == ["a", "a"]


@pytest.mark.parametrize("length", [1, 2, 3, 7])
def test_links_that_go_round_are_found_out(length: int) -> None:
    """A circle of any length is told after a few rounds at most, by its links or by its rows."""
    for rounds in (True, False):
        numbers, asked = count(), list[Request]()

        def fetch(request: Request, new: bool = rounds, numbers: Any = numbers, asked: list[Request] = asked) -> Answer:
            asked.append(request)
            at = int(request.url.rpartition("=")[2]) if "=" in request.url else 0
            name = next(numbers) if new else at
            return Answer(rows(name), links={"next": f"/?at={(at + 1) % length}"})

        with pytest.raises(PagingError, match=r"leads back|as an earlier one"):
            read(fetch, paging=LinkHeader())
        assert len(asked) <= 4 * length + 4


def test_rows_that_go_round_under_new_cursors_are_found_out() -> None:
    """The cursor is new each time, and the pages are not."""
    numbers = count()
    answers = [rows("a"), rows("b")]

    def fetch(_: Request) -> Answer:
        number = next(numbers)
        return Answer({"data": answers[number % 2], "next": f"c{number}"})

    with pytest.raises(PagingError, match="as an earlier one"):
        read(fetch, paging=Cursor("next"))


def test_pages_without_end_are_bounded() -> None:
    """New rows for ever end at `most_pages`, and empty pages after a hundred."""
    numbers = count()
    with pytest.raises(PagingError, match="after 50 "):
        read(
            lambda _: Answer({"data": rows(n := next(numbers)), "next": f"c{n}"}), paging=Cursor("next"), most_pages=50
        )
    with pytest.raises(PagingError, match="100 pages in a row are empty"):
        read(lambda _: Answer({"data": [], "next": f"c{next(numbers)}"}), paging=Cursor("next"))


def test_a_link_to_another_host_is_not_followed() -> None:
    """One request, one error."""
    asked = list[Request]()

    def fetch(request: Request) -> Answer:
        asked.append(request)
        return Answer({"data": rows(1), "next": "https://evil.test/2"}, "https://api.test/1")

    with pytest.raises(PagingError, match=r"another host, 'evil\.test'"):
        read(fetch, paging=NextUrl())
    assert len(asked) == 1


def test_a_secret_in_a_link_is_not_kept() -> None:
    """What goes into a checkpoint does not hold it."""
    answer = Answer({"data": rows(1), "next": "/?key=s3cret&page=2"})
    page = next(read_pages(lambda _: answer, begin(Request("/"), Plan(NextUrl())), hidden=frozenset(("key",))))
    assert "s3cret" not in str(page.progress.as_json())
    assert "page=2" in str(page.progress.as_json())


@pytest.mark.parametrize(
    "body", [[], None, "x", "1", True, {}, {"data": {}}, {"data": ["a"]}, {"data": [[]]}, {"data": "x"}]
)
def test_an_answer_of_another_shape_is_an_error(body: Any) -> None:
    """Whatever JSON comes instead of a page is reported as the source's fault, with how it begins."""
    with pytest.raises(SourceError, match="no list of objects at 'data'"):
        rows_of(Answer(body), "data")


def test_null_is_an_empty_list_unless_an_error_is_told() -> None:
    """Some servers write an empty list as null; GraphQL writes null beside its errors."""
    assert rows_of(Answer({"data": None}), "data") == []
    with pytest.raises(SourceError, match="no list"):
        rows_of(Answer({"data": None, "error": "x"}), "data")
    for data in (None, [{"id": "1"}]):
        with pytest.raises(SourceError, match="tells of errors"):
            rows_of(Answer({"data": data, "errors": [{"message": "x"}]}), "data")


def test_rows_may_be_picked_one_by_one() -> None:
    """`edges[*].node` and the list itself are the same rows; none of them is no row."""
    edges = {"edges": [{"node": {"id": "1"}}, {"node": {"id": "2"}}]}
    assert rows_of(Answer(edges), "edges[*].node") == rows(1, 2)
    assert rows_of(Answer({"edges": []}), "edges[*].node") == []
