"""The text of drafts."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from penstock.core.contract import Contract, load_contract
from penstock.core.contract.model import LoadMode, Mask, Severity
from penstock.core.draft import Drafted, FileSource, Source, TableSource, draft
from penstock.core.errors import SourceError
from penstock.core.profile import ColumnProfile, Profile, profile_sample
from penstock.core.sample import Sample
from penstock.core.source_file import FileFormat
from penstock.core.text_lines import CsvFormat
from penstock.project import ROOT

TABLE = TableSource("shop", "public.orders")
FILE = FileSource("data/orders.csv", FileFormat("csv"))
AWARE, NAIVE = "timestamp with time zone", "timestamp without time zone"


def column(field: str, type_: str = "text", **facts: Any) -> ColumnProfile:
    """A column of 100 rows."""
    return ColumnProfile(field, type_, **{"rows": 100, "distinct": 50, **facts})


def profile(*columns: ColumnProfile, key: tuple[str, ...] = (), rows: int = 100) -> Profile:
    """A profile."""
    return Profile(columns, rows, True, key, "it is said so")


def loaded(tmp_path: Path, drafted: Drafted) -> Contract:
    """The contract of a draft, read and checked from a file."""
    document = yaml.safe_load(drafted.contract)
    path = tmp_path / document["domain"] / f"{document['schema'][0]['name']}.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(drafted.contract, encoding="utf-8")
    return load_contract(path)


PLACED = column("placed_at", AWARE, not_null=True, stated=True, greatest=datetime.fromisoformat("2026-01-06T23:00Z"))
CHANGED = column("updated_at", NAIVE, not_null=True, stated=True)
ID = column("id", "bigint", distinct=100, not_null=True, stated=True)


@pytest.mark.parametrize(
    ("columns", "key", "mode", "cut_by"),
    [
        ([ID, PLACED], ("id",), "replace_partition", "placed_at"),
        ([ID, PLACED, CHANGED], ("id",), "merge", "updated_at"),
        ([ID, PLACED, CHANGED], (), "replace_partition", "placed_at"),
        ([ID, CHANGED], ("id", "updated_at"), "snapshot", "slice_day"),
        ([ID, replace(PLACED, not_null=False, nulls=1)], ("id",), "snapshot", "slice_day"),
        ([ID, replace(PLACED, not_null=False)], ("id",), "replace_partition", "placed_at"),
        ([ID, column("valid_until", "date", not_null=True)], ("id",), "snapshot", "slice_day"),
        ([column("some_day", "date", not_null=True), PLACED], (), "replace_partition", "placed_at"),
        ([column("day", "date", not_null=True), column("n", "bigint")], (), "replace_partition", "day"),
        ([ID, column("slice_day")], ("id",), "snapshot", "slice_day_2"),
        ([ID], ("id",), "snapshot", "slice_day"),
    ],
)
def test_how_a_table_is_cut(
    tmp_path: Path, columns: list[ColumnProfile], key: tuple[str, ...], mode: str, cut_by: str
) -> None:
    """By the last change where rows can be merged, else by when a row came about, else by the slice's own day."""
    contract = loaded(tmp_path, draft("shop/orders", profile(*columns, key=key), TABLE))
    assert contract.load_mode is LoadMode(mode)
    assert contract.slice_column is not None
    assert contract.slice_column.name == cut_by
    if cut_by.startswith("slice_day"):
        assert contract.key[:1] == (cut_by,)
        assert contract.slice_column.source_name == "$slice"


def test_files_are_cut_by_the_slice_alone(tmp_path: Path) -> None:
    """Whatever times a file's rows tell, all of them belong to the slice that the file came with."""
    drafted = draft("shop/orders", profile(ID, PLACED, key=("id",)), FILE)
    contract = loaded(tmp_path, drafted)
    assert contract.partition_by == "slice_day"
    assert contract.key == ("slice_day", "id")
    assert drafted.last_day is None


def test_last_day_is_the_slice_columns() -> None:
    """The day to try first is the last one of which the sample has rows."""
    assert draft("shop/orders", profile(ID, PLACED), TABLE).last_day == "2026-01-06"


def test_only_the_catalogs_word_acts(tmp_path: Path) -> None:
    """NOT NULL and keys are critical; what the sample shows, nulls, values, lengths, extent, is a warning."""
    columns = (
        column("id", "bigint", distinct=100, not_null=True, stated=True, least=Decimal(1), greatest=Decimal(100)),
        column("status", values=("lost", "paid"), distinct=2, lengths=(4, 4)),
        column("country", lengths=(2, 2)),
        column("amount", "numeric", least=Decimal("0.37"), greatest=Decimal("7342.10"), nulls=3),
        column("delta", "integer", least=Decimal(-42), greatest=Decimal(-5)),
        column("customer_id", "bigint", least=Decimal(1), greatest=Decimal(9)),
        column("note", lengths=(0, 90), nulls=50),
    )
    contract = loaded(tmp_path, draft("shop/orders", profile(*columns, key=("id",)), TABLE))
    acting = {rule.id for rule in contract.rules if rule.severity is Severity.CRITICAL}
    assert acting == {"slice_day.required", "id.required", "primary_key"}
    warnings = {rule.id: rule.kwargs for rule in contract.rules if rule.severity is Severity.WARNING}
    assert warnings == {
        "status_present": {"column": "status"},
        "status_known": {"column": "status", "value_set": ["lost", "paid"]},
        "country_present": {"column": "country"},
        "country_length": {"column": "country", "value": 2},
        "amount_plausible": {"column": "amount", "min_value": 0, "max_value": 8000},
        "delta_present": {"column": "delta"},
        "delta_plausible": {"column": "delta", "min_value": -50, "max_value": 0},
        "customer_id_present": {"column": "customer_id"},
    }


def test_a_small_sample_makes_no_rules(tmp_path: Path) -> None:
    """Of three rows nothing is concluded but types."""
    few = column("status", rows=3, distinct=3, lengths=(4, 4))
    contract = loaded(tmp_path, draft("shop/orders", profile(few, rows=3), TABLE))
    assert [rule.id for rule in contract.rules] == ["slice_day.required"]


def test_personal_values_are_masked_and_not_quoted(tmp_path: Path) -> None:
    """A masked column's values stand nowhere in the draft, nor in what is printed."""
    rows = [[f"secret{number % 2}@example.org", "+49 30 5550123"] for number in range(100)]
    found = profile_sample(Sample(("mail", "phone"), rows, True))
    drafted = draft("shop/people", found, FILE)
    assert {column.name: column.mask for column in loaded(tmp_path, drafted).columns} == {
        "slice_day": None,
        "mail": Mask.REDACT,
        "phone": Mask.REDACT,
    }
    for text in (drafted.contract, drafted.dag, *drafted.decisions, *map(str, drafted.columns)):
        assert "secret" not in text
        assert "5550123" not in text


def test_too_many_misfits_make_texts(tmp_path: Path) -> None:
    """Columns whose few misfits add up to what the budget hardly bears are taken as text, the worst first."""
    columns = (
        column("a", "bigint", misfits=2, remark="2 of 100 values are no bigint"),
        column("b", "date", misfits=1),
        column("c", "numeric"),
    )
    drafted = draft("shop/orders", profile(*columns), FILE)
    assert [column.type for column in loaded(tmp_path, drafted).columns] == ["date", "text", "date", "numeric"]
    assert any("a: text, for too many rows would go to quarantine: 2 of 100" in told for told in drafted.decisions)


ODD_FIELDS = ("Order ID", "orderId", "ORDER-ID", "2nd", "no", "null", "ctid", "a: b", "{x}", "# y", "'", '"', "ä\nö")
ODD_FIELDS += ("- z", "&anchor", "*star", "!tag", "%", "@", "`", "$slice2", "1", "true", "x" * 80, "日本", "a,b]", "\\")


def test_any_name_and_value_can_be_said(tmp_path: Path) -> None:
    """Fields, values, comments and paths that mean something to YAML or Postgres come back as they were."""
    odd = tuple(
        column(field, values=tuple(sorted(ODD_FIELDS[:12])), comment=f"about {field}\n: it") for field in ODD_FIELDS
    )
    source = FileSource("data/it's: #1 {odd}.csv", FileFormat("csv"))
    drafted = draft("shop/orders", profile(*odd), source)
    assert "" not in drafted.contract.splitlines()  # nothing is broken into lines where it should not
    contract = loaded(tmp_path, drafted)
    assert [column.source_name for column in contract.columns[1:]] == list(ODD_FIELDS)
    assert len({column.name for column in contract.columns}) == len(contract.columns)
    assert contract.columns[1].name == "order_id"
    assert contract.columns[7].name == "ctid_2"
    values = [rule.kwargs["value_set"] for rule in contract.rules if "value_set" in rule.kwargs]
    assert values == [sorted(ODD_FIELDS[:12])] * len(ODD_FIELDS)


def test_same_profile_same_text() -> None:
    """A draft holds nothing of the moment or the machine."""
    assert draft("shop/orders", profile(ID, PLACED), TABLE) == draft("shop/orders", profile(ID, PLACED), TABLE)


def test_names_the_schema_for_editors(tmp_path: Path) -> None:
    """The first line tells an editor where the standard's schema is; a URL's query stays out of the comment."""
    lines = draft("shop/orders", profile(ID), FileSource("https://x.org/a.csv?key=abc", FileFormat("csv"))).contract
    assert lines.startswith("# yaml-language-server: $schema=../odcs-3.2.schema.json\n")
    assert "abc" not in lines


def test_owner_is_told(tmp_path: Path) -> None:
    """The channel stands in the contract and in the runbook."""
    drafted = draft("shop/orders", profile(ID), TABLE, owner="#shop-data")
    assert loaded(tmp_path, drafted).owner == "#shop-data"
    assert "Owner: #shop-data." in drafted.dag


def test_source_without_columns_is_refused() -> None:
    """A table without a column is no source."""
    with pytest.raises(SourceError, match="no column"):
        draft("shop/orders", profile(), TABLE)


LONG = "https://example.org/" + "a-rather-long-folder/" * 6 + "orders-{slice}.csv"
SOURCES = (
    (TABLE, {"conn_id": "shop", "table": "public.orders"}),
    (TableSource("shop", "public.\"it's"), {"conn_id": "shop", "table": "public.\"it's"}),
    (FILE, {"path": "data/orders.csv"}),
    (FileSource('say "so".tsv', FileFormat("csv", CsvFormat("\t"))), {"path": 'say "so".tsv'}),
    (
        FileSource("it's.txt", FileFormat("csv", CsvFormat("\t", "cp1252", True))),
        {
            "path": "it's.txt",
            "format": "csv",
            "delimiter": "\t",
            "encoding": "cp1252",
            "newlines_in_values": True,
        },
    ),
    (FileSource("a\\b'\".json", FileFormat("json", records="a.b")), {"path": "a\\b'\".json", "records": "a.b"}),
    (FileSource("a.json", FileFormat("jsonl")), {"path": "a.json", "format": "jsonl"}),
    (FileSource(LONG, FileFormat("csv")), {"path": LONG}),
    (FileSource("a long name " * 12 + ".csv", FileFormat("csv")), {"path": "a long name " * 12 + ".csv"}),
)


@pytest.mark.parametrize(("source", "arguments"), SOURCES)
def test_dag_says_where_the_source_is_and_is_in_standard_form(source: Source, arguments: dict[str, Any]) -> None:
    """The extract task has just the arguments that are needed; linter and formatter have nothing to say."""
    for owner in (None, "#shop-data"):
        text = draft("shop/orders", profile(ID, PLACED), source, owner=owner).dag
        calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
        extract = next(call for call in calls if "Extract" in ast.unparse(call.func))
        given = {keyword.arg: keyword.value for keyword in extract.keywords}
        found = {name: ast.literal_eval(given[name]) for name in given.keys() - {"task_id", "dataset"}}
        assert found == arguments
        for command in (["check"], ["format", "--diff"]):
            done = subprocess.run(
                [sys.executable, "-m", "ruff", *command, "--no-cache", "--stdin-filename", "dags/shop/orders.py", "-"],
                input=text,
                capture_output=True,
                text=True,
                check=False,
                cwd=ROOT,
            )
            assert done.returncode == 0, done.stdout + done.stderr + json.dumps(text)
