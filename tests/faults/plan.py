"""Which faults are injected where: at each step of each task, and at random instants."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from tests.faults.faults import TASKS, Fault

Steps = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one slice, with the faults that it meets.

    Attributes:
        mode: The load mode.
        faults: At most one in each task (and a pause).
        heavy: Whether the slice is a large one.
    """

    mode: str
    faults: tuple[Fault, ...]
    heavy: bool = False

    @property
    def kind(self) -> str:
        """The kind of its faults."""
        return self.faults[0].kind


SAMPLES: Final = {
    "kill_supervisor": 2,
    "drop_warehouse": 6,
    "drop_source": 3,
    "disk_full": 6,
    "restart": 3,
    "twin": 4,
    "zombie": 8,
}
"""Faults of each kind, in each task of each load mode of the full run; a kill happens at every step."""
RANDOM_KILLS: Final = 4


def full(steps: dict[str, Steps], rng: random.Random) -> list[Run]:
    """Return the runs of the full programme.

    Args:
        steps: By load mode: the steps of each task when nothing happens.
        rng: Where chance comes from.
    """
    runs: list[Run] = []
    for mode, of_tasks in steps.items():
        runs += _packed(mode, {task: list(_everywhere("kill", task, of_tasks[task])) for task in TASKS})
        for kind, size in SAMPLES.items():
            runs += _sampled(mode, kind, size, of_tasks, rng)
        for _ in range(RANDOM_KILLS):
            for kind in ("kill", "drop_warehouse", "restart"):
                task = rng.choice(TASKS)
                seconds = rng.uniform(0.2, 1.2) * of_tasks[task]["heavy_seconds"]
                runs.append(Run(mode, (Fault(kind, task, seconds=round(seconds, 4)),), heavy=True))
    return runs


def short(steps: dict[str, Steps], rng: random.Random, runs: int) -> list[Run]:
    """Return a few runs that meet every kind of fault, the load modes in turn."""
    found = []
    modes = list(steps)
    kinds = ["kill_supervisor", "restart", "zombie", "twin", "kill", "drop_warehouse", "disk_full", "drop_source"]
    for number in range(runs):
        mode, kind = modes[number % len(modes)], kinds[number % len(kinds)]
        run = rng.choice(_sampled(mode, kind, 1, steps[mode], rng))
        # One is enough of what takes the scheduler a while to notice.
        found.append(Run(mode, run.faults[:1]) if kind == "kill_supervisor" else run)
    return found


def _sampled(mode: str, kind: str, size: int, of_tasks: Steps, rng: random.Random) -> list[Run]:
    if kind == "zombie":
        places = [_zombie(task, of_tasks, rng) for task in TASKS for _ in range(size)]
        return [Run(mode, faults) for faults in places]
    chosen = {}
    for task in TASKS if kind != "drop_source" else TASKS[:1]:
        everywhere = list(_everywhere(kind, task, of_tasks[task]))
        chosen[task] = rng.sample(everywhere, min(size, len(everywhere)))
        if kind == "twin":
            chosen[task] = [replace(fault, seconds=rng.choice((0.0, rng.uniform(0.0, 3.0)))) for fault in chosen[task]]
    return _packed(mode, chosen)


def _everywhere(kind: str, task: str, found: Steps) -> Iterator[Fault]:
    """Yield a fault before each step and after each commit of a task."""
    counts = {"warehouse": 0, "source": 0}
    for role, what in found["steps"]:
        counts[role] += 1
        if (kind == "drop_source") != (role == "source") and kind != "kill":
            continue
        if kind == "twin" and role == "source":
            continue
        yield Fault(kind, task, role, counts[role], "before")
        if what == "COMMIT" and kind != "disk_full":
            yield Fault(kind, task, role, counts[role], "after")


def _zombie(task: str, of_tasks: Steps, rng: random.Random) -> tuple[Fault, ...]:
    """Return a zombie and, half of the time, a pause of its replacement or of a task after it, in which it goes on."""
    # Not amid a COPY: the thread that reads the source would not be in the process that goes on.
    steps = [n for n, what in enumerate(_of(of_tasks[task], "warehouse"), start=1) if not what.startswith("COPY")]
    zombie = Fault("zombie", task, step=rng.choice(steps), seconds=round(rng.uniform(0.5, 6.0), 2))
    if rng.random() < 0.5:
        return (zombie,)
    later = rng.choice(TASKS[TASKS.index(task) :])
    steps = list(range(1, len(_of(of_tasks[later], "warehouse")) + 1))
    pause = Fault("pause", later, step=rng.choice(steps), try_number=2 if later == task else 1, seconds=1.5)
    return zombie, pause


def _of(found: Steps, role: str) -> list[str]:
    return [what for whose, what in found["steps"] if whose == role]


def _packed(mode: str, faults: dict[str, list[Fault]]) -> list[Run]:
    """Put faults of one kind into as few runs as possible: one in each task."""
    longest = max(map(len, faults.values()), default=0)
    rows = [[found[n] for found in faults.values() if n < len(found)] for n in range(longest)]
    return [Run(mode, tuple(row)) for row in rows]
