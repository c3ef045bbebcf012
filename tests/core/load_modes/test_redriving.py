"""Rows that are mended and re-driven join their slice in every load mode, and stay accounted for in what follows."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from penstock.core.quarantine import discard, mend
from penstock.core.redrive import redrive
from penstock.core.slice import day_slice
from tests.core.load_modes.reference import MODES, Mode, Row, Variant
from tests.core.load_modes.tables import DAYS, EXAMPLES, VARIANTS, document, load, rows_of, seen
from tests.core.load_modes.test_orders import history

SETTINGS = settings(
    deadline=None, max_examples=2 * EXAMPLES, stateful_step_count=12, suppress_health_check=list(HealthCheck)
)
FOR_SLICES = {"append": "day", "snapshot": "day", "replace_partition": "(at AT TIME ZONE 'UTC')::date"}


def program(bench: Any, contract: Any, variant: Variant) -> type[RuleBasedStateMachine]:
    """A machine that loads, mends, re-drives and discards."""

    class Program(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.runs = 0

        def run_id(self) -> str:
            self.runs += 1
            return f"run-{self.runs}"

        @initialize()
        def nothing_is_there(self) -> None:
            bench.reset("test")
            bench.run("TRUNCATE ops.tombstone")

        @rule(key=st.sampled_from(DAYS[:2]), data=st.data())
        def load(self, key: str, data: st.DataObject) -> None:
            load(bench.conn, contract, key, data.draw(rows_of((key,))), self.run_id())

        def _open(self) -> list[int]:
            rows = bench.run("SELECT id FROM ops.quarantine WHERE state = 'open' AND payload ->> 'id' IS NOT NULL")
            return [id_ for (id_,) in rows]

        @rule(grade=st.sampled_from(["B", "E"]), some=st.integers(1, 3))
        def mend_and_redrive(self, grade: str, some: int) -> None:
            ids = self._open()[::some]
            with bench.conn, bench.conn.cursor() as cur:
                if ids:
                    mend(cur, contract, ids, {"grade": grade}, by="ann")
            for (key,) in bench.run("SELECT DISTINCT slice_key FROM ops.quarantine WHERE state = 'open' ORDER BY 1"):
                before = bench.one("SELECT extracted FROM ops.slice_current WHERE slice_key = %s", (key,))
                done = redrive(bench.conn, contract, day_slice(key), run_id=self.run_id(), by="ann")
                assert done.considered == done.loaded + done.deduplicated + done.still_open + done.filtered
                assert bench.one("SELECT extracted FROM ops.slice_current WHERE slice_key = %s", (key,)) == before

        @rule()
        def discard_one(self) -> None:
            if ids := self._open()[:1]:
                discard(bench.conn, contract, ids, by="ann", reason="not ours")

        @invariant()
        def every_row_is_accounted_for(self) -> None:
            open_rows = dict(
                bench.run("SELECT slice_key, count(*) FROM ops.quarantine WHERE state = 'open' GROUP BY 1")
            )
            ledger = bench.run("SELECT slice_key, loaded, quarantined FROM ops.slice_current")
            assert {key: quarantined for key, _, quarantined in ledger if quarantined} == open_rows
            if variant.partitioned and ledger:
                there = dict(bench.run(f"SELECT {FOR_SLICES[variant.mode]}::text, count(*) FROM test.items GROUP BY 1"))
                assert {key: loaded for key, loaded, _ in ledger if loaded} == there
            if variant.mode == "scd2" and ledger:
                assert history(bench) == []
            assert bench.run("SELECT FROM ops.stage") == []
            assert bench.staged_tables() == []

    return Program


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_random_programs_with_mends_stay_balanced(bench: Any, build: Any, variant: Variant) -> None:
    """`quarantined` is the number of open rows; `loaded` that of the slice's rows, where it has a partition."""
    run_state_machine_as_test(program(bench, build.contract(document(variant)), variant), settings=SETTINGS)


@pytest.mark.parametrize("mode", MODES)
def test_a_mended_row_is_published_once(bench: Any, build: Any, mode: Mode) -> None:
    """Its slice loaded again afterwards gives the row back to the quarantine with its mend; an append keeps it."""
    variant = Variant(mode)
    contract = build.contract(document(variant))
    day = DAYS[0]
    rows = [Row(1, "A", f"{day} 07:00"), Row(2, "?", f"{day} 07:00")]
    load(bench.conn, contract, day, rows, "first")
    with bench.conn, bench.conn.cursor() as cur:
        cur.execute("SELECT id FROM ops.quarantine")
        mend(cur, contract, [id_ for (id_,) in cur.fetchall()], {"grade": "B"}, by="ann")
    done = redrive(bench.conn, contract, day_slice(day), run_id="redrive", by="ann")
    assert (done.considered, done.loaded, done.still_open) == (1, 1, 0)
    published = seen(bench, variant)
    assert published.total() == 2
    again = load(bench.conn, contract, day, rows, "again")
    state = bench.one("SELECT state FROM ops.quarantine")
    if mode == "append":
        assert (again.loaded, again.quarantined, again.deduplicated, state) == (2, 0, 1, "redriven")
        assert seen(bench, variant) == published
    else:
        assert (again.loaded, again.quarantined, state) == (1, 1, "open")
        redrive(bench.conn, contract, day_slice(day), run_id="redrive-2", by="ann")
        assert seen(bench, variant) == published


@pytest.mark.parametrize("mode", ["merge", "scd2", "append"])
def test_a_mended_deletion_deletes(bench: Any, build: Any, mode: Mode) -> None:
    """A row that came to the quarantine and says that its key was deleted takes the key out when it is re-driven."""
    variant = Variant(mode, tombstone="hard")
    contract = build.contract(document(variant))
    day = DAYS[0]
    rows = [Row(1, "A", f"{day} 07:00", False), Row(1, "?", f"{day} 07:00", True)]
    load(bench.conn, contract, day, rows, "first")
    assert bench.one("SELECT count(*) FROM test.items") == 1
    with bench.conn, bench.conn.cursor() as cur:
        cur.execute("SELECT id FROM ops.quarantine")
        mend(cur, contract, [id_ for (id_,) in cur.fetchall()], {"grade": "B"}, by="ann")
    done = redrive(bench.conn, contract, day_slice(day), run_id="redrive", by="ann")
    assert (done.considered, done.filtered, done.still_open) == (1, 1, 0)
    assert bench.one("SELECT count(*) FROM test.items") == 0
