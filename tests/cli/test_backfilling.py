"""`penstock backfill`, as far as it goes without an Airflow; tests/integration/test_backfill.py has one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

LINES, REVENUE = "commerce/order_lines", "commerce/daily_revenue"
DAY = "2010-09-21"
RANGE = ("--from", "2010-09-19", "--to", "2010-09-22")
Cli = Callable[..., Any]


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No Airflow is known."""
    monkeypatch.setenv("PENSTOCK_HOME", str(tmp_path / "none"))
    monkeypatch.delenv("PENSTOCK_AIRFLOW_URL", raising=False)


def test_dry_run_lists_what_would_be_asked_for(cli: Cli, loaded: Any, nowhere: None) -> None:
    """The gaps, or all slices of a range; Airflow is not needed for it."""
    said = cli("backfill", LINES, "--gaps", *RANGE, "--dry-run", "--at-once", "2")
    assert said.code == 0
    assert [line.split()[:3] for line in said.out.splitlines()[1:]] == [
        ["2010-09-19", "2010-09-20", "2"],
        ["2010-09-22", "2010-09-22", "1"],
    ]
    assert "3 slices would be asked for, 2 at once" in said.err
    assert "4 slices would be asked for" in cli("backfill", LINES, *RANGE, "--dry-run").err
    assert "nothing to load" in cli("backfill", LINES, "--gaps", "--from", DAY, "--to", DAY).err


def test_slices_must_be_named_somehow(cli: Cli, loaded: Any) -> None:
    """Neither --gaps nor a whole range is no backfill of everything."""
    for arguments in ((), ("--from", DAY), ("--gaps", "--at-once", "0")):
        said = cli("backfill", LINES, *arguments)
        assert said.code == 2


def test_marts_slices_wait_for_their_producer(cli: Cli, loaded: Any, nowhere: None) -> None:
    """What the producer lacks is left out, and it is said how to get it."""
    said = cli("backfill", REVENUE, "--gaps", *RANGE, "--dry-run")
    assert f"3 slices wait for their producer: `penstock backfill {LINES} --gaps`, and this dataset follows" in said.err
    assert [line.split()[:2] for line in said.out.splitlines()[1:]] == [[DAY, DAY]]


def test_without_an_airflow_it_says_where_it_looked(cli: Cli, loaded: Any, nowhere: None) -> None:
    """The error names the variables to set."""
    said = cli("backfill", LINES, "--gaps", *RANGE)
    assert said.code == 1
    assert "export PENSTOCK_AIRFLOW_URL" in said.err


def test_old_slices_of_a_source_that_shows_only_today_are_left_out(
    cli: Cli, loaded: Any, nowhere: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is the same every day would fill an old partition with today's rows: only on demand."""
    (tmp_path / "lines.py").write_text(
        """
from airflow.sdk import dag
from penstock.defaults import DAG_DEFAULTS, daily_slices
from penstock.operators.extract_file import FileExtractOperator
from penstock.operators.publish import PublishOperator

@dag(schedule=daily_slices(), **DAG_DEFAULTS)
def lines():
    FileExtractOperator(task_id="e", dataset="commerce/order_lines", path="lines.csv") >> PublishOperator(
        task_id="p", dataset="commerce/order_lines"
    )

lines()
""",
        encoding="utf-8",
    )
    monkeypatch.setattr("penstock.cli.gaps.DAGS", tmp_path)
    said = cli("backfill", LINES, "--gaps", *RANGE, "--dry-run")
    assert "4 slices are left out: the source shows only how it is today" in said.err
    assert "nothing to load" in said.err
    assert "the source shows only how it is today" in cli("gaps", LINES, *RANGE).out
    assert "4 slices would be asked for" in cli("backfill", LINES, "--gaps", *RANGE, "--dry-run", "--as-it-is-now").err
