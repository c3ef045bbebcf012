"""The forms that a compiled rule can have: tests of single rows, and tests of the slice as a whole.

Each can be held against a part of the rows only (`among`), as Great Expectations does with a `row_condition`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final

from psycopg2.sql import SQL, Composable, Composed, Identifier

ALL_ROWS: Final = SQL("count(*)")
TRUE: Final = SQL("true")


def count_where(condition: Composable) -> Composable:
    """Return the aggregate that counts the rows under a condition."""
    return ALL_ROWS if condition is TRUE else SQL("count(*) FILTER (WHERE {})").format(condition)


def filled(column: str) -> Composed:
    """Return the condition that a column is not NULL."""
    return SQL("{} IS NOT NULL").format(Identifier(column))


def filled_rows(column: str) -> Composed:
    """Return the aggregate that counts the rows in which a column is not NULL, which is quicker than a FILTER."""
    return SQL("count({})").format(Identifier(column))


def both(first: Composable, second: Composable) -> Composable:
    """Return the condition that both hold."""
    return first if second is TRUE else SQL("({} AND {})").format(first, second)


def rows_where(table: Composable, condition: Composable) -> Composed:
    """Return what may follow FROM to read the rows of a table under a condition."""
    return SQL("(SELECT * FROM {} WHERE {}) AS rows_of_the_rule").format(table, condition)


@dataclass(frozen=True, slots=True)
class Predicate:
    """A row-level expectation that looks at one row at a time.

    Attributes:
        broken: Boolean SQL, true for a row that breaks the expectation; NULL counts as not broken.
        considered: Aggregate that counts the rows that `mostly` is a share of.
        counted: Aggregate that counts the broken rows for less than a FILTER would take, or None.
        considers: The condition behind `considered`.
    """

    broken: Composable
    considered: Composable
    counted: Composable | None = None
    considers: Composable = field(default_factory=lambda: TRUE)

    def count(self, table: Composable) -> Composable:  # noqa: ARG002 - same shape as Duplicate.count
        """Return the aggregate that counts the broken rows in a scan of the table."""
        return self.counted or count_where(self.broken)

    def breaks(self, table: Composable) -> Composable:  # noqa: ARG002
        """Return the condition under which a row of the table is broken."""
        return self.broken

    def among(self, condition: Composable) -> Predicate:
        """Return the test of the rows under a condition."""
        considers = both(condition, self.considers)
        return Predicate(both(condition, self.broken), count_where(considers), considers=considers)


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A row-level expectation that columns are unique together; every row of a group of equals breaks it.

    Attributes:
        columns: Names; a row with a NULL in any of them is never a duplicate.
        considered: As in `Predicate`.
        considers: As in `Predicate`.
        only: Condition of the rows that are looked at; the others are no duplicates of anything.
    """

    columns: tuple[str, ...]
    considered: Composable
    considers: Composable = field(default_factory=lambda: TRUE)
    only: Composable = field(default_factory=lambda: TRUE)

    def _names(self) -> Composed:
        return SQL(", ").join(map(Identifier, self.columns))

    def _complete(self) -> Composable:
        return both(SQL(" AND ").join(filled(name) for name in self.columns), self.only)

    def count(self, table: Composable) -> Composed:
        """Return the scalar query that counts the rows of all groups with more than one row.

        Mostly there are none. That a single column has none is seen by sorting it, which is several times as quick as
        grouping by it; only where there are some are they counted.
        """
        grouped = SQL(
            "(SELECT coalesce(sum(n), 0)::bigint FROM"
            " (SELECT count(*) AS n FROM {table} WHERE {complete} GROUP BY {names} HAVING count(*) > 1) AS d)"
        ).format(table=table, complete=self._complete(), names=self._names())
        if len(self.columns) > 1:
            return grouped
        return SQL(
            "(SELECT CASE WHEN count({name}) = count(DISTINCT {name}) THEN 0 ELSE {grouped} END"
            " FROM {table} WHERE {complete})"
        ).format(name=self._names(), grouped=grouped, table=table, complete=self._complete())

    def breaks(self, table: Composable) -> Composed:
        """Return the condition under which a row of the table is broken."""
        return SQL(
            "ctid IN (SELECT c FROM (SELECT ctid AS c, count(*) OVER (PARTITION BY {names}) AS n"
            " FROM {table} WHERE {complete}) AS d WHERE n > 1)"
        ).format(table=table, complete=self._complete(), names=self._names())

    def among(self, condition: Composable) -> Duplicate:
        """Return the test of the rows under a condition."""
        considers = both(condition, self.considers)
        return Duplicate(self.columns, count_where(considers), considers, both(condition, self.only))


@dataclass(frozen=True, slots=True)
class Selected:
    """A row-level expectation whose broken rows a query of its own finds: it looks at more than the row itself.

    Attributes:
        rows: Function of the table and of what stands for its rows after FROM (with `ctid`), giving the query whose
            first column is the `ctid` of each broken row.
        considered: As in `Predicate`.
        considers: As in `Predicate`.
    """

    rows: Callable[[Composable], Composable]
    considered: Composable = field(default_factory=lambda: ALL_ROWS)
    considers: Composable = field(default_factory=lambda: TRUE)

    def count(self, table: Composable) -> Composed:
        """Return the scalar query that counts the broken rows."""
        return SQL("(SELECT count(*) FROM ({}\n) AS broken)").format(self.rows(table))

    def breaks(self, table: Composable) -> Composed:
        """Return the condition under which a row of the table is broken."""
        return SQL("ctid IN ({}\n)").format(self.rows(table))

    def among(self, condition: Composable) -> Selected:
        """Return the test of the rows under a condition."""

        def rows(table: Composable) -> Composable:
            some = SQL("(SELECT ctid, * FROM {} WHERE {}) AS rows_of_the_rule").format(table, condition)
            return self.rows(some)

        considers = both(condition, self.considers)
        return Selected(rows, count_where(considers), considers)


RowTest = Predicate | Duplicate | Selected


@dataclass(frozen=True, slots=True)
class TableTest:
    """An expectation about the slice as a whole: one observed value, and what it must be.

    Attributes:
        observed: Function of the table, giving the aggregate or scalar query whose value is judged.
        low: Smallest value allowed, or None.
        high: Largest value allowed, or None.
        strict_low: Whether `low` itself is refused.
        strict_high: Whether `high` itself is refused.
        holds: Tells whether an observed value (never None) is right, where bounds do not say it.
        value_of: Makes of what the query gives the value that is judged.
        shown: How an observed value is told, where its text does not do.
    """

    observed: Callable[[Composable], Composable]
    low: Any = None
    high: Any = None
    strict_low: bool = False
    strict_high: bool = False
    holds: Callable[[Any], bool] | None = None
    value_of: Callable[[Any], Any] | None = None
    shown: Callable[[Any], str | None] = str

    def among(self, condition: Composable) -> TableTest:
        """Return the test of the rows under a condition."""

        def observed(table: Composable) -> Composable:
            some = rows_where(table, condition)
            # The count makes one row of it also where the observed value is a query of its own.
            query = "(SELECT value FROM (SELECT {} AS value, count(*) FROM {}) AS observed)"
            return SQL(query).format(self.observed(some), some)

        return replace(self, observed=observed)


Test = RowTest | TableTest
