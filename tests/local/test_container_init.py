"""What compose's service `init` does to a warehouse and to Airflow, as far as it needs no Airflow."""

import json
import secrets
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import psycopg2
import pytest
from psycopg2 import sql

from penstock.local import container_init
from penstock.local.container_init import load_settings, main, prepare_warehouse
from penstock.local.errors import LocalError
from penstock.local.layout import PROJECT
from penstock.local.postgres import EmbeddedPostgres
from penstock.local.settings_file import read_settings


@pytest.fixture
def stranger(pg: EmbeddedPostgres, warehouse: str) -> Iterator[str]:
    """The URI of the warehouse for a role that may connect to it and nothing else."""
    name, password = f"stranger_{secrets.token_hex(4)}", secrets.token_hex(8)
    with pg.admin() as connection, connection.cursor() as cursor:
        cursor.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(name), sql.Literal(password)))
        parts = urlsplit(warehouse)
        yield f"postgresql://{name}:{password}@{parts.hostname}:{parts.port}{parts.path}"
        cursor.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


def test_warehouse_gets_the_platforms_tables(warehouse: str) -> None:
    """After it the ledger is there; a second time changes nothing."""
    prepare_warehouse(warehouse)
    prepare_warehouse(warehouse)
    with closing(psycopg2.connect(warehouse)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM ops.slice_ledger")
        assert cursor.fetchone() == (0,)


def test_missing_privileges_are_named(stranger: str) -> None:
    """A role that may not create schemas is told what to be granted, before a first slice fails on it."""
    with pytest.raises(LocalError, match="GRANT CREATE, CONNECT, TEMPORARY ON DATABASE"):
        prepare_warehouse(stranger)


@pytest.mark.parametrize(
    ("connection", "said"),
    [
        ("postgresql://nobody:x@127.0.0.1:1/warehouse", "cannot be reached"),
        ("mysql://nobody:x@127.0.0.1:1/warehouse", "must be a postgres connection"),
    ],
)
def test_a_warehouse_that_is_none_is_refused(connection: str, said: str) -> None:
    """A connection that leads nowhere, or to something else, is refused with the reason."""
    with pytest.raises(LocalError, match=said):
        prepare_warehouse(connection)


def test_an_old_postgres_is_refused(warehouse: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server older than needed is refused, and both versions are said."""
    monkeypatch.setattr(container_init, "OLDEST_POSTGRES", 990000)
    with pytest.raises(LocalError, match="is Postgres 18"):
        prepare_warehouse(warehouse)


def test_failure_ends_with_a_message(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing set: exit code 1 and the way out, no traceback."""
    assert main({}) == 1
    assert "AIRFLOW_CONN_WAREHOUSE is not set: run `make env`" in capsys.readouterr().err


def test_settings_leave_alone_what_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is in the environment is not loaded beside it; the rest is, in the form of Airflow's `import` commands."""
    loaded: dict[str, object] = {}

    def airflow(kind: str, _: str, *options: str) -> None:
        loaded[kind] = json.loads(Path(options[-1]).read_text(encoding="utf-8"))

    monkeypatch.setattr(container_init, "airflow", airflow)
    settings = read_settings(PROJECT / "airflow_settings.yaml", {})
    load_settings(settings, {"AIRFLOW_CONN_WAREHOUSE": "x", "AIRFLOW_CONN_SHOP": "x", "AIRFLOW_VAR_LAKE_URL": "x"})
    assert loaded == {
        "connections": {"energy_api": {"conn_type": "http", "host": "energy-api", "schema": "http", "port": 8090}},
        "pools": {
            "slices": {
                "slots": 8,
                "description": "Tasks of slices that may work at once, whatever asked for them (penstock.defaults)",
                "include_deferred": False,
            },
            "energy_api": {
                "slots": 2,
                "description": "Requests to the energy API that may run at once",
                "include_deferred": False,
            },
        },
    }
