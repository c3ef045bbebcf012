"""`plan` shows, `apply` does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

LINES = "commerce/order_lines"


def edit(contracts: Path, before: str, after: str) -> None:
    """Change the contract of the order lines."""
    path = contracts / f"{LINES}.yaml"
    text = path.read_text(encoding="utf-8")
    assert before in text
    path.write_text(text.replace(before, after), encoding="utf-8")


def test_a_table_that_fits(cli: Any, contracts: Path, loaded: Any) -> None:
    """Nothing to do is said so."""
    said = cli("plan", LINES)
    assert (said.code, said.out) == (0, f"{LINES}: the table fits the contract\n")


def test_plan_then_apply(cli: Any, contracts: Path, loaded: Any) -> None:
    """A wider number: shown with its SQL, done, recorded with who did it, and then there is nothing left."""
    edit(contracts, "numeric(12,3)", "numeric(14,3)")
    planned = cli("plan", LINES)
    assert planned.code == 0
    assert "· widen unit_price from numeric(12,3) to numeric(14,3)" in planned.out
    assert 'ALTER TABLE "commerce"."order_lines" ALTER "unit_price" TYPE numeric(14,3)' in planned.out
    applied = cli("apply", LINES, "--by", "ada")
    assert applied.code == 0, applied.err
    assert "done" in applied.out
    assert loaded("SELECT made_by FROM ops.schema_change WHERE change LIKE 'widen%'") == [("ada",)]
    assert json.loads(cli("plan", LINES, "--json").out) == [
        {"dataset": LINES, "blocked": False, "destructive": False, "steps": []}
    ]


def test_losing_values_needs_the_flag(cli: Any, contracts: Path, loaded: Any) -> None:
    """Without the flag `apply` ends with 1 and changes nothing; with it the column goes."""
    name = "      - {name: description, logicalType: string, description: Product name as printed on the invoice}\n"
    edit(contracts, name, "")
    assert "! drop description" in cli("plan", LINES).out
    refused = cli("apply", LINES)
    assert refused.code == 1
    assert "--allow-destructive" in refused.err
    assert cli("apply", LINES, "--allow-destructive").code == 0
    assert cli("plan", LINES).out == f"{LINES}: the table fits the contract\n"


def test_what_is_blocked_ends_with_1(cli: Any, contracts: Path, loaded: Any) -> None:
    """Rows that do not convert are counted, for people and for machines."""
    edit(contracts, "{name: country, logicalType: string,", "{name: country, logicalType: integer,")
    said = cli("plan", LINES)
    assert said.code == 1
    assert "✗ change country from text to bigint" in said.out
    assert "blocked: 2,467 of 2,467 values do not convert" in said.out
    (document,) = json.loads(cli("plan", LINES, "--json").out)
    assert document["blocked"] is True
    assert "2,467" in document["steps"][0]["blocked"]
    assert cli("apply", LINES, "--allow-destructive").code == 1


def test_all_datasets_are_planned_where_none_is_named(cli: Any, contracts: Path, loaded: Any) -> None:
    """One line per dataset; a table that is not there yet would be made."""
    said = cli("plan")
    assert f"{LINES}: the table fits the contract" in said.out
    assert "create the table commerce.customers" in said.out
