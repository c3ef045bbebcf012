"""Who reads while slices are published sees each slice old or new, and waits for no longer than publish may wait."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg2
import pytest

from penstock.core import table_lock
from penstock.core.errors import PublishBlocked
from penstock.core.publish import publish
from penstock.core.slice import day_slice
from tests.core.load_modes.reference import MODES, Mode, Row, Variant
from tests.core.load_modes.tables import DAYS, document, load, staged

DAY, NEXT, _ = DAYS
ROWS = 60
SLACK_SECONDS = 1.0
"""What a thread may lose on a busy machine beside what it waits for a lock."""


@dataclass
class Reads:
    """What threads saw that read again and again.

    Attributes:
        seen: Every answer.
        longest: The longest read, seconds.
        count: Number of reads.
        failures: What went wrong.
    """

    seen: set[Any] = field(default_factory=set)
    longest: float = 0.0
    count: int = 0
    failures: list[BaseException] = field(default_factory=list)


@contextmanager
def reading(dsn: str, *statements: str) -> Iterator[Reads]:
    """Read in a loop, READ COMMITTED, one thread for each statement; a prepared one keeps its plan."""
    reads, stop = Reads(), threading.Event()

    def read(statement: str) -> None:
        try:
            with closing(psycopg2.connect(dsn)) as conn, conn.cursor() as cur:
                conn.autocommit = True
                cur.execute(f"PREPARE looking AS {statement}")
                while not stop.is_set():
                    started = time.monotonic()
                    cur.execute("EXECUTE looking")
                    reads.seen.add(cur.fetchone())
                    reads.longest = max(reads.longest, time.monotonic() - started)
                    reads.count += 1
        except BaseException as error:
            reads.failures.append(error)

    threads = [threading.Thread(target=read, args=(statement,)) for statement in statements]
    for thread in threads:
        thread.start()
    try:
        yield reads
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def rows(grade: str, key: str = DAY) -> list[Row]:
    """A slice whose rows all have one grade."""
    return [Row(number, grade, f"{key} 07:00") for number in range(ROWS)]


@pytest.mark.parametrize("mode", MODES)
def test_a_slice_is_seen_old_or_new(bench: Any, build: Any, mode: Mode) -> None:
    """Through many publishes of a slice, no read finds two versions of it in one answer, nor half of it, nor none."""
    variant = Variant(mode)
    contract = build.contract(document(variant))
    load(bench.conn, contract, DAY, rows("A"), "first")
    one_day = f"at >= '{DAY}' AND at < '{NEXT}'"
    if mode in ("append", "snapshot"):
        one_day = f"day = '{DAY}'"
    answer = "count(*), min(grade) = max(grade)"
    statements = [f"SELECT {answer} FROM test.items WHERE {one_day}", f"SELECT {answer} FROM test.items"]
    with reading(bench.dsn, *statements) as reads:
        for number in range(12):
            load(bench.conn, contract, DAY, rows("BCDE"[number % 4]), f"run-{number}")
    assert reads.failures == []
    assert reads.count > 24
    assert reads.seen == {(ROWS, True)}


@pytest.mark.parametrize("mode", MODES)
def test_a_slow_reader_stops_nobody_for_long(
    bench: Any, build: Any, mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a report runs, publish of a partition tries again and again; who reads meanwhile waits for one try only.

    A merge and an scd2 wait for no reader at all.
    """
    monkeypatch.setattr(table_lock, "LOCK_TIMEOUT_SECONDS", 0.2)
    monkeypatch.setattr(table_lock, "LOCK_PAUSES_SECONDS", (0.1,) * 50)
    variant = Variant(mode)
    contract = build.contract(document(variant))
    load(bench.conn, contract, DAY, rows("A"), "first")
    stage = staged(bench.conn, contract, DAY, rows("B"), "second")
    report = bench.connect()
    with report.cursor() as cur:
        cur.execute("SELECT count(*) FROM test.items")
    let_go = threading.Timer(1.2, report.rollback)
    let_go.start()
    started = time.monotonic()
    with reading(bench.dsn, "SELECT count(*), min(grade) = max(grade) FROM test.items") as reads:
        publish(bench.conn, contract, day_slice(DAY), stage)
        took = time.monotonic() - started
        while reads.count < 20 and not reads.failures:
            time.sleep(0.01)
    let_go.join()
    assert reads.failures == []
    assert reads.seen == {(ROWS, True)}
    assert reads.longest < 0.2 + SLACK_SECONDS
    assert (took > 1) is variant.partitioned
    print(f"{mode}: the longest of {reads.count} reads took {reads.longest:.3f} s, publish {took:.1f} s")  # noqa: T201


@pytest.mark.parametrize("mode", ["append", "replace_partition", "snapshot"])
def test_publish_gives_up_on_a_reader_that_stays(
    bench: Any, build: Any, mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says who stands in the way of what, changes nothing, and does its work when it is tried again."""
    monkeypatch.setattr(table_lock, "LOCK_TIMEOUT_SECONDS", 0.1)
    monkeypatch.setattr(table_lock, "LOCK_PAUSES_SECONDS", (0.05, 0.05))
    contract = build.contract(document(Variant(mode)))
    load(bench.conn, contract, DAY, rows("A"), "first")
    stage = staged(bench.conn, contract, DAY, rows("B"), "second")
    before = bench.checksum("test.items"), bench.checksum("ops.slice_ledger"), bench.staged_tables()
    report = bench.connect()
    with report, report.cursor() as cur:
        cur.execute("SELECT count(*) FROM test.items")
        with pytest.raises(PublishBlocked, match=r"Readers held test\.items"):
            publish(bench.conn, contract, day_slice(DAY), stage)
        assert (bench.checksum("test.items"), bench.checksum("ops.slice_ledger"), bench.staged_tables()) == before
    assert publish(bench.conn, contract, day_slice(DAY), stage).loaded == ROWS
    assert bench.run("SELECT DISTINCT grade FROM test.items") == [("B",)]
