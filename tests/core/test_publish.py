"""Publish: one transaction, of which readers see all or nothing."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg2
import psycopg2.errors
import pytest

from penstock.core import publish as publishing
from penstock.core import table_lock
from penstock.core.errors import PublishBlocked, SchemaMismatch, StageMissing
from penstock.core.load_modes.partitions import partition_name
from penstock.core.slice import day_slice

DAY, OTHER_DAY = "2026-01-01", "2026-01-02"
COLUMNS = "order_id bigint, code text, amount numeric(8,2), sold_at timestamptz"
PEOPLE_COLUMNS = "person_id integer, city text, changed_at timestamptz"


def orders(count: int, amount: int, day: str = DAY, first: int = 1) -> list[tuple[Any, ...]]:
    """Sound rows of one day, all with one amount."""
    return [(number, "A100", amount, f"{day} 12:00+00") for number in range(first, first + count)]


def test_a_partition_is_the_staged_table_itself(bench: Any, build: Any) -> None:
    """The slice is attached, not copied: the partition has the stage's file, and the parent no other rows."""
    contract = build.contract(build.ORDERS)
    stage = bench.extract(contract, DAY, bench.fill("orders", COLUMNS, orders(3, 1)))
    bench.judge(contract, stage)
    before = bench.one("SELECT pg_relation_filenode(%s)", (f"staging.{stage.name}",))
    outcome = bench.publish(contract, stage)
    name = partition_name(contract, day_slice(DAY)).as_string(bench.conn)
    assert bench.one("SELECT pg_relation_filenode(%s)", (name,)) == before
    assert bench.run("SELECT DISTINCT tableoid = %s::regclass FROM test.orders", (name,)) == [(True,)]
    assert (outcome.extracted, outcome.loaded) == (3, 3)


def test_a_replaced_slice_holds_the_new_rows_only(bench: Any, build: Any) -> None:
    """Rows that the source no longer has are gone after the slice is loaded again; other slices are not touched."""
    contract = build.contract(build.ORDERS)
    source = bench.fill("orders", COLUMNS, orders(3, 1) + orders(2, 1, OTHER_DAY, first=10))
    for key in (DAY, OTHER_DAY):
        bench.load(contract, key, source)
    bench.fill("orders", COLUMNS, orders(1, 7))
    bench.load(contract, DAY, source)
    assert bench.run("SELECT order_id, amount FROM test.orders ORDER BY 1") == [(1, 7), (10, 1), (11, 1)]


def test_an_empty_slice_is_published(bench: Any, build: Any) -> None:
    """A day without rows is a fact: it is recorded, and what was there before goes."""
    contract = build.contract(build.ORDERS)
    source = bench.fill("orders", COLUMNS, orders(3, 1))
    bench.load(contract, DAY, source)
    bench.fill("orders", COLUMNS, [])
    assert bench.load(contract, DAY, source).extracted == 0
    assert bench.one("SELECT count(*) FROM test.orders") == 0


def test_the_key_stands_on_the_partition_where_it_cannot_stand_on_the_table(bench: Any, build: Any) -> None:
    """A key without the partition column is a unique index of each partition."""
    contract = build.contract(build.ORDERS)
    bench.load(contract, DAY, bench.fill("orders", COLUMNS, orders(3, 1)))
    with pytest.raises(psycopg2.errors.UniqueViolation):
        bench.run("INSERT INTO test.orders VALUES (1, 'A100', 1, %s)", (f"{DAY} 13:00+00",))


def test_the_key_is_a_primary_key_where_it_holds_the_partition_column(bench: Any, build: Any) -> None:
    """A key with the partition column is the table's own primary key, on every partition."""

    def widen_key(document: Any) -> None:
        document["schema"][0]["properties"][3]["primaryKey"] = True

    contract = build.contract(build.ORDERS, widen_key)
    source = bench.fill("orders", COLUMNS, orders(3, 1) + orders(3, 1, OTHER_DAY))
    for key in (DAY, OTHER_DAY, DAY):
        bench.load(contract, key, source)
    primary = "SELECT indrelid::regclass::text, indisvalid FROM pg_index WHERE indisprimary AND indrelid IN"
    tables = "(SELECT relid FROM pg_partition_tree('test.orders')) ORDER BY 1"
    assert bench.run(f"{primary} {tables}") == [
        ("test.orders", True),
        ("test.orders_p20260101", True),
        ("test.orders_p20260102", True),
    ]


def test_duplicates_give_way_to_the_newest_where_a_cursor_says_which(bench: Any, build: Any) -> None:
    """With a cursor, a replaced partition keeps the newest row of a key and counts the others as deduplicated."""
    contract = build.contract(build.ORDERS, build.set_custom("cursor", "sold_at"))
    rows = [(1, "A100", amount, f"{DAY} {hour}:00+00") for amount, hour in ((1, "09"), (2, "11"), (3, "10"))]
    outcome = bench.load(contract, DAY, bench.fill("orders", COLUMNS, rows))
    assert bench.run("SELECT amount FROM test.orders") == [(2,)]
    assert (outcome.loaded, outcome.deduplicated, outcome.quarantined) == (1, 2, 0)


# --- merge -------------------------------------------------------------------------------------------------------


def test_an_older_version_never_overwrites_a_newer_one(bench: Any, build: Any) -> None:
    """A slice of the past that is loaded late is counted as deduplicated where the table knows better."""
    contract = build.contract(build.PEOPLE)
    rows = [(1, "Ulm", f"{DAY} 10:00+00"), (1, "Bonn", f"{OTHER_DAY} 10:00+00"), (2, "Kiel", f"{DAY} 10:00+00")]
    source = bench.fill("people", PEOPLE_COLUMNS, rows)
    bench.load(contract, OTHER_DAY, source)
    late = bench.load(contract, DAY, source)
    assert bench.run("SELECT person_id, city FROM test.people ORDER BY 1") == [(1, "Bonn"), (2, "Kiel")]
    assert (late.loaded, late.deduplicated) == (1, 1)


def test_a_corrected_version_with_the_same_cursor_is_taken(bench: Any, build: Any) -> None:
    """A row mended at the source without a new cursor replaces what was loaded before."""
    contract = build.contract(build.PEOPLE)
    source = bench.fill("people", PEOPLE_COLUMNS, [(1, "Ulm", f"{DAY} 10:00+00")])
    bench.load(contract, DAY, source)
    bench.run("UPDATE src.people SET city = 'Aalen'")
    bench.load(contract, DAY, source)
    assert bench.run("SELECT city FROM test.people") == [("Aalen",)]


def test_merges_at_once_wait_for_each_other(bench: Any, build: Any) -> None:
    """Slices that touch the same keys in another order are published by several processes without a deadlock."""
    contract = build.contract(build.PEOPLE)
    days = [f"2026-01-{day:02}" for day in range(1, 7)]
    numbers = list(range(4000))
    rows = [
        (number, "Ulm", f"{day} 10:00+00")
        for position, day in enumerate(days)
        for number in (numbers if position % 2 else numbers[::-1])
    ]
    source = bench.fill("people", PEOPLE_COLUMNS, rows)
    bench.load(contract, "2025-12-31", source)  # first publishes wait for each other at the table that is missing
    stages = [bench.extract(contract, day, source) for day in days]
    for stage in stages:
        bench.judge(contract, stage)

    def publish_alone(stage: Any) -> int:
        connection = psycopg2.connect(bench.dsn, options="-c timezone=UTC")
        try:
            return publishing.publish(connection, contract, day_slice(stage.slice_key), stage).extracted
        finally:
            connection.close()

    with ThreadPoolExecutor(len(stages)) as pool:
        assert list(pool.map(publish_alone, stages)) == [4000] * len(stages)
    assert bench.run("SELECT count(*), min(changed_at::date)::text FROM test.people") == [(4000, days[-1])]


# --- readers -----------------------------------------------------------------------------------------------------


class Readers:
    """Threads that read a slice through the parent, again and again, and keep all they ever saw."""

    def __init__(self, dsn: str, statement: str, count: int = 2) -> None:
        self.seen: set[Any] = set()
        self.reads = 0
        self.failures: list[BaseException] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._read, args=(dsn, statement)) for _ in range(count)]

    def _read(self, dsn: str, statement: str) -> None:
        connection = psycopg2.connect(dsn)
        try:
            connection.autocommit = True
            with connection.cursor() as cur:
                while not self._stop.is_set():
                    cur.execute(statement)
                    self.seen.add(cur.fetchone())
                    self.reads += 1
        except BaseException as error:
            self.failures.append(error)
        finally:
            connection.close()

    def __enter__(self) -> Readers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def test_readers_see_the_old_slice_or_the_new_one(bench: Any, build: Any) -> None:
    """Through many publishes of one slice, no read ever finds a mixture of versions or an empty slice."""
    contract = build.contract(build.ORDERS)
    bench.load(contract, DAY, bench.fill("orders", COLUMNS, orders(500, 0)))
    read = (
        f"SELECT count(*), count(DISTINCT amount) FROM test.orders WHERE sold_at >= '{DAY}' AND sold_at < '{OTHER_DAY}'"
    )
    with Readers(bench.dsn, read) as readers:
        for amount in range(1, 16):
            bench.load(contract, DAY, bench.fill("orders", COLUMNS, orders(500, amount)))
    assert readers.failures == []
    assert readers.reads > 30
    assert readers.seen == {(500, 1)}


def test_views_and_grants_survive(bench: Any, build: Any) -> None:
    """What analysts made on the table works after a slice is replaced: their view, and a role's right to read."""
    contract = build.contract(build.ORDERS)
    source = bench.fill("orders", COLUMNS, orders(3, 1))
    bench.load(contract, DAY, source)
    bench.run("CREATE VIEW test.totals AS SELECT count(*) AS n, sum(amount) AS s FROM test.orders")
    bench.run("DROP ROLE IF EXISTS penstock_reader")
    bench.run("CREATE ROLE penstock_reader")
    try:
        bench.run("GRANT USAGE ON SCHEMA test TO penstock_reader; GRANT SELECT ON test.orders TO penstock_reader")
        bench.fill("orders", COLUMNS, orders(4, 2))
        bench.load(contract, DAY, source)
        assert bench.run("SELECT n, s FROM test.totals") == [(4, 8)]
        bench.run("SET ROLE penstock_reader")
        assert bench.one("SELECT count(*) FROM test.orders") == 4
    finally:
        bench.run("RESET ROLE")
        bench.run("DROP OWNED BY penstock_reader; DROP ROLE penstock_reader")


def test_publish_gives_up_on_readers_that_stay(bench: Any, build: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that holds the table for too long blocks publish, which changes nothing and succeeds later."""
    monkeypatch.setattr(table_lock, "LOCK_TIMEOUT_SECONDS", 0.2)
    monkeypatch.setattr(table_lock, "LOCK_PAUSES_SECONDS", (0.1,))
    contract = build.contract(build.ORDERS)
    source = bench.fill("orders", COLUMNS, orders(3, 1))
    bench.load(contract, DAY, source)
    bench.fill("orders", COLUMNS, orders(4, 2))
    stage = bench.extract(contract, DAY, source)
    bench.judge(contract, stage)
    before = bench.checksum("test.orders"), bench.checksum("ops.slice_ledger")
    reader = bench.connect()
    with reader, reader.cursor() as cur:
        cur.execute("SELECT count(*) FROM test.orders")
        with pytest.raises(PublishBlocked, match=r"Readers held test\.orders") as caught:
            bench.publish(contract, stage)
        assert caught.value.retryable
        assert (bench.checksum("test.orders"), bench.checksum("ops.slice_ledger")) == before
    assert bench.publish(contract, stage).loaded == 4
    assert bench.run("SELECT DISTINCT amount FROM test.orders") == [(2,)]


def test_a_first_load_does_not_wait_for_readers(bench: Any, build: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """To attach a slice that was not there before, no reader has to go."""
    monkeypatch.setattr(table_lock, "LOCK_TIMEOUT_SECONDS", 0.2)
    monkeypatch.setattr(table_lock, "LOCK_PAUSES_SECONDS", (0.1,))
    contract = build.contract(build.ORDERS)
    source = bench.fill("orders", COLUMNS, orders(3, 1) + orders(3, 1, OTHER_DAY))
    bench.load(contract, DAY, source)
    reader = bench.connect()
    with reader, reader.cursor() as cur:
        cur.execute("SELECT count(*) FROM test.orders")
        assert bench.load(contract, OTHER_DAY, source).loaded == 3


# --- refusals ----------------------------------------------------------------------------------------------------


def test_what_was_not_staged_cannot_be_published(bench: Any, build: Any) -> None:
    """Without a stage of this run, publish says which task to clear."""
    contract = build.contract(build.ORDERS)
    with pytest.raises(StageMissing, match=r"\[test/orders 2026-01-01\].*clear the task `extract`"):
        bench.publish(contract, bench.stage(contract, DAY))


def test_what_was_not_judged_cannot_be_published(bench: Any, build: Any) -> None:
    """A stage that did not pass the gate stays where it is."""
    contract = build.contract(build.ORDERS)
    stage = bench.extract(contract, DAY, bench.fill("orders", COLUMNS, orders(3, 1)))
    with pytest.raises(StageMissing, match="did not pass the gate"):
        bench.publish(contract, stage)


def test_what_another_contract_let_through_cannot_be_published(bench: Any, build: Any) -> None:
    """A contract that was changed since the gate asks for a new verdict."""
    contract = build.contract(build.ORDERS)
    stage = bench.extract(contract, DAY, bench.fill("orders", COLUMNS, orders(3, 1)))
    bench.judge(contract, stage)
    stricter = build.contract(build.ORDERS, build.set_custom("quarantineBudget", 0))
    with pytest.raises(StageMissing, match=r"another version of the contract.*clear the task `validate`"):
        bench.publish(stricter, stage)
    bench.judge(stricter, stage)
    assert bench.publish(stricter, stage).loaded == 3


def test_a_table_of_another_shape_is_left_alone(bench: Any, build: Any) -> None:
    """Where somebody altered the table, publish names the difference and changes nothing."""
    contract = build.contract(build.ORDERS)
    source = bench.fill("orders", COLUMNS, orders(3, 1))
    bench.load(contract, DAY, source)
    bench.run("ALTER TABLE test.orders ADD COLUMN extra text")
    before = bench.checksum("test.orders")
    with pytest.raises(SchemaMismatch, match="extra is not in the contract"):
        bench.load(contract, DAY, source)
    assert bench.checksum("test.orders") == before


# --- quarantine --------------------------------------------------------------------------------------------------


def test_equal_rows_are_each_kept(bench: Any, build: Any) -> None:
    """Two bad rows that are the same in every column are two rows in the quarantine."""
    contract = build.contract(build.ORDERS)
    outcome = bench.load(contract, DAY, bench.fill("orders", COLUMNS, [(1, "no", 1, f"{DAY} 12:00+00")] * 3))
    assert outcome.quarantined == 3
    assert bench.run("SELECT occurrence, count(*) FROM ops.quarantine GROUP BY 1 ORDER BY 1") == [
        (1, 1),
        (2, 1),
        (3, 1),
    ]


def test_the_quarantine_follows_the_slice(bench: Any, build: Any) -> None:
    """Loaded again, a slice's quarantine loses mended rows, and rows still bad keep the time they were first seen."""
    contract = build.contract(build.ORDERS)
    bad = [(1, "no", 1, f"{DAY} 12:00+00"), (2, "no", 1, f"{DAY} 12:00+00")]
    source = bench.fill("orders", COLUMNS, [*bad, (3, "no", 1, f"{OTHER_DAY} 12:00+00")])
    for key in (DAY, OTHER_DAY):
        bench.load(contract, key, source)
    first = dict(bench.run("SELECT payload->>'order_id', first_seen FROM ops.quarantine"))
    bench.run("UPDATE src.orders SET code = 'A100' WHERE order_id = 1")
    bench.load(contract, DAY, source, run_id="later")
    now = {key: rest for key, *rest in bench.run(
        "SELECT payload->>'order_id', first_seen, last_seen > first_seen, run_id FROM ops.quarantine"
    )}  # fmt: skip
    assert now["2"] == [first["2"], True, "later"]
    assert now["3"][0] == first["3"]
    assert sorted(now) == ["2", "3"]
