"""The gate over a part of a slice: rows that join others which are published already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from psycopg2.sql import SQL, Composable, Composed, Identifier

from penstock.core.contract.model import Rule
from penstock.core.gate.plan import GatePlan, RowRule
from penstock.core.gate.row_tests import Duplicate, Predicate, Selected


def part_of(plan: GatePlan, candidate: Identifier, published: Identifier | None, columns: Sequence[str]) -> GatePlan:
    """Return the plan for rows that join a published slice.

    What is asked of the slice as a whole (its number of rows, its mean) says nothing of a few of them, and is left
    out. What must be unique must not be published already either: the rule `<rule>.taken` says that it is. A rule
    that holds a row against others, as a z-score does, holds it against the published ones too.

    Args:
        plan: The plan of the whole slice.
        candidate: The rows that join.
        published: The slice's published rows; None where they cannot be told from those of other slices.
        columns: The columns of both.
    """
    if published is None:
        return replace(plan, table_rules=())
    rules = [_among_published(row, published, columns) for row in plan.row_rules]
    taken = [_taken(row, row.test, candidate, published) for row in plan.row_rules if isinstance(row.test, Duplicate)]
    return replace(plan, row_rules=(*rules, *taken), table_rules=())


def _taken(row: RowRule, test: Duplicate, candidate: Identifier, published: Identifier) -> RowRule:
    names = list(map(Identifier, test.columns))
    broken = SQL(
        "ctid IN (SELECT t.c FROM (SELECT ctid AS c, {names} FROM {candidate} WHERE {only}) AS t"
        " JOIN (SELECT {names} FROM {published} WHERE {only}) AS p ON {same})"
    ).format(
        names=SQL(", ").join(names),
        candidate=candidate,
        published=published,
        only=test.only,
        same=SQL(" AND ").join(SQL("t.{n} = p.{n}").format(n=name) for name in names),
    )
    rule = Rule(f"{row.rule.id}.taken", "penstock_values_are_free", row.rule.kwargs, row.rule.severity)
    return RowRule(rule, Predicate(broken, test.considered))


def _among_published(row: RowRule, published: Identifier, columns: Sequence[str]) -> RowRule:
    test = row.test
    if not isinstance(test, Selected):
        return row
    names = SQL(", ").join(map(Identifier, columns))

    def rows(table: Composable) -> Composed:
        together = SQL(
            "(SELECT ctid, {names} FROM {table} UNION ALL SELECT NULL::tid, {names} FROM {published}) AS together"
        ).format(names=names, table=table, published=published)
        # A published row is looked at, not judged.
        return SQL("SELECT c FROM ({}\n) AS broken(c) WHERE c IS NOT NULL").format(test.rows(together))

    return RowRule(row.rule, replace(test, rows=rows))
