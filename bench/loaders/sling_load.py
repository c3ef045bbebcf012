"""Load a table by Sling's binary, in its plain full refresh: COPY on both sides, no rules, no record.

The connections go through the environment. Bulk loading is Sling's default, and is stated all the same.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import sling_linux_amd64
from loader import Job, main

BINARY = Path(sling_linux_amd64.__file__).parent / "bin" / "sling-linux-amd64"


def load(job: Job) -> None:
    """Run `sling run`; its process is part of what is timed, for it has no other form."""
    command = [
        str(BINARY), "run", "--src-conn", "BENCH_SOURCE", "--src-stream", job.table, "--tgt-conn", "BENCH_TARGET",
        "--tgt-object", job.target, "--mode", "full-refresh", "--tgt-options", '{"use_bulk": true}',
    ]  # fmt: skip
    environment = {
        **os.environ,
        "BENCH_SOURCE": f"{job.source}?sslmode=disable",
        "BENCH_TARGET": f"{job.warehouse}?sslmode=disable",
        "SLING_DISABLE_TELEMETRY": "TRUE",
        "SLING_HOME_DIR": job.folder,
    }
    done = subprocess.run(
        command, check=False, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode:
        sys.exit(done.stdout)


if __name__ == "__main__":
    main(load)
