"""Each file is loaded once, with the slice that is published; a changed one is noticed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.core.file_ledger import SourceFile, choose, loaded_files, remarks
from penstock.core.lake import land_files
from penstock.core.slice import day_slice
from penstock.core.source_file import FileFormat, stage_file

DAYS = ("2026-01-01", "2026-01-02", "2026-01-03")


class Inbox:
    """A folder whose files are taken by slices, as the operator does."""

    def __init__(self, bench: Any, contract: Any, lake: Path) -> None:
        self.bench, self.contract, self.lake = bench, contract, lake
        self.files: dict[str, tuple[int, list[int]]] = {}
        self.attempts = 0

    def put(self, name: str, rows: list[int]) -> None:
        """Write a file; its time of change is a new one."""
        self.files[name] = (self.files.get(name, (0, []))[0] + 1, rows)

    def size(self, rows: list[int]) -> int:
        """The bytes of a file."""
        return len("order_id,code,amount\n") + sum(len(f"{row},A100,1\n") for row in rows)

    def chosen(self, key: str) -> Any:
        """What a slice would take."""
        there = [SourceFile(name, self.size(rows), str(version)) for name, (version, rows) in self.files.items()]
        with self.bench.conn, self.bench.conn.cursor() as cur:
            return choose(there, loaded_files(cur, self.contract.dataset, key), self.contract)

    def load(self, key: str, *, publish: bool = True) -> Any:
        """Run a slice; return what it took."""
        chosen = self.chosen(key)
        self.attempts += 1
        folder = self.lake / str(self.attempts)
        head = b"order_id,code,amount\n"
        bodies = [
            (
                {"path": f.path, "modified": f.modified},
                [head + b"".join(b"%d,A100,1\n" % n for n in self.files[f.path][1])],
            )
            for f in chosen.take
        ]
        if not bodies:
            return chosen
        files = land_files(folder, "inbox", bodies)
        stage = self.bench.stage(self.contract, key)
        stage_file(self.bench.conn, self.contract, day_slice(key), stage, folder, FileFormat("csv"), {"files": files})
        if publish:
            self.bench.judge(self.contract, stage)
            self.bench.publish(self.contract, stage)
        return chosen


@pytest.fixture
def inbox(bench: Any, build: Any, tmp_path: Path) -> Inbox:
    """An empty folder."""

    def by_slice(document: Any) -> None:
        document["schema"][0]["properties"][3]["physicalName"] = "$slice"

    return Inbox(bench, build.contract(build.ORDERS, by_slice), tmp_path)


def test_a_file_is_loaded_once(bench: Any, inbox: Inbox) -> None:
    """By the first slice that is published; that slice again takes its own files, and what has come since."""
    inbox.put("a.csv", [1])
    inbox.load(DAYS[0], publish=False)
    inbox.load(DAYS[0])
    inbox.put("b.csv", [2, 3])
    assert [file.path for file in inbox.load(DAYS[1]).take] == ["b.csv"]
    assert inbox.load(DAYS[2]).known == 2
    inbox.put("c.csv", [4])
    assert [file.path for file in inbox.load(DAYS[0]).take] == ["a.csv", "c.csv"]
    assert bench.run("SELECT order_id, sold_at::date::text FROM test.orders ORDER BY 1") == [
        (1, DAYS[0]),
        (2, DAYS[1]),
        (3, DAYS[1]),
        (4, DAYS[0]),
    ]
    assert bench.run("SELECT path, slice_key FROM ops.source_file ORDER BY 1") == [
        ("a.csv", DAYS[0]),
        ("b.csv", DAYS[1]),
        ("c.csv", DAYS[0]),
    ]


def test_a_changed_file_is_noticed(inbox: Inbox) -> None:
    """It is left to its slice where it would double rows, and the remark says what to do."""
    inbox.put("a.csv", [1])
    inbox.load(DAYS[0])
    inbox.put("a.csv", [1, 2])
    chosen = inbox.chosen(DAYS[1])
    assert (chosen.take, dict(chosen.changed)) == ([], {"a.csv": DAYS[0]})
    (said,) = remarks(chosen)
    assert said.startswith(f"a.csv has changed since slice {DAYS[0]} was loaded from it;")
    assert said.endswith(f"clear the run of slice {DAYS[0]} to load it again.")
    assert [file.path for file in inbox.load(DAYS[0]).take] == ["a.csv"]
    assert inbox.chosen(DAYS[1]).changed == {}


def test_a_changed_file_of_a_merge_is_loaded_again(build: Any) -> None:
    """Rows that come again change nothing there."""
    file = SourceFile("a.csv", 5, "2")
    chosen = choose([file], {"a.csv": (5, "1", DAYS[0])}, build.contract(build.PEOPLE))
    assert chosen.take == [file]
    assert "it is loaded again" in remarks(chosen)[0]


def test_a_replay_keeps_the_files(bench: Any, inbox: Inbox) -> None:
    """A slice that is loaded again from the lake is still the one that has loaded its files."""
    from penstock.core.lake_attempts import newest_attempt
    from penstock.core.lake_replay import replay

    inbox.put("a.csv", [1])
    inbox.load(DAYS[0])
    landed = newest_attempt(inbox.lake)

    def restage(conn: Any, contract: Any, slice_: Any, stage: Any, folder: Any, told: Any) -> Any:
        return stage_file(conn, contract, slice_, stage, folder, FileFormat("csv"), told)

    replay(bench.conn, inbox.contract, day_slice(DAYS[0]), landed, restage, run_id="again", by="ann")
    assert (inbox.chosen(DAYS[1]).take, inbox.chosen(DAYS[1]).known) == ([], 1)


def test_files_of_a_dropped_slice_are_new_again(bench: Any, inbox: Inbox) -> None:
    """Its rows are gone, so its files count for nothing."""
    from penstock.core.removal import drop_slice

    inbox.put("a.csv", [1])
    inbox.load(DAYS[0])
    drop_slice(bench.conn, inbox.contract, day_slice(DAYS[0]), reason="test", by="test")
    assert [file.path for file in inbox.chosen(DAYS[1]).take] == ["a.csv"]


steps = st.one_of(
    st.tuples(st.just("put"), st.sampled_from("abc"), st.just(True)),
    st.tuples(st.just("load"), st.sampled_from(DAYS), st.booleans()),
)


@settings(deadline=None, max_examples=25, suppress_health_check=list(HealthCheck))
@given(program=st.lists(steps, max_size=10))
def test_no_row_is_there_twice_and_none_is_lost(
    bench: Any, build: Any, tmp_path_factory: pytest.TempPathFactory, program: list[Any]
) -> None:
    """Whatever files come and whichever slices are loaded, published or not: in the end each row is there once."""

    def by_slice(document: Any) -> None:
        document["schema"][0]["properties"][3]["physicalName"] = "$slice"
        document["schema"][0]["properties"][0].pop("primaryKey")

    bench.reset("test")
    bench.run("TRUNCATE ops.slice_ledger CASCADE")
    inbox = Inbox(bench, build.contract(build.ORDERS, by_slice), tmp_path_factory.mktemp("lake"))
    rows = iter(range(1, 100))
    for kind, what, flag in [*program, ("load", DAYS[2], True)]:
        if kind == "put":
            name = f"{what}-{next(rows)}.csv"
            inbox.put(name, [next(rows)])
        else:
            inbox.load(what, publish=flag)
    wanted = sorted(row for _, found in inbox.files.values() for row in found)
    there = bench.run("SELECT order_id FROM test.orders ORDER BY 1") if inbox.attempts and wanted else []
    assert [row for (row,) in there] == wanted
