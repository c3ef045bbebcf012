"""From a file through the lake to the stage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from penstock.core.errors import SourceError
from penstock.operators.extract_file import FileExtractOperator
from penstock.project import contract_of
from tests.operators.contexts import Query, context_of

READINGS = "energy/power_readings"


def feed() -> str:
    """A CSV with the contract's fields."""
    names = [column.source_name for column in contract_of(READINGS).columns]
    return f"{','.join(names)}\n{','.join('1' for _ in names)}\n"


@pytest.fixture
def folder(query: Query, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the test's files are; the lake is beside them."""
    monkeypatch.setenv("AIRFLOW_VAR_LAKE_URL", str(tmp_path / "lake"))
    return tmp_path


def operator(path: Any, **more: Any) -> FileExtractOperator:
    """The operator."""
    return FileExtractOperator(task_id="e", dataset=READINGS, path=str(path), **more)


def test_the_slices_file_is_landed_as_it_is_and_staged(folder: Path, query: Query) -> None:
    """`{slice}` is the day; the lake holds the same bytes, the stage the row, the record where it is from."""
    body = feed()
    (folder / "2010-09-20.csv").write_text(body, encoding="utf-8")
    summary = operator(folder / "{slice}.csv").execute(context_of(READINGS, "2010-09-20"))
    lake = Path(summary["lake"].removeprefix("file://"))
    assert (lake / "raw").read_text(encoding="utf-8") == body
    assert json.loads((lake / "manifest.json").read_text())["bytes"] == len(body)
    assert summary["extracted"] == 1
    assert query("SELECT extracted, detail->>'source' FROM ops.stage") == [(1, str(folder / "2010-09-20.csv"))]


def test_a_missing_file_is_told_with_dataset_and_slice(folder: Path) -> None:
    """The error names the slice's own file, and is retried."""
    with pytest.raises(SourceError, match=r"\[energy/power_readings 2010-09-21\] .*2010-09-21\.csv"):
        operator(folder / "{slice}.csv").execute(context_of(READINGS, "2010-09-21"))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"path": "feed"}, "say `format`"),
        ({"path": "feed", "format": "ods"}, "'ods' is none of csv, jsonl, json"),
        ({"path": "feed.csv", "compression": "rar"}, "'rar' is none of none, gzip"),
        ({"path": "feed.xml", "options": {"records": "x"}}, "options records are none of"),
        ({"path": "feed.csv", "delimiter": "||"}, "not one ASCII character"),
        ({"path": "feed.csv", "encoding": "klingon"}, "encoding 'klingon'"),
        ({"path": "feed.log", "encoding": "auto"}, "told of a CSV only"),
    ],
)
def test_arguments_that_cannot_be_read_are_refused(more: dict[str, Any], said: str) -> None:
    """Before anything is fetched."""
    with pytest.raises(ValueError, match=said):
        operator(**more).execute(context_of(READINGS, "2010-09-20"))


def test_tabs_are_the_delimiter_of_a_tsv(folder: Path) -> None:
    """By the name, unless the DAG says otherwise."""
    (folder / "a.tsv").write_text(feed().replace(",", "\t"), encoding="utf-8")
    assert operator(folder / "a.tsv").execute(context_of(READINGS, "2010-09-20"))["extracted"] == 1


def test_a_pattern_takes_what_no_other_slice_has(folder: Path, query: Query) -> None:
    """All files that match, in order; what they were is recorded with the stage; nothing new is worth a retry."""
    for name in ("b", "a"):
        (folder / f"{name}.csv").write_text(feed(), encoding="utf-8")
    summary = operator(folder / "*.csv").execute(context_of(READINGS, "2010-09-20"))
    assert summary["extracted"] == 2
    ((files,),) = query("SELECT detail->'files' FROM ops.stage")
    assert [Path(file["path"]).name for file in files] == ["a.csv", "b.csv"]
    assert {file["bytes"] for file in files} == {len(feed())}
    with pytest.raises(SourceError, match=r"No new file matches .*\.tsv; 0 were loaded"):
        operator(folder / "*.tsv").execute(context_of(READINGS, "2010-09-20"))
    with pytest.raises(SourceError, match=r"No new file|no folder"):
        operator(folder / "nowhere" / "*.csv").execute(context_of(READINGS, "2010-09-20"))
