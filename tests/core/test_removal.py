"""Slices that are dropped: all of the slice goes and nothing else, the ledger says why, and it can be loaded again."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.core.errors import PublishBlocked, RemovalRefused
from penstock.core.removal import drop_slice, expired_slices
from penstock.core.slice import day_slice

DAYS = ("2026-01-01", "2026-01-02", "2026-01-03")
DAY, NEXT, _ = DAYS
ORDERS = "order_id bigint, code text, amount numeric(8,2), sold_at timestamptz"
PEOPLE = "person_id integer, city text, changed_at timestamptz, gone boolean"
VERSIONS = "SELECT person_id, city, changed_at::text, valid_to::text FROM test.people ORDER BY 1, 3"


def drop(bench: Any, contract: Any, key: str = DAY, reason: str = "a test") -> Any:
    """Drop a slice."""
    return drop_slice(bench.conn, contract, day_slice(key), by="ann", reason=reason, dag_id="some_dag")


def with_tombstones(document: Any) -> None:
    """Edit: a column that marks deleted rows."""
    document["schema"][0]["properties"].append({"name": "gone", "logicalType": "boolean"})
    document["schema"][0]["customProperties"].append({"property": "tombstone", "value": "gone"})


def people(build: Any, mode: str) -> Any:
    """A contract of people in a mode, with hard deletes."""
    return build.contract(build.PEOPLE, build.set_custom("loadMode", mode), with_tombstones)


@pytest.fixture
def orders(bench: Any, build: Any) -> tuple[Any, str]:
    """Three orders on each of two days, one of each day broken, loaded."""
    contract = build.contract(build.ORDERS)
    rows = [(n, "?" if n == 3 else "A100", 1, f"{day} 12:00+00") for day in (DAY, NEXT) for n in (1, 2, 3)]
    source = bench.fill("orders", ORDERS, rows)
    for key in (DAY, NEXT):
        bench.load(contract, key, source)
    return contract, source


def test_all_of_the_slice_goes_and_nothing_else(bench: Any, orders: Any) -> None:
    """Rows, quarantined rows and samples of the slice are gone, those of the next are there, and the ledger tells."""
    contract, _ = orders
    dropped = drop(bench, contract)
    assert (dropped.slice_key, dropped.rows, dropped.quarantined, dropped.staged_by) == (DAY, 2, 1, [])
    assert bench.run("SELECT sold_at::date::text, count(*) FROM test.orders GROUP BY 1") == [(NEXT, 2)]
    assert bench.run("SELECT slice_key, count(*) FROM ops.quarantine GROUP BY 1") == [(NEXT, 1)]
    samples = "SELECT slice_key, sum(jsonb_array_length(samples))::int FROM ops.rule_result GROUP BY 1 ORDER BY 1"
    assert bench.run(samples) == [(DAY, 0), (NEXT, 1)]
    columns = "slice_key, kind, status, extracted, loaded, quarantined, deduplicated, filtered, run_id, dag_id, detail"
    assert bench.run(f"SELECT {columns} FROM ops.slice_ledger ORDER BY id DESC LIMIT 1") == [
        (DAY, "drop", "published", 3, 0, 0, 0, 3, "drop by ann", "some_dag",
         {"by": "ann", "reason": "a test", "rows": 2, "quarantined": 1})
    ]  # fmt: skip
    assert bench.run("SELECT kind FROM ops.slice_current ORDER BY slice_key") == [("drop",), ("load",)]
    assert bench.run("SELECT kind FROM ops.slice_loaded ORDER BY slice_key") == [("load",), ("load",)]


def test_a_dropped_slice_can_be_loaded_again(bench: Any, orders: Any) -> None:
    """Table and quarantine are then what they were, in the same run too, and the slice counts as loaded."""
    contract, source = orders
    before = bench.checksum("test.orders"), bench.quarantine("test/orders")
    drop(bench, contract)
    assert bench.load(contract, DAY, source, "same run").loaded == 2
    drop(bench, contract)
    assert bench.load(contract, DAY, source, "another run").loaded == 2
    assert (bench.checksum("test.orders"), bench.quarantine("test/orders")) == before
    assert bench.run("SELECT DISTINCT kind FROM ops.slice_current") == [("load",)]


def test_what_is_not_there_is_not_dropped(bench: Any, orders: Any, build: Any) -> None:
    """A slice that was never published, one that is dropped already, and a drop without reason are refused."""
    contract, _ = orders
    with pytest.raises(RemovalRefused, match=r"\[test/orders 2026-01-03\].*never published"):
        drop(bench, contract, DAYS[2])
    with pytest.raises(RemovalRefused, match="for a reason"):
        drop(bench, contract, reason=" ")
    drop(bench, contract)
    with pytest.raises(RemovalRefused, match=r"dropped on .* by ann"):
        drop(bench, contract)
    with pytest.raises(RemovalRefused, match="never published"):
        drop(bench, build.contract(build.PEOPLE))
    assert bench.one("SELECT count(*) FROM ops.slice_ledger WHERE kind = 'drop'") == 1


def test_an_empty_slice_can_be_dropped(bench: Any, orders: Any) -> None:
    """It was loaded, and is not there any more: the ledger says so."""
    contract, source = orders
    bench.load(contract, DAYS[2], source)
    assert drop(bench, contract, DAYS[2]).rows == 0
    assert bench.one("SELECT kind FROM ops.slice_current ORDER BY slice_key DESC LIMIT 1") == "drop"


def test_readers_that_stay_stop_it_and_leave_all_as_it_was(
    bench: Any, orders: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind a reader's open transaction a drop gives up within seconds: nothing is removed, the ledger has no row."""
    contract, _ = orders
    monkeypatch.setattr("penstock.core.table_lock.LOCK_TIMEOUT_SECONDS", 0.1)
    monkeypatch.setattr("penstock.core.table_lock.LOCK_PAUSES_SECONDS", (0.1,))
    before = bench.checksum("test.orders"), bench.quarantine("test/orders")
    reader = bench.connect()
    with reader.cursor() as cur:
        cur.execute("SELECT count(*) FROM test.orders")
    with pytest.raises(PublishBlocked, match="nothing was removed"):
        drop(bench, contract)
    reader.rollback()
    assert (bench.checksum("test.orders"), bench.quarantine("test/orders")) == before
    assert bench.one("SELECT count(*) FROM ops.slice_ledger WHERE kind = 'drop'") == 0
    assert drop(bench, contract).rows == 2


def test_it_waits_for_a_load_of_the_slice_but_not_for_ever(
    bench: Any, orders: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While somebody publishes the slice, a drop waits for a bounded time and then gives up."""
    contract, _ = orders
    monkeypatch.setattr("penstock.core.removal.LOCK_TIMEOUT_SECONDS", 0.2)
    other = bench.connect()
    with other.cursor() as cur:
        cur.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"penstock test/orders {DAY}",))
    with pytest.raises(PublishBlocked):
        drop(bench, contract)
    other.rollback()
    assert drop(bench, contract).rows == 2


def test_what_depends_on_the_rows_is_named(bench: Any, orders: Any) -> None:
    """A view over the very partition stands against the drop, and the error names it."""
    contract, _ = orders
    bench.run("CREATE VIEW test.january_first AS SELECT * FROM test.orders_p20260101")
    with pytest.raises(RemovalRefused, match="orders_p20260101"):
        drop(bench, contract)
    assert bench.one("SELECT count(*) FROM test.orders") == 4


def test_runs_that_may_publish_it_again_are_named(bench: Any, orders: Any) -> None:
    """Rows of the slice that a run has staged stay staged; the drop says whose they are."""
    contract, source = orders
    bench.extract(contract, DAY, source, "late-run")
    assert drop(bench, contract).staged_by == ["late-run"]


@pytest.mark.parametrize("cut", ["by whole", "by number"])
def test_rows_that_do_not_tell_their_slice_stay(bench: Any, build: Any, cut: str) -> None:
    """Of a merged table whose slices are not cut by a date or timestamp cursor no slice can be dropped."""

    def edit(document: Any) -> None:
        changed_at = document["schema"][0]["properties"][2]
        if cut == "by whole":
            changed_at["physicalName"] = "$slice"
        else:
            changed_at.update(logicalType="integer", physicalType="bigint")

    contract = build.contract(build.PEOPLE, edit)
    moment = f"timestamptz '{DAY}'" if cut == "by whole" else "7::bigint"
    stage = bench.query(contract, DAY, f"SELECT 1 AS person_id, 'Ulm' AS city, {moment} AS changed_at")
    bench.judge(contract, stage)
    bench.publish(contract, stage)
    with pytest.raises(RemovalRefused, match="do not tell the slice"):
        drop(bench, contract)
    assert bench.one("SELECT count(*) FROM test.people") == 1


def test_merged_rows_whose_last_change_lies_in_the_slice_go(bench: Any, build: Any) -> None:
    """A row that a later slice has changed stays; what the slice said was deleted is forgotten with it."""
    contract = people(build, "merge")
    rows = [
        (1, "Ulm", f"{DAY} 00:00+00", None),
        (2, "Rom", f"{DAY} 23:59+00", None),
        (3, "Bonn", f"{DAY} 12:00+00", True),
        (2, "Riga", f"{NEXT} 00:00+00", None),
    ]
    source = bench.fill("people", PEOPLE, rows)
    for key in (DAY, NEXT):
        bench.load(contract, key, source)
    before = bench.checksum("test.people")
    assert drop(bench, contract).rows == 1
    assert bench.run("SELECT person_id, city FROM test.people") == [(2, "Riga")]
    assert bench.one("SELECT count(*) FROM ops.tombstone") == 0
    bench.load(contract, DAY, source)
    assert bench.checksum("test.people") == before


versions = st.lists(
    st.tuples(st.integers(1, 2), st.integers(0, 8), st.sampled_from([None, None, True])),
    unique_by=lambda version: version[:2],
    max_size=10,
)


@settings(deadline=None, max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(found=versions, dropped=st.sampled_from(DAYS))
def test_history_is_as_if_the_dropped_slice_had_never_come(bench: Any, build: Any, found: Any, dropped: str) -> None:
    """An scd2 table without one of its slices equals one that only the other slices were loaded into."""
    contract = people(build, "scd2")
    rows = [
        (person, f"city {moment}", f"{DAYS[moment // 3]} 0{moment % 3}:00+00", gone) for person, moment, gone in found
    ]
    source, tables = bench.fill("people", PEOPLE, rows), []
    for keys in (DAYS, tuple(key for key in DAYS if key != dropped)):
        bench.reset("test")
        bench.run("TRUNCATE ops.tombstone")
        for key in keys:
            bench.load(contract, key, source)
        if dropped in keys:
            drop(bench, contract, dropped)
        tables.append((bench.run(VERSIONS), bench.run("SELECT key, moment FROM ops.tombstone ORDER BY 1, 2")))
    assert tables[0] == tables[1]


def test_retention_counts_from_the_end_of_the_slice(bench: Any, orders: Any, build: Any) -> None:
    """A slice is past its retention once all of it is that old; dropped ones and those without a retention are not."""

    def keeps(days: int) -> Any:
        return build.contract(
            build.ORDERS, lambda d: d.update(slaProperties=[{"property": "retention", "value": days, "unit": "d"}])
        )

    end = datetime(2026, 1, 2, tzinfo=UTC)

    def expired(contract: Any, now: datetime) -> list[str]:
        with bench.conn, bench.conn.cursor() as cur:
            return [slice_.key for slice_ in expired_slices(cur, contract, now=now)]

    for days in (1, 400):
        moment = end + timedelta(days=days)
        assert expired(keeps(days), moment - timedelta(microseconds=1)) == []
        assert expired(keeps(days), moment) == [DAY]
        assert expired(keeps(days), moment + timedelta(days=1)) == [DAY, NEXT]
    assert expired(orders[0], end + timedelta(days=9999)) == []
    drop(bench, orders[0])
    assert expired(keeps(1), end + timedelta(days=10)) == [NEXT]


def test_a_drop_that_is_killed_leaves_the_slice_whole(bench: Any, orders: Any) -> None:
    """Whichever statement the session dies before: rows and ledger row go together or not at all."""
    contract, _ = orders

    def state() -> Any:
        attempts = bench.one("SELECT count(*) FROM ops.slice_ledger")
        return bench.checksum("test.orders"), bench.quarantine("test/orders"), attempts

    before = state()

    class Dying(psycopg2.extensions.cursor):
        left = 0

        def execute(self, query: Any, values: Any = None) -> None:
            if Dying.left == 0:
                self.connection.close()
            Dying.left -= 1
            super().execute(query, values)

    for step in itertools.count():
        Dying.left = step
        session = psycopg2.connect(bench.dsn, cursor_factory=Dying)
        try:
            drop_slice(session, contract, day_slice(DAY), by="ann", reason="a test")
        except psycopg2.InterfaceError:
            assert state() == before, step
        else:
            break
        finally:
            session.close()
    assert step > 10
    assert bench.one("SELECT count(*) FROM test.orders") == 2
