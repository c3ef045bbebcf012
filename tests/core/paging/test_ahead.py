"""Pages that are asked for before their turn come once each, in order, and never more at once than allowed."""

from __future__ import annotations

import random
import threading
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.core.errors import SourceUnavailable
from penstock.core.paging import Answer, Offset, PageNumber, Plan, Request, begin, read_pages
from penstock.core.paging.ahead import Ahead, coming, pages_left
from tests.paged_source import NAMED, PagedSource


class Slow:
    """A source that takes its time, and counts how many ask at once."""

    def __init__(self, source: PagedSource, seconds: float = 0.002) -> None:
        self.source, self.seconds = source, seconds
        self.lock = threading.Lock()
        self.asking = self.most = 0
        self.threads: set[str] = set()

    def __call__(self, request: Request) -> Answer:
        """Answer after a while, now sooner, now later."""
        with self.lock:
            self.asking += 1
            self.most = max(self.most, self.asking)
            self.threads.add(threading.current_thread().name)
        time.sleep(random.random() * self.seconds)  # noqa: S311
        with self.lock:
            self.asking -= 1
            return self.source(request)


def ids(source: Any, at_once: int, plan: Plan) -> list[str]:
    """The keys of all rows, in their order."""
    pages = read_pages(source, begin(Request("/rows"), plan), at_once=at_once)
    return [row["id"] for page in pages for row in page.rows]


@settings(deadline=None, max_examples=60)
@given(way=st.sampled_from(list(NAMED)), count=st.integers(0, 40), at_once=st.integers(1, 5))
def test_every_row_comes_once_and_in_order(way: str, count: int, at_once: int) -> None:
    """However the source pages, and however its answers overtake each other; each page is asked for once."""
    slow = Slow(PagedSource(way, count))
    assert ids(slow, at_once, Plan(NAMED[way])) == [row["id"] for row in slow.source.rows]
    keys = [request.key for request in slow.source.asked]
    assert len(keys) == len(set(keys))
    assert slow.most <= at_once


@pytest.mark.parametrize("way", ["page number", "offset"])
def test_pages_that_are_counted_are_asked_for_at_once(way: str) -> None:
    """Four requests are under way, and no more; no page after the last is asked for."""
    slow = Slow(PagedSource(way, 60), 0.02)
    ids(slow, 4, Plan(NAMED[way]))
    assert slow.most == 4
    assert len(slow.source.asked) == 20


def test_with_one_at_once_no_thread_is_started() -> None:
    """A page is asked for when the one before was handed on."""
    slow = Slow(PagedSource("page number", 9))
    reading = read_pages(slow, begin(Request("/rows"), Plan(NAMED["page number"])))
    next(reading)
    assert (len(slow.source.asked), slow.threads) == (1, {"MainThread"})
    reading.close()


def test_an_error_comes_with_the_page_that_it_is_of() -> None:
    """The pages before it are handed out."""

    def failing(request: Request) -> Answer:
        if request.query.get("page") == "3":
            raise SourceUnavailable("gone")
        return source(request)

    source = PagedSource("page number", 12)
    pages = read_pages(failing, begin(Request("/rows"), Plan(NAMED["page number"])), at_once=4)
    assert len(next(pages).rows) + len(next(pages).rows) == 6
    with pytest.raises(SourceUnavailable):
        next(pages)


def test_a_reader_that_leaves_waits_for_nobody_else() -> None:
    """What was not sent yet is not sent any more."""
    source = Slow(PagedSource("page number", 300), 0.05)
    reading = read_pages(source, begin(Request("/rows"), Plan(NAMED["page number"])), at_once=3)
    next(reading)
    reading.close()
    asked = len(source.source.asked)
    time.sleep(0.1)
    assert len(source.source.asked) == asked <= 4


def test_requests_are_told_as_far_as_they_can_be() -> None:
    """Numbers of pages and rows go on by themselves; how many pages are left is told by a total or a count."""
    number, offset = PageNumber(pages="pages"), Offset()
    assert [r.query["page"] for r in coming(number, Request("/", {"page": "4"}), 3, 3)] == ["4", "5", "6"]
    assert [r.query["offset"] for r in coming(offset, Request("/", {"offset": "6"}), 3, 2)] == ["6", "9"]
    assert len(coming(NAMED["cursor"], Request("/", {"cursor": "c"}), 3, 5)) == 1
    assert pages_left(number, Request("/", {"page": "4"}), Answer({"pages": "6"}), 3, None) == 2
    assert pages_left(offset, Request("/"), Answer({}), 3, 7) == 3
    assert pages_left(offset, Request("/"), Answer({}), 3, None) == 0


def test_what_is_not_asked_for_after_all_is_forgotten() -> None:
    """An answer to a request that was foretold wrongly is handed to nobody."""
    source = PagedSource("page number", 30)
    ahead = Ahead(source, 2)
    ahead.expect([Request("/rows", {"page": "2"}), Request("/rows", {"page": "3"})])
    ahead.expect([Request("/rows", {"page": "7"})])
    assert ahead.fetch(Request("/rows", {"page": "7"})).body["page"] == "7"
    ahead.close()
