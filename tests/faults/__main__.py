"""Injects faults into real Airflow tasks and holds the warehouse against one that was left in peace.

make faults                              every step of every task; writes docs/reliability.md
python -m tests.faults --runs 30         a few of each kind
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import signal
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import psycopg2

from penstock.local.layout import PROJECT
from tests.faults.plan import Run, full, short
from tests.faults.report import document, table
from tests.faults.runner import Outcome, chance, count_steps, run_all
from tests.faults.world import World, world

DOCUMENT = PROJECT / "docs" / "reliability.md"


def main() -> int:
    """Run, print, and return 1 where a fault left a trace."""
    arguments = _arguments()
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # whoever stops it, it cleans up
    with world(days=10) as found:
        say("Airflow and the warehouse are up")
        runs = _programme(found, arguments)
        say(f"{len(runs)} runs with {sum(len(run.faults) for run in runs)} faults and pauses")
        outcome = run_all(found, runs, say)
        _tell(found, outcome, arguments.logs)
        facts = _facts(found, outcome, arguments.seed)
    print(table(outcome.results))
    print(
        f"{outcome.injected} faults, {outcome.survived} survived, in {outcome.seconds:.0f} s;"
        f" left: {len(outcome.leftovers)} stages, {outcome.locks} locks"
    )
    if arguments.write:
        DOCUMENT.write_text(document(outcome.results, facts), encoding="utf-8")
        say(f"wrote {DOCUMENT}")
    return int(bool(outcome.failures or outcome.locks or outcome.leftovers))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=0, help="only so many runs, of each kind in turn")
    parser.add_argument("--kind", help="only faults of this kind")
    parser.add_argument("--mode", help="only this load mode")
    parser.add_argument("--seed", type=int, default=1, help="fixes where the faults happen")
    parser.add_argument("--logs", type=Path, help="folder for the logs of runs that did not end well")
    parser.add_argument("--write", action="store_true", help="write docs/reliability.md")
    return parser.parse_args()


def say(text: str) -> None:
    """Say how far it is."""
    print(text, file=sys.stderr, flush=True)


def _programme(found: World, arguments: argparse.Namespace) -> Sequence[Run]:
    steps = count_steps(found)
    for mode, tasks in steps.items():
        say(f"{mode}: " + ", ".join(f"{task} {len(its['steps'])} steps" for task, its in tasks.items()))
    rng = chance(arguments.seed)
    if arguments.runs and not arguments.kind:
        return short(steps, rng, arguments.runs)
    runs = full(steps, rng)
    runs = [run for run in runs if arguments.kind in (None, run.kind) and arguments.mode in (None, run.mode)]
    return rng.sample(runs, arguments.runs) if 0 < arguments.runs < len(runs) else runs


def _tell(found: World, outcome: Outcome, logs: Path | None) -> None:
    """Say what did not end well, and keep the logs of it."""
    for name in outcome.leftovers:
        say(f"left: {name}")
    for failure in outcome.failures:
        say(str(failure))
        if logs:
            logs.mkdir(parents=True, exist_ok=True)
            text = f"{failure}\n{found.log(failure.dag_id, failure.run_id)}"
            (logs / f"{failure.dag_id}_{failure.key}.log").write_text(text, encoding="utf-8")


def _facts(found: World, outcome: Outcome, seed: int) -> dict[str, str]:
    version = psycopg2.connect(found.warehouse).server_version
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "command": "`make faults`",
        "seed": str(seed),
        "machine": f"{os.cpu_count()} × {_processor()}, {memory:.0f} GB, {platform.system()} {platform.release()}",
        "versions": f"Airflow {importlib.metadata.version('apache-airflow-core')},"
        f" Postgres {version // 10000}.{version % 10000}, Python {platform.python_version()}",
        "took": f"{outcome.seconds / 60:.0f} minutes",
        "left": f"{len(outcome.leftovers)} stages, {outcome.locks} advisory locks",
    }


def _processor() -> str:
    """Return the processor's name, where Linux tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


if __name__ == "__main__":
    sys.exit(main())
