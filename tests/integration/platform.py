"""One real Airflow for the session: API server, scheduler, dag processor, the demo's sources and a warehouse."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg2
import pytest

from include.sources.shop import fill_shop
from penstock.local.layout import PROJECT, Layout
from penstock.local.stack import Stack

DAGS = ("commerce_customers", "commerce_daily_revenue", "commerce_order_lines", "energy_power_readings")
PLATFORM_DAGS = {path.stem for path in (PROJECT / "dags" / "platform").glob("*.py")} - {"redrive"}
PATIENCE_SECONDS = 240.0


class Platform:
    """A running stack with the handful of things that the tests ask of it."""

    def __init__(self, stack: Stack, contracts: Path) -> None:
        self.stack = stack
        self.contracts = contracts

    def request(self, method: str, path: str, **arguments: Any) -> Any:
        """Send one request to Airflow's REST API as the admin, as the web UI does."""
        user, password = self.stack.login
        with httpx.Client(base_url=self.stack.url, timeout=60, trust_env=False) as client:
            token = client.post("/auth/token", json={"username": user, "password": password}).json()["access_token"]
            headers = {"Authorization": f"Bearer {token}"}
            answer = client.request(method, f"/api/v2/{path}", headers=headers, **arguments)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def query(self, sql: str, database: str = "warehouse") -> list[tuple[Any, ...]]:
        """Run one statement in a database of the embedded Postgres and return its rows, if it gives any."""
        connection = psycopg2.connect(self.stack.postgres.dsn(database))
        try:
            with connection, connection.cursor() as cur:
                cur.execute(sql)
                return cur.fetchall() if cur.description else []
        finally:
            connection.close()

    def airflow(self, *arguments: str) -> str:
        """Run the Airflow CLI and return what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "airflow", *arguments],
            env=self.stack.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_SECONDS,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def trigger(self, dag_id: str, **body: Any) -> str:
        """Trigger a run with the body that the web UI's form sends, and return its id."""
        interval = {"data_interval_start": None, "data_interval_end": None}
        body = {"conf": {}, **interval, "logical_date": None, "partition_key": None, **body}
        return str(self.request("POST", f"dags/{dag_id}/dagRuns", json=body)["dag_run_id"])

    def runs(self, dag_id: str) -> list[dict[str, Any]]:
        """Return the runs of a DAG."""
        return list(self.request("GET", f"dags/{dag_id}/dagRuns", params={"limit": 100})["dag_runs"])

    def tasks(self, dag_id: str, run_id: str) -> dict[str, dict[str, Any]]:
        """Return the task instances of a run by task."""
        found = self.request("GET", f"dags/{dag_id}/dagRuns/{run_id}/taskInstances")["task_instances"]
        return {task["task_id"]: task for task in found}

    def log(self, dag_id: str, run_id: str, task: str) -> str:
        """Return all that the tries of a task wrote."""
        folder = self.stack.layout.airflow / "logs" / f"dag_id={dag_id}" / f"run_id={run_id}" / f"task_id={task}"
        return "".join(path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.log")))

    def wait(self, what: str, ready: Callable[[], Any]) -> Any:
        """Wait for something to become true and return it."""
        until = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < until:
            found = ready()
            if found:
                return found
            time.sleep(1)
        raise AssertionError(f"{what}: not within {PATIENCE_SECONDS:.0f} s")

    def wait_for_run(self, dag_id: str, run_id: str) -> str:
        """Wait until a run has ended and return its state."""

        def ended() -> str | None:
            state = str(self.request("GET", f"dags/{dag_id}/dagRuns/{run_id}")["state"])
            return state if state in ("success", "failed") else None

        return str(self.wait(f"the end of {dag_id} {run_id}", ended))

    def ledger(self, dataset: str) -> dict[str, tuple[int, int, int, int]]:
        """Return extracted, loaded, quarantined and deduplicated of each published slice."""
        if self.query("SELECT to_regclass('ops.slice_current') IS NULL") == [(True,)]:
            return {}  # no task has met the warehouse yet
        rows = self.query(
            "SELECT slice_key, extracted, loaded, quarantined, deduplicated FROM ops.slice_current"
            f" WHERE dataset = '{dataset}'"
        )
        return {key: (extracted, loaded, bad, same) for key, extracted, loaded, bad, same in rows}


@pytest.fixture(scope="session")
def platform() -> Iterator[Platform]:
    """The project's own DAGs over a copy of its contracts, in a stack of its own outside the checkout."""
    home = Path(tempfile.mkdtemp(prefix="penstock-platform-"))
    home.chmod(0o711)  # for root, Postgres runs as an ordinary user who must pass through
    contracts = Path(shutil.copytree(PROJECT / "include" / "contracts", home / "contracts"))
    environ = {**os.environ, "PENSTOCK_HOME": str(home / "state"), "PENSTOCK_CONTRACTS": str(contracts)}
    environ["AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL"] = "5"
    # The tasks of a scheduler that a test kills are found sooner than after minutes.
    environ["AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD"] = "10"
    environ["AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL"] = "5"
    stack = Stack(Layout(PROJECT, home / "state"), environ)
    try:
        stack.up(lambda _: None, meanwhile=lambda: fill_shop(stack.postgres.dsn("shop")))
        platform = Platform(stack, contracts)
        expected = {*DAGS, *PLATFORM_DAGS, *(f"redrive_{dag_id}" for dag_id in DAGS)}
        platform.wait("the DAGs", lambda: expected == {d["dag_id"] for d in platform.request("GET", "dags")["dags"]})
        for dag_id in DAGS:
            platform.request("PATCH", f"dags/{dag_id}", json={"is_paused": False})
        yield platform
    finally:
        stack.clean()
        shutil.rmtree(home, ignore_errors=True)
