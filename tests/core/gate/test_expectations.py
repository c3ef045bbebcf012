"""The registry of compiled expectations: safe with any name and value, and clear about what it leaves to GX.

That each entry counts what Great Expectations counts is the differential test's claim.
"""

from __future__ import annotations

from typing import Any

import pytest
from psycopg2.sql import SQL, Identifier

from penstock.core.contract import Rule
from penstock.core.gate.covered import COVERED
from penstock.core.gate.expectations import compile_rule, mostly_of
from penstock.core.gate.row_tests import Duplicate, Predicate, TableTest

ODD = 'Od"d %s {0} col; --'
TABLE = Identifier("src", 'Ta"ble %')
NASTY = ["it's", '"quoted"', "100%", "%s %(x)s", "{} {0}", "back\\slash", "'; DROP TABLE src.x; --", ""]


def kwargs_of(expectation: str) -> dict[str, Any]:
    """Sound kwargs for a covered expectation over the text columns ODD and `b` and the number `n`."""
    covered = COVERED[expectation]
    numeric = any(word in expectation for word in ("mean", "sum", "stdev", "z_scores", "outliers", "quantile", "fresh"))
    values: dict[str, Any] = {
        "column": "n" if numeric or ("between" in expectation and "length" not in expectation) else ODD,
        "column_A": ODD,
        "column_B": "b",
        "column_list": ["n", "n2"] if "sum" in expectation else [ODD, "b"],
        "value_set": NASTY,
        "regex": "^[a-z%'\"{}]+\\\\",
        "like_pattern": "a%'_",
        "regex_list": ["%", "'", "{}"],
        "like_pattern_list": ["%a", "'"],
        "value": 3,
        "sum_total": 3,
        "min_value": 0,
        "value_pairs_set": [[nasty, "b"] for nasty in NASTY],
        "threshold": 1,
        "double_sided": True,
        "quantile_ranges": {"quantiles": [0.5], "value_ranges": [[0, 1]]},
        "type_": "O'Type",
        "type_list": ["O'Type"],
        "strftime_format": "it's {} 100%% %Y",
        "other_table_name": "src." + TABLE.strings[1],
        "unexpected_rows_query": "SELECT * FROM {batch} WHERE b LIKE '100%'",
        "dataset": "src/" + TABLE.strings[1],
        "to": "b",
        "missing_values": NASTY,
        "within": "1 hour",
        "metric": "nullValues",
        "mustBe": 0,
        "query": "SELECT count(*) FROM {object} WHERE b LIKE '100%'",
    }
    if expectation == "penstock_column_is_fresh":
        values["column"] = "at"
    if expectation == "penstock_metric":
        return {"metric": "missingValues", "column": ODD, "missing_values": NASTY, "mustBe": 0}
    one_of = covered.one_of[:1] if not expectation.startswith("penstock_query") else ("mustBe",)
    return {key: values[key] for key in [*covered.needs, *one_of]}


@pytest.fixture
def odd_table(bench: Any) -> Any:
    """A table whose names are as bad as names can be, with a value per row that is as bad as values can be."""
    quoted = '"Ta""ble %%"'
    column = '"' + ODD.replace('"', '""').replace("%", "%%") + '"'
    bench.run(f"CREATE TABLE src.{quoted} ({column} text, b text, n integer, n2 integer, at timestamptz)", ())
    for number, value in enumerate([*NASTY, None]):
        bench.run(f"INSERT INTO src.{quoted} VALUES (%s, %s, %s, 1, now())", (value, value, number))
    return bench


@pytest.mark.parametrize("expectation", list(COVERED))
def test_names_and_values_are_never_sql(odd_table: Any, expectation: str) -> None:
    """Each covered expectation runs over names with quotes, percent signs and braces, and literals with quotes."""
    test = compile_rule(Rule("r", expectation, kwargs_of(expectation)))
    assert test is not None
    if isinstance(test, TableTest):
        odd_table.run(SQL("SELECT {} FROM {}").format(test.observed(TABLE), TABLE))
        return
    (counts,) = odd_table.run(SQL("SELECT {}, {} FROM {}").format(test.count(TABLE), test.considered, TABLE))
    rows = odd_table.run(SQL("SELECT 1 FROM {} WHERE {}").format(TABLE, test.breaks(TABLE)))
    assert counts[0] == len(rows), "the rows that break a rule are those that were counted"
    assert counts[1] <= len(NASTY) + 1


def test_a_set_holds_its_values_and_no_others(odd_table: Any) -> None:
    """Values with quotes, percent signs and backslashes are found in the set they are in."""
    for expectation, broken in (("in_set", 0), ("not_be_in_set", len(NASTY))):
        name = "expect_column_values_to_" + ("be_in_set" if expectation == "in_set" else expectation)
        test = compile_rule(Rule("r", name, {"column": ODD, "value_set": NASTY}))
        assert isinstance(test, Predicate)
        assert odd_table.one(SQL("SELECT {} FROM {}").format(test.count(TABLE), TABLE)) == broken


def test_duplicates_are_all_rows_of_a_group(odd_table: Any) -> None:
    """Of three equal rows, all three break uniqueness; rows with a NULL never do."""
    odd_table.run("INSERT INTO src.\"Ta\"\"ble %\" (b) VALUES ('x'), ('x'), ('x'), (NULL), (NULL)")
    test = compile_rule(Rule("r", "expect_column_values_to_be_unique", {"column": "b"}))
    assert isinstance(test, Duplicate)
    assert odd_table.one(SQL("SELECT {} FROM {} LIMIT 1").format(test.count(TABLE), TABLE)) == 3


@pytest.mark.parametrize("extra", [{"windows": []}, {"novel": 1}])
def test_what_is_not_understood_is_left_to_gx(extra: dict[str, Any]) -> None:
    """A rule with a kwarg that the compiled form would ignore is not compiled."""
    kwargs = {"column": "n", "min_value": 0}
    assert compile_rule(Rule("r", "expect_column_values_to_be_between", kwargs)) is not None
    assert compile_rule(Rule("r", "expect_column_values_to_be_between", kwargs | extra)) is None


def test_what_changes_nothing_is_ignored() -> None:
    """`meta`, `notes` and the like say nothing about rows."""
    kwargs = {"column": "n", "meta": {"a": 1}, "notes": "x", "description": "y", "mostly": 0.5}
    found = Rule("r", "expect_column_values_to_not_be_null", kwargs)
    assert compile_rule(found) is not None
    assert mostly_of(found) == 0.5
    assert mostly_of(Rule("r", "expect_column_values_to_not_be_null", {"column": "n"})) == 1


def test_an_unknown_expectation_is_left_to_gx() -> None:
    """What the registry lacks is not guessed."""
    assert compile_rule(Rule("r", "expect_column_kl_divergence_to_be_less_than", {"column": "n"})) is None
