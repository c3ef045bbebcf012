"""Great Expectations builds its Data Docs from the verdicts in the warehouse."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from penstock.core.data_docs import build_site
from penstock.project import EXPECTATIONS

DAY, SECRET = "2026-01-01", "4929-0000-1111-2222"


@pytest.fixture
def contract(bench: Any, build: Any) -> Any:
    """A judged dataset with a masked column that breaks its rule."""
    mask = {"property": "mask", "value": "redact"}
    found = build.contract(build.ORDERS, lambda d: d["schema"][0]["properties"][1].update(customProperties=[mask]))
    columns = "order_id bigint, code text, amount numeric(8,2), sold_at timestamptz"
    rows = [(n, SECRET, "1", f"{DAY}T12:00:00Z") for n in range(3)]
    bench.load(found, DAY, bench.fill("orders", columns, rows), run_id="manual__2026-01-02T00:00:00+00:00")
    return found


def build_page(bench: Any, contracts: list[Any], folder: Path) -> Path:
    """Build the site."""
    with bench.conn, bench.conn.cursor() as cur:
        return build_site(cur, contracts, folder, EXPECTATIONS)


def test_the_site_shows_each_validation_masked(bench: Any, contract: Any, tmp_path: Path) -> None:
    """There is a page for suite and validation; it names the broken rule's regex, and never the masked value."""
    page = build_page(bench, [contract], tmp_path / "docs")
    pages = {path: path.read_text(encoding="utf-8") for path in page.parent.rglob("*.html")}
    validation = [text for path, text in pages.items() if "validations" in path.parts]
    assert len(validation) == 1
    assert "[A-Z][0-9]{3}" in validation[0]
    assert "•••" in validation[0]
    everything = "".join(
        path.read_text(encoding="utf-8", errors="replace") for path in (tmp_path / "docs").rglob("*") if path.is_file()
    )
    assert SECRET not in everything
    assert any("expectations" in path.parts for path in pages)
    assert f"{DAY}_manual__2026-01-02" in page.read_text(encoding="utf-8")


def test_the_validations_lie_beside_it_as_json(bench: Any, contract: Any, tmp_path: Path) -> None:
    """One file for each slice and run, in Great Expectations' format."""
    build_page(bench, [contract], tmp_path)
    (path,) = (tmp_path / "validations").rglob("*.json")
    assert path.relative_to(tmp_path / "validations").parts[:2] == ("test", "orders")
    assert json.loads(path.read_text(encoding="utf-8"))["statistics"]["unsuccessful_expectations"] == 1


def test_a_site_is_replaced_as_a_whole(bench: Any, contract: Any, tmp_path: Path) -> None:
    """What an earlier site showed and this one does not is gone, and nothing of the building is left."""
    tmp_path /= "docs"
    build_page(bench, [contract], tmp_path)
    build_page(bench, [], tmp_path)
    assert [path for path in tmp_path.rglob("*.html") if "validations" in path.parts] == []
    assert {path.name for path in tmp_path.iterdir()} <= {"site", "validations"}


def test_the_projects_own_expectations_are_shown(bench: Any, build: Any, tmp_path: Path) -> None:
    """A suite with an expectation from `include/expectations` has its page like any other."""
    item = build.expectation("trimmed", "expect_column_values_to_be_trimmed", column="code")
    shutil.copytree(EXPECTATIONS, build.folder.parent / "expectations")
    found = build.contract(build.ORDERS, build.add_quality(item, "code"))
    page = build_page(bench, [found], tmp_path / "docs")
    assert list((page.parent / "expectations").rglob("*.html"))
