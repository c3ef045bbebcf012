"""From a site through the lake to the stage; the whole way is in tests/test_web_pages_doc.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.core.errors import SourceError
from penstock.operators.extract_web_page import WebPageExtractOperator
from penstock.project import contract_of
from tests.hooks.test_web import HTML, Site, site  # noqa: F401 - a fixture
from tests.operators.contexts import Query, context_of

READINGS = "energy/power_readings"


def operator(path: str = "/{slice}") -> WebPageExtractOperator:
    """The operator."""
    return WebPageExtractOperator(task_id="e", dataset=READINGS, conn_id="site", path=path, rows="table")


@pytest.fixture(autouse=True)
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lake is the test's own."""
    monkeypatch.setenv("AIRFLOW_VAR_LAKE_URL", str(tmp_path / "lake"))


def test_the_slices_page_is_staged(site: Site, query: Query) -> None:  # noqa: F811
    """`{slice}` is the day; the record says where the rows are from."""
    names = [column.source_name for column in contract_of(READINGS).columns]
    cells = "".join(f"<th>{name}" for name in names), "".join("<td>1" for _ in names)
    site.answers["/2010-09-20"] = (200, HTML, f"<table><tr>{cells[0]}<tr>{cells[1]}</table>".encode())
    summary = operator().execute(context_of(READINGS, "2010-09-20"))
    assert summary["extracted"] == 1
    assert query("SELECT extracted, detail->>'source' FROM ops.stage") == [(1, "/2010-09-20")]


def test_an_error_names_dataset_and_slice(site: Site, query: Query) -> None:  # noqa: F811
    """The page that is missing is told with them."""
    with pytest.raises(SourceError, match=r"\[energy/power_readings 2010-09-21\] .*answered 404"):
        operator().execute(context_of(READINGS, "2010-09-21"))


def test_a_path_of_the_slice_is_not_read_now() -> None:
    """Only a path that is the same for every slice gives the page as it is at the time."""
    contract = contract_of(READINGS)
    assert (operator().reads_now(contract), operator("/now").reads_now(contract)) == (False, True)
