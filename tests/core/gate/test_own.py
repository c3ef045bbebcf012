"""Penstock's own types of rules, in a table."""

from __future__ import annotations

from typing import Any

import pytest
from psycopg2.sql import SQL, Identifier

from penstock.core.contract import Rule
from penstock.core.gate.expectations import Context, compile_rule
from penstock.core.gate.plan import TableRule, Verdict, row_verdict, table_verdict
from penstock.core.gate.row_tests import TableTest
from penstock.core.slice import day_slice

TABLE = Identifier("src", "t")
TYPES = {"id": "integer", "x": "text", "at": "timestamp with time zone", "d": "date"}
CONTEXT = Context(TYPES, day_slice("2026-01-01").end)


def judged(bench: Any, expectation: str, **kwargs: Any) -> Verdict:
    """The verdict on src.t."""
    rule = Rule("r", expectation, kwargs)
    test = compile_rule(rule, CONTEXT)
    assert test is not None
    if isinstance(test, TableTest):
        query = SQL("SELECT {} FROM {}").format(test.observed(TABLE), TABLE)
        return table_verdict(TableRule(rule, test), bench.run(query)[0][0])
    ((count, considered),) = bench.run(SQL("SELECT {}, {} FROM {}").format(test.count(TABLE), test.considered, TABLE))
    moved = bench.run(SQL("SELECT 1 FROM {} WHERE {}").format(TABLE, test.breaks(TABLE)))
    assert len(moved) == count
    return row_verdict(rule, count, considered)


@pytest.fixture
def table(bench: Any) -> Any:
    """Five rows, and another dataset with three keys, whose column is called like ours."""
    rows = [(1, "a", "2026-01-01 10:00Z", "2026-01-01"), (2, "", "2026-01-01 20:00Z", "2025-12-31"),
            (9, "N/A", None, None), (None, "a", None, None), (2, None, None, None)]  # fmt: skip
    bench.run("SET TIME ZONE 'UTC'")
    bench.fill("t", "id integer, x text, at timestamptz, d date", rows)
    bench.run("CREATE SCHEMA shop; CREATE TABLE shop.keys (id integer, x text)")
    bench.run("INSERT INTO shop.keys VALUES (1, 'a'), (2, 'b'), (NULL, 'c')")
    return bench


def test_values_exist_in_another_dataset(table: Any) -> None:
    """Values that stand in no row there break the rule; NULL is not looked for; several columns go together."""
    found = judged(table, "penstock_values_exist_in", column="id", dataset="shop/keys", to="id")
    assert (found.unexpected, found.considered) == (1, 4)
    pair = judged(table, "penstock_values_exist_in", column_list=["id", "x"], dataset="shop/keys", to=["id", "x"])
    assert (pair.unexpected, pair.considered) == (2, 3)


@pytest.mark.parametrize(
    ("column", "values", "unexpected"),
    [("x", ["", "N/A"], 2), ("x", [None, ""], 2), ("id", [9, None], 2), ("id", [""], 0), ("x", [9], 0)],
)
def test_missing_values(table: Any, column: str, values: list[Any], unexpected: int) -> None:
    """Values listed as missing break the rule, NULL where it is listed; text and numbers are each taken as such."""
    found = judged(table, "penstock_values_not_missing", column=column, missing_values=values)
    assert (found.unexpected, found.considered) == (unexpected, 5)


@pytest.mark.parametrize(
    ("column", "within", "success", "latest"),
    [
        ("at", "4 hours", True, "2026-01-01 20:00:00+00"),
        ("at", "3.9 hours", False, "2026-01-01 20:00:00+00"),
        ("d", "1 minute", True, "2026-01-01"),
    ],
)
def test_freshness(table: Any, column: str, within: str, success: bool, latest: str) -> None:
    """The latest value is at most so long before the end of the slice; a date stands for its whole day."""
    found = judged(table, "penstock_column_is_fresh", column=column, within=within)
    assert (found.success, found.observed) == (success, latest)


def test_a_column_without_values_is_not_fresh(bench: Any) -> None:
    """Nothing is not new."""
    bench.fill("t", "at timestamptz", [(None,)])
    assert not judged(bench, "penstock_column_is_fresh", column="at", within="1 day").success


@pytest.mark.parametrize(
    ("kwargs", "observed"),
    [
        ({"metric": "nullValues", "column": "id"}, 1),
        ({"metric": "nullValues", "column": "id", "unit": "percent"}, 20),
        ({"metric": "missingValues", "column": "x", "missing_values": [None, "", "N/A"]}, 3),
        ({"metric": "invalidValues", "column": "x", "valid_values": ["a"]}, 2),
        ({"metric": "invalidValues", "column": "x", "pattern": "^[a-z]*$"}, 1),
        ({"metric": "duplicateValues", "column": "id"}, 1),
        ({"metric": "duplicateValues", "column_list": ["id", "x"], "unit": "percent"}, 0),
        ({"metric": "rowCount"}, 5),
    ],
)
def test_metrics(table: Any, kwargs: dict[str, Any], observed: int) -> None:
    """The standard's metrics, in rows and in percent of them, and the threshold decides."""
    assert judged(table, "penstock_metric", mustBe=observed, **kwargs).success
    assert not judged(table, "penstock_metric", mustNotBe=observed, **kwargs).success
    found = judged(table, "penstock_metric", mustBeBetween=[observed - 1, observed + 1], **kwargs)
    assert float(found.observed or "") == observed


def test_queries(table: Any) -> None:
    """One value of a query over the slice, a number or a truth value, held against a threshold."""
    query = "SELECT count(*) FROM {object} WHERE ${column} IS NOT NULL -- the filled ones"
    assert judged(table, "penstock_query", query=query, column="x", mustBe=4).observed == "4"
    assert judged(table, "penstock_query", query="SELECT bool_and(id < 10) FROM ${table};", mustBe=True).success


def test_conditions_and_mostly(table: Any) -> None:
    """Own rules about rows take a `row_condition` and a `mostly`, as those of Great Expectations do."""
    some = {"row_condition": 'col("x") == "a"', "condition_parser": "great_expectations"}
    found = judged(table, "penstock_values_exist_in", column="id", dataset="shop/keys", to="id", mostly=0.5, **some)
    assert (found.success, found.unexpected, found.considered) == (True, 0, 1)
