"""Cast a stage that came as text, set-wise; what does not cast is moved aside, row by row.

How a text is read as a value, and when it cannot be, is said in `text_values`. A row of which any value cannot be
read is moved aside with the rule `<column>.cast` for each, and with what the text looked like (`value_class`). Rows
that the landing could not take as they are (see `stage.LANDING`) are moved aside with them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from psycopg2.extensions import cursor as Cursor  # noqa: N812
from psycopg2.sql import SQL, Composable, Composed, Identifier, Literal

from penstock.core.contract.model import Column, Contract
from penstock.core.gate.text_values import fails, value
from penstock.core.gate.value_class import value_class
from penstock.core.stage import LANDING, REASONS, ROW_NUMBER, Stage


def _rule(column: Column) -> str:
    return f"{column.name}.cast"


def _failing(column: Column, *, landing: bool) -> Composed:
    """Return the rule's name where a value does not cast; what the landing had to escape is not named twice."""
    name = Identifier(column.name)
    condition = SQL("{} IS NOT NULL AND {}").format(name, fails(column, name))
    if landing:
        escaped = SQL("coalesce({} -> 'rules', '[]') ? {}").format(
            Identifier(LANDING), Literal(f"{column.name}.encoding")
        )
        condition = SQL("{} AND NOT {}").format(condition, escaped)
    return SQL("CASE WHEN {} THEN {} END").format(condition, Literal(_rule(column)))


def _reasons(columns: Sequence[Column], *, landing: bool) -> Composed:
    failing = [_failing(column, landing=landing) for column in columns]
    own = SQL("array_remove(ARRAY[{}]::text[], NULL)").format(SQL(", ").join(failing))
    if not landing:
        return own
    landed = SQL("ARRAY(SELECT jsonb_array_elements_text({} -> 'rules'))").format(Identifier(LANDING))
    return SQL("{} || {}").format(landed, own)


def _details(columns: Sequence[Column], *, landing: bool) -> Composed:
    """Return the JSON list that says of each value that does not cast what it looked like."""
    details = [
        SQL(
            "CASE WHEN {rule} = ANY ({reasons}) THEN jsonb_build_object('column', {name}, 'value_class', {class_},"
            " 'target', {type}) END"
        ).format(
            rule=Literal(_rule(column)),
            reasons=Identifier(REASONS),
            name=Literal(column.name),
            class_=value_class(column, Identifier(column.name)),
            type=Literal(column.type),
        )
        for column in columns
    ]
    own = SQL("to_jsonb(array_remove(ARRAY[{}]::jsonb[], NULL))").format(SQL(", ").join(details))
    if not landing:
        return own
    return SQL("coalesce({} -> 'details', '[]') || {}").format(Identifier(LANDING), own)


def _value(column: Column, staged_type: str) -> Composable:
    name = Identifier(column.name)
    return name if staged_type == column.type else value(column, name)


def cast_stage(cur: Cursor, stage: Stage, contract: Contract, staged: Mapping[str, str]) -> int:
    """Fill `stage.typed` with the rows that cast and `stage.bad` with those that do not.

    Args:
        cur: Cursor on the warehouse, in a transaction.
        stage: A stage with at least one column staged as text and its rows numbered.
        contract: The contract.
        staged: Type of each staged column.

    Returns:
        The number of rows that do not cast.
    """
    landing = LANDING in staged
    columns = [contract.column(name) for name in staged if name not in (ROW_NUMBER, LANDING)]
    castable = [column for column in columns if staged[column.name] != column.type]
    definitions = [SQL("{} {}").format(Identifier(column.name), SQL(column.type)) for column in columns]
    cur.execute(
        SQL("CREATE TABLE {} ({}, {} bigint)").format(stage.typed, SQL(", ").join(definitions), Identifier(ROW_NUMBER))
    )
    cur.execute(
        SQL(
            "WITH seen AS MATERIALIZED (SELECT *, {why} AS {reasons} FROM {stage}),"
            " bad AS (INSERT INTO {bad} SELECT *, {details} FROM seen WHERE {reasons} <> '{{}}' RETURNING 1),"
            " good AS (INSERT INTO {typed} SELECT {values}, {number} FROM seen WHERE {reasons} = '{{}}')"
            " SELECT count(*) FROM bad"
        ).format(
            why=_reasons(castable, landing=landing),
            details=_details(castable, landing=landing),
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
