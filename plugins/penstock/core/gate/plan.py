"""The gate plan: all covered rules of a contract as one scan and one split.

The plan speaks of a table by name and runs nothing itself. Compiling it takes well under a millisecond per rule, so
it is compiled where it is needed and kept nowhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from psycopg2.sql import SQL, Composable, Composed, Identifier, Literal

from penstock.core.contract.model import Contract, Rule, Severity
from penstock.core.contract.tombstone import buries, is_deleted
from penstock.core.gate.expectations import Context, compile_rule, mostly_of
from penstock.core.gate.row_tests import Duplicate, Predicate, RowTest, TableTest, filled_rows
from penstock.core.slice import Slice

_NOT_NULL: Final = "expect_column_values_to_not_be_null"
_DAY_LENGTH: Final = len("2010-09-20")


@dataclass(frozen=True, slots=True)
class RowRule:
    """A compiled rule about single rows."""

    rule: Rule
    test: RowTest


@dataclass(frozen=True, slots=True)
class TableRule:
    """A compiled rule about the slice as a whole."""

    rule: Rule
    test: TableTest


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found of one rule.

    Attributes:
        rule: The rule.
        success: As Great Expectations would say.
        considered: Rows that count for `mostly`; None for a rule about the whole slice.
        unexpected: Rows that break the rule; None for a rule about the whole slice.
        observed: The observed value, as text; None for a row-level rule.
        refuses: Whether this verdict alone refuses the slice.
        rows: The `ctid` of each row that breaks the rule, where it was not the plan that found them.
    """

    rule: Rule
    success: bool
    considered: int | None = None
    unexpected: int | None = None
    observed: str | None = None
    refuses: bool = False
    rows: tuple[str, ...] = field(default=(), repr=False, compare=False)

    def __str__(self) -> str:
        if self.unexpected is not None:
            return f"{self.rule.id}: {self.unexpected:,} of {self.considered:,} rows"
        return f"{self.rule.id}: observed {self.observed}"


@dataclass(frozen=True, slots=True)
class GatePlan:
    """The covered rules, compiled; and those that are left to GX itself."""

    row_rules: tuple[RowRule, ...]
    table_rules: tuple[TableRule, ...]
    gx_rules: tuple[Rule, ...]

    def scan(self, table: Composable) -> Composed:
        """Return the query that finds all that the verdicts need, as one row.

        The row is: number of rows; unexpected and considered per row rule; observed value per table rule.
        """
        parts = SQL(", ").join(part for _, part in self.scan_parts(table))
        return SQL("SELECT {} FROM {}").format(parts, table)

    def scan_parts(self, table: Composable) -> list[tuple[str, Composable]]:
        """Return the select list of `scan`, each part with what it stands for."""
        parts: list[tuple[str, Composable]] = [("all rows", SQL("count(*)"))]
        for row in self.row_rules:
            parts.append((f"{row.rule.id}: rows that break it", row.test.count(table)))
            parts.append((f"{row.rule.id}: rows that count", row.test.considered))
        return parts + [(f"{found.rule.id}: observed", found.test.observed(table)) for found in self.table_rules]

    def read_scan(self, row: tuple[Any, ...]) -> list[Verdict]:
        """Turn the row that `scan` gives into verdicts, row rules first."""
        counts, observed = row[1 : 1 + 2 * len(self.row_rules)], row[1 + 2 * len(self.row_rules) :]
        found = [
            row_verdict(rule.rule, unexpected, considered)
            for rule, unexpected, considered in zip(self.row_rules, counts[::2], counts[1::2], strict=True)
        ]
        found += [table_verdict(rule, value) for rule, value in zip(self.table_rules, observed, strict=True)]
        return found

    def judges_unique(self, columns: Sequence[str]) -> bool:
        """Tell whether a rule asks that the columns are unique together."""
        return any(_is_unique(row.test, columns) for row in self.row_rules)

    def with_unique(self, columns: Sequence[str]) -> GatePlan:
        """Return the plan for a table in which the columns are known to be unique together, which needs no count."""
        proved = SQL("false")
        rules = [
            RowRule(row.rule, Predicate(proved, row.test.considered)) if _is_unique(row.test, columns) else row
            for row in self.row_rules
        ]
        return replace(self, row_rules=tuple(rules))

    def with_rows_of(self, verdicts: Sequence[Verdict]) -> GatePlan:
        """Return the plan for the split: with the rules of which somebody else found the rows that break them."""
        listed = [
            RowRule(verdict.rule, Predicate(_among(verdict.rows), SQL("count(*)")))
            for verdict in verdicts
            if verdict.rows
        ]
        return replace(self, row_rules=(*self.row_rules, *listed))

    def quarantining(self, verdicts: list[Verdict]) -> list[RowRule]:
        """Return the row rules that rows must leave for: critical ones, and broken by at least one row."""
        broken = {verdict.rule.id for verdict in verdicts if verdict.unexpected}
        return [row for row in self.row_rules if _quarantines(row.rule) and row.rule.id in broken]


def _among(rows: tuple[str, ...]) -> Composed:
    return SQL("ctid = ANY ({}::tid[])").format(Literal(list(rows)))


def _is_unique(test: RowTest, columns: Sequence[str]) -> bool:
    return isinstance(test, Duplicate) and set(test.columns) == set(columns)


def _quarantines(rule: Rule) -> bool:
    return rule.severity is Severity.CRITICAL


def row_verdict(rule: Rule, unexpected: int, considered: int) -> Verdict:
    """Judge a row-level rule as GX does: the share of considered rows that keep it is at least `mostly`.

    A critical rule that states a `mostly` below 1 refuses the slice when that is not reached; without one, the
    broken rows go to quarantine and the contract's budget decides.
    """
    mostly = mostly_of(rule)
    success = considered == 0 or (considered - unexpected) / considered >= mostly
    refuses = not success and mostly < 1 and _quarantines(rule)
    return Verdict(rule, success, considered=considered, unexpected=unexpected, refuses=refuses)


def table_verdict(rule: TableRule, observed: Any) -> Verdict:
    """Judge a rule about the whole slice; without an observed value (no rows, or NaN) it is broken, as GX says."""
    test = rule.test
    if observed is not None and test.value_of:
        observed = test.value_of(observed)
    if observed is not None and observed != observed:  # noqa: PLR0124 - NaN, of float or Decimal
        observed = None
    success = observed is not None and (test.holds(observed) if test.holds else _within(observed, test))
    text = None if observed is None else test.shown(observed)
    return Verdict(rule.rule, success, observed=text, refuses=not success and _quarantines(rule.rule))


def _pair(observed: Any, bound: Any) -> tuple[Any, Any]:
    """Return an observed value and a bound as GX compares them.

    A numeric is compared as a float, so that 0.1 is 0.1. Times come as ISO text from YAML and JSON; against a bound
    that is a day, a time counts as the day it is in.
    """
    if isinstance(observed, Decimal):
        return float(observed), bound
    if not isinstance(observed, date) or not isinstance(bound, str):
        return observed, bound
    if len(bound) == _DAY_LENGTH:
        return (observed.date() if isinstance(observed, datetime) else observed), date.fromisoformat(bound)
    return observed, datetime.fromisoformat(bound)


def _within(observed: Any, test: TableTest) -> bool:
    if test.low is not None:
        value, low = _pair(observed, test.low)
        if value < low or (test.strict_low and value == low):
            return False
    if test.high is not None:
        value, high = _pair(observed, test.high)
        if value > high or (test.strict_high and value == high):
            return False
    return True


def compile_plan(contract: Contract, slice_: Slice) -> GatePlan:
    """Compile a contract's rules, with the rule that a row belongs to the slice it came in."""
    row_rules, table_rules, gx_rules = [], [], []
    context = Context({column.name: column.type for column in contract.columns}, slice_.end)
    for rule in contract.rules:
        test = compile_rule(rule, context)
        if test is None:
            gx_rules.append(rule)
        elif isinstance(test, TableTest):
            table_rules.append(TableRule(rule, test))
        else:
            row_rules.append(RowRule(rule, _sparing_deletions(contract, rule, test)))
    if contract.partition_by is not None:
        row_rules.append(_belongs_to(slice_, contract.partition_by))
    return GatePlan(tuple(row_rules), tuple(table_rules), tuple(gx_rules))


def _sparing_deletions(contract: Contract, rule: Rule, test: RowTest) -> RowTest:
    """Let a row that only says that a key was deleted lack all but its key and its moment."""
    needed = {*contract.key, contract.cursor, contract.partition_by}
    spared = buries(contract) and rule.expectation == _NOT_NULL and rule.kwargs["column"] not in needed
    if not spared or not isinstance(test, Predicate):
        return test
    return replace(test, broken=SQL("({} AND NOT {})").format(test.broken, is_deleted(contract)), counted=None)


def slice_bounds(slice_: Slice) -> tuple[str, str]:
    """Return the slice's bounds as text that Postgres reads alike as date, timestamp and timestamptz in UTC."""
    return slice_.start.strftime("%Y-%m-%d %H:%M:%S"), slice_.end.strftime("%Y-%m-%d %H:%M:%S")


def _belongs_to(slice_: Slice, column: str) -> RowRule:
    start, end = slice_bounds(slice_)
    name = Identifier(column)
    broken = SQL("({c} < {start} OR {c} >= {end})").format(c=name, start=Literal(start), end=Literal(end))
    rule = Rule(f"{column}.in_slice", "penstock_row_belongs_to_slice", {"column": column})
    return RowRule(rule, Predicate(broken, filled_rows(column)))


def reasons(rules: list[RowRule], table: Composable) -> Composed:
    """Return the array of the names of the rules that a row of the table breaks."""
    cases = [SQL("CASE WHEN {} THEN {} END").format(row.test.breaks(table), Literal(row.rule.id)) for row in rules]
    return SQL("array_remove(ARRAY[{}]::text[], NULL)").format(SQL(", ").join(cases))


def any_broken(rules: list[RowRule], table: Composable) -> Composed:
    """Return the condition that a row of the table breaks at least one of the rules."""
    return SQL(" OR ").join(SQL("({})").format(row.test.breaks(table)) for row in rules)
