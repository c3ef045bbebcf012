"""docs/lake.md: its command loads a landed slice again, and its query tells of it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from penstock import project
from penstock.core.lake import LakeWriter
from penstock.hooks.lake import DEFAULT_LAKE, LAKE_VARIABLE
from penstock.project import contract_of

PAGE = (project.ROOT / "docs" / "lake.md").read_text(encoding="utf-8")
(COMMAND,) = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
(QUERY,) = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)


def test_the_command_and_the_query_of_the_page(
    cli: Any, query: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slice that lies in the lake is loaded, and the ledger says by whom and from where."""
    monkeypatch.setenv("AIRFLOW_VAR_LAKE_URL", str(tmp_path))
    _, _, dataset, key, *_ = shlex.split(COMMAND)
    record = {column.source_name: "1" for column in contract_of(dataset).columns}
    writer = LakeWriter(tmp_path / dataset / key / "a-1", "energy_api:/v1/readings")
    writer.write([record | {"read_at": f"{key}T12:00:00Z", "voltage": "230"}])
    writer.close()
    said = cli(*shlex.split(COMMAND)[1:])
    assert said.code == 0, said.err
    assert [(row[0], row[1]) for row in query(QUERY)] == [(key, "ann")]


def test_the_names_of_the_page_are_true() -> None:
    """The default place and the Variable."""
    assert f"`{DEFAULT_LAKE}`" in PAGE
    assert f"Variable `{LAKE_VARIABLE}`" in PAGE
