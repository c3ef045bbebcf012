"""Reconciliation: what differs between source, ledger and table is found, once, for as long as it lasts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from typing import Any

import psycopg2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg2.extensions import connection as Connection  # noqa: N812

from penstock.core.errors import SchemaMismatch, SourceError
from penstock.core.quarantine import discard
from penstock.core.reconcile import Figures, Reconciled, can_be_asked, reconcile, source_changed, source_now
from penstock.core.redrive import redrive
from penstock.core.removal import drop_slice
from penstock.core.slice import day_slice
from penstock.core.source_table import stage_table
from penstock.core.stage import open_session

DAY, NEXT = "2026-01-01", "2026-01-02"
COLUMNS = "order_id bigint, code text, amount numeric(8,2), sold_at timestamptz"
PEOPLE = "person_id integer, city text, changed_at timestamptz"
MOMENTS = "slice_key, kind, detail -> 'then' ->> 'rows', detail -> 'now' ->> 'rows', closed_at IS NULL"

Edit = Callable[[Any], None]


def order(number: int, day: str = DAY, code: str = "A100") -> tuple[Any, ...]:
    """An order at noon."""
    return (number, code, 1, f"{day} 12:00+00")


def load(bench: Any, contract: Any, key: str, table: str) -> None:
    """Load a slice as the operator does, which notes the connection."""
    stage = bench.stage(contract, key)
    with closing(psycopg2.connect(bench.dsn)) as source:
        stage_table(source, bench.conn, contract, day_slice(key), stage, table, detail={"conn_id": "shop"})
    bench.judge(contract, stage)
    bench.publish(contract, stage)


def opens(
    bench: Any, before: Callable[[], object] = lambda: None
) -> Callable[[str], AbstractContextManager[Connection]]:
    """What opens the source, after something has happened."""

    @contextmanager
    def open_source(conn_id: str) -> Iterator[Connection]:
        assert conn_id == "shop"
        before()
        with closing(psycopg2.connect(bench.dsn)) as source:
            yield source

    return open_source


def run(bench: Any, contract: Any, days: int = 30) -> Reconciled:
    """Reconcile."""
    return reconcile(bench.conn, contract, opens(bench), days=days)


def told(done: Reconciled) -> list[tuple[str, str, int, int]]:
    """Slice, kind and figures of what was found."""
    return [(found.slice_key, found.kind, found.then.rows, found.now.rows) for found in done.findings]


def recorded(bench: Any) -> list[tuple[Any, ...]]:
    """The findings that are kept."""
    return bench.run(f"SELECT {MOMENTS} FROM ops.finding ORDER BY id")


@pytest.fixture
def orders(bench: Any, build: Any) -> tuple[Any, str]:
    """A contract that asks for checksums, and its source with three orders on each of two days, loaded."""
    contract = build.contract(build.ORDERS, build.set_custom("reconcile", "checksum"))
    source = bench.fill("orders", COLUMNS, [order(n, day) for day in (DAY, NEXT) for n in (1, 2, 3)])
    for key in (DAY, NEXT):
        load(bench, contract, key, source)
    return contract, source


def by_slice(document: Any) -> None:
    """Edit: a column that holds the slice a row came in, and no column that places rows."""
    table = document["schema"][0]
    table["customProperties"] = [item for item in table["customProperties"] if item["property"] != "partitionBy"]
    day = {"name": "day", "physicalName": "$slice", "logicalType": "date", "required": True}
    table["properties"].append(day)


# --- the source --------------------------------------------------------------------------------------------------

instants = st.datetimes().map(lambda moment: moment.replace(year=2026, month=1, day=1 + moment.day % 3))


@settings(deadline=None, max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    found=st.lists(instants, max_size=12),
    kind=st.sampled_from(["timestamptz", "timestamp", "date"]),
    zone=st.sampled_from(["UTC", "Asia/Tokyo", "America/New_York"]),
)
def test_the_source_is_asked_for_just_the_rows_that_an_extract_reads(
    bench: Any, build: Any, found: Any, kind: str, zone: str
) -> None:
    """Its figures of each day are those that the day's extract recorded, for any kind and zone of the slice column."""

    def in_zone(document: Any) -> None:
        document["schema"][0]["properties"][3]["logicalTypeOptions"] = {"defaultTimezone": zone}

    contract = build.contract(build.ORDERS, in_zone, build.set_custom("reconcile", "checksum"))
    bench.reset("test")
    columns = f"order_id bigint, code text, amount numeric(8,2), sold_at {kind}"
    source = bench.fill("orders", columns, [(n, "A100", 1, moment) for n, moment in enumerate(found)])
    slices = [day_slice(f"2026-01-0{day}") for day in (1, 2, 3, 4)]
    expected = {}
    for slice_ in slices:
        bench.extract(contract, slice_.key, source, slice_.key)
        ((rows, text),) = bench.run(
            "SELECT (detail ->> 'source_rows')::int, detail ->> 'source_checksum' FROM ops.stage WHERE run_id = %s",
            (slice_.key,),
        )
        expected[slice_.key] = (rows, text if rows else None)
    with closing(psycopg2.connect(bench.dsn, options="-c timezone=Australia/Eucla")) as conn:
        now = source_now(conn, contract, source, list(reversed(slices)))
        assert source_now(conn, contract, source, []) == {}
    assert {key: (figures.rows, figures.checksum) for key, figures in now.items()} == expected


def test_a_range_is_one_query(bench: Any, orders: Any) -> None:
    """However many slices are asked for, the source runs one query over its rows."""
    contract, source = orders
    said: list[str] = []

    class Cursor(psycopg2.extensions.cursor):
        def execute(self, query: Any, values: Any = None) -> None:
            said.append(query if isinstance(query, str) else query.as_string(self))
            super().execute(query, values)

    with closing(psycopg2.connect(bench.dsn, cursor_factory=Cursor)) as conn:
        now = source_now(conn, contract, source, [day_slice(f"2026-01-{day:02}") for day in range(1, 32)])
    assert len(now) == 31
    assert [now[DAY].rows, now[NEXT].rows, now["2026-01-31"].rows] == [3, 3, 0]
    assert len([query for query in said if '"src"."orders"' in query and "count(*)" in query]) == 1


def test_a_source_that_cannot_be_asked_says_so(bench: Any, orders: Any, build: Any) -> None:
    """A table that is gone, and one that may not be read, are errors with the dataset; nothing is recorded."""
    contract, source = orders
    bench.run('UPDATE ops.slice_ledger SET detail = detail || \'{"source": "src.nothing"}\'')
    with pytest.raises(SchemaMismatch, match=r"no table src\.nothing"):
        run(bench, contract)
    bench.run(
        "CREATE VIEW src.nothing AS SELECT order_id, code, amount, sold_at FROM src.orders"
        " WHERE 1 / (order_id - order_id) = 1"
    )
    with pytest.raises(SourceError, match=r"test/orders.*src\.nothing could not be counted.*division by zero"):
        run(bench, contract)
    assert recorded(bench) == []
    by_whole = build.contract(build.ORDERS, by_slice, build.set_custom("loadMode", "snapshot"))
    assert not can_be_asked(by_whole)
    with closing(psycopg2.connect(bench.dsn)) as conn, pytest.raises(ValueError, match="whole source"):
        source_now(conn, by_whole, source, [day_slice(DAY)])


# --- findings ----------------------------------------------------------------------------------------------------


def test_what_is_the_same_is_no_finding(bench: Any, orders: Any) -> None:
    """Right after a load, and also of a slice without rows, source, ledger and table agree."""
    contract, source = orders
    load(bench, contract, "2026-01-03", source)
    done = run(bench, contract)
    assert (done.slices, done.asked, done.findings, done.closed) == (3, 3, [], 0)
    assert recorded(bench) == []


def test_a_finding_opens_once_lasts_and_closes_by_itself(bench: Any, orders: Any) -> None:
    """A late row is one finding however often it is seen; after the slice was loaded again it is closed."""
    contract, source = orders
    bench.run(f"INSERT INTO {source} VALUES (4, 'A100', 1, '{DAY} 23:59+00')")
    first, second = run(bench, contract), run(bench, contract)
    assert told(first) == told(second) == [(DAY, "source_changed", 3, 4)]
    assert ([found.new for found in first.findings], [found.new for found in second.findings]) == ([True], [False])
    assert "had 3 rows" in str(first.findings[0])
    assert "has 4 now" in str(first.findings[0])
    assert "penstock backfill test/orders --gaps" in first.findings[0].next_step
    assert bench.one("SELECT last_seen > opened_at FROM ops.finding") is True
    load(bench, contract, DAY, source)
    assert run(bench, contract).closed == 1
    assert recorded(bench) == [(DAY, "source_changed", "3", "4", False)]
    bench.run(f"DELETE FROM {source} WHERE order_id = 4")
    assert [found.new for found in run(bench, contract).findings] == [True]
    assert len(recorded(bench)) == 2


def test_the_same_number_of_other_rows_needs_the_checksum(bench: Any, orders: Any, build: Any) -> None:
    """A key that became another at the source, or in the table, is seen by checksum and not by count."""
    source = orders[1]
    bench.run(f"UPDATE {source} SET order_id = 9 WHERE order_id = 3 AND sold_at < '{NEXT}'")
    bench.run(f"UPDATE test.orders SET order_id = 8 WHERE order_id = 2 AND sold_at > '{NEXT}'")
    assert run(bench, build.contract(build.ORDERS)).findings == []
    assert told(run(bench, build.contract(build.ORDERS, build.set_custom("reconcile", "checksum")))) == [
        (DAY, "source_changed", 3, 3),
        (NEXT, "table_differs", 3, 3),
    ]


def test_a_table_that_somebody_changed(bench: Any, orders: Any, build: Any) -> None:
    """Rows that came or went by hand are found by count, with the next step; so is a table that is gone."""
    contract = build.contract(build.ORDERS)
    bench.run(f"DELETE FROM test.orders WHERE sold_at < '{NEXT}'")
    bench.run(f"INSERT INTO test.orders VALUES (7, 'A100', 1, '{NEXT} 00:00+00')")
    done = run(bench, contract)
    assert told(done) == [(DAY, "table_differs", 3, 0), (NEXT, "table_differs", 3, 4)]
    assert "the ledger accounts for 3 rows in the table, which holds 0" in str(done.findings[0])
    assert done.findings[0].next_step.startswith(
        "find out who changed the table; `penstock backfill test/orders --gaps`"
    )


def test_what_people_did_to_the_quarantine_is_accounted_for(bench: Any, build: Any) -> None:
    """After a re-drive and a discard neither counts nor checksums differ: the ledger knows of both."""
    contract = build.contract(build.ORDERS, build.set_custom("reconcile", "checksum"))
    source = bench.fill("orders", COLUMNS, [order(1), order(2, code="?"), order(3, code="!"), order(4, code="-")])
    load(bench, contract, DAY, source)
    assert run(bench, contract).findings == []
    bench.run(
        "UPDATE ops.quarantine SET mended = payload || '{\"code\": \"B200\"}', mended_by = 'ann' WHERE id % 3 = 0"
    )
    redrive(bench.conn, contract, day_slice(DAY), run_id="r", by="ann")
    left = [id_ for (id_,) in bench.run("SELECT id FROM ops.quarantine WHERE state = 'open' ORDER BY id")]
    discard(bench.conn, contract, left[:1], by="ann", reason="a test")
    assert run(bench, contract).findings == []
    assert bench.one("SELECT loaded FROM ops.slice_current") == 2
    bench.run("UPDATE test.orders SET order_id = 77 WHERE code = 'B200'")
    assert told(run(bench, contract)) == [(DAY, "table_differs", 2, 2)]


@pytest.mark.parametrize(
    ("mode", "fewer", "lost"),
    [
        ("replace_partition", ["source_changed"], ["table_differs"]),
        ("append", [], ["table_differs"]),
        ("merge", [], []),
        ("scd2", [], ["table_differs"]),
    ],
)
def test_what_can_be_said_of_each_load_mode(bench: Any, build: Any, mode: str, fewer: Any, lost: Any) -> None:
    """More rows at the source are found in every mode; fewer, and rows that left the table, where that says a thing."""

    def edit(document: Any) -> None:
        if mode == "append":
            by_slice(document)
        if mode == "replace_partition":
            build.set_custom("partitionBy", "changed_at")(document)

    contract = build.contract(build.PEOPLE, build.set_custom("loadMode", mode), edit)
    rows = [(n, "Ulm", f"{DAY} 0{n}:00+00") for n in (1, 2, 3)]
    source = bench.fill("people", PEOPLE, rows)
    load(bench, contract, DAY, source)
    assert run(bench, contract).findings == []
    bench.run(f"DELETE FROM {source} WHERE person_id = 1")
    assert [found.kind for found in run(bench, contract).findings] == fewer
    bench.run(f"INSERT INTO {source} VALUES (4, 'Ulm', '{DAY} 04:00+00'), (5, 'Ulm', '{DAY} 04:00+00')")
    assert [found.kind for found in run(bench, contract).findings] == ["source_changed"]
    load(bench, contract, DAY, source)
    assert run(bench, contract).findings == []
    bench.run("DELETE FROM test.people WHERE person_id IN (2, 3)")
    assert [found.kind for found in run(bench, contract).findings] == lost


def test_a_snapshot_is_held_to_its_own_time(bench: Any, build: Any) -> None:
    """The source cannot be asked what it was; the table is held to what was loaded, by the source's checksum too."""
    edits = (by_slice, build.set_custom("loadMode", "snapshot"), build.set_custom("reconcile", "checksum"))
    contract = build.contract(build.ORDERS, *edits)
    source = bench.fill("orders", COLUMNS, [order(1), order(2)])
    load(bench, contract, DAY, source)
    bench.run(f"DELETE FROM {source}")
    done = run(bench, contract)
    assert (done.asked, done.findings) == (0, [])
    bench.run("UPDATE ops.slice_ledger SET detail = detail - 'table_checksum'")
    assert run(bench, contract).findings == []
    bench.run("UPDATE test.orders SET order_id = 3 WHERE order_id = 2")
    assert told(run(bench, contract)) == [(DAY, "table_differs", 2, 2)]


def test_which_slices_are_looked_at(bench: Any, orders: Any) -> None:
    """So many days up to the newest slice, and older ones only while they have an open finding."""
    contract, source = orders
    old = "2024-06-01"
    bench.run(f"INSERT INTO {source} VALUES (1, 'A100', 1, '{old} 00:00+00')")
    load(bench, contract, old, source)
    bench.run(f"INSERT INTO {source} VALUES (2, 'A100', 1, '{old} 00:00+00')")
    assert run(bench, contract, days=2).slices == 2
    assert told(run(bench, contract, days=1000)) == [(old, "source_changed", 1, 2)]
    assert (run(bench, contract, days=1).slices, recorded(bench)[0][-1]) == (2, True)
    load(bench, contract, old, source)
    assert run(bench, contract, days=1).closed == 1
    assert run(bench, contract, days=1).slices == 1


def test_a_dropped_slice_is_held_to_be_empty(bench: Any, orders: Any) -> None:
    """Its open findings close, its source is not asked for it, and rows that somebody puts there are found."""
    contract, source = orders
    bench.run(f"DELETE FROM {source}")
    assert len(run(bench, contract).findings) == 2
    drop_slice(bench.conn, contract, day_slice(DAY), by="ann", reason="a test")
    assert recorded(bench)[0][-1] is False
    done = run(bench, contract)
    assert (told(done), done.asked) == ([(NEXT, "source_changed", 3, 0)], 1)
    bench.run(f"CREATE TABLE test.by_hand PARTITION OF test.orders FOR VALUES FROM ('{DAY}') TO ('{NEXT}')")
    bench.run(f"INSERT INTO test.orders VALUES (1, 'A100', 1, '{DAY} 00:00+00')")
    assert told(run(bench, contract))[0] == (DAY, "table_differs", 0, 1)


def test_a_slice_that_is_loaded_meanwhile_is_left_for_the_next_time(bench: Any, orders: Any) -> None:
    """A load between the reading of the ledger and that of the source opens no finding, and closes none."""
    contract, source = orders
    bench.run(f"INSERT INTO {source} VALUES (4, 'A100', 1, '{DAY} 00:00+00')")
    meanwhile = opens(bench, lambda: load(bench, contract, DAY, source))
    assert reconcile(bench.conn, contract, meanwhile, days=30).findings == []
    assert recorded(bench) == []
    assert run(bench, contract).findings == []


def test_a_publish_during_the_reading_is_seen_whole_or_not_at_all(bench: Any, orders: Any) -> None:
    """Ledger and partition are read by one statement: while a slice is replaced again and again nothing differs."""
    contract, source = orders
    stop, loads = threading.Event(), []

    def reload() -> None:
        other = type(bench).__new__(type(bench))
        other.__dict__.update(bench.__dict__, conn=psycopg2.connect(bench.dsn), _runs=1000)
        open_session(other.conn)
        while not stop.is_set():
            with other.conn, other.conn.cursor() as cur:
                cur.execute(f"INSERT INTO {source} VALUES (%s, 'A100', 1, '{DAY} 12:00+00')", (100 + len(loads),))
            load(other, contract, DAY, source)
            loads.append(1)
        other.conn.close()

    thread = threading.Thread(target=reload)
    thread.start()
    try:
        found = []
        while len(loads) < 8:
            found += [one for one in run(bench, contract).findings if one.kind == "table_differs"]
    finally:
        stop.set()
        thread.join()
    assert found == []


@pytest.mark.parametrize(
    ("then", "now", "changed"),
    [
        (Figures(2, "a:1"), Figures(2, "a:1"), False),
        (Figures(2, "a:1"), Figures(2, "a:2"), True),
        (Figures(2, "a:1"), Figures(2, "b:2"), False),
        (Figures(2, None), Figures(2, "a:2"), False),
        (Figures(2, "a:1"), Figures(3, "a:1"), True),
        (Figures(0, "a:0"), Figures(0, None), False),
    ],
)
def test_source_changed(build: Any, then: Figures, now: Figures, *, changed: bool) -> None:
    """Counts are compared always, checksums where both are over the same columns in the same types."""
    assert source_changed(build.contract(build.ORDERS), then, now) is changed
