"""Any database that SQLAlchemy knows, behind an ordinary Airflow connection."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from airflow.sdk import BaseHook

from penstock.core.errors import CredentialsError, SourceError, SourceUnavailable
from penstock.project import ROOT

if TYPE_CHECKING:
    import sqlalchemy
    from psycopg2.extensions import connection as Postgres  # noqa: N812
    from sqlalchemy import URL
    from sqlalchemy.exc import DBAPIError

_POSTGRES: Final = ("postgres", "postgresql")
_SCHEMES: Final = {"mysql": "mysql+pymysql", "mariadb": "mariadb+pymysql", "sqlite": "sqlite"}
_MYSQL_EXTRAS: Final = frozenset(
    (
        "ssl",
        "ssl_ca",
        "ssl_cert",
        "ssl_key",
        "ssl_key_password",
        "ssl_verify_cert",
        "ssl_verify_identity",
        "ssl_disabled",
        "unix_socket",
        "connect_timeout",
        "read_timeout",
        "charset",
        "collation",
    )
)
"""What PyMySQL takes of a connection's extras. Never `local_infile`: a server could ask for files of this machine."""
_REFUSED: Final = frozenset((1044, 1045, 1698, 1862, 3118, 3955))
"""MySQL's codes for a user, password or account that it does not let in."""
_REFUSALS: Final = ("access denied", "authentication", "login failed", "password", "permission denied")
_PROGRESS_STEPS: Final = 10_000


def _typed(value: Any) -> Any:
    """Return the number or truth that an extra says: in a connection's URI all of them are texts."""
    if isinstance(value, str) and (value.isdigit() or value.lower() in ("true", "false")):
        return json.loads(value.lower())
    return value


class DatabaseHook(BaseHook):
    """Sessions at a database: psycopg2's at a Postgres, SQLAlchemy's at any other.

    Args:
        conn_id: An Airflow connection. `mysql` and `mariadb` go through PyMySQL; of `sqlite`, host or schema is the
            file. Any other type is the name of a SQLAlchemy dialect, or has it in the extra `sqlalchemy_scheme`;
            its extras `query` and `connect_args` are SQLAlchemy's.
        statement_timeout: Seconds after which the server breaks a statement off, or None.
    """

    conn_name_attr = "conn_id"
    default_conn_name = "database_default"
    conn_type = "mysql"
    hook_name = "MySQL"

    def __init__(self, conn_id: str = default_conn_name, *, statement_timeout: float | None = None) -> None:
        super().__init__()
        self.conn_id = conn_id
        self.statement_timeout = statement_timeout

    @cached_property
    def connection(self) -> Any:
        """Airflow's connection."""
        return self.get_connection(self.conn_id)

    @property
    def is_postgres(self) -> bool:
        """Whether the source is a Postgres, whose rows are piped and not read."""
        return self.connection.conn_type in _POSTGRES

    def postgres(self) -> Postgres:
        """Connect to a Postgres; the caller closes.

        Raises:
            CredentialsError: The server refused the user or the password.
            SourceUnavailable: The server could not be reached.
        """
        from penstock.hooks.postgres import CheckedPostgresHook

        session: Postgres = CheckedPostgresHook(self.conn_id).get_conn()
        if self.statement_timeout is not None:
            with session, session.cursor() as cur:
                cur.execute("SET statement_timeout = %s", (int(self.statement_timeout * 1000),))
        return session

    def open(self) -> AbstractContextManager[Any]:
        """Open a session of either kind; it is closed with the context.

        Raises:
            CredentialsError: The server refused the user or the password.
            SourceUnavailable: The server could not be reached.
            SourceError: There is no driver for the connection's type.
        """
        return closing(self.postgres()) if self.is_postgres else self.session()

    @contextmanager
    def session(self) -> Iterator[sqlalchemy.Connection]:
        """Open a session by SQLAlchemy; it is closed with the context.

        Raises:
            CredentialsError: The server refused the user or the password.
            SourceUnavailable: The server could not be reached.
            SourceError: There is no driver for the connection's type.
        """
        from sqlalchemy import create_engine
        from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
        from sqlalchemy.pool import NullPool

        try:
            engine = create_engine(self.url, connect_args=self._connect_args, poolclass=NullPool, hide_parameters=True)
            connection = engine.connect()
        except (NoSuchModuleError, ArgumentError, ModuleNotFoundError) as error:
            raise SourceError(
                f"Connection {self.conn_id!r} is of a type for which no driver is installed: {error}",
                next_step="add the SQLAlchemy dialect and its driver to requirements.txt, or correct the connection.",
            ) from error
        except DBAPIError as error:
            raise self._not_reached(error) from error
        try:
            self._limit(connection)
            yield connection
        finally:
            connection.close()
            engine.dispose()

    @property
    def url(self) -> URL:
        """The URL of a database that is no Postgres, from the connection."""
        from sqlalchemy import URL

        found = self.connection
        scheme = found.extra_dejson.get("sqlalchemy_scheme") or _SCHEMES.get(found.conn_type, found.conn_type)
        if scheme == "sqlite":
            path = quote(str(ROOT / (found.host or found.schema or "")))
            return URL.create("sqlite", database=f"file:{path}", query={"mode": "ro", "uri": "true"})
        return URL.create(
            scheme,
            username=found.login or None,
            password=found.password or None,
            host=found.host or None,
            port=found.port,
            database=found.schema or None,
            query=found.extra_dejson.get("query", {}),
        )

    @property
    def _connect_args(self) -> dict[str, Any]:
        found = self.connection
        extra = found.extra_dejson
        if found.conn_type in ("mysql", "mariadb"):
            return {"connect_timeout": 10} | {
                name: _typed(extra[name]) for name in _MYSQL_EXTRAS & extra.keys() if extra[name] is not None
            }
        return dict(extra.get("connect_args", {}))

    def _limit(self, connection: sqlalchemy.Connection) -> None:
        """Let the server, or SQLite's engine, break off a statement that takes too long."""
        seconds, dialect = self.statement_timeout, connection.dialect
        if seconds is None:
            return
        if dialect.name == "sqlite":
            driver: Any = connection.connection.driver_connection
            end = time.monotonic() + seconds
            driver.set_progress_handler(lambda: time.monotonic() > end, _PROGRESS_STEPS)
        elif getattr(dialect, "is_mariadb", False):
            connection.exec_driver_sql(f"SET SESSION max_statement_time = {float(seconds)}")
        elif dialect.name == "mysql":
            connection.exec_driver_sql(f"SET SESSION max_execution_time = {int(seconds * 1000)}")

    def _not_reached(self, error: DBAPIError) -> Exception:
        said = " ".join(str(error.orig).split())
        code = error.orig.args[0] if error.orig and error.orig.args else None
        where = f"connection {self.conn_id!r}"
        if code in _REFUSED or any(mark in said.lower() for mark in _REFUSALS):
            return CredentialsError(
                f"The server of {where} refused it: {said}",
                next_step=f"correct user and password of {where} and clear the task.",
            )
        return SourceUnavailable(
            f"The server of {where} cannot be reached: {said}",
            next_step="nothing if it comes back: the task is retried.",
        )

    def test_connection(self) -> tuple[bool, str]:
        """Tell whether a session can be opened, and of what it is; or what stands against it."""
        from penstock.core.errors import PenstockError

        try:
            with self.open() as session:
                if self.is_postgres:
                    return True, f"Postgres {session.info.server_version // 10000}"
                version = ".".join(map(str, session.dialect.server_version_info or ()))
                return True, f"{session.dialect.name} {version}"
        except PenstockError as error:
            return False, str(error)


class MariaDbHook(DatabaseHook):
    """A MariaDB."""

    conn_type = "mariadb"
    hook_name = "MariaDB"


class SqliteHook(DatabaseHook):
    """An SQLite file."""

    conn_type = "sqlite"
    hook_name = "SQLite"
