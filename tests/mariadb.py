"""A real MariaDB for the session, on loopback, as an ordinary user.

`apt-get install mariadb-server` brings it (`.ci/run` does so); where it is missing its tests are skipped.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from penstock.local.binaries import server_user
from penstock.local.ports import LOOPBACK, free_port

WRITER, READER, PASSWORD = "writer", "reader", "rd-4711-pw"
DATABASE = "shop"
PLACES = "/usr/sbin:/usr/bin:/usr/local/bin:/opt/homebrew/bin"
START_SECONDS = 60


@dataclass(frozen=True)
class MariaDb:
    """A running server; the writer may do anything, the reader may read."""

    port: int

    @property
    def uri(self) -> str:
        """The reader's connection, as Airflow writes it."""
        return f"mysql://{READER}:{PASSWORD}@{LOOPBACK}:{self.port}/{DATABASE}"

    @property
    def url(self) -> str:
        """The reader's connection, as SQLAlchemy writes it."""
        return self.uri.replace("mysql:", "mysql+pymysql:")

    def connect(self) -> Any:
        """The writer's session, which commits by itself and takes what no calendar has."""
        import pymysql

        return pymysql.connect(
            host=LOOPBACK,
            port=self.port,
            user=WRITER,
            password=PASSWORD,
            database=DATABASE,
            autocommit=True,
            local_infile=True,
            init_command="SET sql_mode = 'ALLOW_INVALID_DATES', time_zone = '+00:00'",
        )

    def run(self, *statements: str, many: tuple[str, list[Any]] | None = None) -> list[tuple[Any, ...]]:
        """Run statements as the writer; return the rows of the last one."""
        with closing(self.connect()) as connection, connection.cursor() as cur:
            for statement in statements:
                cur.execute(statement)
            if many:
                cur.executemany(*many)
            return list(cur.fetchall())


def _program(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path=PLACES)


def _accounts() -> str:
    grants = {
        WRITER: f"ALL ON *.* TO '{WRITER}'@'%' WITH GRANT OPTION",
        READER: f"SELECT ON *.* TO '{READER}'@'%'",
    }
    return f"CREATE DATABASE {DATABASE} CHARACTER SET utf8mb4;\n" + "".join(
        f"CREATE USER '{user}'@'%' IDENTIFIED BY '{PASSWORD}';\nGRANT {right};\n" for user, right in grants.items()
    )


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDb]:
    """A server with an empty database, removed after the session."""
    for name in ("mariadbd", "mariadb-install-db"):
        if _program(name) is None:
            pytest.skip(f"{name} is not installed: apt-get install mariadb-server")
    with running() as server:
        yield server


@contextmanager
def running() -> Iterator[MariaDb]:
    """Start a server with an empty database, and remove it in the end."""
    server, install, user = _program("mariadbd"), _program("mariadb-install-db"), server_user()
    home = Path(tempfile.mkdtemp(prefix="penstock-mariadb-"))
    home.chmod(0o711)
    data = home / "data"
    data.mkdir()
    accounts = home / "accounts.sql"
    accounts.write_text(_accounts(), encoding="utf-8")
    accounts.chmod(0o644)
    user.own(data)
    arguments: dict[str, Any] = {"cwd": data, "stdin": subprocess.DEVNULL, **user.popen_arguments()}
    try:
        subprocess.run(
            [install, "--no-defaults", f"--datadir={data}", "--auth-root-authentication-method=normal"],
            check=True,
            capture_output=True,
            **arguments,
        )
        port = free_port(23306)
        with (home / "log").open("wb") as log:
            process = subprocess.Popen(
                [
                    *(server, "--no-defaults", f"--datadir={data}", f"--socket={data}/s", f"--port={port}"),
                    *(f"--bind-address={LOOPBACK}", "--skip-name-resolve", f"--init-file={accounts}"),
                    *("--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=64M", "--skip-log-bin"),
                ],
                stdout=log,
                stderr=log,
                **arguments,
            )
        try:
            found = MariaDb(port)
            _await(found, process, home / "log")
            yield found
        finally:
            process.terminate()
            process.wait(START_SECONDS)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _await(server: MariaDb, process: subprocess.Popen[bytes], log: Path) -> None:
    import pymysql

    end = time.monotonic() + START_SECONDS
    while True:
        try:
            server.run("SELECT 1")
        except pymysql.err.OperationalError as error:
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(
                    f"MariaDB does not start:\n{log.read_text(encoding='utf-8', errors='replace')[-2000:]}"
                ) from error
            time.sleep(0.1)
        else:
            return
