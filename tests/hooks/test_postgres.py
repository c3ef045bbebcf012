"""Connections to a real Postgres."""

from contextlib import closing

import psycopg2.extensions
import pytest

from penstock.core.errors import CredentialsError, SourceUnavailable
from penstock.hooks.postgres import CheckedPostgresHook, WarehouseHook


def test_warehouse_session_is_ready(warehouse: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session speaks UTC, over psycopg2, and finds Penstock's own tables made."""
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", warehouse.replace("postgresql:", "postgres:", 1))
    with closing(WarehouseHook("warehouse").session()) as session, session.cursor() as cur:
        assert isinstance(session, psycopg2.extensions.connection)
        cur.execute("SELECT current_setting('TimeZone'), to_regclass('ops.slice_ledger') IS NOT NULL")
        assert cur.fetchone() == ("UTC", True)


def test_wrong_password_is_told_and_not_shown(warehouse: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused password is no reason to try again; the error names the connection and shows no secret."""
    parts = psycopg2.extensions.parse_dsn(warehouse)
    monkeypatch.setenv(
        "AIRFLOW_CONN_SHOP",
        f"postgres://{parts['user']}:wrong-4711@{parts['host']}:{parts['port']}/{parts['dbname']}",
    )
    with pytest.raises(CredentialsError, match="connection 'shop'") as caught:
        CheckedPostgresHook("shop").get_conn()
    assert "wrong-4711" not in str(caught.value)


def test_server_that_is_away_is_worth_a_retry(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused connection is raised as a source that is away."""
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", "postgres://someone:secret-4711@127.0.0.1:1/shop")
    with pytest.raises(SourceUnavailable, match="cannot be reached") as caught:
        CheckedPostgresHook("shop").get_conn()
    assert "secret-4711" not in str(caught.value)
