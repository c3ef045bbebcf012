"""Which DAG fills a dataset, as its file says it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from penstock.core.errors import SliceError
from penstock.flows import find_flow

LINES = "commerce/order_lines"
DAG_FILE = """
from datetime import datetime, timedelta, timezone
from airflow.sdk import dag
from penstock.defaults import DAG_DEFAULTS, daily_slices, dataset
from penstock.operators.extract_{source} import {operator}
from penstock.operators.publish import PublishOperator
from penstock.operators.validate import ValidateOperator

print("a line that a DAG file prints")

@dag(schedule={schedule}, start_date=datetime(2026, 1, 5, tzinfo=timezone.utc), **DAG_DEFAULTS)
def {name}():
    extract = {operator}(task_id="extract", dataset="{dataset}", {arguments})
    extract >> ValidateOperator(task_id="v", dataset="{dataset}") >> PublishOperator(task_id="p", dataset="{dataset}")

{name}()
"""
DATABASE = {"source": "database", "operator": "DatabaseExtractOperator", "dataset": LINES}


def _write(folder: Path, name: str, arguments: str, schedule: str = "daily_slices()", **more: str) -> None:
    text = DAG_FILE.format(name=name, arguments=arguments, schedule=schedule, **(DATABASE | more))
    (folder / f"{name}.py").write_text(text, encoding="utf-8")


def test_bundled_datasets_have_their_flows(capsys: pytest.CaptureFixture[str]) -> None:
    """Sources and marts are found; a mart's producers come from its schedule, and it is due when they are."""
    lines = find_flow(LINES)
    assert (lines.dag_id, lines.producers, lines.after) == ("commerce_order_lines", (), timedelta(hours=2))
    mart = find_flow("commerce/daily_revenue")
    assert (mart.dag_id, mart.producers, mart.after) == ("commerce_daily_revenue", (LINES,), timedelta(hours=2))
    assert not lines.reads_now
    assert not mart.reads_now
    assert capsys.readouterr().out == ""


def test_newest_slice_is_the_one_whose_run_is_due() -> None:
    """Before the hour of the run, yesterday's slice is nobody's gap yet."""
    flow = find_flow(LINES)
    assert flow.newest_due(datetime(2026, 1, 10, 1, 59, tzinfo=UTC)).key == "2026-01-08"
    assert flow.newest_due(datetime(2026, 1, 10, 2, 0, tzinfo=UTC)).key == "2026-01-09"


def test_code_follows_the_dag_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Another table is another code; another schedule is not; what a DAG file prints is no result."""
    folders = [tmp_path / name for name in "abc"]
    for folder, arguments, schedule in zip(
        folders,
        ('conn_id="shop", table="a.b"', 'conn_id="shop", table="a.b", retries=1', 'conn_id="shop", table="a.c"'),
        ("daily_slices()", 'daily_slices(after="03:00")', "daily_slices()"),
        strict=True,
    ):
        folder.mkdir()
        _write(folder, "lines", arguments, schedule)
    first, second, third = (find_flow(LINES, folder=folder) for folder in folders)
    assert first.code == second.code != third.code
    assert first.start is not None
    assert first.start.isoformat() == "2026-01-05"
    assert capsys.readouterr().out == ""


def test_old_slices_of_a_file_without_a_slice_in_its_path_read_today(tmp_path: Path) -> None:
    """A path that is the same every day gives what is there today, and would fill an old partition with it."""
    folder = tmp_path / "same"
    folder.mkdir()
    kind = {"source": "file", "operator": "FileExtractOperator"}
    _write(folder, "same", 'path="lines.csv"', **kind)
    assert find_flow(LINES, folder=folder).reads_now
    _write(folder, "same", 'path="lines-{{slice}}.csv"'.replace("{{", "{").replace("}}", "}"), **kind)
    assert not find_flow(LINES, folder=folder).reads_now


def test_says_which_dags_fill_a_dataset_where_it_is_not_one(tmp_path: Path) -> None:
    """None, several, or a file that cannot be loaded: each is told, with what to do."""
    with pytest.raises(SliceError, match=r"No DAG in .* Next: write one"):
        find_flow(LINES, folder=tmp_path)
    _write(tmp_path, "one", 'conn_id="shop", table="a.b"')
    _write(tmp_path, "two", 'conn_id="shop", table="a.c"')
    with pytest.raises(SliceError, match=r"Several DAGs fill it: one, two\. Next: name one of them by --dag"):
        find_flow(LINES, folder=tmp_path)
    assert find_flow(LINES, dag_id="two", folder=tmp_path).dag_id == "two"
    for name in ("one", "two"):
        (tmp_path / f"{name}.py").write_text("from airflow.sdk import dag\nbroken(", encoding="utf-8")
    with pytest.raises(SliceError, match=r"cannot be loaded: .*one\.py"):
        find_flow(LINES, folder=tmp_path)
