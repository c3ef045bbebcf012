"""A few of the values that broke each rule, masked by the contract, to be shown beside its verdict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from psycopg2.extensions import cursor as Cursor  # noqa: N812
from psycopg2.sql import SQL, Composed, Identifier, Literal

from penstock.core.contract.model import Contract, Severity
from penstock.core.gate.check import column_names
from penstock.core.gate.plan import GatePlan, RowRule, Verdict
from penstock.core.mask import mask_payload
from penstock.core.stage import REASONS, Stage

MOST: Final = 20
"""Samples kept for a rule."""


def samples_of(
    cur: Cursor, plan: GatePlan, stage: Stage, table: Identifier, contract: Contract, verdicts: Sequence[Verdict]
) -> dict[str, list[dict[str, str | None]]]:
    """Return, for each broken rule about rows, up to `MOST` different values of its columns as text, masked.

    Args:
        cur: Cursor on the warehouse, after the rows were split.
        plan: The plan they were split by.
        stage: Its `bad` holds the rows that broke a critical rule.
        table: The rows that passed; those that broke a warning are still there.
        contract: The contract.
        verdicts: What was found.
    """
    broken = {verdict.rule.id for verdict in verdicts if verdict.unexpected}
    known = {column.name for column in contract.columns}
    found: dict[str, list[dict[str, str | None]]] = {}
    for row in plan.row_rules:
        names = [name for name in column_names(row.rule) if name in known]
        if row.rule.id in broken and names:
            cur.execute(_query(row, names, stage, table))
            found[row.rule.id] = [
                mask_payload(contract, dict(zip(names, values, strict=True))) for values in cur.fetchall()
            ]
    return found


def _query(row: RowRule, names: list[str], stage: Stage, table: Identifier) -> Composed:
    texts = SQL(", ").join(SQL("{}::text").format(Identifier(name)) for name in names)
    if row.rule.severity is Severity.CRITICAL:
        source, condition = stage.bad, SQL("{} = ANY({})").format(Literal(row.rule.id), Identifier(REASONS))
    else:
        source, condition = table, SQL("{}").format(row.test.breaks(table))
    # LIMIT before DISTINCT: a rule that a million rows break is not worth a sort.
    return SQL("SELECT DISTINCT * FROM (SELECT {} FROM {} WHERE {} LIMIT {}) AS s ORDER BY 1").format(
        texts, source, condition, Literal(MOST)
    )
