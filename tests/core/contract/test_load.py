"""A broken contract is refused with file, field and what is wrong, all of it at once; a sound one says what it said."""

from __future__ import annotations

import copy
import datetime
import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import yaml

from penstock.core.contract import Budget, Contract, LoadMode, SchemaPolicy, Severity, check_all, load_contract
from penstock.core.errors import ContractError

Document = dict[str, Any]
Edit = Callable[[Document], Any]


def table(document: Document) -> Document:
    """The only table of a document."""
    found: Document = document["schema"][0]
    return found


def column(document: Document, position: int) -> Document:
    """A property by its position: order_id, code, amount, sold_at."""
    found: Document = table(document)["properties"][position]
    return found


def custom(name: str, value: Any) -> Edit:
    """Set one of the table's custom properties."""

    def edit(document: Document) -> None:
        kept = [item for item in table(document)["customProperties"] if item["property"] != name]
        table(document)["customProperties"] = [*kept, {"property": name, "value": value}]

    return edit


def without(name: str) -> Edit:
    """Leave one of the table's custom properties out."""

    def edit(document: Document) -> None:
        items = table(document)["customProperties"]
        table(document)["customProperties"] = [item for item in items if item["property"] != name]

    return edit


def put(position: int, **fields: Any) -> Edit:
    """Set fields of a property."""
    return lambda document: column(document, position).update(fields)


def quality(*items: Document, position: int | None = None) -> Edit:
    """Set the quality of a property, or of the table."""
    return lambda document: (table(document) if position is None else column(document, position)).update(
        quality=list(items)
    )


def gx(expectation: str, name: str | None = None, **kwargs: Any) -> Document:
    """A quality item that holds an expectation."""
    body = {"type": "custom", "engine": "greatExpectations", "implementation": {"type": expectation, "kwargs": kwargs}}
    return body | ({"name": name} if name else {})


def retention(value: Any, unit: str = "d") -> Edit:
    """State how long slices are kept."""
    return lambda document: document.update(
        slaProperties=[{"property": "retention", "value": value, "unit": unit}],
    )


MERGE = custom("loadMode", "merge")
SCD2 = custom("loadMode", "scd2")
NOT_NULL = "expect_column_values_to_not_be_null"
BETWEEN = "expect_column_values_to_be_between"

BROKEN: dict[str, tuple[list[Edit], str]] = {
    # what the standard itself forbids
    "no version": ([lambda d: d.pop("version")], '"version" is a required property'),
    "unknown field": ([lambda d: d.update(colour="red")], "colour"),
    "status is a number": ([lambda d: d.update(status=5)], "status: 5 is not of type"),
    "unknown field of a column": ([put(1, nullable=True)], r"schema\[orders\].properties\[code\]: .*nullable"),
    "rule without engine": (
        [lambda d: column(d, 1)["quality"][0].pop("engine")],
        r"properties\[code\].quality\[code_format\]: .*engine",
    ),
    # names and places
    "no schema": ([lambda d: d.pop("schema")], "schema: a contract describes exactly one table"),
    "two tables": ([lambda d: d["schema"].append(d["schema"][0])], "exactly one table"),
    "no columns": ([lambda d: table(d).update(properties=[])], "exactly one table with its properties"),
    "wrong folder": (
        [lambda d: d.update(domain="other")],
        "schema.name: the dataset is other/orders, so the file must be",
    ),
    "capitals in the table": ([lambda d: table(d).update(name="Orders")], "schema.name: 'Orders' must match"),
    "no domain": ([lambda d: d.pop("domain")], "domain: '' must match"),
    "capitals in a column": ([put(1, name="Code")], r"schema.properties\[Code\]: the name must match"),
    "column as long as a novel": ([put(1, name="c" * 41)], "the name must match"),
    "column twice": ([put(1, name="amount")], "schema.properties: two properties have one name"),
    # types
    "unknown type": ([put(2, physicalType="money")], r"properties\[amount\]: 'money' is not a Postgres type"),
    "sql in a type": ([put(2, physicalType="text); drop table x")], "is not a Postgres type"),
    "too many arguments": ([put(2, physicalType="numeric(8,2,1)")], "has more arguments than numeric takes"),
    "arguments where none fit": ([put(0, physicalType="bigint(8)")], "has more arguments than bigint takes"),
    # load mode
    "no load mode": (
        [without("loadMode")],
        "loadMode: None is not one of append, replace_partition, merge, scd2, snapshot",
    ),
    "unknown load mode": ([custom("loadMode", "replace")], "'replace' is not one of"),
    "load mode is a list": ([custom("loadMode", ["merge"])], "is not one of"),
    "unknown schema policy": (
        [custom("schemaPolicy", "strict")],
        "schemaPolicy: 'strict' is not one of discard, freeze, evolve, quarantine",
    ),
    "no partition": ([without("partitionBy")], "partitionBy: replace_partition needs the column"),
    "partition by text": ([custom("partitionBy", "code")], "partitionBy: must be a date or timestamp column"),
    "partition by nobody": ([custom("partitionBy", "day")], "partitionBy: there is no column 'day'"),
    "partition by a list": ([custom("partitionBy", ["sold_at"])], r"partitionBy: there is no column \['sold_at'\]"),
    "partition may be null": ([put(3, required=False)], r"properties\[sold_at\]: must be `required: true`"),
    "merge without key": (
        [MERGE, without("partitionBy"), custom("cursor", "sold_at"), put(0, primaryKey=False)],
        "schema.properties: merge needs a primaryKey",
    ),
    "merge without cursor": ([MERGE, without("partitionBy")], "cursor: merge needs the column that orders"),
    "merge with partition": (
        [MERGE, custom("cursor", "sold_at")],
        "partitionBy: the table of a merge is not partitioned",
    ),
    "cursor in the key": (
        [MERGE, without("partitionBy"), custom("cursor", "order_id")],
        "cursor: is part of the primaryKey",
    ),
    "cursor may be null": (
        [MERGE, without("partitionBy"), custom("cursor", "amount")],
        r"properties\[amount\]: must be `required: true`",
    ),
    "append without the slice": (
        [custom("loadMode", "append"), without("partitionBy")],
        r"append needs one date or timestamp column with `physicalName: \$slice`",
    ),
    "snapshot that says how it is cut": (
        [custom("loadMode", "snapshot"), put(3, physicalName="$slice")],
        r"partitionBy: of snapshot is the column with `physicalName: \$slice`; leave it out",
    ),
    "snapshot with two slices": (
        [
            custom("loadMode", "snapshot"),
            without("partitionBy"),
            put(3, physicalName="$slice"),
            lambda d: table(d)["properties"].append({"name": "day", "physicalType": "date", "physicalName": "$slice"}),
        ],
        "snapshot needs one date or timestamp column",
    ),
    "append to a slice that may be null": (
        [custom("loadMode", "append"), without("partitionBy"), put(3, physicalName="$slice", required=False)],
        r"properties\[sold_at\]: must be `required: true`",
    ),
    "scd2 without a key": (
        [SCD2, without("partitionBy"), custom("cursor", "sold_at"), put(0, primaryKey=False)],
        "schema.properties: scd2 needs a primaryKey",
    ),
    "scd2 without a cursor": ([SCD2, without("partitionBy")], "cursor: scd2 needs the column that orders versions"),
    "scd2 by a number": (
        [SCD2, without("partitionBy"), custom("cursor", "amount"), put(2, required=True)],
        "cursor: of scd2 must be a date or timestamp",
    ),
    "scd2 over a column of its own": (
        [SCD2, without("partitionBy"), custom("cursor", "sold_at"), put(1, name="valid_to")],
        r"properties\[valid_to\]: scd2 adds a column of this name itself",
    ),
    # deletes
    "tombstone that is no column": ([custom("tombstone", "gone")], "tombstone: there is no column 'gone'"),
    "tombstone that is a list": ([custom("tombstone", ["code"])], r"tombstone: there is no column \['code'\]"),
    "tombstone of text": ([custom("tombstone", "code")], "tombstone: must be a boolean"),
    "deletes without a tombstone": ([custom("deletes", "soft")], "deletes: says nothing without `tombstone`"),
    "deletes in another way": (
        [custom("tombstone", "sold_at"), custom("deletes", "never")],
        "deletes: 'never' is not one of hard, soft",
    ),
    "append that cannot tell what a deletion deletes": (
        [
            *(custom("loadMode", "append"), without("partitionBy"), put(3, physicalName="$slice")),
            custom("tombstone", "sold_at"),
        ],
        "deletes: hard needs, in an append, a primaryKey and a cursor",
    ),
    # reconciliation and retention
    "reconcile by eye": ([custom("reconcile", "eye")], "reconcile: 'eye' is not one of count, checksum"),
    "retention of no length": ([retention(0)], r"slaProperties\[0\]: a retention is a whole number of d, day"),
    "retention in moons": ([retention(3, unit="moon")], "not 3 'moon'"),
    "retention of rows without an age": (
        [MERGE, without("partitionBy"), custom("cursor", "amount"), put(2, required=True), retention(3)],
        "slaProperties: a retention needs a cursor that is a date or timestamp",
    ),
    "retention of history": (
        [SCD2, without("partitionBy"), custom("cursor", "sold_at"), retention(3)],
        r"slaProperties\[0\]: a retention cuts off history",
    ),
    # budget
    "budget in words": ([custom("quarantineBudget", "a few")], "quarantineBudget: 'a few' is neither a share"),
    "budget over all": ([custom("quarantineBudget", "101%")], "'101%' is out of range"),
    "budget below nothing": ([custom("quarantineBudget", -1)], "-1 is out of range"),
    "budget misspelt": ([custom("quarantineBudget", {"shares": "5%"})], "is neither a share"),
    "budget empty": ([custom("quarantineBudget", {})], "is neither a share"),
    "budget null": ([custom("quarantineBudget", None)], "None is neither a share"),
    "budget yes": ([custom("quarantineBudget", value=True)], "True is neither a share"),
    "budget count with a point": ([custom("quarantineBudget", {"count": 1.5})], "is neither a share"),
    # custom properties
    "mask on the table": ([custom("mask", "hash")], "schema.customProperties.mask: is none of loadMode"),
    "unknown custom property": (
        [custom("loadmode", "merge")],
        "customProperties.loadmode: is none of loadMode, cursor",
    ),
    "unknown on a column": (
        [put(1, customProperties=[{"property": "cursor", "value": True}])],
        r"schema.properties\[code\].customProperties.cursor: is none of mask",
    ),
    "custom property twice": (
        [lambda d: table(d)["customProperties"].append({"property": "loadMode", "value": "merge"})],
        "customProperties.loadMode: stands twice",
    ),
    # rules
    "sql rule": (
        [quality({"type": "sql", "query": "SELECT 1 FROM {elsewhere}", "mustBe": 0})],
        r"schema.quality\[0\]: rule query: query has {elsewhere}; known are {object}, {table}",
    ),
    "other engine": (
        [quality({**gx(NOT_NULL, column="code"), "engine": "soda"})],
        "engine 'soda' is not supported; use greatExpectations",
    ),
    "implementation in text": (
        [quality({"type": "custom", "engine": "gx", "implementation": "x"})],
        "implementation needs `type`",
    ),
    "unknown severity": ([quality({**gx(NOT_NULL, column="code"), "severity": "bad"})], "severity 'bad' is not one of"),
    "unknown expectation": (
        [quality(gx("expect_the_best", "best"))],
        "rule best: Great Expectations has no expectation 'expect_the_best'",
    ),
    "rule on no column": ([quality(gx(NOT_NULL, column="colour"))], "there is no column 'colour'"),
    "rule without column": ([quality(gx(NOT_NULL))], f"{NOT_NULL} needs column"),
    "between nothing": ([quality(gx(BETWEEN), position=2)], "needs min_value or max_value"),
    "unknown kwarg": ([quality(gx(BETWEEN, min_value=0, minimum=1), position=2)], "takes no 'minimum'"),
    "mostly in percent": ([quality(gx(NOT_NULL, mostly=95), position=2)], "mostly must be a share from 0 to 1, not 95"),
    "column is a list": ([quality(gx(NOT_NULL, column=["code"]))], "rule .*column"),
    "rule twice": ([quality(gx(NOT_NULL), gx(NOT_NULL), position=2)], "amount.not_be_null: two rules have this name"),
    "rule named like a landing's": ([quality(gx(NOT_NULL, "row.shape"), position=2)], "are the gate's own"),
    "rule named like the gate's": ([quality(gx(NOT_NULL, "amount.cast"), position=2)], "are the gate's own"),
    "library metric elsewhere": (
        [quality({"type": "library", "metric": "nullValues", "mustBe": 0})],
        "metric 'nullValues' belongs in a property's quality",
    ),
}


@pytest.mark.parametrize("name", list(BROKEN))
def test_a_broken_contract_is_refused_with_file_and_field(build: Any, name: str) -> None:
    """The one mistake in an otherwise sound contract is named with its file and field, and what to do next."""
    edits, said = BROKEN[name]
    document = build.edited(build.ORDERS, *edits)
    path = build.folder / "test" / "orders.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    with pytest.raises(ContractError, match=rf"orders\.yaml:\d+: (?s:.)*{said}") as caught:
        load_contract(path)
    assert all(re.match(rf"{re.escape(str(path))}:\d+: ", problem) for problem in caught.value.problems)
    assert str(caught.value).endswith("run `make check`.")


YAMLS = {
    "not yaml": ("a: [1", "the file: is not YAML: .*line 1"),
    "not utf-8": (b"a: \xff", "the file: is not YAML"),
    "empty": ("", "the file: is empty"),
    "only a comment": ("# nothing\n", "the file: is empty"),
    "a list": ("- 1\n- 2\n", 'the file: .* is not of type "object"'),
    "a tag": ("!!python/object/apply:os.system ['true']", "the file: is not YAML: could not determine a constructor"),
    "a date as a key": ("2010-09-20: x\n", "the file: holds what JSON cannot"),
    "a snake that bites its tail": ("a: &a [*a]\n", "the file: holds what JSON cannot"),
    "a key twice": (
        "kind: DataContract\nkind: Other\n",
        "the file: the key 'kind' stands twice in one mapping, first in line 1",
    ),
}


@pytest.mark.parametrize("name", list(YAMLS))
def test_a_file_that_is_no_document_is_refused(tmp_path: Path, name: str) -> None:
    """Whatever the file holds, the answer is a contract error that names the file."""
    body, said = YAMLS[name]
    path = tmp_path / "orders.yaml"
    path.write_bytes(body if isinstance(body, bytes) else body.encode())
    with pytest.raises(ContractError, match=rf"orders\.yaml:\d+: {said}"):
        load_contract(path)


def test_a_missing_file_is_a_contract_error(tmp_path: Path) -> None:
    """A dataset without a contract is told so, by path."""
    with pytest.raises(ContractError, match=r"nowhere\.yaml: the file: does not exist"):
        load_contract(tmp_path / "nowhere.yaml")


def test_a_rule_is_never_lost_to_a_repeated_key(build: Any) -> None:
    """YAML would keep the second `quality` of a column and drop the first without a word: it is refused."""
    path = build.write(build.ORDERS)
    text = path.read_text(encoding="utf-8")
    assert "  - name: code\n" in text
    path.write_text(text.replace("  - name: code\n", "  - name: code\n    quality: []\n"), encoding="utf-8")
    with pytest.raises(ContractError, match="'quality' stands twice"):
        load_contract(path)


def test_all_problems_are_found_in_one_go(build: Any) -> None:
    """Name, type, budget, load mode and rules: one line for each of them, in one error."""
    document = build.edited(
        build.ORDERS,
        custom("quarantineBudget", "lots"),
        custom("partitionBy", "day"),
        custom("mask", "x"),
        put(2, physicalType="money"),
        put(1, name="Code"),
        quality(gx("expect_the_best")),
    )
    with pytest.raises(ContractError) as caught:
        load_contract(build.write(document))
    for part in ("quarantineBudget: ", "partitionBy: ", "mask: ", "'money'", "[Code]", "expect_the_best"):
        assert sum(part in problem for problem in caught.value.problems) == 1, part
    assert len(caught.value.problems) == 6


def test_check_all_reports_every_broken_file(build: Any) -> None:
    """All files below the folder are read; sound ones say nothing, broken ones all they have to say."""
    build.write(build.ORDERS)
    build.write(build.edited(build.PEOPLE, custom("loadMode", "replace")))
    other = build.edited(build.ORDERS, lambda d: table(d).update(name="other"), put(2, physicalType="money"))
    build.write(other)
    (build.folder / "test" / "junk.yml").write_text("a: [", encoding="utf-8")
    problems = check_all(build.folder)
    for part in ("people.yaml", "other.yaml", "junk.yml"):
        assert any(part in problem for problem in problems)
    assert not any("orders.yaml" in problem for problem in problems)


def test_a_column_needs_no_logical_type(build: Any) -> None:
    """A Postgres type alone is enough, with options of it."""

    def edit(document: Any) -> None:
        column(document, 3).pop("logicalType")
        column(document, 3).update(physicalType="timestamptz", logicalTypeOptions={"defaultTimezone": "Asia/Tokyo"})

    sold_at = build.contract(build.ORDERS, edit).columns[3]
    assert (sold_at.type, sold_at.timezone) == ("timestamp with time zone", "Asia/Tokyo")


def test_the_bundled_contracts_are_sound() -> None:
    """Every contract that ships with the project passes, and there are some."""
    assert check_all(Path("include/contracts")) == []
    assert len(list(Path("include/contracts").rglob("*.yaml"))) >= 4


# --- what a sound contract says ----------------------------------------------------------------------------------


def test_a_sound_contract_is_read_in_full(build: Any) -> None:
    """Names, types, key, mode, budget and rules come out as they were written, implied rules first."""
    contract: Contract = build.contract(build.ORDERS, custom("cursor", "sold_at"))
    assert (contract.dataset, contract.version, contract.domain, contract.table) == (
        "test/orders",
        "1.0.0",
        "test",
        "orders",
    )
    assert [(c.name, c.source_name, c.type, c.required) for c in contract.columns] == [
        ("order_id", "order_id", "bigint", True),
        ("code", "code", "text", True),
        ("amount", "amount", "numeric(8,2)", False),
        ("sold_at", "sold_at", "timestamp with time zone", True),
    ]
    assert (contract.key, contract.load_mode, contract.partition_by, contract.cursor) == (
        ("order_id",),
        LoadMode.REPLACE_PARTITION,
        "sold_at",
        "sold_at",
    )
    assert contract.schema_policy is SchemaPolicy.DISCARD
    assert [(rule.id, rule.expectation, rule.severity) for rule in contract.rules] == [
        ("order_id.required", NOT_NULL, Severity.CRITICAL),
        ("code.required", NOT_NULL, Severity.CRITICAL),
        ("sold_at.required", NOT_NULL, Severity.CRITICAL),
        ("code_format", "expect_column_values_to_match_regex", Severity.CRITICAL),
        ("amount_range", BETWEEN, Severity.CRITICAL),
    ]


def test_names_at_the_source_and_descriptions(build: Any) -> None:
    """`physicalName` is the name at the source; descriptions of table and column are kept."""
    contract = build.contract(
        build.ORDERS,
        put(1, physicalName="Kod %s", description="A code."),
        lambda d: table(d).update(description="Orders."),
    )
    assert (contract.column("code").source_name, contract.column("code").description) == ("Kod %s", "A code.")
    assert contract.description == "Orders."


def test_a_key_has_its_stated_order(build: Any) -> None:
    """`primaryKeyPosition` orders the key, and a key of two columns is unique as a whole."""
    contract = build.contract(
        build.ORDERS,
        put(0, primaryKeyPosition=2),
        put(3, primaryKey=True, primaryKeyPosition=1),
    )
    assert contract.key == ("sold_at", "order_id")
    (rule,) = [rule for rule in contract.rules if rule.id == "primary_key"]
    assert (rule.expectation, rule.kwargs) == (
        "expect_compound_columns_to_be_unique",
        {"column_list": ["sold_at", "order_id"]},
    )


def test_a_unique_column_has_its_rule(build: Any) -> None:
    """ODCS' own `unique: true` is judged like a stated rule."""
    contract = build.contract(build.ORDERS, put(1, unique=True))
    assert ("code.unique", "expect_column_values_to_be_unique") in [(r.id, r.expectation) for r in contract.rules]


@pytest.mark.parametrize(
    ("value", "budget"),
    [
        ("5%", Budget(share=Fraction(1, 20))),
        ("0.05", Budget(share=Fraction(1, 20))),
        (0.05, Budget(share=Fraction(1, 20))),
        ("0.1 %", Budget(share=Fraction(1, 1000))),
        (0, Budget(count=0)),
        (25, Budget(count=25)),
        ({"share": "1%", "count": 3}, Budget(Fraction(1, 100), 3)),
    ],
)
def test_budgets(build: Any, value: Any, budget: Budget) -> None:
    """A share in percent or as a fraction, a count, or both."""
    assert build.contract(build.ORDERS, custom("quarantineBudget", value)).budget == budget


def test_without_a_budget_one_row_in_twenty_may_be_bad(build: Any) -> None:
    """Silence about the budget means 5 %."""
    assert build.contract(build.ORDERS, without("quarantineBudget")).budget == Budget(share=Fraction(1, 20))


@pytest.mark.parametrize(
    ("fields", "owner"),
    [
        ({"support": [{"channel": "#shop", "tool": "slack"}], "team": {"name": "shop"}}, "#shop"),
        ({"team": {"name": "shop"}}, "shop"),
        ({"team": [{"username": "a"}]}, None),
        ({}, None),
    ],
)
def test_the_owner_is_whom_to_tell(build: Any, fields: Document, owner: str | None) -> None:
    """The first support channel, else the team's name."""
    assert build.contract(build.ORDERS, lambda d: d.update(fields)).owner == owner


def test_the_hash_changes_with_every_field(build: Any) -> None:
    """Any value that is changed, anywhere in the document, gives another hash."""
    hashes = {build.contract(build.ORDERS).hash}
    edits: list[Edit] = [
        lambda d: d.update(version="1.0.1"),
        lambda d: d.update(status="draft"),
        lambda d: d.update(description={"purpose": "Orders."}),
        lambda d: table(d).update(description="Orders."),
        custom("quarantineBudget", "99%"),
        custom("schemaPolicy", "freeze"),
        put(0, description="Number."),
        put(1, physicalName="kod"),
        put(2, physicalType="numeric(9,2)"),
        put(2, required=True),
        lambda d: column(d, 1)["quality"][0]["implementation"]["kwargs"].update(regex="^[A-Z]"),
        lambda d: column(d, 1)["quality"][0].update(severity="warning"),
        lambda d: table(d)["properties"].reverse(),
    ]
    for edit in edits:
        hashes.add(build.contract(build.ORDERS, edit).hash)
    assert len(hashes) == 1 + len(edits)


def test_the_hash_does_not_change_with_formatting(build: Any) -> None:
    """Comments, the order of keys, quotes and flow style are not part of what a contract says."""
    before = build.contract(build.ORDERS).hash
    path = build.folder / "test" / "orders.yaml"

    def turned(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: turned(value[key]) for key in reversed(list(value))}
        return [turned(item) for item in value] if isinstance(value, list) else value

    for style in (True, False):
        text = yaml.safe_dump(turned(copy.deepcopy(build.ORDERS)), sort_keys=False, default_flow_style=style, width=40)
        path.write_text(f"# a comment\n\n{text}\n# the end\n", encoding="utf-8")
        assert load_contract(path).hash == before


def test_dates_in_yaml_are_text(build: Any) -> None:
    """A bound that YAML takes for a date reaches the rule as the day it says."""
    rule = gx("expect_column_max_to_be_between", "newest", column="sold_at", max_value=datetime.date(2030, 1, 1))
    contract = build.contract(build.ORDERS, quality(rule))
    (found,) = [rule for rule in contract.rules if rule.id == "newest"]
    assert found.kwargs["max_value"] == "2030-01-01"
