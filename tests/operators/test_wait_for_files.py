"""A file that is there is told at once; for another the triggerer waits."""

from __future__ import annotations

from pathlib import Path

import pytest
from airflow.sdk.exceptions import TaskDeferred

from penstock.operators.wait_for_files import FilesSensor
from penstock.triggers.files import FilesTrigger
from tests.operators.contexts import Query, context_of

READINGS = "energy/power_readings"


def sensor(path: Path) -> FilesSensor:
    """The operator."""
    return FilesSensor(task_id="w", dataset=READINGS, path=str(path))


def test_a_file_that_is_there_is_told(query: Query, tmp_path: Path) -> None:
    """By the slice's day, or by a pattern."""
    (tmp_path / "2010-09-20.csv").touch()
    for path in (tmp_path / "{slice}.csv", tmp_path / "*.csv"):
        assert len(sensor(path).execute(context_of(READINGS, "2010-09-20"))) == 1


def test_the_triggerer_waits_for_another(query: Query, tmp_path: Path) -> None:
    """With the path filled in; when it has come, the task goes on with it."""
    with pytest.raises(TaskDeferred) as caught:
        sensor(tmp_path / "{slice}.csv").execute(context_of(READINGS, "2010-09-21"))
    trigger = caught.value.trigger
    assert isinstance(trigger, FilesTrigger)
    assert trigger.path == str(tmp_path / "2010-09-21.csv")
    resumed = getattr(sensor(tmp_path), caught.value.method_name)
    assert resumed(context_of(READINGS, "2010-09-21"), ["x"]) == ["x"]
