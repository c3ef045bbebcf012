"""How fast is a slice through Penstock, beside the raw limit and beside the same steps by hand?

    make bench                                            # prints the table, writes bench/results.md
    python bench/throughput.py --rows 10000000 --repeat 1 --output bench/results-10m.md   # needs 8 GB of disk
    python bench/throughput.py --check                    # exit code 1 where a target is missed

Everything runs on one embedded Postgres with the demo's durable settings, in a temporary folder: a database `source`
with N rows × 10 columns (bench/payments.yaml), and a database `warehouse`. Three comparisons:

attach
    *raw*: `psql COPY … (FORMAT binary) | psql COPY … (FORMAT binary)` into a table that is there: no rule, no key.
    *by hand*: the same pipe into a table made in the same transaction (FREEZE), the ten rules as one scan, a unique
    index on the key, the table attached as a partition; bench/sql holds the statements.
    *Penstock*: stage_table, judge, publish; the same ten rules, and that the key is unique and each row belongs to
    the slice; with ledger and quarantine.
merge, empty table
    *by hand*: the pipe, the ten rules as one scan, INSERT … ON CONFLICT … WHERE excluded.cursor >= t.cursor.
    *Penstock*: the same, through core.
merge, changed rows
    As before, a tenth of N changed rows into a table of N rows.

The ways of one comparison take turns (A B C A B C …) after one round that warms the caches and does not count; each starts from
the same tables after a CHECKPOINT, and the median counts. Both sides use the same server with the same settings.
What Penstock does is timed inside its process (bench/slice_process.py), from before the contract is read to after the
commit; starting the interpreter is the task's affair, not the slice's. Its peak memory is that process's own, and is
held against that of a slice of a tenth of the rows, measured in the same run.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import psycopg2
import yaml
from psycopg2.extensions import make_dsn
from psycopg2.sql import SQL, Identifier

from penstock.local.binaries import program
from penstock.local.postgres import EmbeddedPostgres

HERE: Final = Path(__file__).resolve().parent
DAY, NEXT_DAY, DAY_AFTER = "2026-01-01", "2026-01-02", "2026-01-03"
MAX_RAW_RATIO: Final = 2.0
MAX_MERGE_RATIO: Final = 1.3
MAX_PEAK_MB: Final = 100.0
MAX_GROWTH: Final = 1.1
SMALLER: Final = 10
"""The changed rows, and the slice that memory is compared with, are one in so many."""


@dataclass(frozen=True)
class Way:
    """One way to load the rows.

    Attributes:
        name: What the table calls it.
        prepare: Puts the tables back to where the way starts; not timed.
        run: Loads the rows, returns seconds.
    """

    name: str
    prepare: Callable[[], None]
    run: Callable[[], float]


@dataclass(frozen=True)
class Measured:
    """The seconds of all counted runs of a way."""

    name: str
    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median, in seconds."""
        return statistics.median(self.seconds)


@dataclass(frozen=True)
class Target:
    """A figure that must not exceed its limit."""

    name: str
    value: float
    limit: float
    unit: str

    @property
    def met(self) -> bool:
        """Whether the figure is within the limit."""
        return self.value <= self.limit


@dataclass
class Penstock:
    """What the slices that went through Penstock reported.

    Attributes:
        reports: Way → its runs' reports.
    """

    reports: dict[str, list[dict[str, float]]] = field(default_factory=dict)

    def peak(self, way: str) -> float:
        """Return the highest peak of a way's runs, in MB."""
        return max(report["peak_mb"] for report in self.reports[way])

    def median(self, way: str, figure: str) -> float:
        """Return the median of a figure over a way's runs."""
        return statistics.median(report[figure] for report in self.reports[way])


class Database:
    """One database, reached through psql."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        url = urlsplit(dsn)
        # Through the environment: what stands in the arguments, every user of the machine can read.
        self._env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PG")},
            "PGHOST": str(url.hostname),
            "PGPORT": str(url.port),
            "PGUSER": unquote(url.username or ""),
            "PGPASSWORD": unquote(url.password or ""),
            "PGDATABASE": url.path.lstrip("/"),
        }

    def start(self, *arguments: str, stdin: int | None = None, variables: dict[str, str] | None = None) -> subprocess.Popen[str]:
        """Start psql with the given arguments and variables."""
        options = [part for name, value in (variables or {}).items() for part in ("-v", f"{name}={value}")]
        command = [str(program("psql")), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", *options, *arguments]
        return subprocess.Popen(
            command, env=self._env, stdin=stdin or subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
        )

    def run(self, *statements: str) -> str:
        """Run statements one by one, return what they print."""
        return finished(self.start(*(part for statement in statements for part in ("-c", statement))))

    def script(self, name: str, **variables: str) -> str:
        """Run a file of bench/sql, return what it prints."""
        return finished(self.start("-f", str(HERE / "sql" / name), variables=variables))


def finished(process: subprocess.Popen[str]) -> str:
    """Wait for a process and return its output.

    Raises:
        subprocess.CalledProcessError: It failed; what it said is on standard error.
    """
    output, _ = process.communicate()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, shlex.join(map(str, process.args)))  # type: ignore[arg-type]
    return output.strip()


def pipe(source: Database, table: str, target: Database, *statements: str) -> None:
    """Run `psql COPY TO | psql COPY FROM`; the last of the statements takes the rows."""
    sender = source.start("-c", f"COPY {table} TO STDOUT (FORMAT binary)")
    assert sender.stdout is not None  # noqa: S101 - a pipe was asked for
    commands = [part for statement in statements for part in ("-c", statement)]
    taker = target.start(*commands, stdin=sender.stdout.fileno())
    sender.stdout.close()
    finished(taker)
    if sender.wait():
        raise subprocess.CalledProcessError(sender.returncode, "psql COPY TO")
