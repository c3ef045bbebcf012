"""The stack without Airflow: its ports, its warehouse, its commands. Tests against the whole are in integration."""

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg2.extensions import parse_dsn

from penstock.local.layout import PROJECT, Layout
from penstock.local.ports import LOOPBACK, free_port
from penstock.local.stack import Stack


@pytest.fixture
def stack(home: Path) -> Iterator[Stack]:
    """A stack whose state is outside the checkout."""
    found = Stack(Layout(PROJECT, home / "state"), {})
    yield found
    found.clean()


def make(stack: Stack, target: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `make target NAME=value …` on the stack's state, as a person would."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "AIRFLOW"))}
    return subprocess.run(
        ["make", "--silent", target, *(f"{name}={value}" for name, value in variables.items())],
        cwd=PROJECT,
        env={**environ, "PENSTOCK_HOME": str(stack.layout.home)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_ports_are_remembered_until_somebody_takes_one(stack: Stack) -> None:
    """The UI keeps its address over restarts; a port that another program took meanwhile is left to it."""
    stack.layout.home.mkdir()
    port = free_port(29000 + os.getpid() % 1000)
    (stack.layout.home / "ports.json").write_text(json.dumps({"api-server": port}), encoding="utf-8")
    assert stack.url == f"http://{LOOPBACK}:{port}"
    with socket.create_server((LOOPBACK, port)):
        moved = Stack(stack.layout, {}).url
    assert moved != stack.url
    assert Stack(stack.layout, {}).url == moved


def test_an_exported_connection_is_the_warehouse(stack: Stack) -> None:
    """AIRFLOW_CONN_WAREHOUSE makes another Postgres the warehouse for everything."""
    own = Stack(stack.layout, {"AIRFLOW_CONN_WAREHOUSE": "postgres://me:pw@db.example:5433/wh"})
    assert parse_dsn(own.warehouse_dsn)["host"] == "db.example"
    stack.start_postgres()
    assert parse_dsn(stack.warehouse_dsn)["dbname"] == "warehouse"


def test_psql_runs_any_statement_and_prints_it_plain(stack: Stack) -> None:
    """Quotes of each kind, dollars and backticks reach Postgres as they were typed."""
    sql = """select 'it''s', "current_database"(), $$ `id` $HOME $(id) \\ $$, 1 > 2, null"""
    done = make(stack, "psql", SQL=sql)
    assert done.stdout == "it's|warehouse| `id` $HOME $(id) \\ |f|\n", done.stderr


def test_psql_fails_where_the_statement_does(stack: Stack) -> None:
    """A wrong statement is told apart from an empty answer by the exit code."""
    done = make(stack, "psql", SQL="select nothing_of_the_kind")
    assert done.returncode != 0
    assert "nothing_of_the_kind" in done.stderr


def test_down_stops_and_clean_deletes(stack: Stack) -> None:
    """`make down` keeps the data, `make clean` does not; both may be repeated."""
    make(stack, "psql", SQL="create table kept as select 1 as number")
    assert stack.postgres.is_running()
    assert make(stack, "down").returncode == 0
    assert not stack.postgres.is_running()
    assert make(stack, "psql", SQL="select number from kept").stdout == "1\n"
    assert make(stack, "clean").returncode == 0
    assert make(stack, "clean").returncode == 0
    assert not stack.layout.home.exists()


def test_the_makefile_explains_itself() -> None:
    """`make` without a target lists every target that a user needs."""
    done = subprocess.run(["make", "--silent"], cwd=PROJECT, capture_output=True, text=True, check=True)
    for target in ("demo", "test", "check", "lint", "lock", "down", "clean", "psql", "docs-site", "airflow", "bench"):
        assert f"make {target} " in done.stdout
