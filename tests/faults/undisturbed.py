"""The same slices by the same operators, without a scheduler and without a fault; started by the runner.

A JSON list of [mode, slice key] on standard input, loaded in that order into the connection `warehouse`; a JSON list on
standard output: for each of them the steps of each task, as [role, first words], and the seconds that it took.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from tests.faults.datasets import DATASETS
from tests.faults.operators import Extract, Publish, Validate
from tests.operators.contexts import context_of


def load(mode: str, key: str) -> dict[str, Any]:
    """Load one slice; return the steps of each task."""
    which = next(found for found in DATASETS if found.mode == mode)
    steps: dict[str, Any] = {}
    run_id = f"undisturbed__{mode}__{key}"
    operators = [
        Extract(task_id="extract", dataset=which.name, conn_id="source", table=which.table),
        Validate(task_id="validate", dataset=which.name),
        Publish(task_id="publish", dataset=which.name),
    ]
    for operator in operators:
        began = time.perf_counter()
        operator.execute(context_of(which.name, key, run_id))
        assert operator.steps is not None
        steps[operator.task_id] = {"steps": operator.steps.seen, "seconds": time.perf_counter() - began}
    return steps


if __name__ == "__main__":
    out, sys.stdout = sys.stdout, sys.stderr
    found = [load(mode, key) for mode, key in json.load(sys.stdin)]
    json.dump(found, out)
