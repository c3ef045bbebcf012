"""Runs a programme of faults in a world, and counts what became of them."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from penstock.core.slice import day_slice
from penstock.core.stage import stage_of
from tests.faults import control
from tests.faults.compare import difference, read
from tests.faults.datasets import DATASETS, HEAVY_EVERY, is_heavy, key_of, source_sql
from tests.faults.plan import Run, Steps
from tests.faults.report import Results, Tally
from tests.faults.world import World

AT_ONCE: Final = 6
RESTARTS_AT_ONCE: Final = 2
PROBE: Final = (0, 1, HEAVY_EVERY - 1)
PATIENCE_SECONDS: Final = 240.0


@dataclass(slots=True)
class Started:
    """A run that was started."""

    run: Run
    dag_id: str
    dataset: str
    key: str
    run_id: str
    at: float
    state: str = ""


@dataclass(frozen=True, slots=True)
class Failure:
    """A run that did not end as it should."""

    dag_id: str
    key: str
    run_id: str
    what: str

    def __str__(self) -> str:
        return f"{self.dag_id} {self.key} ({self.run_id}): {self.what}"


@dataclass(slots=True)
class Outcome:
    """What the programme found.

    Attributes:
        results: The counts by kind and load mode.
        failures: The runs that did not end as they should.
        locks: Advisory locks that were left.
        leftovers: Stages that were left.
        seconds: How long the faults took.
    """

    results: Results = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    locks: int = 0
    leftovers: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def injected(self) -> int:
        """How many faults there were."""
        return sum(tally.injected for tally in self.results.values())

    @property
    def survived(self) -> int:
        """How many of them left no trace."""
        return sum(tally.survived for tally in self.results.values())


def count_steps(found: World) -> dict[str, Steps]:
    """Load a few slices of each mode undisturbed; return the steps of each task, and how long a large slice takes."""
    slices = [(which.mode, key_of(number)) for which in DATASETS for number in PROBE]
    loads = iter(found.undisturbed(slices, "probe"))
    steps: dict[str, Steps] = {}
    for which in DATASETS:
        _, light, heavy = next(loads), next(loads), next(loads)
        steps[which.mode] = {task: {**light[task], "heavy_seconds": heavy[task]["seconds"]} for task in light}
    return steps


def run_all(found: World, runs: Sequence[Run], say: Callable[[str], None], *, restarts_apart: bool = True) -> Outcome:
    """Run a programme, and compare the warehouse with one that was left in peace.

    Args:
        found: Where.
        runs: The programme.
        say: Is told how far it is.
        restarts_apart: Whether the runs in which the server crashes, which every run beside them feels, come last.
    """
    keys = _keys(runs)
    control.ask(source_sql(max(keys.values(), default=0) + 1), dsn=found.source)
    began = time.monotonic()
    started: list[Started] = []
    apart = [run for run in runs if restarts_apart and run.kind == "restart"]
    started += _in_flight(found, [run for run in runs if run not in apart], keys, AT_ONCE, say)
    started += _in_flight(found, apart, keys, RESTARTS_AT_ONCE, say)
    outcome = Outcome(seconds=time.monotonic() - began)
    _wait_for_children(found)
    _judge(found, started, outcome)
    return outcome


def _keys(runs: Sequence[Run]) -> dict[int, int]:
    """Give each run a slice of its own: light ones and heavy ones of each load mode."""
    free = {(which.mode, heavy): _numbers(heavy) for which in DATASETS for heavy in (False, True)}
    return {id(run): next(free[run.mode, run.heavy]) for run in runs}


def _numbers(heavy: bool) -> Any:
    number = 0
    while True:
        if is_heavy(number) == heavy:
            yield number
        number += 1


def _in_flight(
    found: World, runs: Sequence[Run], keys: dict[int, int], at_once: int, say: Callable[[str], None]
) -> list[Started]:
    """Start runs, never more than so many at once, and wait for their end."""
    started: list[Started] = []
    waiting = list(runs)
    while waiting or any(not one.state for one in started):
        states = found.states()
        for one in started:
            state = states.get(f"{one.dag_id} {one.run_id}", "")
            late = time.monotonic() - one.at > PATIENCE_SECONDS
            if not one.state and (state in ("success", "failed") or late):
                one.state = state if state in ("success", "failed") else f"still {state}"
        while waiting and sum(not one.state for one in started) < at_once:
            started.append(_start(found, waiting.pop(0), keys))
            if len(started) % 20 == 0:
                say(f"{len(started)} of {len(runs)} runs started")
        time.sleep(0.3)
    return started


def _start(found: World, run: Run, keys: dict[int, int]) -> Started:
    which = next(one for one in DATASETS if one.mode == run.mode)
    key = key_of(keys[id(run)])
    run_id = found.trigger(which.dag_id, key, run.faults)
    return Started(run, which.dag_id, which.name, key, run_id, time.monotonic())


def _wait_for_children(found: World) -> None:
    """Wait for the twins and zombies, which Airflow knows nothing of."""
    alive = (
        "SELECT 1 FROM injected AS i LEFT JOIN ended AS e USING (id)"
        " WHERE i.kind IN ('twin', 'zombie') AND e.id IS NULL"
    )
    found.wait("the end of twins and zombies", lambda: not control.ask(alive, dsn=found.control), 120)


def _judge(found: World, started: Sequence[Started], outcome: Outcome) -> None:
    published = control.ask(
        "SELECT dataset, slice_key FROM ops.slice_ledger WHERE status = 'published' ORDER BY id", dsn=found.warehouse
    )
    order = list(dict.fromkeys((dataset.removeprefix("faults/"), key) for dataset, key in published))
    found.undisturbed(order, "twin")
    disturbed, twin = read(found.warehouse), read(found.server.dsn("twin"))
    missing = [(one.run.mode, one.key) for one in started if (one.run.mode, one.key) not in order]
    if missing:
        found.undisturbed([*order, *missing], "whole")
    whole = read(found.server.dsn("whole")) if missing else twin
    outcome.locks, outcome.leftovers = disturbed.locks, disturbed.stages
    noted = control.ask("SELECT run_id, kind, count(*) FROM injected GROUP BY 1, 2", dsn=found.control)
    for one in started:
        stage = stage_of(one.dataset, day_slice(one.key), one.run_id).name
        should = whole if (one.run.mode, one.key) in missing else twin
        differs = difference(disturbed, should, (one.dataset, one.key), stage)
        sound = one.state == "success" and differs.none
        injected = Counter({kind: count for run_id, kind, count in noted if run_id == one.run_id and kind != "pause"})
        for kind, count in injected.items():
            tally = outcome.results.setdefault((kind, one.run.mode), Tally())
            tally.injected += count
            tally.survived += count * sound
        if not sound:
            tally = outcome.results.setdefault((one.run.kind, one.run.mode), Tally())
            tally.lost += differs.lost
            tally.doubled += differs.doubled
            what = f"{one.state}, {differs.lost} rows lost, {differs.doubled} doubled; {'; '.join(differs.remarks)}"
            outcome.failures.append(Failure(one.dag_id, one.key, one.run_id, f"{what} after {one.run.faults}"))


def chance(seed: int) -> random.Random:
    """Return a source of chance that a seed fixes."""
    return random.Random(seed)  # noqa: S311 - nothing secret
