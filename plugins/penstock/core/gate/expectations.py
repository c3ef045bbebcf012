"""What each covered Great Expectations expectation asks, in SQL.

Great Expectations is the authority: `tests/core/gate/test_differential.py` holds every entry of this registry to the
verdict and the unexpected count that GX itself finds on the same table. Two rules of GX matter throughout:
a NULL never breaks a row-level expectation (other than the NULL ones, and the equality of two columns), and
`mostly` is a share of the rows that an expectation considers (for columns: the non-NULL ones).

Source: great-expectations 1.24, `great_expectations/expectations/core` and `…/metrics`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from psycopg2.sql import SQL, Composable, Composed, Identifier, Literal

from penstock.core.gate import own, slice_tests
from penstock.core.gate.conditions import OPERATORS, Compared, Condition, Nullity, read_condition
from penstock.core.gate.covered import COMMON_KWARGS, CONDITION_KWARGS, COVERED
from penstock.core.gate.own import Context
from penstock.core.gate.row_tests import (
    ALL_ROWS,
    TRUE,
    Duplicate,
    Predicate,
    Selected,
    TableTest,
    Test,
    count_where,
    filled,
    filled_rows,
)
from penstock.core.gate.strftime import read_strftime

if TYPE_CHECKING:  # at run time the contract imports this module, not the other way round
    from penstock.core.contract.model import Rule

__all__ = ["COMPILERS", "Context", "compile_rule", "mostly_of"]


def _of_column(kwargs: Mapping[str, Any], broken: Composable) -> Predicate:
    """Return the test of a column's values, of which the NULL ones are not looked at."""
    return Predicate(broken, filled_rows(kwargs["column"]), considers=filled(kwargs["column"]))


def _of_rows(broken: Composable, considers: Composable) -> Predicate:
    return Predicate(SQL("({} AND {})").format(broken, considers), count_where(considers), considers=considers)


def _column_test(template: str, **values: str) -> Callable[[Mapping[str, Any]], Predicate]:
    """Make a compiler for `template`, which speaks of `{column}` and of literals taken from the kwargs."""

    def compile_(kwargs: Mapping[str, Any]) -> Predicate:
        literals = {name: Literal(kwargs[key]) for name, key in values.items()}
        broken = SQL(template).format(column=Identifier(kwargs["column"]), **literals)
        return _of_column(kwargs, broken)

    return compile_


def _any(parts: list[Composed], joiner: str = " OR ") -> Composed:
    return SQL("({})").format(SQL(joiner).join(parts))


def _bounds(value: Composable, kwargs: Mapping[str, Any]) -> Composed:
    """Return the condition that a value lies outside min_value/max_value."""
    outside = []
    if kwargs.get("min_value") is not None:
        template = "{} <= {}" if kwargs.get("strict_min") else "{} < {}"
        outside.append(SQL(template).format(value, Literal(kwargs["min_value"])))
    if kwargs.get("max_value") is not None:
        template = "{} >= {}" if kwargs.get("strict_max") else "{} > {}"
        outside.append(SQL(template).format(value, Literal(kwargs["max_value"])))
    return _any(outside)


def _between(kwargs: Mapping[str, Any]) -> Predicate:
    return _of_column(kwargs, _bounds(Identifier(kwargs["column"]), kwargs))


def _length_between(kwargs: Mapping[str, Any]) -> Predicate:
    length = SQL("length({})").format(Identifier(kwargs["column"]))
    return _of_column(kwargs, _bounds(length, kwargs))


def _set_test(operator: str) -> Callable[[Mapping[str, Any]], Predicate]:
    """Make a compiler for the set expectations; a NULL in the set is left out, as GX does."""

    def compile_(kwargs: Mapping[str, Any]) -> Predicate:
        values = SQL(", ").join(Literal(value) for value in kwargs["value_set"] if value is not None)
        broken = SQL("{} {} ({})").format(Identifier(kwargs["column"]), SQL(operator), values)
        return _of_column(kwargs, broken)

    return compile_


def _list_test(operator: str, key: str, *, wanted: bool) -> Callable[[Mapping[str, Any]], Predicate]:
    """Make a compiler for the `…_list` expectations over a text operator.

    Args:
        operator: `~` or `LIKE`.
        key: The kwarg that holds the patterns.
        wanted: True where values must match (any of, or with `match_on: all` all of) the patterns, False where
            they must match none.
    """

    def compile_(kwargs: Mapping[str, Any]) -> Predicate:
        matches = [
            SQL("{} {} {}").format(Identifier(kwargs["column"]), SQL(operator), Literal(pattern))
            for pattern in kwargs[key]
        ]
        if not wanted:
            return _of_column(kwargs, _any(matches))
        joiner = " AND " if kwargs.get("match_on") == "all" else " OR "
        return _of_column(kwargs, SQL("NOT {}").format(_any(matches, joiner)))

    return compile_


def _null(kwargs: Mapping[str, Any]) -> Predicate:
    return Predicate(filled(kwargs["column"]), ALL_ROWS, filled_rows(kwargs["column"]))


def _required(kwargs: Mapping[str, Any]) -> Predicate:
    empty = SQL("{} - {}").format(ALL_ROWS, filled_rows(kwargs["column"]))
    return Predicate(SQL("{} IS NULL").format(Identifier(kwargs["column"])), ALL_ROWS, empty)


def _unique(kwargs: Mapping[str, Any]) -> Duplicate:
    return Duplicate((kwargs["column"],), filled_rows(kwargs["column"]), filled(kwargs["column"]))


def _considered_of(names: list[str], ignore: str) -> Composable:
    """Return the condition for the rows that an expectation over several columns considers, by `ignore_row_if`."""
    joiner = {
        "both_values_are_missing": " OR ",
        "all_values_are_missing": " OR ",
        "either_value_is_missing": " AND ",
        "any_value_is_missing": " AND ",
    }.get(ignore)
    if joiner is None:
        return TRUE
    return _any([filled(name) for name in names], joiner)


def _compound_unique(kwargs: Mapping[str, Any]) -> Duplicate:
    names = kwargs["column_list"]
    considered = _considered_of(names, kwargs.get("ignore_row_if", "all_values_are_missing"))
    return Duplicate(tuple(names), count_where(considered), considered)


def _several(template: str) -> Callable[[Mapping[str, Any]], Predicate]:
    """Make a compiler for pair expectations; `template` speaks of `{a}` and `{b}`."""

    def compile_(kwargs: Mapping[str, Any]) -> Predicate:
        names = [kwargs["column_A"], kwargs["column_B"]]
        considered = _considered_of(names, kwargs.get("ignore_row_if", "both_values_are_missing"))
        broken = SQL(template).format(a=Identifier(names[0]), b=Identifier(names[1]))
        return _of_rows(broken, considered)

    return compile_


def _pair_greater(kwargs: Mapping[str, Any]) -> Predicate:
    template = "{a} < {b}" if kwargs.get("or_equal") else "{a} <= {b}"
    return _several(template)(kwargs)


def _sum_equal(kwargs: Mapping[str, Any]) -> Predicate:
    names = kwargs["column_list"]
    considered = _considered_of(names, kwargs.get("ignore_row_if", "all_values_are_missing"))
    total = SQL(" + ").join(Identifier(name) for name in names)
    return _of_rows(SQL("{} <> {}").format(total, Literal(kwargs["sum_total"])), considered)


def _pair_in_set(kwargs: Mapping[str, Any]) -> Predicate:
    def is_(name: str, value: Any) -> Composed:
        if value is None:
            return SQL("{} IS NULL").format(Identifier(name))
        return SQL("{} = {}").format(Identifier(name), Literal(value))

    a, b = kwargs["column_A"], kwargs["column_B"]
    pairs = [SQL("({} AND {})").format(is_(a, x), is_(b, y)) for x, y in kwargs["value_pairs_set"]]
    considered = _considered_of([a, b], kwargs.get("ignore_row_if", "both_values_are_missing"))
    return _of_rows(SQL("NOT {}").format(_any(pairs)), considered)


def _unique_within_record(kwargs: Mapping[str, Any]) -> Predicate:
    names = kwargs["column_list"]
    same = [
        SQL("({a} = {b} OR ({a} IS NULL AND {b} IS NULL))").format(a=Identifier(a), b=Identifier(b))
        for position, a in enumerate(names)
        for b in names[position + 1 :]
    ]
    return _of_rows(_any(same), _considered_of(names, kwargs.get("ignore_row_if", "all_values_are_missing")))


def _all_equal(kwargs: Mapping[str, Any]) -> Predicate:
    first, *others = map(Identifier, kwargs["column_list"])
    differs = [SQL("{} IS DISTINCT FROM {}").format(first, other) for other in others]
    considered = _considered_of(kwargs["column_list"], kwargs.get("ignore_row_if", "all_values_are_missing"))
    return _of_rows(_any(differs), considered)


def _by_statistics(kwargs: Mapping[str, Any], statistics: str, broken: Composable) -> Selected:
    """Return the test of values held against statistics of their column, which are computed once.

    Args:
        kwargs: Name the column.
        statistics: Select list over `{column}`.
        broken: Condition over the column, as `value`, and the statistics.
    """
    column = Identifier(kwargs["column"])

    def rows(table: Composable) -> Composed:
        return SQL(
            "SELECT ctid FROM (SELECT ctid, {column} AS value FROM {table}) AS v,"
            " (SELECT {statistics} FROM {table}) AS s WHERE {broken}"
        ).format(column=column, table=table, statistics=SQL(statistics).format(column=column), broken=broken)

    return Selected(rows, filled_rows(kwargs["column"]), filled(kwargs["column"]))


def _z_scores(kwargs: Mapping[str, Any]) -> Selected:
    score, threshold = "(value - mean) / deviation", kwargs["threshold"]
    if kwargs["double_sided"]:
        score, threshold = f"abs({score})", abs(threshold)
    broken = SQL("NOT ({} < {})").format(SQL(score), Literal(threshold))
    return _by_statistics(
        kwargs, "avg(1.0 * {column}) AS mean, nullif(nullif(stddev_samp({column}), 0), 'NaN') AS deviation", broken
    )


_FINITE: Final = "{0} > '-Infinity' AND {0} < 'Infinity'"


def _no_outliers(kwargs: Mapping[str, Any]) -> Selected:
    """Compile `…_to_not_be_outliers`; a column without spread, or with an infinite one, has no outliers."""
    multiplier = Literal(kwargs.get("multiplier", 1.5))
    if kwargs.get("method", "iqr") == "std":
        known = " AND ".join(_FINITE.format(name) for name in ("mean", "deviation"))
        broken = SQL(
            "CASE WHEN NOT coalesce(" + known + ", false) THEN false"
            " WHEN {k} * deviation <= 0 THEN value <> mean ELSE abs(value - mean) >= {k} * deviation END"
        ).format(k=multiplier)
        float_ = "{column}::float8"
        return _by_statistics(kwargs, f"avg({float_}) AS mean, stddev_samp({float_}) AS deviation", broken)
    known = " AND ".join(_FINITE.format(name) for name in ("q[1]", "q[2]"))
    broken = SQL(
        "CASE WHEN coalesce(" + known + ", false)"
        " THEN value < q[1] - {k} * (q[2] - q[1]) OR value > q[2] + {k} * (q[2] - q[1]) ELSE false END"
    ).format(k=multiplier)
    quartiles = "percentile_cont(ARRAY[0.25, 0.75]) WITHIN GROUP (ORDER BY {column}::float8) AS q"
    return _by_statistics(kwargs, quartiles, broken)


def _strftime(kwargs: Mapping[str, Any]) -> Predicate:
    pattern, iso = read_strftime(kwargs["strftime_format"])
    broken = SQL(
        "CASE WHEN {c} ~ {pattern} THEN NOT pg_input_is_valid(regexp_replace({c}, {pattern}, {iso}), 'timestamp')"
        " ELSE true END"
    ).format(c=Identifier(kwargs["column"]), pattern=Literal(pattern), iso=Literal(iso))
    return _of_column(kwargs, SQL("({c} IS NOT NULL AND {b})").format(c=Identifier(kwargs["column"]), b=broken))


_SELECT_ALL: Final = re.compile(r"\s*SELECT\s+\*\s+FROM\s+\{batch\}\s+(WHERE\s.*)", re.IGNORECASE | re.DOTALL)
_GROUPS: Final = re.compile(r"\b(UNION|INTERSECT|EXCEPT|GROUP|HAVING|WINDOW)\b", re.IGNORECASE)


def _unexpected_rows(kwargs: Mapping[str, Any]) -> Selected | TableTest:
    query = kwargs["unexpected_rows_query"].rstrip("; \t\r\n\v\f")
    simple = None if _GROUPS.search(query) else _SELECT_ALL.fullmatch(query)
    if simple is None:
        return TableTest(
            lambda table: SQL("(SELECT count(*) FROM ({}\n) AS unexpected)").format(own.filled_in(query, batch=table)),
            0,
            0,
        )
    template = f"SELECT ctid FROM {{batch}} {simple[1]}"  # noqa: S608 - the contract's own query
    return Selected(lambda table: own.filled_in(template, batch=table))


COMPILERS: Final[Mapping[str, Callable[[Mapping[str, Any]], Test]]] = {
    "expect_column_values_to_not_be_null": _required,
    "expect_column_values_to_be_null": _null,
    "expect_column_values_to_be_unique": _unique,
    "expect_compound_columns_to_be_unique": _compound_unique,
    "expect_column_values_to_be_between": _between,
    "expect_column_values_to_be_in_set": _set_test("NOT IN"),
    "expect_column_values_to_not_be_in_set": _set_test("IN"),
    "expect_column_values_to_match_regex": _column_test("{column} !~ {regex}", regex="regex"),
    "expect_column_values_to_not_match_regex": _column_test("{column} ~ {regex}", regex="regex"),
    "expect_column_values_to_match_regex_list": _list_test("~", "regex_list", wanted=True),
    "expect_column_values_to_not_match_regex_list": _list_test("~", "regex_list", wanted=False),
    "expect_column_values_to_match_like_pattern": _column_test("{column} NOT LIKE {pattern}", pattern="like_pattern"),
    "expect_column_values_to_not_match_like_pattern": _column_test("{column} LIKE {pattern}", pattern="like_pattern"),
    "expect_column_values_to_match_like_pattern_list": _list_test("LIKE", "like_pattern_list", wanted=True),
    "expect_column_values_to_not_match_like_pattern_list": _list_test("LIKE", "like_pattern_list", wanted=False),
    "expect_column_value_lengths_to_be_between": _length_between,
    "expect_column_value_lengths_to_equal": _column_test("length({column}) <> {value}", value="value"),
    "expect_column_pair_values_a_to_be_greater_than_b": _pair_greater,
    "expect_column_pair_values_to_be_equal": _several("({a} = {b}) IS NOT TRUE"),
    "expect_multicolumn_sum_to_equal": _sum_equal,
    "expect_column_pair_values_to_be_in_set": _pair_in_set,
    "expect_select_column_values_to_be_unique_within_record": _unique_within_record,
    "expect_multicolumn_values_to_be_equal": _all_equal,
    "expect_column_value_z_scores_to_be_less_than": _z_scores,
    "expect_column_values_to_not_be_outliers": _no_outliers,
    "expect_column_values_to_be_json_parseable": _column_test("NOT pg_input_is_valid({column}, 'json')"),
    "expect_column_values_to_match_strftime_format": _strftime,
    "unexpected_rows_expectation": _unexpected_rows,
    **slice_tests.COMPILERS,
}
"""The test that each covered type compiles to from its kwargs alone; `own.COMPILERS` are those that need more."""


def _condition(condition: Condition) -> Composable:
    """Return a condition as SQL; a row for which it is NULL is not one of those under it."""
    if isinstance(condition, Compared):
        column, operator = Identifier(condition.column), SQL(OPERATORS[condition.operator])
        if not isinstance(condition.value, tuple):
            return SQL("({} {} {})").format(column, operator, Literal(condition.value))
        if not condition.value:
            return SQL("true" if condition.operator == "NOT_IN" else "false")
        return SQL("({} {} ({}))").format(column, operator, SQL(", ").join(map(Literal, condition.value)))
    if isinstance(condition, Nullity):
        return SQL("({} IS {})").format(Identifier(condition.column), SQL("NULL" if condition.is_null else "NOT NULL"))
    return SQL("({})").format(SQL(f" {condition.joiner.upper()} ").join(map(_condition, condition.parts)))


def compile_rule(rule: Rule, context: Context | None = None) -> Test | None:
    """Return the SQL of a rule, or None where only GX itself can judge it.

    Args:
        rule: A rule without problems, as `check` finds them.
        context: What is known of the slice; rules about types and freshness need it.
    """
    covered = COVERED.get(rule.expectation)
    known = COMMON_KWARGS | (CONDITION_KWARGS if covered and covered.conditional else frozenset())
    if covered is None or rule.kwargs.keys() - known - set(covered.needs) - set(covered.takes):
        return None
    if rule.expectation in own.COMPILERS:
        test = own.COMPILERS[rule.expectation](rule.kwargs, context or Context())
    else:
        test = COMPILERS[rule.expectation](rule.kwargs)
    stated = rule.kwargs.get("row_condition")
    return test if stated is None else test.among(_condition(read_condition(stated)))


def mostly_of(rule: Rule) -> float:
    """Return the share of considered rows that must keep a row-level rule, 0 to 1."""
    return float(rule.kwargs.get("mostly", 1.0))
