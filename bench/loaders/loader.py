"""What the programs in this folder share: a JSON job on standard input, a JSON report on the last line of output.

    job     {"source": DSN, "warehouse": DSN, "table": "schema.table", "target": "schema.table", "folder": …, …}
    report  {"seconds": …, "peak_mb": …}

Imports are not in the time. The memory is that of the process, or of its largest child where that is more.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Job:
    """What is to be loaded, from where to where; `folder` is the loader's to write in."""

    source: str
    warehouse: str
    table: str
    target: str
    folder: str
    options: dict[str, Any] = field(default_factory=dict)


def main(load: Callable[[Job], None]) -> None:
    """Run the job and report on it."""
    job = Job(**json.load(sys.stdin))
    output, sys.stdout = sys.stdout, sys.stderr
    begin = time.perf_counter()
    load(job)
    seconds = time.perf_counter() - begin
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    output.write(json.dumps({"seconds": seconds, "peak_mb": peak * 1024 / 1e6}) + "\n")
    output.flush()
    os._exit(0)  # without waiting for what a loader's threads have still to say
