"""A page that has not changed is taken from the lake; whatever changed, the rows are those of the source."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.core.known_pages import known_pages
from penstock.core.lake import MANIFEST, read_parts
from penstock.core.land_pages import Asked, Landed, land_pages
from penstock.core.paging import Answer, Plan, Request
from tests.core.test_land_pages import Killed, MemoryStore
from tests.paged_source import NAMED, TOLD, PagedSource


class Versioned:
    """A source whose answers carry their version, or their time: those of the body, as HTTP has it."""

    def __init__(self, source: PagedSource, by: str = "etag") -> None:
        self.source, self.by = source, by
        self.sent = self.spared = 0

    def __call__(self, request: Request) -> Answer:
        """Answer, or say that nothing has changed."""
        answer = self.source(request)
        mark = '"' + hashlib.sha256(json.dumps(answer.body).encode()).hexdigest()[:12] + '"'
        asked = request.etag if self.by == "etag" else request.modified
        if asked == mark:
            self.spared += 1
            return Answer(None, unchanged=True)
        self.sent += 1
        told = {"etag": mark} if self.by == "etag" else {"modified": mark}
        return Answer(answer.body, answer.url, answer.headers, answer.links, **told)


def land(source: Any, folder: Path, earlier: Path | None, plan: Plan, store: Any = None, try_number: int = 1) -> Landed:
    """Land all pages."""
    asked = Asked(Request("/rows"), plan, "test:/rows")
    store = store or MemoryStore()
    return land_pages(source, asked, folder, store, try_number=try_number, open_folder=Path, earlier=earlier)


def rows_of(folder: Path) -> list[tuple[str, str]]:
    """All rows, as they lie in the lake."""
    found = [row for part in read_parts(folder, {"id": "id", "n": "n"}) for row in part.to_pylist()]
    return [(row["id"], row["n"]) for row in found]


def told(source: PagedSource) -> list[tuple[str, str]]:
    """All rows, as the source has them."""
    return [(str(row["id"]), str(row["n"])) for row in source.rows]


@settings(deadline=None, max_examples=80)
@given(
    way=st.sampled_from(list(NAMED)),
    by=st.sampled_from(["etag", "modified"]),
    changes=st.lists(st.tuples(st.integers(0, 19), st.integers(100, 999)), max_size=3),
    count=st.integers(15, 24),
    named=st.booleans(),
)
def test_whatever_has_changed_the_rows_are_the_sources(
    way: str, by: str, changes: list[Any], count: int, named: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Rows that changed, came or went: three reads, each on the one before, are as good as reads from nothing."""
    plan = Plan(NAMED[way]) if named or way not in TOLD else Plan()
    source, folder, earlier = Versioned(PagedSource(way, 20), by), tmp_path_factory.mktemp("lake"), None
    for number in range(3):
        if number == 1:
            source.source = PagedSource(way, count)
            for position, value in changes:
                if position < count:
                    source.source.rows[position]["n"] = value
        landed = land(source, folder / str(number), earlier, plan)
        earlier = folder / str(number)
        assert rows_of(earlier) == told(source.source)
    sent = len(json.loads((earlier / MANIFEST).read_text())["parts"]) - landed.unchanged
    assert sent <= (way in ("link header", "next header", "bare offset"))


def test_nothing_is_sent_twice_where_nothing_has_changed(tmp_path: Path) -> None:
    """Every page but none is spared, and the manifest tells of the pages again."""
    source = Versioned(PagedSource("cursor", 9))
    land(source, tmp_path / "1", None, Plan())
    assert (source.sent, source.spared) == (3, 0)
    landed = land(source, tmp_path / "2", tmp_path / "1", Plan())
    assert (source.sent, source.spared, landed.unchanged, landed.pages) == (3, 3, 3, 3)
    first, second = (json.loads((tmp_path / name / MANIFEST).read_text()) for name in "12")
    assert first == second


def test_a_kill_amid_known_pages_costs_none_of_them(tmp_path: Path) -> None:
    """The next try goes on after the last landed page, known ones or not."""
    source, store = Versioned(PagedSource("page number", 30)), MemoryStore()
    land(source, tmp_path / "1", None, Plan())
    store.fail_after = 5
    with pytest.raises(Killed):
        land(source, tmp_path / "2", tmp_path / "1", Plan(), store)
    store.fail_after = -1
    landed = land(source, tmp_path / "3", tmp_path / "1", Plan(), store, 2)
    assert (landed.before, landed.pages, landed.folder) == (4, 10, tmp_path / "2")
    assert rows_of(tmp_path / "2") == told(source.source)


def test_other_requests_and_other_folders_know_nothing(tmp_path: Path) -> None:
    """Where anything else is asked for, or the folder is gone or torn, every page is asked for."""
    source = Versioned(PagedSource("cursor", 9))
    land(source, tmp_path / "1", None, Plan())
    asked = json.loads((tmp_path / "1" / MANIFEST).read_text())["asked"]
    assert known_pages(tmp_path / "1", asked) is not None
    assert known_pages(tmp_path / "1", "other") is None
    assert known_pages(tmp_path / "none", asked) is None
    assert known_pages(None, asked) is None
    (tmp_path / "1" / MANIFEST).write_text('{"asked": ')
    assert known_pages(tmp_path / "1", asked) is None
