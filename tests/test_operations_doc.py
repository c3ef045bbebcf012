"""docs/operations.md: its queries run, its commands do what it says, and its tables are the code's."""

from __future__ import annotations

import re
import runpy
import shlex
from contextlib import closing
from pathlib import Path
from typing import Any, get_args, get_type_hints

import psycopg2
import pytest
import yaml
from psycopg2.sql import SQL

from penstock import project
from penstock.cli.app import main
from penstock.core.checksum import table_checksum
from penstock.core.contract import LoadMode, load_contract
from penstock.core.ledger import Attempt
from penstock.core.reconcile import Kind
from penstock.project import ROOT, contract_of
from tests.operators.contexts import Query
from tests.operators.test_redrive import LINES, load

PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The code blocks in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_queries_run_and_the_formula_is_the_codes(query: Query, warehouse: str) -> None:
    """Each query of the page runs in a warehouse; the one with the formula gives what the checksum ends in."""
    load()
    findings, formula, left = (query(sql) for sql in blocks("sql"))
    assert (findings, left) == ([], [])
    with closing(psycopg2.connect(warehouse)) as connection, connection.cursor() as cur:
        cur.execute(SQL("SELECT {} FROM commerce.order_lines").format(table_checksum(contract_of(LINES))))
        ((total,),) = cur.fetchall()
    assert total.split(":")[1] == str(formula[0][0])


def test_the_command_does_what_the_page_says(query: Query, capsys: pytest.CaptureFixture[str]) -> None:
    """The slice goes, and the page's last query shows by whom and why."""
    load()
    (command,) = blocks("sh")
    words = shlex.split(command)
    assert words[0] == "penstock"
    assert main(words[1:]) == 0, capsys.readouterr().err
    assert query("SELECT count(*) FROM commerce.order_lines") == [(0,)]
    ((dataset, key, kind, rows, by, reason, _),) = query(blocks("sql")[-1])
    assert (dataset, key, kind, rows, by, reason) == (LINES, "2010-09-21", "drop", 2476, "ann", "the shop asked us to")


def test_the_retention_of_the_page_is_read(tmp_path: Path) -> None:
    """The example gives a contract 400 days."""
    (example,) = blocks("yaml")
    document = yaml.safe_load(project.contract_path(LINES).read_text(encoding="utf-8")) | yaml.safe_load(example)
    path = tmp_path / f"{LINES}.yaml"
    path.parent.mkdir()
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    retention = load_contract(path).retention
    assert retention is not None
    assert retention.days == 400


def test_the_dags_of_the_page_are_there_with_their_params() -> None:
    """Each DAG of the first table is a file of the platform, and its Param's default is the one that is named."""
    rows: Any = re.findall(r"^\| `(\w+)` \| (?:compares|drops|removes|gives).*?\|(.*)\|$", PAGE, re.MULTILINE)
    assert len(rows) == 5
    for name, param in rows:
        found = runpy.run_path(str(ROOT / "dags" / "platform" / f"{name}.py"))
        defaults = {key: value.value for key, value in found.get("PARAMS", {}).items()}
        assert defaults == ({"days": int(re.findall(r"\d+", param)[-1])} if param.strip() else {}), name


def test_kinds_and_modes_are_the_codes() -> None:
    """The page names every kind of finding and every load mode, and every kind of the ledger that takes rows away."""
    assert set(re.findall(r"^\| `(source_\w+|table_\w+)` \|", PAGE, re.MULTILINE)) == set(get_args(Kind))
    modes = PAGE.split("What can be said depends on the load mode")[1].split("Fewer rows")[0]
    assert set(re.findall(r"`(\w+)`", modes)) - {"loadMode", "cursor"} == {mode.value for mode in LoadMode}
    kinds = set(get_args(get_type_hints(Attempt)["kind"]))
    assert {kind for kind in kinds if f"`{kind}`" in PAGE.split("## What leaves")[1]} == kinds
