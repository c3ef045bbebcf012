"""`make demo`, whole, with one day of slices."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.local.demo.pipelines import PIPELINES
from penstock.local.layout import PROJECT, Layout
from penstock.local.stack import Stack


@pytest.fixture
def environ(home: Path) -> Iterator[dict[str, str]]:
    """The environment of a person whose demo's state is outside the checkout."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "AIRFLOW"))}
    environ = {**kept, "PENSTOCK_HOME": str(home / "state"), "DAYS": "1"}
    yield environ
    subprocess.run(["make", "--silent", "clean"], cwd=PROJECT, env=environ, check=True)


def make(environ: dict[str, str], *arguments: str) -> str:
    """Run make and return what it printed."""
    done = subprocess.run(
        ["make", "--silent", *arguments], cwd=PROJECT, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_demo_runs_and_a_second_one_changes_nothing(environ: dict[str, str]) -> None:
    """Every dataset's slice is published and shown, with the login of the UI; the second run adds no run and no row."""
    ledger = "SQL=select id, dataset, slice_key, loaded from ops.slice_ledger where slice_key < '2011' order by id"
    first = make(environ, "demo")
    rows = make(environ, "psql", ledger)
    for pipeline in PIPELINES:
        assert f"{pipeline.dataset}|2010-09-20|" in rows
        assert f"\n{pipeline.dataset} " in first
    assert "user admin, password " in first
    assert "airflow backfill create --dag-id commerce_order_lines" in first
    second = make(environ, "demo")
    assert "backfill create" not in second
    assert make(environ, "psql", ledger) == rows
    listed = make(environ, "airflow", "ARGS=dags list --output plain")
    assert all(pipeline.dag_id in listed for pipeline in PIPELINES)
    make(environ, "down")
    stack = Stack(Layout.find(environ))
    assert not stack.postgres.is_running()
    with stack.api() as api:
        assert not api.is_up()
