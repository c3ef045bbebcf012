"""The lake's retention as a task."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from penstock import project
from penstock.core.lake import LakeWriter
from penstock.operators.lake_retention import LakeRetentionOperator
from tests.operators.contexts import Query
from tests.operators.test_redrive import LINES

RECENT = (datetime.now(UTC) - timedelta(days=30)).strftime("%Y-%m-%d")


def land(folder: Path, days: float, *, whole: bool = True) -> None:
    """Land a record, as if so many days ago."""
    writer = LakeWriter(folder, "test")
    writer.write([{"a": "1"}])
    if whole:
        writer.close()
    at = (datetime.now(UTC) - timedelta(days=days)).timestamp()
    for path in folder.iterdir():
        os.utime(path, (at, at))


def test_sweeps_the_lake_of_each_dataset(query: Query, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed tries and replaced attempts go once they are so old; of a slice past its retention everything goes.

    What is published stays, and so does what is no slice, or of no dataset.
    """
    path = tmp_path / "contracts" / f"{LINES}.yaml"
    path.parent.mkdir(parents=True)
    document = yaml.safe_load(project.contract_path(LINES).read_text(encoding="utf-8"))
    document["slaProperties"] = [{"property": "retention", "value": 10, "unit": "y"}]
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    monkeypatch.setattr(project, "CONTRACTS", tmp_path / "contracts")
    monkeypatch.setenv("AIRFLOW_VAR_LAKE_URL", str(tmp_path / "lake"))
    assert LakeRetentionOperator(task_id="sweep").execute({}) == {}  # no lake yet
    lake = tmp_path / "lake" / LINES
    land(lake / RECENT / "killed", 10, whole=False)
    land(lake / RECENT / "first", 12)
    land(lake / RECENT / "published", 11)
    land(lake / RECENT / "newest", 10)
    land(lake / "2001-01-01" / "first", 10)
    land(lake / "notes" / "killed", 100, whole=False)
    land(tmp_path / "lake" / "gone" / "table" / RECENT / "killed", 100, whole=False)
    (lake / "README.md").write_text("x")
    query(
        "INSERT INTO ops.slice_ledger (dataset, slice_key, attempt, status, run_id, load_mode, extracted, loaded,"
        " quarantined, deduplicated, filtered, withheld, extract_seconds, validate_seconds, publish_seconds,"
        f" contract_version, contract_hash, detail) VALUES ('{LINES}', '{RECENT}', 1, 'published', 'r', 'append',"
        """ 0, 0, 0, 0, 0, 0, 0, 0, 0, '1', 'h', '{"lake": "file:///lake/published"}') RETURNING 1"""
    )
    assert LakeRetentionOperator(task_id="sweep").execute({}) == {LINES: {"attempts": 1, "files": 2}}
    assert list((lake / "2001-01-01").iterdir()) == []
    assert LakeRetentionOperator(task_id="sweep", days="9").execute({}) == {LINES: {"attempts": 2, "files": 3}}
    assert {one.name for one in (lake / RECENT).iterdir()} == {"published", "newest"}
    assert (lake / "notes" / "killed").is_dir()
    assert (tmp_path / "lake" / "gone" / "table" / RECENT / "killed").is_dir()
