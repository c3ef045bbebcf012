"""Connections in Airflow's writing."""

import json

import pytest
from psycopg2.extensions import parse_dsn

from penstock.local.connections import libpq_dsn, parse_connection
from penstock.local.errors import LocalError

FIELDS = {"host": "db.example", "port": "5433", "user": "me@here", "password": "p/w:%", "dbname": "wh"}


URI = "postgres://me%40here:p%2Fw%3A%25@db.example:5433/wh?sslmode=require&unknown=1"
JSON = {
    "conn_type": "postgres",
    "host": "db.example",
    "port": 5433,
    "login": "me@here",
    "password": "p/w:%",
    "schema": "wh",
    "extra": {"sslmode": "require", "unknown": 1},
}


@pytest.mark.parametrize("value", [URI, json.dumps(JSON), json.dumps({**JSON, "extra": json.dumps(JSON["extra"])})])
def test_both_writings_mean_the_same(value: str) -> None:
    """A connection as a URI or as JSON reaches libpq with every field, and with the extras libpq knows."""
    assert parse_dsn(libpq_dsn("warehouse", value)) == {**FIELDS, "sslmode": "require"}


def test_airflows_own_uri_with_nested_extras() -> None:
    """`airflow connections get` writes extras that are no plain text into `__extra__`."""
    parts = parse_connection("http://:token@api.example:80/https?__extra__=%7B%22a%22%3A+1%7D")
    assert parts.extra == {"a": 1}
    assert (parts.host, parts.port, parts.password, parts.schema) == ("api.example", 80, "token", "https")


@pytest.mark.parametrize("value", ["mysql://u:p@h/d", "{not json", "just text", '{"conn_type": "http"}'])
def test_anything_else_is_refused_by_name(value: str) -> None:
    """The error names the variable to mend and does not repeat its value, which holds a password."""
    with pytest.raises(LocalError, match="AIRFLOW_CONN_WAREHOUSE") as caught:
        libpq_dsn("warehouse", value)
    assert "u:p@" not in str(caught.value)
