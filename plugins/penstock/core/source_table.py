"""Stage a slice of a Postgres table by piping COPY."""

from __future__ import annotations

import re
from typing import Final

from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.sql import SQL, Composed, Identifier, Literal

from penstock.core.contract.model import Column, Contract
from penstock.core.copy_pipe import pipe_copy
from penstock.core.errors import SchemaMismatch
from penstock.core.slice import Slice
from penstock.core.stage import Stage, column_types, copy_into, create_stage, record_stage

_WIDENS: Final = {
    "smallint": {"integer", "bigint", "numeric"},
    "integer": {"bigint", "numeric"},
    "bigint": {"numeric"},
    "real": {"double precision"},
    "json": {"text"},
    "uuid": {"text"},
}


def _sized(pg_type: str) -> tuple[str, list[int]]:
    match = re.fullmatch(r"([a-z ]+?)(?:\(([\d,]+)\))?(\[\])?", pg_type)
    if match is None or match[3]:
        return pg_type, []
    return match[1], [int(part) for part in match[2].split(",")] if match[2] else []


def widens(source: str, target: str) -> bool:
    """Tell whether every value of a source type is exactly a value of the target type (both canonical)."""
    if source == target:
        return True
    (base, size), (wanted, room) = _sized(source), _sized(target)
    if base == wanted == "numeric" and size:
        return not room or (room[1] >= size[1] and room[0] - room[1] >= size[0] - size[1])
    if base in ("character varying", "text") and wanted in ("character varying", "text"):
        return not room or bool(size and room[0] >= size[0])
    return not room and wanted in _WIDENS.get(base, ())


def _selected(column: Column, source_type: str) -> tuple[Composed, str]:
    """Return how a column is read, and the type it is staged in.

    What the contract's type can hold exactly is cast by the source; anything else travels as text, and the gate
    casts it row by row, so that one bad value does not fail the slice.
    """
    name = Identifier(column.source_name)
    if source_type == column.type:
        return SQL("{}").format(name), column.type
    staged = column.type if widens(source_type, column.type) else "text"
    return SQL("{}::{}").format(name, SQL(staged)), staged  # a canonical type: see contract.types


def _check_columns(contract: Contract, present: dict[str, str], stage: Stage, table: str) -> None:
    missing = [column.source_name for column in contract.columns if column.source_name not in present]
    if not present:
        problem = f"The source has no table {table} that this connection may see."
    elif missing:
        problem = f"The source table {table} has no column {', '.join(missing)}."
    elif (cut_by := contract.slice_column) and not re.match(r"date|timestamp", present[cut_by.source_name]):
        found = present[cut_by.source_name]
        problem = f"The source's {cut_by.source_name} is {found}; slices are cut by a date or a timestamp."
    else:
        return
    raise SchemaMismatch(
        problem,
        dataset=stage.dataset,
        slice_key=stage.slice_key,
        next_step="correct the table's name in the DAG, or the contract, and clear `extract`.",
    )


def _rows(contract: Contract, selected: list[Composed], table: Identifier, slice_: Slice) -> Composed:
    query = SQL("SELECT {} FROM {}").format(SQL(", ").join(selected), table)
    column = contract.slice_column
    if column is None:
        return query
    return SQL("{} WHERE {c} >= {start} AND {c} < {end}").format(
        query, c=Identifier(column.source_name), start=Literal(slice_.start), end=Literal(slice_.end)
    )


def stage_table(
    source: Connection, warehouse: Connection, contract: Contract, slice_: Slice, stage: Stage, table: str
) -> int:
    """Stage one slice of a source table, cut by the contract's slice column; commits the warehouse.

    Args:
        source: Connection to the source, used in one read-only transaction.
        warehouse: Connection to the warehouse.
        contract: The contract.
        slice_: The slice.
        stage: The run's stage; what an earlier attempt left in it is replaced.
        table: `schema.table` at the source.

    Returns:
        The number of rows staged.

    Raises:
        SchemaMismatch: The source lacks the table or one of the contract's columns, or cannot be cut into slices.
    """
    name = Identifier(*table.split("."))
    # Repeatable read: the columns are looked up and the rows are read in one snapshot.
    source.set_session(readonly=True, isolation_level="REPEATABLE READ")
    with source, source.cursor() as out, warehouse, warehouse.cursor() as cur:
        out.execute("SET TIME ZONE 'UTC'")
        present = column_types(out, name)
        _check_columns(contract, present, stage, table)
        read = [_selected(column, present[column.source_name]) for column in contract.columns]
        columns = [(column.name, type_) for column, (_, type_) in zip(contract.columns, read, strict=True)]
        create_stage(cur, stage, columns, contract)
        rows = pipe_copy(
            out,
            SQL("COPY ({}) TO STDOUT (FORMAT binary)").format(
                _rows(contract, [expression for expression, _ in read], name, slice_)
            ),
            cur,
            copy_into(stage, [column for column, _ in columns], binary=True),
        )
        record_stage(cur, stage, contract, extracted=rows, detail={"source": table})
    return rows
