"""Airflow's ways of writing a connection, taken apart, and turned into what libpq understands."""

import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from psycopg2.extensions import make_dsn

from penstock.local.errors import LocalError

# What PostgresHook hands on of a connection's extras.
LIBPQ_EXTRAS = frozenset(
    {"application_name", "channel_binding", "connect_timeout", "gssencmode", "keepalives", "keepalives_idle"}
    | {"keepalives_interval", "options", "passfile", "sslcert", "sslcrl", "sslkey", "sslmode", "sslpassword"}
    | {"sslrootcert", "target_session_attrs"}
)


@dataclass(frozen=True)
class ConnectionParts:
    """An Airflow connection's fields."""

    conn_type: str
    host: str = ""
    login: str = ""
    password: str = ""
    schema: str = ""
    port: int | None = None
    extra: dict[str, object] = field(default_factory=dict)


def parse_connection(value: str) -> ConnectionParts:
    """Take apart a connection written as a URI or as JSON.

    Raises:
        ValueError: if it is neither.
    """
    return _parse_json(value) if value.lstrip().startswith("{") else _parse_uri(value)


def libpq_dsn(name: str, value: str) -> str:
    """The libpq connection string for the Airflow connection `name`, written in `value` as a URI or as JSON.

    Raises:
        LocalError: if it is no Postgres connection.
    """
    variable = f"AIRFLOW_CONN_{name.upper()}"
    try:
        parts = parse_connection(value)
    except ValueError as error:
        raise LocalError(f"{variable} is neither a connection URI nor JSON: {error}") from None
    if parts.conn_type not in ("postgres", "postgresql"):
        raise LocalError(f"{variable} must be a postgres connection, not {parts.conn_type!r}")
    fields: dict[str, Any] = {key: found for key, found in parts.extra.items() if key in LIBPQ_EXTRAS}
    fields |= {"host": parts.host, "port": parts.port, "user": parts.login}
    fields |= {"password": parts.password, "dbname": parts.schema}
    return str(make_dsn(**{key: found for key, found in fields.items() if found}))


def _parse_json(value: str) -> ConnectionParts:
    given = json.loads(value)
    extra = given.get("extra") or {}
    return ConnectionParts(
        conn_type=str(given.get("conn_type") or ""),
        host=str(given.get("host") or ""),
        login=str(given.get("login") or ""),
        password=str(given.get("password") or ""),
        schema=str(given.get("schema") or ""),
        port=int(given["port"]) if given.get("port") else None,
        extra=json.loads(extra) if isinstance(extra, str) else dict(extra),
    )


def _parse_uri(value: str) -> ConnectionParts:
    parts = urlsplit(value)
    if not parts.scheme:
        raise ValueError("it has no scheme such as postgres://")
    extra: dict[str, object] = dict(parse_qsl(parts.query))
    extra.update(json.loads(str(extra.pop("__extra__", "{}"))))
    return ConnectionParts(
        conn_type=parts.scheme.replace("-", "_"),
        host=unquote(parts.hostname or ""),
        login=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        schema=unquote(parts.path.lstrip("/")),
        port=parts.port,
        extra=extra,
    )
