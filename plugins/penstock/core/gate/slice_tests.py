"""What the expectations about a slice as a whole ask, in SQL and of the value that comes back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final

from psycopg2.sql import SQL, Composable, Composed, Identifier, Literal

from penstock.core.gate.row_tests import TRUE, TableTest

_RELATIVE, _ABSOLUTE = 1e-4, 1e-8
"""How near a quantile must be to its bound to count as within it, as in Great Expectations."""
_MIDDLE: Final = "0.5, 0.50000000011641532"  # 0.5 + 2^-33: the middle value, and the next one where rows are even


def _aggregate(template: str) -> Callable[[Mapping[str, Any]], TableTest]:
    """Make a compiler for an expectation that bounds an aggregate; `template` speaks of `{column}` and `{table}`."""

    def compile_(kwargs: Mapping[str, Any]) -> TableTest:
        column: Composable = Identifier(kwargs["column"]) if "column" in kwargs else TRUE

        def observed(table: Composable) -> Composable:
            return SQL(template).format(column=column, table=table)

        return TableTest(
            observed,
            kwargs.get("min_value"),
            kwargs.get("max_value"),
            bool(kwargs.get("strict_min")),
            bool(kwargs.get("strict_max")),
        )

    return compile_


def _row_count_equal(kwargs: Mapping[str, Any]) -> TableTest:
    return TableTest(lambda _: SQL("count(*)"), kwargs["value"], kwargs["value"])


def other_table(name: str) -> Identifier:
    """Return the table that `<domain>/<table>`, `<schema>.<table>` or a bare name stands for."""
    return Identifier(*name.replace("/", ".").split("."))


def _row_count_of_other(kwargs: Mapping[str, Any]) -> TableTest:
    other = other_table(kwargs["other_table_name"])

    def observed(table: Composable) -> Composed:
        counts = "jsonb_build_object('self', (SELECT count(*) FROM {}), 'other', (SELECT count(*) FROM {}))"
        return SQL(counts).format(table, other)

    return TableTest(
        observed,
        holds=lambda counts: bool(counts["self"] == counts["other"]),
        shown=lambda counts: f'{{"self": {counts["self"]}, "other": {counts["other"]}}}',
    )


def _within(value: Any, low: float | None, high: float | None) -> bool:
    """Tell whether a quantile is within its bounds, or as near as makes no difference."""
    found = float(value)
    least, most = (float("-inf") if low is None else low), (float("inf") if high is None else high)
    near = (abs(found - bound) <= _ABSOLUTE + _RELATIVE * abs(bound) for bound in (low, high) if bound is not None)
    return least <= found <= most or any(near)


def _quantiles(kwargs: Mapping[str, Any]) -> TableTest:
    wanted, ranges = kwargs["quantile_ranges"]["quantiles"], kwargs["quantile_ranges"]["value_ranges"]
    column, shares = Identifier(kwargs["column"]), Literal([float(share) for share in wanted])

    def observed(_: Composable) -> Composed:
        return SQL("percentile_disc({}::float8[]) WITHIN GROUP (ORDER BY {})").format(shares, column)

    return TableTest(
        observed,
        holds=lambda found: all(_within(value, low, high) for value, (low, high) in zip(found, ranges, strict=True)),
        shown=lambda found: ", ".join(str(value) for value in found),
    )


def _median(kwargs: Mapping[str, Any]) -> TableTest:
    bounds = _aggregate("")(kwargs)
    column = Identifier(kwargs["column"])

    def observed(_: Composable) -> Composed:
        middle = "percentile_disc(ARRAY[{}]::float8[]) WITHIN GROUP (ORDER BY {})"
        return SQL(middle).format(SQL(_MIDDLE), column)

    return TableTest(observed, bounds.low, bounds.high, bounds.strict_low, bounds.strict_high, value_of=_mean_of_two)


def _mean_of_two(middle: list[Any]) -> Any:
    low, high = middle
    if isinstance(low, int | Decimal):
        return low if low == high else float(low + high) / 2.0
    return (low + high) / 2.0


_TIES: Final = (
    "(SELECT jsonb_build_object('ties', count(*), 'expected', count(*) FILTER (WHERE value IN ({values})),"
    " 'values', coalesce(jsonb_agg(value ORDER BY value) FILTER (WHERE number <= 20), '[]'))"
    " FROM (SELECT value, n, max(n) OVER () AS most, row_number() OVER (ORDER BY n DESC, value) AS number"
    " FROM (SELECT {column} AS value, count(*) AS n FROM {table} WHERE {column} IS NOT NULL GROUP BY 1) AS c) AS r"
    " WHERE n = most)"
)


def _set_of(kwargs: Mapping[str, Any]) -> Composed:
    return SQL(", ").join(Literal(value) for value in kwargs["value_set"] if value is not None)


def _most_common(kwargs: Mapping[str, Any]) -> TableTest:
    values, ties_okay = _set_of(kwargs), bool(kwargs.get("ties_okay"))

    def holds(found: Mapping[str, Any]) -> bool:
        return found["expected"] > 0 and (ties_okay or found["ties"] == 1)

    def shown(found: Mapping[str, Any]) -> str | None:
        if not found["ties"]:
            return None
        more = found["ties"] - len(found["values"])
        return ", ".join(map(str, found["values"])) + (f" and {more} more" if more else "")

    column = Identifier(kwargs["column"])
    return TableTest(
        lambda table: SQL(_TIES).format(column=column, table=table, values=values), holds=holds, shown=shown
    )


_NOT_IN_SET: Final = (
    "(SELECT count(DISTINCT {column}) FROM {table} WHERE {column} IS NOT NULL AND {column} NOT IN ({values}))"
)
_IN_SET: Final = "(SELECT count(DISTINCT {column}) FROM {table} WHERE {column} IN ({values}))"


def _distinct(*, unexpected: bool, missing: bool) -> Callable[[Mapping[str, Any]], TableTest]:
    """Make a compiler for the expectations about the set of a column's values.

    Args:
        unexpected: Whether no value may be outside the set.
        missing: Whether every value of the set must be there.
    """

    def compile_(kwargs: Mapping[str, Any]) -> TableTest:
        column, values = Identifier(kwargs["column"]), _set_of(kwargs)
        wanted = len(set(kwargs["value_set"]))

        def observed(table: Composable) -> Composed:
            parts = [_NOT_IN_SET] * unexpected + [f"{wanted} - {_IN_SET}"] * missing
            counts = SQL(", ").join(SQL(part).format(column=column, table=table, values=values) for part in parts)
            return SQL("ARRAY[{}]").format(counts)

        words = ["unexpected"] * unexpected + ["missing"] * missing
        return TableTest(
            observed,
            holds=lambda counts: not any(counts),
            shown=lambda counts: ", ".join(f"{n} {word}" for n, word in zip(counts, words, strict=True)),
        )

    return compile_


_DISTINCT: Final = "(SELECT count(*) FROM (SELECT DISTINCT {column} FROM {table} WHERE {column} IS NOT NULL) AS d)"
COMPILERS: Final[Mapping[str, Callable[[Mapping[str, Any]], TableTest]]] = {
    "expect_table_row_count_to_equal": _row_count_equal,
    "expect_table_row_count_to_be_between": _aggregate("count(*)"),
    "expect_table_row_count_to_equal_other_table": _row_count_of_other,
    "expect_column_min_to_be_between": _aggregate("min({column})"),
    "expect_column_max_to_be_between": _aggregate("max({column})"),
    "expect_column_mean_to_be_between": _aggregate("avg(1.0 * {column})"),  # 1.0 * gives the digits that GX gets
    "expect_column_median_to_be_between": _median,
    "expect_column_sum_to_be_between": _aggregate("sum({column})"),
    "expect_column_stdev_to_be_between": _aggregate("stddev_samp({column})"),
    "expect_column_quantile_values_to_be_between": _quantiles,
    "expect_column_most_common_value_to_be_in_set": _most_common,
    "expect_column_distinct_values_to_be_in_set": _distinct(unexpected=True, missing=False),
    "expect_column_distinct_values_to_contain_set": _distinct(unexpected=False, missing=True),
    "expect_column_distinct_values_to_equal_set": _distinct(unexpected=True, missing=True),
    "expect_column_unique_value_count_to_be_between": _aggregate(_DISTINCT),
    "expect_column_proportion_of_unique_values_to_be_between": _aggregate(
        "coalesce(" + _DISTINCT + "::float8 / nullif(count({column}), 0), 0)"
    ),
    "expect_column_proportion_of_non_null_values_to_be_between": _aggregate(
        "coalesce(count({column})::float8 / nullif(count(*), 0), 0)"
    ),
}
"""The test that each of these types compiles to."""
