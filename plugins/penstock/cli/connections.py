"""From the name of an Airflow connection to a database session, also where no Airflow runs.

In this order: the variable `AIRFLOW_CONN_<ID>`; for the warehouse, the one-machine stack's; Airflow's own store.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from typing import TYPE_CHECKING, Any

from penstock.core.errors import CredentialsError, SourceUnavailable
from penstock.local.layout import Layout

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

    from penstock.local.connections import ConnectionParts

WAREHOUSE = "warehouse"


def dsn_of(conn_id: str) -> str:
    """Return the libpq connection string of an Airflow connection to a Postgres.

    Raises:
        CredentialsError: Nobody knows the connection.
        LocalError: It is no Postgres connection.
    """
    from penstock.local.connections import libpq_dsn

    given = os.environ.get(f"AIRFLOW_CONN_{conn_id.upper()}")
    if given is None and conn_id == WAREHOUSE and has_local_stack():
        return _local_warehouse()
    return libpq_dsn(conn_id, given or airflow_uri(conn_id))


def connection_parts(conn_id: str) -> ConnectionParts:
    """Return the fields of an Airflow connection of any type.

    Raises:
        CredentialsError: Nobody knows the connection.
    """
    from penstock.local.connections import parse_connection

    return parse_connection(os.environ.get(f"AIRFLOW_CONN_{conn_id.upper()}") or airflow_uri(conn_id))


def has_local_stack() -> bool:
    """Tell whether the one-machine stack has a Postgres here."""
    return Layout.find().postgres.is_dir()


def _local_warehouse() -> str:
    from penstock.local.stack import Stack

    stack = Stack(Layout.find())
    if not stack.postgres.is_running():
        stack.start_postgres()
    return stack.warehouse_dsn


def airflow_uri(conn_id: str) -> str:
    """Ask Airflow's own store for a connection; takes seconds, for Airflow is imported.

    Raises:
        CredentialsError: Airflow does not know the connection.
    """
    use_local_airflow()
    from airflow.models.connection import Connection
    from airflow.sdk.exceptions import AirflowException

    try:
        return str(Connection.get_connection_from_secrets(conn_id).get_uri())
    except AirflowException as error:
        raise CredentialsError(
            f"There is no connection {conn_id!r}: {error}",
            next_step=f"export AIRFLOW_CONN_{conn_id.upper()}=postgres://user:password@host:5432/database.",
        ) from error


def use_local_airflow() -> None:
    """Where there is a one-machine stack, let Airflow's modules find its configuration; do it before their import."""
    if not has_local_stack() or "airflow" in sys.modules:
        return
    from penstock.local.stack import Stack

    stack = Stack(Layout.find())
    stack.start_postgres()
    os.environ.update(stack.environment)


def connect(conn_id: str) -> Connection:
    """Open a session over an Airflow connection to a Postgres; the caller closes.

    Raises:
        CredentialsError: Nobody knows the connection.
        SourceUnavailable: The server cannot be reached, or refused.
        LocalError: It is no Postgres connection.
    """
    import psycopg2

    try:
        return psycopg2.connect(dsn_of(conn_id))
    except psycopg2.OperationalError as error:
        raise SourceUnavailable(
            f"The server of connection {conn_id!r} gave no session: {str(error).strip().splitlines()[0]}",
            next_step="start it (`make demo` starts the local one), or correct the connection.",
        ) from error


def open_source(conn_id: str) -> AbstractContextManager[Any]:
    """Open a session over an Airflow connection to a database of any kind; it is closed with the context.

    Raises:
        CredentialsError: Nobody knows the connection, or the server refused the user or the password.
        SourceUnavailable: The server cannot be reached, or refused.
        SourceError: There is no driver for the connection's type.
    """
    if connection_parts(conn_id).conn_type in ("postgres", "postgresql"):
        return closing(connect(conn_id))
    use_local_airflow()
    from penstock.hooks.database import DatabaseHook

    return DatabaseHook(conn_id).session()


@contextmanager
def warehouse() -> Iterator[Connection]:
    """A session in the warehouse, with Penstock's own tables in place.

    Raises:
        CredentialsError: Nobody knows the connection.
        SourceUnavailable: The server cannot be reached, or refused.
    """
    from penstock.core.ops import ensure_ops
    from penstock.core.stage import open_session

    with closing(connect(WAREHOUSE)) as connection:
        open_session(connection)
        ensure_ops(connection)
        yield connection
