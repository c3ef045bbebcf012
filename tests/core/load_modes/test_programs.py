"""Random programs: whatever is loaded, in whatever order, and again, the warehouse is what the reference says."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tests.core.load_modes.reference import Reference, Row, Variant, Went
from tests.core.load_modes.tables import DAYS, EXAMPLES, VARIANTS, aside, document, load, rows_of, seen, went

SETTINGS = settings(
    deadline=None,
    max_examples=3 * EXAMPLES,
    stateful_step_count=10,
    suppress_health_check=list(HealthCheck),
)


def program(bench: Any, contract: Any, variant: Variant) -> type[RuleBasedStateMachine]:
    """A machine whose steps are loads of one table."""

    class Program(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.reference = Reference(variant)
            self.sources: dict[str, list[Row]] = {}
            self.runs = 0
            self.ledger: dict[str, Went] = {}

        @initialize()
        def nothing_is_there(self) -> None:
            bench.reset("test")
            bench.run("TRUNCATE ops.tombstone")

        def _load(self, key: str) -> None:
            self.runs += 1
            rows = self.sources.get(key, [])
            outcome = load(bench.conn, contract, key, rows, f"run-{self.runs}")
            self.ledger[key] = self.reference.load(key, rows)
            assert went(outcome) == self.ledger[key]

        @rule(key=st.sampled_from(DAYS), data=st.data())
        def load_what_the_source_has_now(self, key: str, data: st.DataObject) -> None:
            # Of the slice's own day mostly; a table without a partition may get versions of other days, too.
            days = DAYS if data.draw(st.integers(0, 3)) == 0 else (key,)
            self.sources[key] = data.draw(rows_of(days))
            self._load(key)

        @rule(key=st.sampled_from(DAYS))
        def load_again(self, key: str) -> None:
            self._load(key)

        @rule(key=st.sampled_from(DAYS), data=st.data())
        def load_with_some_rows_gone_and_some_late(self, key: str, data: st.DataObject) -> None:
            rows = self.sources.get(key, [])
            kept = [row for row in rows if data.draw(st.booleans())]
            self.sources[key] = kept + data.draw(rows_of((key,), most=3))
            self._load(key)

        @invariant()
        def the_warehouse_is_the_reference(self) -> None:
            assert seen(bench, variant) == self.reference.table()
            assert aside(bench) == self.reference.quarantine()

        @invariant()
        def the_ledger_is_balanced(self) -> None:
            rows = bench.run(
                "SELECT slice_key, extracted, loaded, quarantined, deduplicated, filtered FROM ops.slice_current"
            )
            assert {key: Went(*counts) for key, *counts in rows} == self.ledger
            assert bench.run("SELECT FROM ops.stage") == []

    return Program


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_a_random_program_gives_the_reference(bench: Any, build: Any, variant: Variant) -> None:
    """Loads, repeats, changed sources and late rows: table, quarantine and ledger are the reference's at each step."""
    run_state_machine_as_test(program(bench, build.contract(document(variant)), variant), settings=SETTINGS)
