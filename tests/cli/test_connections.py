"""The warehouse is found where the user has said it is, else in the stack of this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from penstock.cli.connections import connect, connection_parts, dsn_of, warehouse
from penstock.core.errors import SourceUnavailable
from penstock.local.errors import LocalError
from penstock.local.postgres import EmbeddedPostgres
from penstock.project import ROOT


def test_the_variable_wins(warehouse: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """AIRFLOW_CONN_WAREHOUSE is taken, whatever else is there."""
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", warehouse.replace("postgresql:", "postgres:", 1))
    with closing(connect("warehouse")) as connection, connection.cursor() as cur:
        cur.execute("SELECT current_database()")
        assert cur.fetchone() == (warehouse.rsplit("/", 1)[1],)


def test_a_session_has_the_platforms_tables(warehouse_env: None) -> None:
    """The first command in an empty warehouse finds `ops` in place, and its times are UTC."""
    with warehouse() as connection, connection.cursor() as cur:
        cur.execute("SELECT to_regclass('ops.slice_ledger') IS NOT NULL, current_setting('TimeZone')")
        assert cur.fetchone() == (True, "UTC")


@pytest.fixture
def warehouse_env(warehouse: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection of an empty warehouse."""
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", warehouse.replace("postgresql:", "postgres:", 1))


def test_the_stack_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the variable, the one-machine stack's warehouse is found, and started if it does not run."""
    monkeypatch.delenv("AIRFLOW_CONN_WAREHOUSE", raising=False)
    tmp_path.chmod(0o711)
    monkeypatch.setenv("PENSTOCK_HOME", str(tmp_path / "home"))
    server = EmbeddedPostgres(tmp_path / "home" / "postgres", first_port=26432)
    try:
        server.start()
        server.stop()
        connection = psycopg2.connect(dsn_of("warehouse"))
        assert connection.get_dsn_parameters()["dbname"] == "warehouse"
        connection.close()
    finally:
        server.remove()


def test_what_cannot_be_reached_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection is named, the password is not."""
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", "postgres://ada:secret-1234@127.0.0.1:1/shop")
    with pytest.raises(SourceUnavailable, match="connection 'shop'") as caught:
        connect("shop")
    assert "secret-1234" not in str(caught.value)


def test_another_kind_of_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """An HTTP connection is no database, but its fields can be read."""
    monkeypatch.setenv("AIRFLOW_CONN_API", "http://:token@example.org:8080")
    with pytest.raises(LocalError, match="must be a postgres connection"):
        dsn_of("api")
    assert connection_parts("api").host == "example.org"


def test_airflows_own_store(tmp_path: Path) -> None:
    """A connection that stands in no variable is asked for where Airflow keeps its own; an unknown one is told so."""
    (tmp_path / "connections.json").write_text('{"crm": "postgres://ada@example.org:5432/crm"}', encoding="utf-8")
    script = (
        "from penstock.cli.connections import dsn_of\n"
        "from penstock.core.errors import CredentialsError\n"
        "print(dsn_of('crm'))\n"
        "try:\n    dsn_of('nowhere')\n"
        "except CredentialsError as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")},
            "PYTHONPATH": str(ROOT / "plugins"),
            "PENSTOCK_HOME": str(tmp_path / "none"),
            "AIRFLOW_HOME": str(tmp_path),
            "AIRFLOW__SECRETS__BACKEND": "airflow.secrets.local_filesystem.LocalFilesystemBackend",
            "AIRFLOW__SECRETS__BACKEND_KWARGS": json.dumps(
                {"connections_file_path": str(tmp_path / "connections.json")}
            ),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "host=example.org" in done.stdout
    assert "There is no connection 'nowhere'" in done.stdout
    assert "AIRFLOW_CONN_NOWHERE=" in done.stdout
