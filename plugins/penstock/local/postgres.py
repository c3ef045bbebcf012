"""An embedded Postgres 18 on the loopback interface, from the binaries bundled in a wheel.

    server = EmbeddedPostgres(Path(".penstock/postgres"))
    server.start()
    dsn = server.create_database("warehouse")

The folder given holds the cluster, the superuser's password (mode 0600), the remembered port and the server's
log. The server outlives the process that started it; `start` finds it again, also after `kill -9` of either.
"""

import fcntl
import json
import os
import secrets
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import psycopg2
from psycopg2 import extensions, sql

from penstock.local.binaries import ServerUser, make_shelter, reachable_install, server_user, shelter_for
from penstock.local.errors import PostgresError
from penstock.local.ports import LOOPBACK, free_port, is_free
from penstock.local.postmaster import (
    NOT_DURABLE,
    SETTINGS,
    SUPERUSER,
    clear_stale_lock,
    initialise,
    is_ready,
    kill_server_over,
    server_over,
    spawn,
)
from penstock.local.secrets_store import keep_secret, write_private

FIRST_PORT = 15432
START_SECONDS = 60.0
STOP_SECONDS = 60.0
PORT_SECONDS = 3.0


class EmbeddedPostgres:
    """One Postgres server and its data below `data_dir`.

    Args:
        data_dir: folder of this server; made if missing.
        durable: False gives up safety against loss of power for speed (tests).
        settings: server settings beside, or instead of, `SETTINGS`.
        first_port: where the search for a free port begins the first time.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        durable: bool = True,
        settings: Mapping[str, str] | None = None,
        first_port: int = FIRST_PORT,
    ) -> None:
        self.data_dir = data_dir.absolute()
        self.durable = durable
        self.settings = {**SETTINGS, **({} if durable else NOT_DURABLE), **(settings or {})}
        self.first_port = first_port
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def port(self) -> int:
        """The port of this server, the same over restarts as long as nobody else takes it.

        Raises:
            PostgresError: if the server was never started.
        """
        port = self._state().get("port")
        if not isinstance(port, int):
            raise PostgresError(f"the Postgres in {self.data_dir} was never started")
        return port

    @property
    def password(self) -> str:
        """The superuser's password, made the first time it is asked for."""
        return keep_secret(self.data_dir / "password", lambda: secrets.token_urlsafe(24))

    @property
    def log_file(self) -> Path:
        """The server's log."""
        return self.data_dir / "server.log"

    @property
    def cluster(self) -> Path:
        """The folder Postgres calls PGDATA."""
        recorded = self._state().get("cluster")
        return Path(str(recorded)) if recorded else self.data_dir / "cluster"

    def dsn(self, database: str) -> str:
        """The libpq URI of `database`, password included."""
        account = f"{SUPERUSER}:{quote(self.password, safe='')}"
        return f"postgresql://{account}@{LOOPBACK}:{self.port}/{quote(database, safe='')}"

    def pid(self) -> int | None:
        """The process id of the running server, or None. A recycled process id is not mistaken for it."""
        return server_over(self.cluster)

    def is_running(self) -> bool:
        """Tell whether the server answers; after `kill -9` its process is still seen for a moment."""
        if not is_ready(self.cluster):
            return False
        try:
            psycopg2.connect(self.dsn("postgres"), connect_timeout=5).close()
        except psycopg2.OperationalError as error:
            return "too many clients" in str(error)
        return True

    def start(self) -> "EmbeddedPostgres":
        """Start the server, after making its cluster the first time; nothing happens where it runs already.

        Raises:
            PostgresError: with the end of the server's log.
        """
        self.data_dir.mkdir(parents=True, exist_ok=True)
        with self._exclusive():
            if not self.is_running():
                self._make_cluster()
                self._launch()
        return self

    def stop(self) -> None:
        """Stop the server and wait for it; open connections are closed, nothing committed is lost."""
        for number, seconds in ((signal.SIGINT, STOP_SECONDS), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0)):
            pid = self.pid()
            if pid is None:
                break
            with suppress(ProcessLookupError):
                os.kill(pid, number)
            self._wait_until_gone(seconds)
        self._reap()

    def remove(self) -> None:
        """Stop the server and delete everything it kept, here and below `/var/tmp`."""
        self.stop()
        shelter = shelter_for(self.data_dir)
        kill_server_over(shelter / "cluster")
        shutil.rmtree(shelter, ignore_errors=True)
        shutil.rmtree(self.data_dir, ignore_errors=True)

    def create_database(self, name: str | None = None) -> str:
        """Create the database `name` (a random one without) unless it exists; return its URI."""
        name = name or f"t_{uuid.uuid4().hex[:12]}"
        with self.admin() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name])
            if cursor.fetchone() is None:
                with suppress(psycopg2.errors.DuplicateDatabase):
                    cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self.dsn(name)

    def drop_database(self, name: str) -> None:
        """Drop the database `name` and the connections to it, if it exists."""
        with self.admin() as connection, connection.cursor() as cursor:
            cursor.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    @contextmanager
    def admin(self) -> Iterator[extensions.connection]:
        """A connection of the superuser to the database `postgres`, in autocommit."""
        with closing(psycopg2.connect(self.dsn("postgres"), connect_timeout=10)) as connection:
            connection.autocommit = True
            yield connection

    def _state(self) -> dict[str, object]:
        with suppress(FileNotFoundError, ValueError):
            found = json.loads((self.data_dir / "state.json").read_text(encoding="utf-8"))
            return found if isinstance(found, dict) else {}
        return {}

    def _remember(self, **facts: object) -> None:
        write_private(self.data_dir / "state.json", json.dumps({**self._state(), **facts}))

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Keep two `start` at once from making one cluster twice."""
        with (self.data_dir / "lock").open("w", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _owner(self) -> ServerUser:
        """Who runs the server: for root the owner of the cluster if there is one, so that root can take over.

        Raises:
            PostgresError: if the cluster belongs to another ordinary user.
        """
        user = server_user()
        if not (self.cluster / "PG_VERSION").exists():
            return user
        found = self.cluster.stat()
        if user.uid is not None and found.st_uid != 0:
            return ServerUser(found.st_uid, found.st_gid)
        if user.uid is None and found.st_uid != os.geteuid():
            raise PostgresError(f"{self.cluster} belongs to another user: run as that user, or remove it as that user")
        return user

    def _make_cluster(self) -> None:
        """Make the cluster if there is none.

        Raises:
            PostgresError: if there is one whose password is lost.
        """
        if not (self.cluster / "PG_VERSION").exists():
            user = server_user()
            home = self.data_dir if user.can_reach(self.data_dir) else make_shelter(self.data_dir, user)
            if home != self.data_dir:
                self._remember(cluster=str(home / "cluster"))
        if (self.cluster / "PG_VERSION").exists():
            if not (self.data_dir / "password").exists():
                raise PostgresError(f"the password of {self.cluster} is lost: `make clean` starts afresh")
            return
        draft = self.cluster.with_name("cluster.draft")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        user.own(draft)
        self._initialise(user, draft)
        draft.rename(self.cluster)

    def _initialise(self, user: ServerUser, draft: Path) -> None:
        initdb = reachable_install(self.data_dir, user) / "bin" / "initdb"
        password_file = draft.with_name("initdb.password")
        write_private(password_file, self.password)
        user.own(password_file)
        try:
            initialise(initdb, draft, user=user, password_file=password_file, durable=self.durable)
        finally:
            password_file.unlink()

    def _launch(self) -> None:
        """Start the server; try again where its predecessor is still dying or somebody else took the port."""
        user = self._owner()
        postgres = reachable_install(self.data_dir, user) / "bin" / "postgres"
        deadline = time.monotonic() + START_SECONDS
        port = self._choose_port()
        while True:
            self._remember(port=port)
            self._reap()
            clear_stale_lock(self.cluster)
            written = self.log_file.stat().st_size if self.log_file.exists() else 0
            settings = {**self.settings, "port": str(port)}
            self._child = spawn(postgres, self.cluster, user=user, settings=settings, log_file=self.log_file)
            if self._wait_until_ready(deadline):
                return
            said = self.log_file.read_bytes()[written:].decode(errors="replace")
            if time.monotonic() > deadline or not _worth_another_try(said):
                raise PostgresError(f"Postgres did not start; {self.log_file} says:\n{said[-2000:].strip()}")
            if "could not bind" in said:
                port = free_port(port + 1)
            time.sleep(1.0)

    def _choose_port(self) -> int:
        """The remembered port, after a moment's patience with a server that is still dying; else another."""
        remembered = self._state().get("port")
        if not isinstance(remembered, int):
            return free_port(self.first_port)
        patience = time.monotonic() + PORT_SECONDS
        while not is_free(remembered) and time.monotonic() < patience:
            time.sleep(0.05)
        return free_port(remembered)

    def _wait_until_ready(self, deadline: float) -> bool:
        while time.monotonic() < deadline:
            if self.is_running():
                return True
            if self._child is not None and self._child.poll() is not None:
                return False
            time.sleep(0.02)
        return False

    def _wait_until_gone(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.pid() is not None:
            self._reap()
            time.sleep(0.02)

    def _reap(self) -> None:
        """Collect our child's exit code, if it was our child: a zombie would look like a living server."""
        if self._child is not None and self._child.poll() is not None:
            self._child = None


def _worth_another_try(said: str) -> bool:
    passing = ("could not bind", "is still in use", "lock file")
    return any(phrase in said for phrase in passing)
