"""From Airflow connections to sessions at real databases."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2.extensions
import pytest
from sqlalchemy.exc import DBAPIError

from penstock.core.errors import CredentialsError, SourceError, SourceUnavailable
from penstock.hooks.database import DatabaseHook
from tests.mariadb import PASSWORD, MariaDb


@pytest.fixture
def lite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An SQLite file behind the connection `lite`."""
    path = tmp_path / "a b?.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE t (n)")
    monkeypatch.setenv("AIRFLOW_CONN_LITE", json.dumps({"conn_type": "sqlite", "host": str(path)}))
    return path


def test_a_session_at_mariadb(mariadb: MariaDb, monkeypatch: pytest.MonkeyPatch) -> None:
    """User, password and database are the connection's; extras that PyMySQL knows are handed on, others are not."""
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", f"{mariadb.uri}?connect_timeout=5&local_infile=1")
    hook = DatabaseHook("shop")
    with hook.session() as session:
        assert session.exec_driver_sql("SELECT current_user(), database()").one() == ("reader@%", "shop")
        driver: Any = session.connection.driver_connection
        assert (driver.connect_timeout, driver._local_infile) == (5, False)
    assert hook.test_connection()[0]
    assert "mariadb 10." in hook.test_connection()[1] or "mysql" in hook.test_connection()[1]


def test_a_session_at_sqlite_only_reads(lite: Path) -> None:
    """The file is opened read-only, whatever its name; one that is not there is not made."""
    with DatabaseHook("lite").session() as session:
        assert session.exec_driver_sql("SELECT count(*) FROM t").one() == (0,)
        with pytest.raises(DBAPIError, match="readonly"):
            session.exec_driver_sql("INSERT INTO t VALUES (1)")
    lite.unlink()
    with pytest.raises(SourceUnavailable, match="connection 'lite' cannot be reached"):
        DatabaseHook("lite").session().__enter__()
    assert not lite.exists()


def test_a_session_at_postgres_is_psycopg2s(warehouse: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The COPY pipe gets what it is written for, with the time limit set."""
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", warehouse.replace("postgresql:", "postgres:", 1))
    hook = DatabaseHook("shop", statement_timeout=1.5)
    with hook.open() as session, session.cursor() as cur:
        assert isinstance(session, psycopg2.extensions.connection)
        cur.execute("SHOW statement_timeout")
        assert cur.fetchone() == ("1500ms",)
    assert hook.test_connection() == (True, "Postgres 18")


def test_a_statement_that_takes_too_long_is_broken_off(
    mariadb: MariaDb, lite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the server, and in SQLite by the engine itself."""
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", mariadb.uri)
    endless = "WITH RECURSIVE x(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM x) SELECT count(*) FROM x"
    slow = (
        "SELECT count(*) FROM information_schema.columns a, information_schema.columns b, information_schema.columns c"
    )
    for conn_id, statement in (("shop", slow), ("lite", endless)):
        with (
            DatabaseHook(conn_id, statement_timeout=0.2).session() as session,
            pytest.raises(DBAPIError, match=r"interrupted|max_statement_time"),
        ):
            session.exec_driver_sql(statement)


def test_wrong_password_is_told_and_not_shown(mariadb: MariaDb, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused password is no reason to try again; the error names the connection and shows no secret."""
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", mariadb.uri.replace(PASSWORD, "wrong-4711"))
    with pytest.raises(CredentialsError, match="connection 'shop' refused") as caught:
        DatabaseHook("shop").session().__enter__()
    assert "wrong-4711" not in str(caught.value)
    ok, said = DatabaseHook("shop").test_connection()
    assert not ok
    assert "wrong-4711" not in said


def test_server_that_is_away_is_worth_a_retry(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused connection is raised as a source that is away."""
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", "mysql://someone:secret-4711@127.0.0.1:1/shop")
    with pytest.raises(SourceUnavailable, match="cannot be reached") as caught:
        DatabaseHook("shop").session().__enter__()
    assert "secret-4711" not in str(caught.value)


@pytest.mark.parametrize(
    "connection",
    [{"conn_type": "mssql", "host": "h"}, {"conn_type": "x", "extra": {"sqlalchemy_scheme": "nothing+nobody"}}],
)
def test_a_type_without_a_driver_is_named(connection: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing, and where to add it."""
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", json.dumps(connection))
    with pytest.raises(SourceError, match=r"'shop' is of a type for which no driver.*Next: .*requirements\.txt"):
        DatabaseHook("shop").session().__enter__()


def test_any_other_database_goes_by_sqlalchemys_own_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scheme may be stated; query and connect_args are handed on; the password stands in no text of the URL."""
    extra = {"sqlalchemy_scheme": "oracle+oracledb", "query": {"service_name": "x"}}
    given = {"conn_type": "oracle", "host": "h", "port": 1521, "login": "u", "password": "p-4711", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", json.dumps(given))
    assert str(DatabaseHook("shop").url) == "oracle+oracledb://u:***@h:1521?service_name=x"
