"""What each covered Great Expectations expectation asks, in SQL.

Great Expectations is the authority: `tests/core/gate/test_differential.py` holds every entry of this registry to the
verdict and the unexpected count that GX itself finds on the same table. Two rules of GX matter throughout:
a NULL never breaks a row-level expectation (other than the NULL ones, and the equality of two columns), and
`mostly` is a share of the rows that an expectation considers (for columns: the non-NULL ones).

Source: great-expectations 1.24, `great_expectations/expectations/core` and `…/metrics`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from psycopg2.sql import SQL, Composable, Composed, Identifier, Literal

from penstock.core.gate.covered import COMMON_KWARGS, COVERED

if TYPE_CHECKING:  # at run time the contract imports this module, not the other way round
    from penstock.core.contract.model import Rule


@dataclass(frozen=True, slots=True)
class Predicate:
    """A row-level expectation that looks at one row at a time.

    Attributes:
        broken: Boolean SQL, true for a row that breaks the expectation; NULL counts as not broken.
        considered: Aggregate that counts the rows that `mostly` is a share of.
        counted: Aggregate that counts the broken rows for less than a FILTER would take, or None.
    """

    broken: Composable
    considered: Composable
    counted: Composable | None = None

    def count(self, table: Composable) -> Composable:  # noqa: ARG002 - same shape as Duplicate.count
        """Return the aggregate that counts the broken rows in a scan of the table."""
        return self.counted or _count_where(self.broken)

    def breaks(self, table: Composable) -> Composable:  # noqa: ARG002
        """Return the condition under which a row of the table is broken."""
        return self.broken


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A row-level expectation that columns are unique together; every row of a group of equals breaks it.

    Attributes:
        columns: Names; a row with a NULL in any of them is never a duplicate.
        considered: As in `Predicate`.
    """

    columns: tuple[str, ...]
    considered: Composable

    def _names(self) -> Composed:
        return SQL(", ").join(map(Identifier, self.columns))

    def _complete(self) -> Composed:
        return SQL(" AND ").join(SQL("{} IS NOT NULL").format(Identifier(name)) for name in self.columns)

    def count(self, table: Composable) -> Composed:
        """Return the scalar query that counts the rows of all groups with more than one row."""
        return SQL(
            "(SELECT coalesce(sum(n), 0)::bigint FROM"
            " (SELECT count(*) AS n FROM {table} WHERE {complete} GROUP BY {names} HAVING count(*) > 1) AS d)"
        ).format(table=table, complete=self._complete(), names=self._names())

    def breaks(self, table: Composable) -> Composed:
        """Return the condition under which a row of the table is broken."""
        return SQL(
            "ctid IN (SELECT c FROM (SELECT ctid AS c, count(*) OVER (PARTITION BY {names}) AS n"
            " FROM {table} WHERE {complete}) AS d WHERE n > 1)"
        ).format(table=table, complete=self._complete(), names=self._names())


RowTest = Predicate | Duplicate


@dataclass(frozen=True, slots=True)
class TableTest:
    """An expectation about the slice as a whole: one observed value, two bounds.

    Attributes:
        observed: Function of the table, giving the aggregate or scalar query whose value is judged.
        low: Smallest value allowed, or None.
        high: Largest value allowed, or None.
        strict_low: Whether `low` itself is refused.
        strict_high: Whether `high` itself is refused.
    """

    observed: Callable[[Composable], Composable]
    low: Any = None
    high: Any = None
    strict_low: bool = False
    strict_high: bool = False


Test = RowTest | TableTest
_TRUE: Final = SQL("true")
_ALL_ROWS: Final = SQL("count(*)")


def _count_where(condition: Composable) -> Composable:
    return _ALL_ROWS if condition is _TRUE else SQL("count(*) FILTER (WHERE {})").format(condition)


def filled_rows(column: str) -> Composed:
    """Return the aggregate that counts the rows in which a column is not NULL, which is quicker than a FILTER."""
    return SQL("count({})").format(Identifier(column))


def _filled(kwargs: Mapping[str, Any]) -> Composed:
    return filled_rows(kwargs["column"])


def _column_test(template: str, **values: str) -> Callable[[Mapping[str, Any]], Predicate]:
    """Make a compiler for `template`, which speaks of `{column}` and of literals taken from the kwargs."""

    def compile_(kwargs: Mapping[str, Any]) -> Predicate:
        literals = {name: Literal(kwargs[key]) for name, key in values.items()}
        broken = SQL(template).format(column=Identifier(kwargs["column"]), **literals)
        return Predicate(broken, _filled(kwargs))

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
    return Predicate(_bounds(Identifier(kwargs["column"]), kwargs), _filled(kwargs))


def _length_between(kwargs: Mapping[str, Any]) -> Predicate:
    length = SQL("length({})").format(Identifier(kwargs["column"]))
    return Predicate(_bounds(length, kwargs), _filled(kwargs))


def _set_test(operator: str) -> Callable[[Mapping[str, Any]], Predicate]:
    """Make a compiler for the set expectations; a NULL in the set is left out, as GX does."""

    def compile_(kwargs: Mapping[str, Any]) -> Predicate:
        values = SQL(", ").join(Literal(value) for value in kwargs["value_set"] if value is not None)
        broken = SQL("{} {} ({})").format(Identifier(kwargs["column"]), SQL(operator), values)
        return Predicate(broken, _filled(kwargs))

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
            return Predicate(_any(matches), _filled(kwargs))
        joiner = " AND " if kwargs.get("match_on") == "all" else " OR "
        return Predicate(SQL("NOT {}").format(_any(matches, joiner)), _filled(kwargs))

    return compile_


def _null(kwargs: Mapping[str, Any]) -> Predicate:
    return Predicate(SQL("{} IS NOT NULL").format(Identifier(kwargs["column"])), _ALL_ROWS, _filled(kwargs))


def _required(kwargs: Mapping[str, Any]) -> Predicate:
    empty = SQL("{} - {}").format(_ALL_ROWS, _filled(kwargs))
    return Predicate(SQL("{} IS NULL").format(Identifier(kwargs["column"])), _ALL_ROWS, empty)


def _unique(kwargs: Mapping[str, Any]) -> Duplicate:
    return Duplicate((kwargs["column"],), _filled(kwargs))


def _considered_of(names: list[str], ignore: str) -> Composable:
    """Return the condition for the rows that an expectation over several columns considers, by `ignore_row_if`."""
    joiner = {
        "both_values_are_missing": " OR ",
        "all_values_are_missing": " OR ",
        "either_value_is_missing": " AND ",
        "any_value_is_missing": " AND ",
    }.get(ignore)
    if joiner is None:
        return _TRUE
    return _any([SQL("{} IS NOT NULL").format(Identifier(name)) for name in names], joiner)


def _compound_unique(kwargs: Mapping[str, Any]) -> Duplicate:
    names = kwargs["column_list"]
    considered = _considered_of(names, kwargs.get("ignore_row_if", "all_values_are_missing"))
    return Duplicate(tuple(names), _count_where(considered))


def _several(template: str) -> Callable[[Mapping[str, Any]], Predicate]:
    """Make a compiler for pair expectations; `template` speaks of `{a}` and `{b}`."""

    def compile_(kwargs: Mapping[str, Any]) -> Predicate:
        names = [kwargs["column_A"], kwargs["column_B"]]
        considered = _considered_of(names, kwargs.get("ignore_row_if", "both_values_are_missing"))
        broken = SQL(template).format(a=Identifier(names[0]), b=Identifier(names[1]))
        return Predicate(SQL("({} AND {})").format(broken, considered), _count_where(considered))

    return compile_


def _pair_greater(kwargs: Mapping[str, Any]) -> Predicate:
    template = "{a} < {b}" if kwargs.get("or_equal") else "{a} <= {b}"
    return _several(template)(kwargs)


def _sum_equal(kwargs: Mapping[str, Any]) -> Predicate:
    names = kwargs["column_list"]
    considered = _considered_of(names, kwargs.get("ignore_row_if", "all_values_are_missing"))
    total = SQL(" + ").join(Identifier(name) for name in names)
    broken = SQL("({} <> {} AND {})").format(total, Literal(kwargs["sum_total"]), considered)
    return Predicate(broken, _count_where(considered))


def _aggregate(template: str) -> Callable[[Mapping[str, Any]], TableTest]:
    """Make a compiler for an expectation that bounds an aggregate; `template` speaks of `{column}` and `{table}`."""

    def compile_(kwargs: Mapping[str, Any]) -> TableTest:
        column: Composable = Identifier(kwargs["column"]) if "column" in kwargs else _TRUE

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


_DISTINCT: Final = "(SELECT count(*) FROM (SELECT DISTINCT {column} FROM {table} WHERE {column} IS NOT NULL) AS d)"
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
    "expect_table_row_count_to_equal": _row_count_equal,
    "expect_table_row_count_to_be_between": _aggregate("count(*)"),
    "expect_column_min_to_be_between": _aggregate("min({column})"),
    "expect_column_max_to_be_between": _aggregate("max({column})"),
    "expect_column_mean_to_be_between": _aggregate("avg(1.0 * {column})"),  # 1.0 * gives the digits that GX gets
    "expect_column_sum_to_be_between": _aggregate("sum({column})"),
    "expect_column_stdev_to_be_between": _aggregate("stddev_samp({column})"),
    "expect_column_unique_value_count_to_be_between": _aggregate(_DISTINCT),
    "expect_column_proportion_of_unique_values_to_be_between": _aggregate(
        "coalesce(" + _DISTINCT + "::float8 / nullif(count({column}), 0), 0)"
    ),
    "expect_column_proportion_of_non_null_values_to_be_between": _aggregate(
        "coalesce(count({column})::float8 / nullif(count(*), 0), 0)"
    ),
}
"""The test that each covered type compiles to; the keys are those of `covered.COVERED`."""


def compile_rule(rule: Rule) -> Test | None:
    """Return the SQL of a rule, or None where only GX itself can judge it."""
    covered = COVERED.get(rule.expectation)
    if covered is None or rule.kwargs.keys() - COMMON_KWARGS - set(covered.needs) - set(covered.takes):
        return None
    return COMPILERS[rule.expectation](rule.kwargs)


def mostly_of(rule: Rule) -> float:
    """Return the share of considered rows that must keep a row-level rule, 0 to 1."""
    return float(rule.kwargs.get("mostly", 1.0))
