"""Sessions that publish at once: no deadlock, no lost row, and the outcome of some order, which the ledger tells."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import psycopg2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg2.extensions import connection as Connection  # noqa: N812

from penstock.core.publish import publish
from penstock.core.quarantine import mend
from penstock.core.redrive import redrive
from penstock.core.slice import day_slice
from penstock.core.stage import open_session
from tests.core.load_modes.reference import MODES, Mode, Reference, Row, Variant
from tests.core.load_modes.tables import DAYS, EXAMPLES, aside, document, load, rows_of, seen, staged, staged_sql

SETTINGS = settings(deadline=None, max_examples=2 * EXAMPLES, suppress_health_check=list(HealthCheck))
SESSIONS = 4


def at_once(dsn: str, works: Sequence[Callable[[Connection], Any]]) -> list[Any]:
    """Do each piece of work in a thread and session of its own, all starting together; what one raises is raised."""
    start = threading.Barrier(len(works))

    def alone(work: Callable[[Connection], Any]) -> Any:
        with closing(psycopg2.connect(dsn)) as conn:
            open_session(conn)
            start.wait(30)
            return work(conn)

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(alone, works))


@pytest.mark.parametrize("mode", MODES)
def test_four_sessions_load_as_if_one_after_the_other(bench: Any, build: Any, mode: Mode) -> None:
    """First loads and repeats of the same and of other slices, all at once: the ledger's order gives the table."""
    variant = Variant(mode, tombstone="hard")
    contract = build.contract(document(variant))
    slices = st.tuples(st.sampled_from(DAYS), st.data())

    @SETTINGS
    @given(st.lists(st.lists(slices, min_size=1, max_size=3), min_size=SESSIONS, max_size=SESSIONS))
    def check(plan: list[list[tuple[str, st.DataObject]]]) -> None:
        bench.reset("test")
        bench.run("TRUNCATE ops.tombstone")
        runs = {
            f"run-{session}-{turn}": (key, data.draw(rows_of((key,))))
            for session, turns in enumerate(plan)
            for turn, (key, data) in enumerate(turns)
        }

        def session(number: int) -> Callable[[Connection], None]:
            def work(conn: Connection) -> None:
                for run_id, (key, rows) in runs.items():
                    if run_id.startswith(f"run-{number}-"):
                        load(conn, contract, key, rows, run_id)

            return work

        at_once(bench.dsn, [session(number) for number in range(len(plan))])
        reference = Reference(variant)
        for (run_id,) in bench.run("SELECT run_id FROM ops.slice_ledger ORDER BY id"):
            reference.load(*runs.pop(run_id))
        assert runs == {}
        assert seen(bench, variant) == reference.table()
        assert aside(bench) == reference.quarantine()
        assert bench.staged_tables() == []

    check()


@pytest.mark.parametrize("mode", MODES)
def test_a_redrive_beside_a_load_loses_nothing(bench: Any, build: Any, mode: Mode) -> None:
    """A slice is loaded again while its mended row is re-driven: the row is in the table, or open and mended."""
    variant = Variant(mode)
    contract = build.contract(document(variant))
    day, other = DAYS[0], DAYS[1]
    rows = [Row(1, "A", f"{day} 07:00"), Row(2, "?", f"{day} 07:00"), Row(3, "C", f"{day} 07:00")]
    seen_ends = set()
    for attempt in range(6):
        bench.reset("test")
        load(bench.conn, contract, day, rows, "first")
        with bench.conn, bench.conn.cursor() as cur:
            cur.execute("SELECT id FROM ops.quarantine")
            mend(cur, contract, [id_ for (id_,) in cur.fetchall()], {"grade": "B"}, by="ann")
        stage = staged(bench.conn, contract, day, rows, "again")
        works = [
            lambda conn: redrive(conn, contract, day_slice(day), run_id="redrive", by="ann"),
            lambda conn, stage=stage: publish(conn, contract, day_slice(day), stage),
            lambda conn: load(conn, contract, other, [Row(1, "E", f"{other} 07:00")], "other"),
        ]
        at_once(bench.dsn, works if attempt % 2 else works[::-1])
        state, mended = bench.run("SELECT state, mended ->> 'grade' FROM ops.quarantine")[0]
        loaded = bench.one("SELECT loaded FROM ops.slice_current WHERE slice_key = %s", (day,))
        there = bench.one(f"SELECT count(*) FROM test.items WHERE id = 2 AND grade = 'B' AND at::date = '{day}'")
        quarantined = bench.one("SELECT quarantined FROM ops.slice_current WHERE slice_key = %s", (day,))
        seen_ends.add((state, there))
        assert mended == "B"
        # A merge takes nothing out, so there the row may be open again and in the table all the same.
        assert there == 1 or state == "open"
        assert quarantined == (state == "open")
        if variant.partitioned:
            assert there == (state == "redriven")
            assert loaded == bench.one(f"SELECT count(*) FROM test.items_p{day.replace('-', '')}")
    assert seen_ends


@pytest.mark.parametrize("mode", MODES)
def test_the_first_slices_may_come_all_at_once(bench: Any, build: Any, mode: Mode) -> None:
    """Nothing is there, not even the schema: one session makes the table, and each its slice's partition."""
    variant = Variant(mode)
    contract = build.contract(document(variant))
    bench.run("DROP SCHEMA IF EXISTS test CASCADE")
    days = [f"2026-02-{day:02}" for day in range(1, 7)]
    reference = Reference(variant)
    stages = []
    for day in days:
        rows = [Row(id_, "A", f"{day} 07:00") for id_ in range(5)]
        reference.load(day, rows)
        stages.append(staged(bench.conn, contract, day, rows, "first"))
    at_once(bench.dsn, [lambda conn, s=stage: publish(conn, contract, day_slice(s.slice_key), s) for stage in stages])
    assert seen(bench, variant) == reference.table()
    partitions = bench.one("SELECT count(*) FROM pg_inherits WHERE inhparent = 'test.items'::regclass")
    assert partitions == (len(days) if variant.partitioned else 0)


@pytest.mark.parametrize("mode", MODES)
def test_one_run_published_twice_at_once_has_one_effect(bench: Any, build: Any, mode: Mode) -> None:
    """A task and its zombie publish the same stage: one does it, the other finds it done and says the same."""
    variant = Variant(mode, tombstone="hard")
    contract = build.contract(document(variant))
    rows = [Row(1, "A", f"{DAYS[0]} 07:00"), Row(2, "A", f"{DAYS[0]} 07:00", True), Row(3, "?", f"{DAYS[0]} 07:00")]
    stage = staged(bench.conn, contract, DAYS[0], rows, "twice")
    outcomes = at_once(bench.dsn, [lambda conn: publish(conn, contract, day_slice(DAYS[0]), stage)] * 3)
    assert len(set(outcomes)) == 1
    assert bench.one("SELECT count(*) FROM ops.slice_ledger") == 1
    reference = Reference(variant)
    reference.load(DAYS[0], rows)
    assert seen(bench, variant) == reference.table()


@pytest.mark.parametrize("mode", ["merge", "scd2"])
def test_slices_with_the_same_keys_do_not_block_each_other_for_ever(bench: Any, build: Any, mode: Mode) -> None:
    """Four slices touch the same rows in opposite orders: no deadlock, and the newest version of each key stands."""
    contract = build.contract(document(Variant(mode)))
    days = [f"2026-02-{day:02}" for day in range(1, SESSIONS + 1)]
    stages = []
    load(bench.conn, contract, DAYS[0], [], "first")
    for number, day in enumerate(days):
        sql = (
            f"SELECT i::bigint AS id, 'A'::text AS grade, '{day} 07:00'::timestamptz AS at, false AS gone"
            f" FROM generate_series(1, 3000) AS i ORDER BY i {'DESC' if number % 2 else ''}"
        )
        stages.append(staged_sql(bench.conn, contract, day, sql, "crossed", publishes=False))
    at_once(bench.dsn, [lambda conn, s=stage: publish(conn, contract, day_slice(s.slice_key), s) for stage in stages])
    versions = SESSIONS if mode == "scd2" else 1
    current = " WHERE valid_to IS NULL" if mode == "scd2" else ""
    assert bench.one("SELECT count(*) FROM test.items") == 3000 * versions
    assert bench.run(f"SELECT count(*), min(at) = max(at), max(at)::date::text FROM test.items{current}") == [
        (3000, True, days[-1])
    ]
