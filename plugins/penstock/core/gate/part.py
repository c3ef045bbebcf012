"""The gate over a part of a slice: rows that join others which are published already."""

from __future__ import annotations

from dataclasses import replace

from psycopg2.sql import SQL, Composed, Identifier

from penstock.core.contract.model import Rule
from penstock.core.gate.plan import GatePlan, RowRule
from penstock.core.gate.row_tests import Duplicate, Predicate


def part_of(plan: GatePlan, candidate: Identifier, published: Identifier | None) -> GatePlan:
    """Return the plan for rows that join a published slice.

    What is asked of the slice as a whole (its number of rows, its mean) says nothing of a few of them, and is left
    out. What must be unique must not be published already either: the rule `<rule>.taken` says that it is.

    Args:
        plan: The plan of the whole slice.
        candidate: The rows that join.
        published: The slice's published rows; None where they cannot be told from those of other slices.
    """
    taken = [_taken(row, row.test.columns, candidate, published) for row in plan.row_rules
             if published is not None and isinstance(row.test, Duplicate)]  # fmt: skip
    return replace(plan, row_rules=(*plan.row_rules, *taken), table_rules=())


def _taken(row: RowRule, columns: tuple[str, ...], candidate: Identifier, published: Identifier) -> RowRule:
    same: Composed = SQL(" AND ").join(SQL("t.{n} = p.{n}").format(n=Identifier(name)) for name in columns)
    broken = SQL("ctid IN (SELECT t.ctid FROM {} AS t JOIN {} AS p ON {})").format(candidate, published, same)
    rule = Rule(f"{row.rule.id}.taken", "penstock_values_are_free", row.rule.kwargs, row.rule.severity)
    return RowRule(rule, Predicate(broken, SQL("count(*)")))
