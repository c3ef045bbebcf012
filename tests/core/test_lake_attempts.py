"""Which attempts lie in the lake."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from penstock.core.errors import SourceError
from penstock.core.lake import LakeWriter, land_file
from penstock.core.lake_attempts import changed_at, listed, newest_attempt, slices_in, whole_attempts


def land(folder: Path, at: int) -> None:
    """Land a record, as if at a moment in seconds since 1970."""
    writer = LakeWriter(folder, "test")
    writer.write([{"a": "1"}])
    writer.close()
    os.utime(folder / "manifest.json", (at, at))


def test_the_newest_whole_attempt_is_found(tmp_path: Path) -> None:
    """By the time of the manifest, whatever the names; what has no manifest is no attempt, nor is a stray file."""
    land(tmp_path / "b-1", 1_000)
    land(tmp_path / "a-2", 3_000)
    land(tmp_path / "c-1", 2_000)
    (tmp_path / "z-9").mkdir()
    (tmp_path / "z-9" / "part-00001.parquet").write_bytes(b"torn")
    (tmp_path / "stray").write_text("x")
    assert [one.folder.name for one in whole_attempts(tmp_path)] == ["a-2", "c-1", "b-1"]
    newest = newest_attempt(tmp_path)
    assert (newest.at, newest.is_file) == (datetime(1970, 1, 1, 0, 50, tzinfo=UTC), False)


def test_a_landed_file_is_told_from_records(tmp_path: Path) -> None:
    """By what its manifest lists."""
    land_file(tmp_path / "a-1", "feed.csv", [b"x"])
    assert newest_attempt(tmp_path).is_file


def test_no_attempt_is_told(tmp_path: Path) -> None:
    """The folder is named, and what to do; a folder that is not there is empty."""
    assert listed(tmp_path / "none") == []
    with pytest.raises(SourceError, match=r"no whole attempt .*none\. Next: load the slice from its source"):
        newest_attempt(tmp_path / "none")


@pytest.mark.parametrize("body", ["", "[]", '{"format": 1}', "{"])
def test_a_torn_manifest_is_told(tmp_path: Path, body: str) -> None:
    """It is not passed over: what it would have said is unknown."""
    (tmp_path / "a-1").mkdir()
    (tmp_path / "a-1" / "manifest.json").write_text(body)
    with pytest.raises(SourceError, match=r"a-1/manifest\.json is not a whole manifest"):
        whole_attempts(tmp_path)


def test_stores_tell_the_time_in_seconds_or_as_a_moment() -> None:
    """A local file in seconds, an object as a moment with its zone."""
    moment = datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=1)))
    for told in (moment, moment.timestamp()):
        path: Any = SimpleNamespace(stat=lambda told=told: SimpleNamespace(st_mtime=told))
        assert changed_at(path) == datetime(2026, 1, 1, tzinfo=UTC)


def test_slices_are_told_from_other_folders(tmp_path: Path) -> None:
    """By their names, in the order of the days; a dataset that never landed anything has none."""
    for name in ("2026-01-02", "2026-01-01", "2026-1-3", "notes"):
        (tmp_path / name).mkdir()
    assert [(slice_.key, folder.name) for slice_, folder in slices_in(tmp_path)] == [
        ("2026-01-01", "2026-01-01"),
        ("2026-01-02", "2026-01-02"),
    ]
    assert list(slices_in(tmp_path / "none")) == []
