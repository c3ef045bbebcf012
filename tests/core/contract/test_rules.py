"""ODCS quality items become Great Expectations' expectations, or an error that says why not."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.core.contract import Rule, Severity
from penstock.core.contract.rules import parse_rule

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
        ({"metric": "nullValues", "mustBe": 1}, "c", "supported with `mustBe: 0` only"),
        ({"metric": "nullValues", "mustBeLessThan": 5, "unit": "percent"}, "c", "`mustBe: 0` only"),
        ({"metric": "nullValues", "mustBe": 0}, None, "belongs in a property's quality"),
        ({"metric": "duplicateValues", "mustBe": 0}, None, "belongs in a property's quality"),
        ({"metric": "invalidValues", "mustBe": 0}, "c", "needs `arguments`"),
        ({"metric": "rowCount"}, None, "needs an operator"),
        ({"metric": "missingValues", "mustBe": 0}, "c", "metric 'missingValues' is not supported; known are"),
        ({}, "c", "metric 'None' is not supported"),
        ({"type": "sql", "query": "SELECT 1"}, None, "type 'sql' is not supported"),
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
