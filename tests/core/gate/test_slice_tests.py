"""Expectations about the slice: what is told of the observed value; the differential test holds them against GX."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from psycopg2.sql import SQL, Identifier

from penstock.core.contract import Rule
from penstock.core.gate.expectations import compile_rule
from penstock.core.gate.plan import TableRule, Verdict, table_verdict
from penstock.core.gate.row_tests import TableTest
from penstock.core.gate.slice_tests import other_table

TABLE = Identifier("src", "t")
COMMON, DISTINCT = "expect_column_most_common_value_to_be_in_set", "expect_column_distinct_values_to"
HALVES = {"quantiles": [0.5, 1], "value_ranges": [[2, 2], [None, 6]]}


def judged(bench: Any, expectation: str, **kwargs: Any) -> Verdict:
    """The verdict on a table."""
    rule = Rule("r", expectation, kwargs)
    test = compile_rule(rule)
    assert isinstance(test, TableTest)
    row = bench.run(SQL("SELECT count(*), {} FROM {}").format(test.observed(TABLE), TABLE))[0]
    return table_verdict(TableRule(rule, test), row[1])


@pytest.fixture
def table(bench: Any) -> Any:
    """Six rows."""
    bench.fill("t", "n integer, x text", [(1, "a"), (1, "b"), (2, "a"), (4, "b"), (7, "c"), (None, None)])
    return bench


@pytest.mark.parametrize(
    ("expectation", "kwargs", "success", "observed"),
    [
        ("expect_column_median_to_be_between", {"column": "n", "max_value": 2}, True, "2"),
        ("expect_column_quantile_values_to_be_between", {"column": "n", "quantile_ranges": HALVES}, False, "2, 7"),
        (COMMON, {"column": "x", "value_set": ["a"]}, False, "a, b"),
        (COMMON, {"column": "x", "value_set": ["a"], "ties_okay": True}, True, "a, b"),
        (f"{DISTINCT}_be_in_set", {"column": "x", "value_set": ["a", "b", "d"]}, False, "1 unexpected"),
        (f"{DISTINCT}_contain_set", {"column": "x", "value_set": ["a", "d"]}, False, "1 missing"),
        (f"{DISTINCT}_equal_set", {"column": "x", "value_set": ["a", "b", "c"]}, True, "0 unexpected, 0 missing"),
        ("expect_table_row_count_to_equal_other_table", {"other_table_name": "src/t"}, True, '{"self": 6, "other": 6}'),
    ],
)  # fmt: skip
def test_observed_values(table: Any, expectation: str, kwargs: Any, success: bool, observed: str) -> None:
    """What is observed is told in words a person can use."""
    verdict = judged(table, expectation, **kwargs)
    assert (verdict.success, verdict.observed) == (success, observed)


@pytest.mark.parametrize("rows", [[], [(None, None)]], ids=["no rows", "only NULL"])
def test_nothing_to_observe_breaks_the_rule(bench: Any, rows: list[Any]) -> None:
    """Without a value there is no median, no quantile and no most common value."""
    bench.fill("t", "n integer, x text", rows)
    ranges = {"quantiles": [0.5], "value_ranges": [[None, None]]}
    for verdict in (
        judged(bench, "expect_column_median_to_be_between", column="n", min_value=0),
        judged(bench, "expect_column_quantile_values_to_be_between", column="n", quantile_ranges=ranges),
        judged(bench, COMMON, column="x", value_set=["a"]),
    ):
        assert (verdict.success, verdict.observed) == (False, None)


def test_the_median_of_an_even_number_is_between_the_middle_two(bench: Any) -> None:
    """It is their mean, of decimals too."""
    bench.fill("t", "n numeric(8,2)", [(Decimal("0.10"),), (Decimal("0.20"),)])
    assert judged(bench, "expect_column_median_to_be_between", column="n", min_value=0.15, max_value=0.15).success


def test_the_other_table() -> None:
    """A dataset, a table with its schema, or a bare name."""
    assert other_table("shop/orders") == other_table("shop.orders") == Identifier("shop", "orders")
    assert other_table("orders") == Identifier("orders")
