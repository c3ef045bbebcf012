"""Cast a stage that came as text, set-wise; what does not cast is moved aside, row by row.

A value casts when `pg_input_is_valid` (Postgres ≥ 16) takes it for the contract's type and nothing of it would be
lost: a decimal with more digits after the point than the contract keeps does not cast, it is not rounded; nor does a
time of day in a `date`, or an offset from UTC in a `timestamp`. Words such as `today`, which Postgres would take for
the present, are no values at all.
"""

from __future__ import annotations

import re
from typing import Final

from psycopg2.extensions import cursor as Cursor  # noqa: N812
from psycopg2.sql import SQL, Composed, Identifier, Literal

from penstock.core.contract.model import Column, Contract
from penstock.core.contract.types import numeric_scale
from penstock.core.stage import REASONS, ROW_NUMBER, Stage

_MOMENT: Final = re.compile(r"(date|time)")
_NO_MOMENT: Final = r"(now|today|tomorrow|yesterday)|\.[0-9]{6}[0-9]*[1-9]"
_LOSES: Final = {
    "date": "CASE WHEN pg_input_is_valid({name}, 'timestamp') THEN {name}::timestamp <> {name}::date ELSE true END",
    "timestamp without time zone": (
        "CASE WHEN pg_input_is_valid({name}, 'timestamptz')"
        " THEN {name}::timestamptz <> {name}::timestamp AT TIME ZONE 'UTC' ELSE true END"
    ),
}


def _loses(column: Column) -> Composed | None:
    """Return the condition that a text value the type takes would not keep all it says; None if it always would."""
    name, scale = Identifier(column.name), numeric_scale(column.type)
    if scale is not None:
        digits = SQL("coalesce(scale(trim_scale({}::numeric)), 0)").format(name)
        return SQL("{} > {}").format(digits, Literal(scale))
    if not _MOMENT.match(column.type) or column.type.endswith("[]"):
        return None
    no_moment = SQL("{} ~* {}").format(name, Literal(_NO_MOMENT))
    if column.type not in _LOSES:
        return no_moment
    cut = SQL(_LOSES[column.type]).format(name=name)
    return SQL("CASE WHEN {} THEN true ELSE {} END").format(no_moment, cut)


def _fails(column: Column) -> Composed:
    """Return the condition that a text value does not cast to the column's type."""
    name, type_ = Identifier(column.name), Literal(column.type)
    invalid = SQL("NOT pg_input_is_valid({}, {})").format(name, type_)
    loses = _loses(column)
    if loses is None:
        return SQL("({} IS NOT NULL AND {})").format(name, invalid)
    # CASE, for OR may look at its parts in any order, and only what the type takes can be looked at further.
    return SQL("({} IS NOT NULL AND CASE WHEN {} THEN true ELSE {} END)").format(name, invalid, loses)


def _value(column: Column, staged_type: str) -> Composed:
    name = Identifier(column.name)
    if staged_type == column.type:
        return SQL("{}").format(name)
    return SQL("{}::{}").format(name, SQL(column.type))  # canonical, see contract.types


def cast_stage(cur: Cursor, stage: Stage, contract: Contract, staged: dict[str, str]) -> int:
    """Fill `stage.typed` with the rows that cast and `stage.bad` with those that do not.

    Args:
        cur: Cursor on the warehouse, in a transaction.
        stage: A stage with at least one column staged as text and its rows numbered.
        contract: The contract.
        staged: Type of each staged column.

    Returns:
        The number of rows that do not cast.
    """
    columns = [contract.column(name) for name in staged if name != ROW_NUMBER]
    failing = [
        SQL("CASE WHEN {} THEN {} END").format(_fails(column), Literal(f"{column.name}.cast"))
        for column in columns
        if staged[column.name] != column.type
    ]
    definitions = [SQL("{} {}").format(Identifier(column.name), SQL(column.type)) for column in columns]
    cur.execute(
        SQL("CREATE TABLE {} ({}, {} bigint)").format(stage.typed, SQL(", ").join(definitions), Identifier(ROW_NUMBER))
    )
    cur.execute(
        SQL(
            "WITH seen AS MATERIALIZED (SELECT *, array_remove(ARRAY[{failing}]::text[], NULL) AS {reasons}"
            " FROM {stage}), bad AS (INSERT INTO {bad} SELECT * FROM seen WHERE {reasons} <> '{{}}' RETURNING 1),"
            " good AS (INSERT INTO {typed} SELECT {values}, {number} FROM seen WHERE {reasons} = '{{}}')"
            " SELECT count(*) FROM bad"
        ).format(
            failing=SQL(", ").join(failing),
            reasons=Identifier(REASONS),
            stage=stage.table,
            bad=stage.bad,
            typed=stage.typed,
            number=Identifier(ROW_NUMBER),
            values=SQL(", ").join(_value(column, staged[column.name]) for column in columns),
        )
    )
    row = cur.fetchone()
    return int(row[0]) if row else 0
