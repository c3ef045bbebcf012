"""A running Airflow, and beside it the Postgres that holds the warehouse: the one that faults concern."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import httpx

from penstock.local.layout import PROJECT, Layout
from penstock.local.postgres import EmbeddedPostgres
from penstock.local.stack import Stack
from tests.faults import control
from tests.faults.datasets import DATASETS, source_sql
from tests.faults.faults import Fault

HERE: Final = Path(__file__).resolve().parent
PATIENCE_SECONDS: Final = 300.0
SETTINGS: Final = {
    "AIRFLOW__CORE__PARALLELISM": "6",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "15",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "2",
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "600",
}


class World:
    """The servers, and what the runner asks of them.

    Args:
        days: For how many days the source has events.
    """

    def __init__(self, days: int) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="penstock-faults-"))
        self.home.chmod(0o711)  # for root, Postgres runs as an ordinary user who must pass through
        # A commit must outlive the server's process, but not the machine's.
        settings = {"synchronous_commit": "on", "shared_buffers": "64MB"}
        self.server = EmbeddedPostgres(self.home / "pg", durable=False, settings=settings, first_port=35432)
        self.environ: dict[str, str] = {
            **os.environ,
            **SETTINGS,
            "PENSTOCK_DAGS": str(HERE / "dags"),
            "PENSTOCK_CONTRACTS": str(HERE / "contracts"),
            "PYTHONPATH": str(PROJECT),
        }
        self.stack = Stack(Layout(PROJECT, self.home / "state"), self.environ)
        self.days = days
        self._ended = threading.Event()
        self._token = ""

    # --- start and end

    def up(self) -> None:
        """Start everything, and make source and warehouse."""
        self.server.start()
        self.stack.start_postgres()
        self.control = self.stack.postgres.create_database("faults")
        self.source = self.stack.postgres.dsn("shop")
        self.warehouse = self.server.create_database("warehouse")
        self.environ |= {
            control.VARIABLE: self.control,
            "FAULTS_WAREHOUSE": self.server.dsn("postgres"),
            "FAULTS_SOURCE": self.source,
            "AIRFLOW_CONN_WAREHOUSE": _uri(self.warehouse),
            "AIRFLOW_CONN_SOURCE": _uri(self.source),
        }
        control.ask(control.TABLES, dsn=self.control)
        self.stack.up(lambda _: None, meanwhile=lambda: control.ask(source_sql(self.days), dsn=self.source))
        threading.Thread(target=self._serve, daemon=True).start()
        wanted = {found.dag_id for found in DATASETS}
        self.wait("the DAGs", lambda: wanted <= {dag["dag_id"] for dag in self.request("GET", "dags")["dags"]})
        for dag_id in sorted(wanted):
            self.request("PATCH", f"dags/{dag_id}", json={"is_paused": False})
        # Each has a scheduled run at once, for yesterday; the faults begin when these are out of the way.
        self.wait("the scheduled runs", lambda: self._no_run_is_due() and set(self.states().values()) <= {"success"})

    def down(self) -> None:
        """End everything and delete its data."""
        self._ended.set()
        self.stack.clean()
        self.server.remove()
        shutil.rmtree(self.home, ignore_errors=True)

    # --- Airflow

    def request(self, method: str, path: str, **arguments: Any) -> Any:
        """Send one request to Airflow's REST API as the admin."""
        user, password = self.stack.login
        with httpx.Client(base_url=self.stack.url, timeout=60, trust_env=False) as client:
            if not self._token:
                answer = client.post("/auth/token", json={"username": user, "password": password})
                self._token = answer.json()["access_token"]
            headers = {"Authorization": f"Bearer {self._token}"}
            answer = client.request(method, f"/api/v2/{path}", headers=headers, **arguments)
            if answer.status_code == httpx.codes.UNAUTHORIZED:
                self._token = ""
                return self.request(method, path, **arguments)
        if answer.is_error:
            raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text[:500]}")
        return answer.json()

    def trigger(self, dag_id: str, key: str, faults: Sequence[Fault]) -> str:
        """Start a run of a slice with faults; return its id."""
        conf = {"faults": [fault.as_dict() for fault in faults]}
        body = {"logical_date": None, "partition_key": key, "conf": conf}
        return str(self.request("POST", f"dags/{dag_id}/dagRuns", json=body)["dag_run_id"])

    def states(self) -> dict[str, str]:
        """Return the state of every run by its id."""
        rows = control.ask("SELECT dag_id || ' ' || run_id, state FROM dag_run", dsn=self.stack.postgres.dsn("airflow"))
        return dict(rows)

    def _no_run_is_due(self) -> bool:
        now = datetime.now(UTC).isoformat()
        return all((dag["next_dagrun_run_after"] or "") > now for dag in self.request("GET", "dags")["dags"])

    def log(self, dag_id: str, run_id: str) -> str:
        """Return all that the tasks of a run wrote."""
        folder = self.stack.layout.airflow / "logs" / f"dag_id={dag_id}" / f"run_id={run_id}"
        files = sorted(folder.rglob("*.log"))
        return "".join(f"== {path.relative_to(folder)}\n{path.read_text(encoding='utf-8')}" for path in files)

    @staticmethod
    def wait(what: str, ready: Any, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait for something to become true.

        Raises:
            TimeoutError: It did not.
        """
        until = time.monotonic() + seconds
        while not ready():
            if time.monotonic() > until:
                raise TimeoutError(f"{what}: not within {seconds:.0f} s")
            time.sleep(0.25)

    # --- the warehouse

    def undisturbed(self, slices: Sequence[tuple[str, str]], database: str) -> list[dict[str, Any]]:
        """Load slices into a warehouse of their own, one after another and without a fault; return their steps."""
        with self.server.admin() as connection, connection.cursor() as cur:
            cur.execute(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")
        twin = self.server.create_database(database)
        environ = self.stack.environment | {"AIRFLOW_CONN_WAREHOUSE": _uri(twin), "PYTHONPATH": _path()}
        done = subprocess.run(
            [sys.executable, "-m", "tests.faults.undisturbed"],
            input=json.dumps([list(pair) for pair in slices]),
            env=environ,
            cwd=PROJECT,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(done.stderr[-4000:])
        return list(json.loads(done.stdout))

    def restart(self) -> None:
        """Crash the warehouse's server (an immediate shutdown: no checkpoint, nobody is asked) and start it again."""
        pid = self.server.pid()
        if pid:
            os.kill(pid, signal.SIGQUIT)
            self.wait("the server's end", lambda: self.server.pid() is None, 30)
        self.server.start()

    def _serve(self) -> None:
        """Restart the server when a task asks for it."""
        while not self._ended.wait(0.05):
            for (number,) in control.ask("SELECT id FROM request WHERE NOT done ORDER BY id", dsn=self.control):
                self.restart()
                control.ask("UPDATE request SET done = true WHERE id = %s", (number,), dsn=self.control)


def _uri(dsn: str) -> str:
    return dsn.replace("postgresql:", "postgres:", 1)


def _path() -> str:
    return os.pathsep.join([str(PROJECT / "plugins"), str(PROJECT)])


@contextmanager
def world(days: int) -> Iterator[World]:
    """Start a world, and end it whatever happens."""
    found = World(days)
    try:
        found.up()
        yield found
    finally:
        found.down()
