"""Where the lake is."""

from pathlib import Path

import pytest

from penstock.core.slice import day_slice
from penstock.core.stage import stage_of
from penstock.hooks.lake import attempt_folder, lake_root
from penstock.project import ROOT


@pytest.mark.parametrize(
    ("variable", "root"),
    [
        (None, f"file://{ROOT}/.penstock/lake"),
        ("data/lake", f"file://{ROOT}/data/lake"),
        ("/srv/lake", "file:///srv/lake"),
        ("file:///srv/lake", "file:///srv/lake"),
    ],
)
def test_variable_names_the_root(variable: str | None, root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`lake_url` is a URL or a folder; a relative one lies below the project."""
    if variable is not None:
        monkeypatch.setenv("AIRFLOW_VAR_LAKE_URL", variable)
    else:
        monkeypatch.setenv("AIRFLOW_VAR_LAKE_URL", ".penstock/lake")
    assert str(lake_root()) == root


def test_no_two_tries_share_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one try landed, no other try or run overwrites."""
    monkeypatch.setenv("AIRFLOW_VAR_LAKE_URL", str(tmp_path))
    slice_ = day_slice("2010-09-20")
    stages = [stage_of("energy/readings", slice_, run) for run in ("a", "b")]
    folders = {str(attempt_folder(stage, number)) for stage in stages for number in (1, 2)}
    assert len(folders) == 4
    assert all("/energy/readings/2010-09-20/" in folder for folder in folders)
