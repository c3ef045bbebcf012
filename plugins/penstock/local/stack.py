"""Airflow, its databases and the demo's source services on one machine, as processes found again later."""

import fcntl
import importlib.metadata
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

import psycopg2

from penstock.airflow_api import AirflowApi
from penstock.local.connections import libpq_dsn
from penstock.local.environment import ADMIN, admin_password, airflow_environment, secret
from penstock.local.errors import StackError
from penstock.local.layout import Layout
from penstock.local.ports import LOOPBACK, free_port, is_free
from penstock.local.postgres import EmbeddedPostgres
from penstock.local.postmaster import SUPERUSER
from penstock.local.processes import Service, end_recorded
from penstock.local.secrets_store import write_private
from penstock.local.settings_file import Endpoint, read_settings

DATABASES = ("airflow", "warehouse", "shop")
AIRFLOW = ("scheduler", "api-server", "dag-processor", "triggerer")
FIRST_PORTS = {"api-server": 8080, "energy-api": 8090}
ENERGY_TOKEN = "ENERGY_API_TOKEN"  # noqa: S105 - the name of a variable
START_SECONDS = 180.0
GRACE_SECONDS = 10.0

Say = Callable[[str], None]


class Stack:
    """The one-machine stack of the checkout that `layout` describes."""

    def __init__(self, layout: Layout, environ: Mapping[str, str] = os.environ) -> None:
        self.layout = layout
        self.environ = environ
        self.postgres = EmbeddedPostgres(layout.postgres)

    @property
    def url(self) -> str:
        """Where the web UI is."""
        return f"http://{LOOPBACK}:{self._ports['api-server']}"

    @property
    def login(self) -> tuple[str, str]:
        """User and password of the web UI."""
        return ADMIN, admin_password(self.layout)

    @cached_property
    def environment(self) -> dict[str, str]:
        """The environment of Airflow's components; needs the embedded Postgres to have been started."""
        return airflow_environment(
            self.layout,
            metadata_dsn=self.postgres.dsn("airflow"),
            api_port=self._ports["api-server"],
            environ=self.environ,
        )

    @property
    def warehouse_dsn(self) -> str:
        """The warehouse as libpq reaches it: the user's own if AIRFLOW_CONN_WAREHOUSE says so."""
        given = self.environ.get("AIRFLOW_CONN_WAREHOUSE")
        return libpq_dsn("warehouse", given) if given else self.postgres.dsn("warehouse")

    def api(self) -> AirflowApi:
        """A client of Airflow's API."""
        return AirflowApi(self.url, *self.login)

    def start_postgres(self) -> None:
        """Start the embedded Postgres, with its databases."""
        self.layout.home.mkdir(parents=True, exist_ok=True)
        self.postgres.start()
        for name in DATABASES:
            self.postgres.create_database(name)

    def up(self, say: Say, *, meanwhile: Callable[[], object] = lambda: None) -> None:
        """Start what does not run or is out of date; `meanwhile` is done while that takes time.

        Raises:
            LocalError: if something does not start; it says what its log says.
        """
        with self._exclusive(), ThreadPoolExecutor() as pool:
            self.start_postgres()
            say(f"Postgres 18 on {LOOPBACK}:{self.postgres.port}")
            beside = pool.submit(meanwhile)
            energy_api = self._energy_api()
            self._ensure([energy_api])
            self._migrate(say)
            services = self._airflow_services()
            started = self._ensure(services)
            if started:
                say(f"Airflow: {', '.join(started)} starting")
            self._await([energy_api, *services])
            beside.result()
            self._load_settings(say)
            # Nothing of the demo waits for it, so it does not compete for the processor while the rest starts.
            self._ensure([self._airflow_service("triggerer", "triggerer", "--skip-serve-logs")])
        say(f"Airflow on {self.url}")

    def check_alive(self) -> None:
        """Look after the processes that the runs depend on.

        Raises:
            StackError: if one has ended.
        """
        for service in [self._energy_api(), *self._airflow_services()]:
            service.check_alive()

    def down(self) -> None:
        """End everything that `up` started and nothing else; data stays."""
        end_recorded(sorted(self.layout.records.glob("*.json")), grace_seconds=GRACE_SECONDS)
        self.postgres.stop()

    def clean(self) -> None:
        """`down`, then delete all data.

        Raises:
            LocalError: if some of it belongs to another user.
        """
        self.down()
        self.postgres.remove()
        self.layout.remove()

    @cached_property
    def _ports(self) -> dict[str, int]:
        """The ports of the HTTP services: remembered, unless somebody else has taken one meanwhile."""
        file = self.layout.home / "ports.json"
        found: dict[str, int] = {}
        with suppress(FileNotFoundError, ValueError):
            found = json.loads(file.read_text(encoding="utf-8"))
        ports: dict[str, int] = {}
        for name, first in FIRST_PORTS.items():
            ours = Service.runs(self.layout.records / f"{name}.json")
            port = found.get(name, first)
            ports[name] = port if ours or is_free(port) else free_port(port + 1, avoid=ports.values())
        if ports != found:
            write_private(file, json.dumps(ports))
        return ports

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        self.layout.home.mkdir(parents=True, exist_ok=True)
        with (self.layout.home / "lock").open("w", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _service(self, name: str, command: list[str], environment: Mapping[str, str], version: str) -> Service:
        folders = (self.layout.root, self.layout.records, self.layout.logs)
        return Service(name, command, environment, folders=folders, version=version)

    def _energy_api(self) -> Service:
        program = self.layout.root / "include" / "sources" / "energy_api.py"
        command = [sys.executable, str(program), "--port", str(self._ports["energy-api"])]
        environment = {**self.environ, ENERGY_TOKEN: secret(self.layout, "energy-api-token")}
        return self._service("energy-api", command, environment, _newest([program]))

    def _airflow_service(self, name: str, *arguments: str) -> Service:
        # Plugins are imported once at start: new code means a restart.
        code = _newest((self.layout.root / "plugins").rglob("*.py"))
        return self._service(name, [sys.executable, "-m", "airflow", *arguments], self.environment, code)

    def _airflow_services(self) -> list[Service]:
        return [
            self._airflow_service("api-server", "api-server"),
            self._airflow_service("scheduler", "scheduler", "--skip-serve-logs"),
            self._airflow_service("dag-processor", "dag-processor"),
        ]

    def _ensure(self, services: list[Service]) -> list[str]:
        """Start those of `services` that do not run as they should; return their names."""
        stale = [service for service in services if not service.is_current()]
        end_recorded([service.record_file for service in stale], grace_seconds=GRACE_SECONDS)
        for service in stale:
            service.start()
        return [service.name for service in stale]

    def _await(self, services: list[Service]) -> None:
        """Wait until the API server and the energy API answer.

        Raises:
            StackError: if a process ends meanwhile, or the time is up.
        """
        deadline = time.monotonic() + START_SECONDS
        with self.api() as api:
            while not (api.is_up() and self._energy_api_answers()):
                for service in services:
                    if not service.is_alive():
                        raise StackError(f"{service.name} ended; {service.log_file} says:\n{service.log_tail()}")
                if time.monotonic() > deadline:
                    raise StackError(f"Airflow did not come up in {START_SECONDS:.0f} s: see {self.layout.logs}")
                time.sleep(0.2)

    def _energy_api_answers(self) -> bool:
        with suppress(OSError), self._open(f"http://{LOOPBACK}:{self._ports['energy-api']}/health"):
            return True
        return False

    @staticmethod
    def _open(url: str) -> closing:  # type: ignore[type-arg]
        return closing(build_opener(ProxyHandler({})).open(url, timeout=5))

    def _migrate(self, say: Say) -> None:
        """Bring Airflow's database to the schema of the installed Airflow; asking first costs milliseconds."""
        note = self.layout.airflow / "migrated.json"
        wanted = importlib.metadata.version("apache-airflow-core")
        with suppress(FileNotFoundError, ValueError):
            known = json.loads(note.read_text(encoding="utf-8"))
            if known == {"airflow": wanted, "revision": self._revision()}:
                return
        say("making Airflow's database")
        end_recorded(
            [
                self.layout.records / f"{name}.json"
                for name in ("scheduler", "api-server", "dag-processor", "triggerer")
            ],
            grace_seconds=GRACE_SECONDS,
        )
        command = [sys.executable, "-m", "airflow", "db", "migrate"]
        done = subprocess.run(
            command, env=self.environment, cwd=self.layout.root, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise StackError(f"`airflow db migrate` failed:\n{(done.stdout + done.stderr)[-3000:]}")
        write_private(note, json.dumps({"airflow": wanted, "revision": self._revision()}))

    def _revision(self) -> str | None:
        with (
            closing(psycopg2.connect(self.postgres.dsn("airflow"))) as connection,
            connection.cursor() as cursor,
            suppress(psycopg2.errors.UndefinedTable),
        ):
            cursor.execute("SELECT version_num FROM alembic_version")
            row = cursor.fetchone()
            return str(row[0]) if row else None
        return None

    def _load_settings(self, say: Say) -> None:
        """Load `airflow_settings.yaml` into Airflow, unless just that was loaded before: edits in the UI stay."""
        database = Endpoint(LOOPBACK, self.postgres.port, self.postgres.password, SUPERUSER)
        energy_api = Endpoint(LOOPBACK, self._ports["energy-api"], secret(self.layout, "energy-api-token"))
        settings = read_settings(
            self.layout.root / "airflow_settings.yaml",
            {"warehouse": database, "shop": database, "energy_api": energy_api},
            self.layout.home,
        )
        digest = sha256(repr(settings).encode()).hexdigest()
        note = self.layout.airflow / "settings.loaded"
        with suppress(FileNotFoundError):
            if note.read_text(encoding="utf-8") == digest:
                return
        with self.api() as api:
            api.bulk_overwrite("connections", settings.connections)
            api.bulk_overwrite("pools", settings.pools)
            api.bulk_overwrite("variables", settings.variables)
        write_private(note, digest)
        say("loaded airflow_settings.yaml")


def _newest(files: Iterator[Path] | list[Path]) -> str:
    """Changes when one of `files` is written, added or removed."""
    facts = sorted((str(file), file.stat().st_mtime_ns) for file in files)
    return sha256(repr(facts).encode()).hexdigest()
