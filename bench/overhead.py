"""What Penstock costs a small slice: three tasks on 100 rows, beside three tasks that do nothing.

    python bench/overhead.py [--runs 9] [--check]

Both DAGs run through a real scheduler with the LocalExecutor, one run at a time and in turn, so that both meet the
same load. The time of a run is what Airflow shows as its duration: from the run's start to its end. Printed beside it
is the part from the first task's start to the last one's end, which leaves out the scheduler's share before and after.
`--check` exits with 1 when the median duration of the slices is more than 1.5 times that of the empty runs.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

import psycopg2

from penstock.airflow_api import AirflowApi
from penstock.local.layout import PROJECT, Layout
from penstock.local.stack import Stack

HERE = Path(__file__).resolve().parent / "overhead"
DAGS = ("three_empty", "slice_of_100")
TARGET = 1.5
PATIENCE_SECONDS = 120.0


def fill_source(stack: Stack) -> None:
    """Make the source table, 100 rows in each of 60 days."""
    with psycopg2.connect(stack.postgres.dsn("shop")) as connection, connection.cursor() as cur:
        cur.execute(
            "CREATE TABLE IF NOT EXISTS hundred AS SELECT day * 100 + n AS id,"
            " timestamptz '2024-01-01 12:00+00' + day * interval '1 day' AS at, (n * 1.01)::numeric(12, 2) AS amount"
            " FROM generate_series(0::bigint, 59) AS day, generate_series(1, 100) AS n"
        )
    connection.close()


def run_once(api: AirflowApi, dag_id: str, number: int) -> tuple[float, float]:
    """Run a DAG once; return the seconds of the run, and those from its first task's start to its last one's end."""
    key = f"2024-01-{number + 1:02d}" if dag_id == "slice_of_100" else None
    body = {"logical_date": None, "partition_key": key}
    run = api._request("POST", f"/api/v2/dags/{dag_id}/dagRuns", json=body)["dag_run_id"]
    until = time.monotonic() + PATIENCE_SECONDS
    while (found := api.get(f"dags/{dag_id}/dagRuns/{run}"))["state"] not in ("success", "failed"):
        if time.monotonic() > until:
            raise SystemExit(f"{dag_id} {run} is still {found['state']}")
        time.sleep(0.2)
    if found["state"] != "success":
        raise SystemExit(f"{dag_id} {run} failed")
    tasks = api.get(f"dags/{dag_id}/dagRuns/{run}/taskInstances")["task_instances"]
    return _seconds([found]), _seconds(tasks)


def _seconds(spans: list[dict[str, str]]) -> float:
    """Return the seconds from the first start to the last end."""
    started = min(datetime.fromisoformat(span["start_date"]) for span in spans)
    ended = max(datetime.fromisoformat(span["end_date"]) for span in spans)
    return (ended - started).total_seconds()


def measure(stack: Stack, runs: int) -> dict[str, list[tuple[float, float]]]:
    """Run both DAGs in turn; the first run of each only warms up."""
    took: dict[str, list[tuple[float, float]]] = {dag_id: [] for dag_id in DAGS}
    with stack.api() as api:
        until = time.monotonic() + PATIENCE_SECONDS
        while {dag["dag_id"] for dag in api.get("dags")["dags"]} != set(DAGS):
            if time.monotonic() > until:
                raise SystemExit(f"Airflow did not find the DAGs: {api.get('importErrors')}")
            time.sleep(0.5)
        for dag_id in DAGS:
            api.unpause(dag_id)
        for number in range(runs + 1):
            for dag_id in DAGS:
                seconds = run_once(api, dag_id, number)
                if number:
                    took[dag_id].append(seconds)
    return took


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=9, help="measured runs of each DAG (at most 29)")
    parser.add_argument("--check", action="store_true", help="exit with 1 when the target is missed")
    arguments = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="penstock-overhead-"))
    home.chmod(0o711)  # for root, Postgres runs as an ordinary user who must pass through
    environ = {**os.environ, "PENSTOCK_DAGS": str(HERE / "dags"), "PENSTOCK_CONTRACTS": str(HERE / "contracts")}
    stack = Stack(Layout(PROJECT, home / "state"), environ)
    try:
        stack.up(lambda _: None, meanwhile=lambda: fill_source(stack))
        took = measure(stack, arguments.runs)
    finally:
        stack.clean()
        shutil.rmtree(home, ignore_errors=True)
    ratio = show("whole run", {dag_id: [run for run, _ in pairs] for dag_id, pairs in took.items()})
    show("tasks only", {dag_id: [tasks for _, tasks in pairs] for dag_id, pairs in took.items()})
    print(f"target: whole run at most {TARGET} x")
    return int(arguments.check and ratio > TARGET)


def show(what: str, took: dict[str, list[float]]) -> float:
    """Print the medians with all that they are of, and return their ratio."""
    median = {dag_id: statistics.median(seconds) for dag_id, seconds in took.items()}
    for dag_id in DAGS:
        each = " ".join(f"{seconds:.2f}" for seconds in sorted(took[dag_id]))
        print(f"{what}  {dag_id:14} median {median[dag_id]:5.2f} s   of {each}")
    ratio = median["slice_of_100"] / median["three_empty"]
    print(f"{what}  ratio          {ratio:12.2f}")
    return ratio


if __name__ == "__main__":
    sys.exit(main())
