"""A table read by several sessions gives the rows that one session would read, or a clear error and nothing else."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import psycopg2.errors
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.core.errors import SourceUnavailable
from penstock.core.parallel_read import Readers
from penstock.core.slice import day_slice
from penstock.core.source_table import stage_table
from penstock.core.stage import open_session, stage_of

DAY = "2026-01-01"
PLUGINS = Path(__file__).resolve().parents[2] / "plugins"
COLUMNS = "order_id bigint, code text, amount numeric(8,2), sold_at timestamptz"
ROWS = (
    "SELECT i, 'A' || lpad((i % 1000)::text, 3, '0'), (i % 1000)::numeric,"
    " timestamptz '2025-12-31 12:00Z' + interval '2 days' * (i / {rows}::float8) FROM generate_series(0, {rows} - 1) i"
)


class Source:
    """A source table, and ways to read it with one session or several."""

    def __init__(self, bench: Any, build: Any) -> None:
        self.bench = bench
        self.contract = build.contract(build.ORDERS)
        self.table = "src.orders"
        self.options = ""
        self.opened: list[Any] = []

    def fill(self, rows: int, columns: str = COLUMNS, more: str = "") -> None:
        """Make the table anew, with a few hundred rows in a block and every seventh row deleted."""
        self.bench.run(f"DROP TABLE IF EXISTS src.orders; CREATE TABLE src.orders ({columns}) {more}")
        self.add(rows)

    def add(self, rows: int) -> None:
        """Put rows in, of which about a half are of the day."""
        self.bench.run(f"INSERT INTO src.orders (order_id, code, amount, sold_at) {ROWS.format(rows=rows)}")
        self.bench.run("DELETE FROM src.orders WHERE order_id % 7 = 0")
        self.bench.run("ANALYZE src.orders")

    def aside(self, statement: str) -> None:
        """Run a statement in a session of its own, while others are in their transactions."""
        with closing(psycopg2.connect(self.bench.dsn)) as connection, connection, connection.cursor() as cur:
            cur.execute(statement)

    def connect(self) -> Any:
        """Open a session, which is remembered."""
        connection = psycopg2.connect(self.bench.dsn, options=self.options)
        self.opened.append(connection)
        return connection

    def warehouse(self) -> Any:
        """Open a session in the warehouse, which is remembered."""
        connection = self.connect()
        open_session(connection)
        return connection

    def read(self, readers: int, run_id: str = "one", before: Callable[[], Any] = lambda: None) -> Any:
        """Stage the day; `before` is called each time when a further session is about to join the snapshot."""

        def further() -> Any:
            before()
            return self.connect()

        stage = stage_of(self.contract.dataset, day_slice(DAY), run_id)
        team = Readers(readers, further, self.warehouse, least_blocks=1)
        with closing(psycopg2.connect(self.bench.dsn, options=self.options)) as source:
            found = stage_table(source, self.bench.conn, self.contract, day_slice(DAY), stage, self.table, readers=team)
        return found, self.bench.checksum(f"(SELECT order_id, code, amount, sold_at FROM staging.{stage.name})")

    def leftovers(self) -> list[str]:
        """Stages that no record names."""
        recorded = {name for (name,) in self.bench.run("SELECT name FROM ops.stage")}
        return [name for name in self.bench.staged_tables() if name not in recorded]


@pytest.fixture
def source(bench: Any, build: Any) -> Iterator[Source]:
    """A source; in the end no thread may be at work, and no session that was opened may be open."""
    threads = threading.active_count()
    bench.reset("test")
    bench.run("DROP SCHEMA staging CASCADE; CREATE SCHEMA staging")
    found = Source(bench, build)
    yield found
    deadline = time.monotonic() + 5
    while threading.active_count() > threads and time.monotonic() < deadline:
        time.sleep(0.01)  # a reader that has said that it is done has a few steps to go
    assert threading.active_count() == threads
    assert [connection for connection in found.opened if not connection.closed] == []


KINDS = {
    "blocks": ("", ""),
    "time": ("", "CREATE INDEX ON src.orders (sold_at)"),
    "partitions": (
        "PARTITION BY RANGE (sold_at)",
        (
            "CREATE TABLE src.orders_old PARTITION OF src.orders FOR VALUES FROM (MINVALUE) TO ('2026-01-01 06:00Z');"
            "CREATE TABLE src.orders_new PARTITION OF src.orders FOR VALUES FROM ('2026-01-01 06:00Z') TO (MAXVALUE)"
        ),
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_several_readers_give_what_one_gives(source: Source, kind: str) -> None:
    """By blocks, by time through an index, or over partitions: the same rows as one reader's, and just as many."""
    more, after = KINDS[kind]
    source.fill(0, more=more)
    if after:
        source.bench.run(after)
    source.add(20_000)
    source.options = "-c enable_seqscan=off" if kind == "time" else ""
    alone, expected = source.read(1)
    assert (alone.one_reader, alone.rows, expected[0]) == ("", expected[0], 8572)
    for readers in (2, 3):
        found, rows = source.read(readers, f"of {readers}")
        assert (found.one_reader, found.rows, rows) == ("", alone.rows, expected)
    assert len(source.opened) == 2 * (1 + 2), "each further reader has a session on either side"
    assert source.leftovers() == []


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(2, 4), st.lists(st.tuples(st.integers(0, 700), st.integers(0, 700)), max_size=4))
def test_any_table_is_read_whole(source: Source, readers: int, holes: list[tuple[int, int]]) -> None:
    """Whatever was deleted, moved and inserted again before, no row is missed and none is read twice."""
    source.bench.run("DELETE FROM ops.stage")
    source.fill(3000)
    for start, length in holes:
        source.bench.run(f"DELETE FROM src.orders WHERE order_id BETWEEN {start * 4} AND {start * 4 + length}")
        with closing(psycopg2.connect(source.bench.dsn)) as other, other.cursor() as cur:
            other.autocommit = True
            cur.execute("VACUUM src.orders")
        source.bench.run(f"UPDATE src.orders SET amount = amount + 1 WHERE order_id % 5 = {start % 5}")
    assert source.read(readers)[1] == source.read(1)[1]


def test_all_readers_see_one_moment(source: Source) -> None:
    """Rows that are changed, moved, deleted and added while the readers gather change nothing for any of them."""
    source.fill(6000)
    _, expected = source.read(1)

    def upset() -> None:
        source.aside("UPDATE src.orders SET amount = amount + 1, sold_at = sold_at + interval '1 hour'")
        source.aside("DELETE FROM src.orders WHERE order_id % 3 = 0")
        source.aside(f"INSERT INTO src.orders {ROWS.format(rows=500)}")
        source.aside("DELETE FROM src.orders WHERE order_id % 5 = 0; ANALYZE src.orders")

    found, rows = source.read(3, "upset", before=upset)
    assert (found.rows, rows) == (expected[0], expected)
    assert source.read(1)[1] != expected, "the source did change"


def test_a_row_that_the_source_cannot_read_is_the_error(source: Source) -> None:
    """One reader's error is raised as it is, the others stop, and neither a table nor a record is left."""
    code = "code text GENERATED ALWAYS AS ('A' || (100 / (order_id - 4001))) VIRTUAL"
    bad = f"order_id bigint, {code}, amount numeric(8,2)"
    source.bench.run(f"DROP TABLE IF EXISTS src.orders; CREATE TABLE src.orders ({bad}, sold_at timestamptz)")
    source.bench.run(
        "INSERT INTO src.orders (order_id, amount, sold_at)"
        f" SELECT i, 1, timestamptz '{DAY} 12:00Z' FROM generate_series(1, 5000) i; ANALYZE src.orders"
    )
    with pytest.raises(psycopg2.errors.DivisionByZero):
        source.read(3)
    assert source.bench.staged_tables() == []
    assert source.bench.run("SELECT * FROM ops.stage") == []


SLOW_CODE = "code text GENERATED ALWAYS AS (md5(repeat(order_id::text, 400000))) VIRTUAL"
SLOW = f"order_id bigint, {SLOW_CODE}, amount numeric(8,2)"


@pytest.fixture
def slow(source: Source) -> Source:
    """A source that needs minutes for its rows."""
    source.bench.run(f"DROP TABLE IF EXISTS src.orders; CREATE TABLE src.orders ({SLOW}, sold_at timestamptz)")
    source.bench.run(
        "INSERT INTO src.orders (order_id, amount, sold_at)"
        f" SELECT i, 1, timestamptz '{DAY} 12:00Z' FROM generate_series(1000001, 1100000) i; ANALYZE src.orders"
    )
    return source


@pytest.mark.parametrize("side", ["source", "warehouse"])
def test_a_reader_whose_server_dies_ends_the_read(slow: Source, side: str) -> None:
    """A further session of either side is terminated while all read: a lost connection, soon, and nothing left."""
    one_that = "query LIKE 'COPY (SELECT%%' AND" if side == "source" else "query LIKE 'COPY \"staging\"%%' AND"

    def kill() -> None:
        deadline = time.monotonic() + 20
        with closing(psycopg2.connect(slow.bench.dsn)) as conn, conn.cursor() as cur:
            conn.autocommit = True
            while time.monotonic() < deadline:
                mine = [c.info.backend_pid for c in slow.opened if not c.closed]
                cur.execute(
                    f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {one_that} state = 'active'"
                    " AND pid = ANY(%s) LIMIT 1",
                    (mine,),
                )
                if cur.fetchone():
                    return
                time.sleep(0.05)

    killer = threading.Thread(target=kill)
    killer.start()
    started = time.monotonic()
    try:
        with pytest.raises(psycopg2.DatabaseError) as caught:
            slow.read(2)
    finally:
        killer.join()
    assert not isinstance(caught.value, psycopg2.errors.QueryCanceled), "not the error of one who was stopped for it"
    assert time.monotonic() - started < 20
    assert slow.bench.run("SELECT * FROM ops.stage") == []
    slow.bench.run("SELECT 1")


def test_a_task_that_is_told_to_end_stops_all_readers(slow: Source) -> None:
    """An exception in the waiting task, as a time-out raises it, stops the readers at once and leaves nothing."""
    import signal

    class Told(BaseException):
        pass

    def tell(*_: Any) -> None:
        raise Told

    before = signal.signal(signal.SIGALRM, tell)
    signal.setitimer(signal.ITIMER_REAL, 1.0)
    started = time.monotonic()
    try:
        with pytest.raises(Told):
            slow.read(2)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert time.monotonic() - started < 10
    assert slow.bench.staged_tables() == []


KILLED = """
import os, sys, threading
import psycopg2
from pathlib import Path
from penstock.core.contract import load_contract
from penstock.core.parallel_read import Readers
from penstock.core.slice import day_slice
from penstock.core.source_table import stage_table
from penstock.core.stage import open_session, stage_of

dsn, contract = sys.argv[1], load_contract(Path(sys.argv[2]))
connect = lambda: psycopg2.connect(dsn)
warehouse = connect()
open_session(warehouse)
day = day_slice("2026-01-01")
threading.Timer(1.0, os.kill, (os.getpid(), 9)).start()
stage_table(connect(), warehouse, contract, day, stage_of(contract.dataset, day, "one"), "src.orders",
            readers=Readers(2, connect, connect, least_blocks=1))
"""


def test_what_a_killed_attempt_left_the_next_one_drops(slow: Source, build: Any) -> None:
    """SIGKILL amid a read leaves a table that no record names; the same run's next attempt reads all, and drops it."""
    file = build.write(build.ORDERS)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, slow.bench.dsn, str(file)], env={"PYTHONPATH": str(PLUGINS)}, check=False
    )
    assert done.returncode == -9
    assert len(slow.leftovers()) == 1
    slow.fill(2000)
    found, (rows, _) = slow.read(2)
    assert found.rows == rows > 0
    assert slow.leftovers() == []


def test_a_change_of_the_table_that_waits_is_told(source: Source) -> None:
    """Where an ALTER TABLE waits for the first reader, the others give way at once, and the error is one to retry."""
    source.fill(3000)
    started = threading.Event()

    def alter() -> None:
        with closing(psycopg2.connect(source.bench.dsn)) as conn, conn.cursor() as cur:
            started.set()
            cur.execute("ALTER TABLE src.orders ADD note text")

    other = threading.Thread(target=alter)

    def wait() -> None:
        other.start()
        started.wait()
        with closing(psycopg2.connect(source.bench.dsn)) as conn, conn.cursor() as cur:
            conn.autocommit = True
            for _ in range(200):
                cur.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
                if cur.fetchone() != (0,):
                    return
                time.sleep(0.05)

    try:
        with pytest.raises(SourceUnavailable, match=r"waits to change src\.orders"):
            source.read(2, before=wait)
    finally:
        other.join()
    assert source.bench.staged_tables() == []


def test_one_session_reads_what_has_no_ranges(source: Source, build: Any) -> None:
    """A view, a small table, and a day that is one value of an index are read by one session, which says why."""
    source.fill(3000)
    source.bench.run("DROP VIEW IF EXISTS src.seen; CREATE VIEW src.seen AS SELECT * FROM src.orders")
    source.table = "src.seen"
    found, (rows, _) = source.read(4)
    assert found.rows == rows > 0
    assert "only a table" in found.one_reader
    source.table = "src.orders"
    source.bench.run("DROP VIEW src.seen; TRUNCATE src.orders")
    assert source.read(4)[0].one_reader == "the slice is small"
    assert source.opened == []
