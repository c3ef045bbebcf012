"""`check` finds what is wrong; `explain` shows what the gate does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def test_sound_contracts_end_with_0(cli: Any) -> None:
    """The bundled contracts are sound, and it is said how many were looked at."""
    said = cli("check")
    assert (said.code, said.out) == (0, "")
    assert "contracts: sound" in said.err


def test_problems_are_lines_that_an_editor_can_follow(cli: Any, contracts: Path) -> None:
    """`file:line: field: problem`, on standard output, and exit code 1; other contracts are not asked about."""
    path = contracts / "commerce" / "customers.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("loadMode, value: merge", "loadMode, value: murge"), encoding="utf-8")
    line = 1 + text[: text.index("loadMode")].count("\n")
    said = cli("check")
    assert said.code == 1
    assert said.out.startswith(f"{path}:{line}: schema.customProperties.loadMode: 'murge' is not one of")
    assert cli("check", "commerce/order_lines").code == 0
    assert cli("check", "commerce/customers").code == 1
    document = json.loads(cli("check", "--json").out)
    assert document["checked"]["commerce/customers"] == str(path)
    assert any(f"{path}:{line}:" in problem for problem in document["problems"])


def test_explain_prints_sql_without_a_warehouse(cli: Any) -> None:
    """What the gate runs can be read where no database is."""
    said = cli("explain", "commerce/order_lines")
    assert said.code == 0
    assert "SELECT" in said.out


def test_explain_analyze_asks_postgres(cli: Any, loaded: Any) -> None:
    """With --analyze, Postgres says how it does it, with its times."""
    said = cli("explain", "commerce/order_lines", "--slice", "2010-09-21", "--analyze")
    assert said.code == 0, said.err
    assert "actual time" in said.out
