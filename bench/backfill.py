"""What a long backfill comes to, and what it costs: `airflow backfill create` over a year of a small dataset.

    python bench/backfill.py [--days 365] [--part ratio|ways|all] [--check]

Everything runs through a real scheduler with the LocalExecutor, API server, dag processor and an embedded Postgres.

`ways`: the range is loaded forwards, then into an empty warehouse backwards, then again over what is there
(`--reprocess-behavior completed`), and once more into an empty warehouse with interruptions: the backfill is paused and
resumed, the scheduler is killed (SIGKILL) and started again, the backfill is cancelled, and `penstock backfill --gaps`
loads what is missing. After each: does the table equal the source, does the ledger balance, is any stage left?

`ratio`: the time of the slices beside that of the same number of runs with three tasks that do nothing, in five turns
each that alternate, so that both meet the same load. A turn's time is from the first run's start to the last one's end.
`--check` exits with 1 when a table is wrong, or the ratio is more than 1.5.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import psycopg2

from penstock.airflow_api import PAGE, AirflowApi
from penstock.local.layout import PROJECT, Layout
from penstock.local.processes import read_record
from penstock.local.stack import Stack

HERE = Path(__file__).resolve().parent
SLICES, EMPTY = "hundred_days", "empty_days"
DATASET, TABLE = "bench/hundred", "bench.hundred"
FIRST = date(2024, 1, 1)
TURNS = 5
TARGET = 1.5
LOOK_SECONDS = 0.5
PATIENCE_SECONDS = 3600.0
CHECKSUM = "SELECT count(*), coalesce(sum(hashtextextended(format('%s %s %s', id, at, amount), 0)::numeric), 0) FROM "


@dataclass
class Range:
    """The days that are loaded."""

    days: int

    def part(self, begin: int, end: int) -> tuple[str, str]:
        """The first and the last day of a part, from `begin` until before `end`."""
        return (FIRST + timedelta(days=begin)).isoformat(), (FIRST + timedelta(days=end - 1)).isoformat()

    @property
    def whole(self) -> tuple[str, str]:
        """The first and the last day."""
        return self.part(0, self.days)


class Bench:
    """A running stack with the source filled."""

    def __init__(self, stack: Stack, api: AirflowApi, range_: Range) -> None:
        self.stack, self.api, self.range = stack, api, range_

    def query(self, database: str, *statements: str) -> list[tuple[Any, ...]]:
        """Run statements in one transaction and return the rows of the last."""
        dsn = self.stack.postgres.dsn(database)
        with closing(psycopg2.connect(dsn)) as connection, connection, connection.cursor() as cur:
            cur.execute("SET TIME ZONE 'UTC'")
            for statement in statements:
                cur.execute(statement)
            return cur.fetchall() if cur.description else []

    def published(self) -> int:
        """Number of slices that the ledger has as published."""
        if self.query("warehouse", "SELECT to_regclass('ops.slice_current') IS NULL") == [(True,)]:
            return 0
        return int(self.query("warehouse", f"SELECT count(*) FROM ops.slice_current WHERE {self.in_range}")[0][0])

    @property
    def in_range(self) -> str:
        """The condition for the ledger's rows of the range; the schedule may load other days meanwhile."""
        first, last = self.range.whole
        return f"dataset = '{DATASET}' AND slice_key BETWEEN '{first}' AND '{last}'"

    def empty_warehouse(self) -> None:
        """Take the table and what is known of it away."""
        if self.query("warehouse", "SELECT to_regclass('ops.slice_ledger') IS NULL") == [(True,)]:
            return
        tables = "ops.slice_ledger, ops.stage, ops.rule_result"
        self.query("warehouse", "DROP SCHEMA IF EXISTS bench CASCADE", f"TRUNCATE {tables}")

    def create(self, dag_id: str, first: str, last: str, *more: str) -> int:
        """Create a backfill by Airflow's CLI and return its id."""
        command = ["backfill", "create", "--dag-id", dag_id, "--from-date", first, "--to-date", last]
        limits = ["--max-active-runs", "8"]
        done = subprocess.run(
            [sys.executable, "-m", "airflow", *command, *limits, *more],
            env=self.stack.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise SystemExit(done.stdout + done.stderr)
        return max(found["id"] for found in self.api.get("backfills", dag_id=dag_id, limit=PAGE)["backfills"])

    def wait(self, backfill: int) -> None:
        """Wait until a backfill is over."""
        until = time.monotonic() + PATIENCE_SECONDS
        while self.api.get(f"backfills/{backfill}")["completed_at"] is None:
            if time.monotonic() > until:
                raise SystemExit(f"backfill {backfill} is not over")
            time.sleep(LOOK_SECONDS)

    def span(self, backfill: int, dag_id: str) -> float:
        """Seconds from the start of a backfill's first run to the end of its last one."""
        rows = self.query(
            "airflow",
            "SELECT extract(epoch FROM max(end_date) - min(start_date))::float8,"
            " count(*) FILTER (WHERE state <> 'success') FROM dag_run"
            f" WHERE dag_id = '{dag_id}' AND backfill_id = {backfill}",
        )
        seconds, bad = rows[0]
        if bad:
            raise SystemExit(f"{bad} runs of backfill {backfill} have not succeeded")
        return float(seconds)

    def is_right(self) -> bool:
        """Whether the table equals the source, the ledger balances and agrees with it, and no stage is left."""
        first, last = self.range.whole
        days = f" WHERE at >= '{first}' AND at < date '{last}' + 1"
        source = self.query("shop", f"{CHECKSUM} public.hundred {days}")
        table = self.query("warehouse", f"{CHECKSUM} {TABLE}")
        loaded = self.query(
            "warehouse",
            "SELECT count(*), sum(loaded),"
            " bool_and(extracted = loaded + quarantined + deduplicated + filtered + withheld)"
            f" FROM ops.slice_current WHERE {self.in_range}",
        )
        stages = self.query(
            "warehouse",
            "SELECT (SELECT count(*) FROM ops.stage)"
            " + (SELECT count(*) FROM pg_class WHERE relnamespace = 'staging'::regnamespace)",
        )
        attempts = self.query("warehouse", f"SELECT count(*) FROM ops.slice_ledger WHERE {self.in_range}")
        right = table == source and loaded == [(self.range.days, source[0][0], True)] and stages == [(0,)]
        print(
            f"    table {'equals' if table == source else 'DIFFERS FROM'} the source ({table[0][0]:,} rows),"
            f" ledger {loaded[0][0]} slices, {loaded[0][1]:,} rows, {'balanced' if loaded[0][2] else 'UNBALANCED'},"
            f" {attempts[0][0]} attempts, {stages[0][0]} stages left",
            flush=True,
        )
        return right


def fill_source(stack: Stack, days: int) -> None:
    """Make the source table, 100 rows in each day."""
    with closing(psycopg2.connect(stack.postgres.dsn("shop"))) as connection, connection, connection.cursor() as cur:
        cur.execute(
            "CREATE TABLE IF NOT EXISTS hundred AS SELECT day * 100 + n AS id,"
            " timestamptz '2024-01-01 12:00+00' + day * interval '1 day' AS at, (n * 1.01)::numeric(12, 2) AS amount"
            " FROM generate_series(0::bigint, %s - 1) AS day, generate_series(1, 100) AS n",
            (days,),
        )


def try_ways(bench: Bench) -> bool:
    """Load the range in every way; return whether the table was right after each."""
    whole = bench.range.whole
    right = []
    again = ("--reprocess-behavior", "completed")  # runs of an earlier part may be there
    for title, fresh, more in (
        ("forwards, into an empty warehouse", True, again),
        ("backwards, into an empty warehouse", True, ("--run-backwards", *again)),
        ("again, over what is there", False, again),
    ):
        if fresh:
            bench.empty_warehouse()
        backfill = bench.create(SLICES, *whole, *more)
        bench.wait(backfill)
        print(f"{title}: {bench.range.days} slices in {bench.span(backfill, SLICES):.0f} s", flush=True)
        right.append(bench.is_right())
    bench.empty_warehouse()
    right.append(_interrupted(bench))
    return all(right)


def _interrupted(bench: Bench) -> bool:
    days, api = bench.range.days, bench.api
    print("interrupted, into an empty warehouse:", flush=True)
    began = time.monotonic()
    backfill = bench.create(SLICES, *bench.range.whole, "--reprocess-behavior", "completed")
    _until(bench, days // 5)
    api._request("PUT", f"/api/v2/backfills/{backfill}/pause")
    print(f"    paused with {bench.published()} slices published", flush=True)
    time.sleep(3)
    api._request("PUT", f"/api/v2/backfills/{backfill}/unpause")
    _until(bench, 2 * days // 5)
    _kill_scheduler(bench.stack)
    print(f"    scheduler and its workers killed with {bench.published()} slices published", flush=True)
    time.sleep(2)
    bench.stack.up(lambda _: None)
    _until(bench, 3 * days // 5)
    api._request("PUT", f"/api/v2/backfills/{backfill}/cancel")
    bench.wait(backfill)
    until = time.monotonic() + PATIENCE_SECONDS
    while api.unfinished_runs(SLICES) and time.monotonic() < until:  # those that were running go on
        time.sleep(LOOK_SECONDS)
    print(f"    cancelled with {bench.published()} slices published", flush=True)
    first, last = bench.range.whole
    command = ["backfill", DATASET, "--gaps", "--from", first, "--to", last, "--at-once", "8"]
    done = subprocess.run(
        [sys.executable, "-m", "penstock", *command],
        env=bench.stack.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    print(f"    penstock backfill --gaps: {done.stderr.strip().splitlines()[-1]}", flush=True)
    print(f"    all of it in {time.monotonic() - began:.0f} s", flush=True)
    return bench.is_right() and done.returncode == 0


def _kill_scheduler(stack: Stack) -> None:
    record = read_record(stack.layout.records / "scheduler.json")
    if record is None:
        raise SystemExit("no scheduler runs")
    os.killpg(record.pid, signal.SIGKILL)


def _until(bench: Bench, count: int) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    while bench.published() < count:
        if time.monotonic() > until:
            raise SystemExit(f"only {bench.published()} of {count} slices are published")
        time.sleep(LOOK_SECONDS)


def measure_ratio(bench: Bench) -> float:
    """Load the range in turns, with as many empty runs between; print and return the ratio of the times."""
    took = {EMPTY: 0.0, SLICES: 0.0}
    edges = [turn * bench.range.days // TURNS for turn in range(TURNS + 1)]
    for begin, end in pairwise(edges):
        for dag_id in (EMPTY, SLICES):
            backfill = bench.create(dag_id, *bench.range.part(begin, end), "--reprocess-behavior", "completed")
            bench.wait(backfill)
            seconds = bench.span(backfill, dag_id)
            took[dag_id] += seconds
            print(f"  {dag_id:13} {end - begin:4} runs {seconds:7.1f} s", flush=True)
    ratio = took[SLICES] / took[EMPTY]
    for dag_id, seconds in took.items():
        print(f"{dag_id:15} {bench.range.days} runs {seconds:7.1f} s, {seconds / bench.range.days:.2f} s a run")
    print(f"ratio           {ratio:.2f}, target at most {TARGET}", flush=True)
    return ratio


def main() -> int:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--part", choices=("ratio", "ways", "all"), default="all")
    parser.add_argument("--check", action="store_true", help="exit with 1 when something is wrong or too slow")
    arguments = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="penstock-backfill-"))
    home.chmod(0o711)  # for root, Postgres runs as an ordinary user who must pass through
    environ = {
        **os.environ,
        "PENSTOCK_DAGS": str(HERE / "backfill" / "dags"),
        "PENSTOCK_CONTRACTS": str(HERE / "overhead" / "contracts"),
        "PENSTOCK_HOME": str(home / "state"),
        # The tasks of a killed scheduler are found sooner than after Airflow's five minutes.
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
        "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "10",
        "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "10",
    }
    stack = Stack(Layout(PROJECT, home / "state"), environ)
    wrong = False
    print(f"{datetime.now().astimezone():%Y-%m-%d %H:%M %Z}, {os.cpu_count()} processors", flush=True)
    try:
        stack.up(lambda _: None, meanwhile=lambda: fill_source(stack, arguments.days))
        with stack.api() as api:
            until = time.monotonic() + 120
            while {dag["dag_id"] for dag in api.get("dags")["dags"]} != {SLICES, EMPTY}:
                if time.monotonic() > until:
                    raise SystemExit(f"Airflow did not find the DAGs: {api.get('importErrors')}")
                time.sleep(LOOK_SECONDS)
            for dag_id in (SLICES, EMPTY):
                api.unpause(dag_id)
            bench = Bench(stack, api, Range(arguments.days))
            if arguments.part != "ways":
                wrong |= measure_ratio(bench) > TARGET
                wrong |= not bench.is_right()
            if arguments.part != "ratio":
                wrong |= not try_ways(bench)
    finally:
        stack.clean()
        shutil.rmtree(home, ignore_errors=True)
    return int(arguments.check and wrong)


if __name__ == "__main__":
    sys.exit(main())
