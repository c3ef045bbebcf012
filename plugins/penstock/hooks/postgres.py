"""Connections to Postgres, as source and as warehouse."""

from __future__ import annotations

from typing import Any

import psycopg2
from airflow.providers.postgres.hooks.postgres import PostgresHook
from psycopg2.extensions import connection as Connection  # noqa: N812 - a class, named as one
from psycopg2.extras import LogicalReplicationConnection

from penstock.core.errors import CredentialsError, SourceUnavailable
from penstock.core.ops import ensure_ops
from penstock.core.stage import open_session

_REFUSALS = (
    "authentication failed",
    "no password supplied",
    "no pg_hba.conf entry",
    "role ",
    "permission denied",
)


class CheckedPostgresHook(PostgresHook):
    """A `PostgresHook` over psycopg2 that tells credentials that are wrong from a server that is away.

    The provider's own hook gives a psycopg 3 connection wherever SQLAlchemy 2 is installed; the core's COPY pipe
    is written for psycopg2.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, sqlalchemy_scheme="postgresql+psycopg2", **kwargs)

    def get_conn(self) -> Any:
        """Connect, as the provider's hook does; the connection is psycopg2's."""
        return super().get_conn()

    def _create_connection(self, conn_args: dict[str, Any]) -> Any:
        """Connect.

        Raises:
            CredentialsError: The server refused the user or the password.
            SourceUnavailable: The server could not be reached.
        """
        try:
            return psycopg2.connect(**conn_args)
        except psycopg2.OperationalError as error:
            connection = f"connection {self.get_conn_id()!r}"
            if any(mark in str(error) for mark in _REFUSALS):
                raise CredentialsError(
                    f"The server of {connection} refused it: {_first_line(error)}",
                    next_step=f"correct user and password of {connection} and clear the task.",
                ) from error
            raise SourceUnavailable(
                f"The server of {connection} cannot be reached: {_first_line(error)}",
                next_step="nothing if it comes back: the task is retried.",
            ) from error


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


class ReplicationHook(CheckedPostgresHook):
    """Sessions that read a Postgres' log of changes; the connection's user needs the right to REPLICATION."""

    def _create_connection(self, conn_args: dict[str, Any]) -> Any:
        return super()._create_connection({**conn_args, "connection_factory": LogicalReplicationConnection})


class WarehouseHook(CheckedPostgresHook):
    """The warehouse, with Penstock's own tables in place and a session in UTC."""

    conn_name_attr = "warehouse_conn_id"
    default_conn_name = "warehouse"

    def session(self) -> Connection:
        """Connect and make ready; the caller closes.

        Raises:
            CredentialsError: The server refused the user or the password.
            SourceUnavailable: The server could not be reached.
        """
        connection: Connection = self.get_conn()
        open_session(connection)
        ensure_ops(connection)
        return connection
