"""Each way to page reads every row once and in order, and its next request follows from request and answer alone."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.errors import SourceError
from penstock.core.paging import Answer, Cursor, Keyset, Offset, PageNumber, Plan, Progress, Request, begin, read_pages
from penstock.core.paging.kinds import as_json, from_json, in_words
from tests.paged_source import NAMED, PagedSource


def ids(source: Any, progress: Progress) -> list[str]:
    """The keys of all rows that are read."""
    return [row["id"] for page in read_pages(source, progress) for row in page.rows]


@pytest.mark.parametrize("way", NAMED)
@given(count=st.integers(0, 20), size=st.integers(1, 5))
def test_every_row_comes_once_and_in_order(way: str, count: int, size: int) -> None:
    """Whatever the number of rows and the source's size of a page."""
    source = PagedSource(way, count, size)
    assert ids(source, begin(Request("/rows", {"since": "a"}), Plan(NAMED[way]))) == [row["id"] for row in source.rows]
    assert all("since=a" in asked.url or asked.query.get("since") == "a" for asked in source.asked)


@pytest.mark.parametrize("way", NAMED)
def test_a_read_goes_on_from_any_page(way: str) -> None:
    """What was read before and what is read after, through JSON, is together what one read gives."""
    whole = list(read_pages(PagedSource(way, 10), begin(Request("/rows"), Plan(NAMED[way]))))
    for number, page in enumerate(whole):
        resumed = Progress.from_json(json.loads(json.dumps(page.progress.as_json())))
        assert resumed == page.progress
        rest = list(read_pages(PagedSource(way, 10), resumed))
        assert [p.rows for p in whole[: number + 1] + rest] == [p.rows for p in whole]


@pytest.mark.parametrize("way", NAMED)
def test_a_way_survives_json(way: str) -> None:
    """It is kept with a checkpoint, and shown as a DAG file has it."""
    paging = NAMED[way]
    assert from_json(json.loads(json.dumps(as_json(paging)))) == paging
    assert in_words(paging).startswith(f"{type(paging).__name__}(")


def test_a_short_page_ends_only_where_it_is_said() -> None:
    """By default rows behind a page that the source made smaller than it was asked for are not lost."""
    for kind in (PageNumber, Offset, Keyset):
        source = PagedSource("bare offset", 0)
        rows = [{"id": "a"}, {"id": "b"}]
        request = kind(rows_per_page=5).first(Request("/"))
        assert kind(rows_per_page=5).following(request, source(Request("/?offset=0")), rows, None) is not None
        assert kind(rows_per_page=5, end="short").following(request, Answer([]), rows, None) is None
        assert kind(rows_per_page=5).following(request, Answer([]), rows, 0) is None
        assert kind(rows_per_page=5).following(request, Answer([]), [], None) is None


@pytest.mark.parametrize("paging", [PageNumber(more="more"), Offset(more="more"), Keyset(more="more")])
def test_the_source_may_say_that_no_more_follow(paging: Any) -> None:
    """True goes on, false ends, and anything else is the source's fault."""
    request, rows = paging.first(Request("/")), [{"id": "a"}]
    assert paging.following(request, Answer({"more": True}), rows, None) is not None
    assert paging.following(request, Answer({"more": False}), rows, None) is None
    with pytest.raises(SourceError, match="neither true nor false"):
        paging.following(request, Answer({"more": "perhaps"}), rows, None)


def test_a_cursor_that_comes_with_the_last_page_too() -> None:
    """GraphQL's `endCursor` counts only while `hasNextPage` does; the cursor goes into the variables of the query."""
    paging = Cursor("data.o.pageInfo.endCursor", "variables.after", more="data.o.pageInfo.hasNextPage")
    request = Request("/graphql", {}, {"query": "q", "variables": {"first": 2}})
    info = {"endCursor": "c2", "hasNextPage": True}
    following = paging.following(request, Answer({"data": {"o": {"pageInfo": info}}}), [{}], None)
    assert following is not None
    assert following.body == {"query": "q", "variables": {"first": 2, "after": "c2"}}
    info["hasNextPage"] = False
    assert paging.following(following, Answer({"data": {"o": {"pageInfo": info}}}), [{}], None) is None


def test_a_row_without_key_stops_a_keyset() -> None:
    """It cannot be told after which row to go on."""
    with pytest.raises(SourceError, match="no key at 'id'"):
        Keyset().following(Request("/"), Answer([]), [{"id": None}], None)
