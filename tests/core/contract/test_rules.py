"""ODCS quality items become Great Expectations' expectations, or an error that says why not."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.core.contract import Rule, Severity
from penstock.core.contract.rules import parse_relationships, parse_rule

NOT_NULL = "expect_column_values_to_not_be_null"
UNIQUE = "expect_column_values_to_be_unique"


def custom(type_: str = NOT_NULL, **fields: Any) -> dict[str, Any]:
    """A custom item."""
    kwargs = fields.pop("kwargs", {})
    return {
        "type": "custom",
        "engine": "greatExpectations",
        "implementation": {"type": type_, "kwargs": kwargs},
    } | fields


LIBRARY = [
    ({"metric": "nullValues", "mustBe": 0}, "c", NOT_NULL, {"column": "c"}),
    ({"metric": "duplicateValues", "mustBe": 0}, "c", UNIQUE, {"column": "c"}),
    (
        {"metric": "duplicateValues", "mustBe": 0, "arguments": {"properties": ["a", "b"]}},
        None,
        "expect_compound_columns_to_be_unique",
        {"column_list": ["a", "b"]},
    ),
    (
        {"metric": "invalidValues", "mustBe": 0, "arguments": {"validValues": ["x"]}},
        "c",
        "expect_column_values_to_be_in_set",
        {"column": "c", "value_set": ["x"]},
    ),
    (
        {"metric": "invalidValues", "mustBe": 0, "arguments": {"pattern": "^x$"}},
        "c",
        "expect_column_values_to_match_regex",
        {"column": "c", "regex": "^x$"},
    ),
    ({"metric": "rowCount", "mustBe": 5}, None, "expect_table_row_count_to_equal", {"value": 5}),
    (
        {"metric": "rowCount", "mustBeGreaterThan": 0, "mustBeLessThan": 10},
        None,
        "expect_table_row_count_to_be_between",
        {"min_value": 1, "max_value": 9},
    ),
    (
        {"metric": "rowCount", "mustBeGreaterOrEqualTo": 1, "mustBeLessOrEqualTo": 9},
        None,
        "expect_table_row_count_to_be_between",
        {"min_value": 1, "max_value": 9},
    ),
    (
        {"metric": "rowCount", "mustBeBetween": [1, 9]},
        None,
        "expect_table_row_count_to_be_between",
        {"min_value": 1, "max_value": 9},
    ),
]


LIBRARY += [
    ({"metric": "rowCount", "mustNotBe": 5}, None, "penstock_metric", {"metric": "rowCount", "mustNotBe": 5}),
    (
        {"metric": "missingValues", "mustBe": 0, "arguments": {"missingValues": [None, ""]}},
        "c",
        "penstock_values_not_missing",
        {"column": "c", "missing_values": [None, ""]},
    ),
    (
        {"metric": "nullValues", "mustBeLessThan": 1, "unit": "percent"},
        "c",
        "penstock_metric",
        {"metric": "nullValues", "column": "c", "unit": "percent", "mustBeLessThan": 1},
    ),
    (
        {"metric": "invalidValues", "mustBeLessThan": 5, "arguments": {"validValues": ["kg"]}},
        "c",
        "penstock_metric",
        {"metric": "invalidValues", "column": "c", "valid_values": ["kg"], "unit": "rows", "mustBeLessThan": 5},
    ),
    (
        {"metric": "duplicateValues", "mustBeLessOrEqualTo": 2, "arguments": {"properties": ["a", "b"]}},
        None,
        "penstock_metric",
        {"metric": "duplicateValues", "column_list": ["a", "b"], "unit": "rows", "mustBeLessOrEqualTo": 2},
    ),
]


@pytest.mark.parametrize(("item", "column", "expectation", "kwargs"), LIBRARY)
def test_library_rules_are_mapped(item: Any, column: str | None, expectation: str, kwargs: Any) -> None:
    """Each supported metric of the standard, with or without `type: library`, is one expectation."""
    for stated in (item, {**item, "type": "library"}):
        rule = parse_rule(stated, column)
        assert rule is not None
        assert (rule.expectation, rule.kwargs) == (expectation, kwargs)


@pytest.mark.parametrize(
    ("item", "column", "said"),
    [
        ({"metric": "nullValues"}, "c", "needs an operator: one of mustBe, mustNotBe"),
        ({"metric": "nullValues", "mustBe": 0, "unit": "bytes"}, "c", "unit 'bytes' is not supported"),
        ({"metric": "rowCount", "mustBe": 0, "unit": "percent"}, "c", "counted in rows, not in percent"),
        ({"metric": "nullValues", "mustBe": 0}, None, "belongs in a property's quality"),
        ({"metric": "duplicateValues", "mustBe": 0}, None, "belongs in a property's quality"),
        ({"metric": "invalidValues", "mustBe": 0}, "c", "needs `arguments`"),
        ({"metric": "rowCount"}, None, "needs an operator"),
        ({"metric": "missingValues", "mustBe": 0}, "c", "missingValues needs `arguments`"),
        ({"metric": "freshness", "mustBe": 0}, "c", "metric 'freshness' is not supported; known are"),
        ({}, "c", "metric 'None' is not supported"),
        ({"type": "sql", "query": "SELECT 1"}, None, "needs an operator"),
        (custom(engine="soda"), "c", "engine 'soda' is not supported"),
        (custom(implementation="x"), "c", "implementation needs `type`"),
        (custom(implementation={"kwargs": {}}), "c", "implementation needs `type`"),
        (custom(severity="fatal"), "c", "severity 'fatal' is not one of critical, warning, info"),
    ],
)
def test_what_cannot_be_judged_is_refused(item: Any, column: str | None, said: str) -> None:
    """No item that asks for something is passed over: it is an error that says what is supported."""
    with pytest.raises(ValueError, match=said):
        parse_rule(item, column)


def test_a_metric_against_a_threshold_is_named_after_the_metric() -> None:
    """Metric and column make the name, unless the item has one."""
    item = {"metric": "nullValues", "mustBeLessThan": 1}
    found = [parse_rule(item, "c"), parse_rule({**item, "name": "few"}, "c")]
    assert [rule.id for rule in found if rule] == ["c.nullValues", "few"]


def test_sql_is_a_rule_about_the_slice() -> None:
    """A query of `type: sql` keeps its operators, and its property as the column."""
    item = {"type": "sql", "query": "SELECT count(*) FROM {object} WHERE {property} > 1", "mustBeLessThan": 5}
    rule = parse_rule(item, "c")
    assert rule is not None
    assert rule.expectation == "penstock_query"
    assert rule.kwargs == {"query": item["query"], "mustBeLessThan": 5, "column": "c"}


def test_relationships_are_rules() -> None:
    """A foreign key, of one column or of several, to the same domain or another, says where the values stand."""
    exist = "penstock_values_exist_in"
    (short,) = parse_relationships({"relationships": [{"to": "customers.id"}]}, "customer_id", "shop")
    assert short == Rule(
        "customer_id.in_customers", exist, {"column": "customer_id", "to": "id", "dataset": "shop/customers"}
    )
    severity = [{"property": "severity", "value": "warning"}]
    item = {"from": ["orders.a", "orders.b"], "to": ["crm.keys.x", "crm.keys.y"], "customProperties": severity}
    (several,) = parse_relationships({"relationships": [item]}, None, "shop")
    kwargs = {"column_list": ["a", "b"], "to": ["x", "y"], "dataset": "crm/keys"}
    assert several == Rule("a_b.in_keys", exist, kwargs, Severity.WARNING)
    for wrong in ({"to": "schema/x/properties/y"}, {"to": ["a.x", "b.y"]}):
        with pytest.raises(ValueError, match="must be table"):
            parse_relationships({"relationships": [wrong]}, "c", "shop")


def test_prose_is_no_rule() -> None:
    """`type: text` is for people."""
    assert parse_rule({"type": "text", "description": "Handle with care."}, None) is None


@pytest.mark.parametrize("engine", ["greatExpectations", "great-expectations", "great_expectations", "GX"])
def test_the_engine_has_many_spellings(engine: str) -> None:
    """The standard does not fix how the engine is written."""
    assert parse_rule(custom(engine=engine), "c") == Rule("c.not_be_null", NOT_NULL, {"column": "c"})


@pytest.mark.parametrize(
    ("stated", "severity"),
    [
        (None, Severity.CRITICAL),
        ("critical", Severity.CRITICAL),
        ("error", Severity.CRITICAL),
        ("Warning", Severity.WARNING),
        ("info", Severity.INFO),
    ],
)
def test_severities(stated: str | None, severity: Severity) -> None:
    """Without a severity a rule is critical; the standard's own `error` means the same."""
    rule = parse_rule(custom() | ({"severity": stated} if stated else {}), "c")
    assert rule is not None
    assert rule.severity is severity


def test_a_rule_belongs_to_its_column() -> None:
    """The property an item stands in is its column, unless it names one, or is about the table."""
    between = "expect_table_row_count_to_be_between"
    found = [
        parse_rule(custom(), "c"),
        parse_rule(custom(kwargs={"column": "d"}), "c"),
        parse_rule(custom(between, kwargs={"min_value": 1}), "c"),
    ]
    assert [rule.kwargs for rule in found if rule] == [{"column": "c"}, {"column": "d"}, {"min_value": 1}]


@pytest.mark.parametrize(
    ("item", "id_"),
    [
        (custom(name="my rule"), "my rule"),
        (custom(), "c.not_be_null"),
        (custom("expect_column_value_lengths_to_equal", kwargs={"value": 3}), "c.lengths_to_equal"),
        (custom("expect_column_max_to_be_between", kwargs={"max_value": 3}), "c.max_to_be_between"),
        (custom("expect_table_row_count_to_equal", kwargs={"value": 3}), "row_count_to_equal"),
    ],
)
def test_every_rule_has_a_name(item: Any, id_: str) -> None:
    """A rule without a name is called after its column and what it asks."""
    rule = parse_rule(item, "c")
    assert rule is not None
    assert rule.id == id_
