"""A fault at any step of any task leaves no trace in the warehouse, whatever the load mode."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest

from penstock.local.layout import PROJECT
from tests.faults.compare import Warehouse, difference
from tests.faults.faults import KINDS, TASKS, Fault
from tests.faults.plan import full, short
from tests.faults.report import MODES, document, read_facts, read_table, table
from tests.faults.runner import chance, count_steps, run_all
from tests.faults.world import World, world

SEED = 20240101
RUNS = 16
LEAST_FAULTS = 25
LEAST_FAULTS_OF_ALL = 200
ORDERS, DAY = "faults/merge", "2024-01-01"


@pytest.fixture(scope="module")
def place() -> Iterator[World]:
    """A scheduler of its own, for its warehouse crashes."""
    with world(days=10) as found:
        yield found


def test_faults_of_every_kind_leave_no_trace(place: World) -> None:
    """After Airflow's retries table, quarantine, ledger and stages are those of a warehouse that met no fault."""
    said: list[str] = []
    runs = short(count_steps(place), chance(SEED), RUNS)
    outcome = run_all(place, runs, said.append, restarts_apart=False)
    failed = [f"{failure}\n{place.log(failure.dag_id, failure.run_id)}" for failure in outcome.failures]
    assert not failed, "\n".join(failed)
    assert (outcome.leftovers, outcome.locks) == ([], 0)
    assert {kind for kind, _ in outcome.results} == KINDS.keys()
    assert {mode for _, mode in outcome.results} == set(MODES)
    assert outcome.survived == outcome.injected >= LEAST_FAULTS


def test_full_programme_kills_at_every_step(programme: dict[str, dict[str, dict[str, object]]]) -> None:
    """Before each statement and commit of each task, and after each commit, the process is killed in some run."""
    runs = full(programme, chance(1))
    for mode in programme:
        met = {fault for run in runs if (run.mode, run.kind) == (mode, "kill") for fault in run.faults if fault.step}
        for task in TASKS:
            assert {Fault("kill", task, "source", 1), Fault("kill", task, step=1)} <= met
            assert {Fault("kill", task, step=2), Fault("kill", task, step=2, when="after")} <= met
    assert {run.kind for run in runs} == KINDS.keys()


@pytest.fixture
def programme() -> dict[str, dict[str, dict[str, object]]]:
    """Steps as the undisturbed tasks count them: a statement at the source, one in the warehouse, a commit."""
    steps = [["source", "SELECT 1"], ["warehouse", "SELECT 1"], ["warehouse", "COMMIT"]]
    return {mode: {task: {"steps": steps, "seconds": 0.1, "heavy_seconds": 0.3} for task in TASKS} for mode in MODES}


def _holding(*rows: int, counts: tuple[int, ...] = (3, 3, 0, 0, 0, 0)) -> Warehouse:
    found = Warehouse()
    found.rows[ORDERS, DAY] = Counter(("table", row) for row in rows)
    found.ledger[ORDERS, DAY] = [("published", counts, "run")]
    return found


def test_comparison_sees_lost_and_doubled_rows_and_a_wrong_ledger() -> None:
    """It counts rows as a multiset, and names what is wrong with the ledger or was left."""
    twin, slice_ = _holding(1, 2, 3), (ORDERS, DAY)
    assert difference(_holding(1, 2, 3), twin, slice_, "stage").none
    assert difference(_holding(1, 2), twin, slice_, "stage").lost == 1
    assert difference(_holding(1, 2, 3, 3), twin, slice_, "stage").doubled == 1
    wrong = difference(_holding(1, 2, 3, counts=(3, 2, 1, 0, 0, 0)), twin, slice_, "stage")
    assert "the ledger counts" in wrong.remarks[0]
    twice, left = _holding(1, 2, 3), _holding(1, 2, 3)
    twice.ledger[slice_] *= 2
    assert "published" in difference(twice, twin, slice_, "stage").remarks[0]
    left.stages = ["stage__bad"]
    assert difference(left, twin, slice_, "stage").remarks == ("stage__bad is left in staging",)


def test_page_is_what_the_program_writes() -> None:
    """docs/reliability.md is the program's own output, of a run of all of it that left no trace."""
    text = (PROJECT / "docs" / "reliability.md").read_text(encoding="utf-8")
    results, facts = read_table(text), read_facts(text)
    assert table(results) in text
    assert document(results, facts) == text
    assert facts["command"] == "`make faults`"
    assert sum(tally.injected for tally in results.values()) >= LEAST_FAULTS_OF_ALL
    assert all(replace(tally, survived=tally.injected, lost=0, doubled=0) == tally for tally in results.values())
    assert all(tally.injected for tally in results.values())
