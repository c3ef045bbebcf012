"""Stage a slice of a Postgres table, or of a query, by piping COPY."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extensions import cursor as Cursor  # noqa: N812
from psycopg2.sql import SQL, Composable, Composed, Identifier, Literal

from penstock.core.checksum import source_checksum
from penstock.core.contract.model import SLICE_FIELD, Column, Contract, Reconcile
from penstock.core.copy_pipe import pipe_copy
from penstock.core.drift import Extracted, decide, with_evolved
from penstock.core.errors import SchemaMismatch
from penstock.core.landing import UNKNOWN_FIELDS
from penstock.core.parallel_read import Ranges, Readers, cut, fill_together
from penstock.core.slice import Slice
from penstock.core.stage import (
    LANDING,
    Stage,
    begin_snapshot,
    column_types,
    copy_into,
    create_stage,
    record_stage,
    slice_value,
)
from penstock.core.wanted import WATERMARK, Wanted, parts_of_query

_NUMERIC: Final = 1700
_MOST_DIGITS: Final = 1000  # that a numeric can state; the driver gives other numbers where it states none
_QUERY: Final = Identifier("penstock_query")
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


def is_naive(column: Column, source_type: str) -> bool:
    """Tell whether a source column says no offset where the contract wants one, and states no zone to read it in."""
    return (
        column.type == "timestamp with time zone"
        and column.timezone is None
        and re.fullmatch(r"date|timestamp(\(\d\))? without time zone", source_type) is not None
    )


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


def _read(contract: Contract, present: dict[str, str], slice_: Slice) -> list[tuple[Composed, str]]:
    """Return how each column is read, and the type it is staged in; NULL where the source does not have it."""
    read = []
    for column in contract.columns:
        if column.source_name == SLICE_FIELD:
            value = SQL("{}::{}").format(Literal(slice_value(column, slice_)), SQL(column.type))
            read.append((value, column.type))
        elif column.source_name in present:
            read.append(_selected(column, present[column.source_name]))
        else:
            read.append((SQL("NULL::{}").format(SQL(column.type)), column.type))
    return read


def _note(watched: Sequence[str]) -> Composed:
    """Return the landing's note of a row that holds something in a field which the contract does not name."""
    texts = SQL(", ").join(SQL("{}, {}::text").format(Literal(name), Identifier(name)) for name in watched)
    return SQL(
        "CASE WHEN num_nonnulls({names}) > 0 THEN jsonb_build_object('rules', jsonb_build_array({rule}::text),"
        " 'extra', jsonb_strip_nulls(jsonb_build_object({texts}))) END"
    ).format(names=SQL(", ").join(map(Identifier, watched)), rule=Literal(UNKNOWN_FIELDS), texts=texts)


def check_columns(contract: Contract, present: dict[str, str], stage: Stage, table: str) -> None:
    """Hold a source's columns to what cuts it into slices and reads its times.

    Args:
        contract: The contract.
        present: Type of each of the source's columns.
        stage: The run's stage, for errors.
        table: `schema.table` at the source; empty for a query, which cuts itself.

    Raises:
        SchemaMismatch: There is no such table, it cannot be cut into slices, or its times say no offset.
    """
    cut_by = contract.slice_column if table else None
    naive = [c.source_name for c in contract.columns if is_naive(c, present.get(c.source_name, ""))]
    next_step = "correct the table's name in the DAG, or the contract, and clear `extract`."
    if not present:
        problem = f"The source has no table {table} that this connection may see."
    elif cut_by and not re.match(r"date|timestamp", present.get(cut_by.source_name, "date")):
        found = present[cut_by.source_name]
        problem = f"The source's {cut_by.source_name} is {found}; slices are cut by a date or a timestamp."
    elif naive:
        problem = f"The source's {', '.join(naive)} says no offset from UTC, and the contract wants a moment."
        next_step = "state `logicalTypeOptions.defaultTimezone` in the contract and clear `extract`."
    else:
        return
    raise SchemaMismatch(problem, dataset=stage.dataset, slice_key=stage.slice_key, next_step=next_step)


def _rows(
    selected: Sequence[Composable],
    relation: Composable,
    moment: Composable | None,
    slice_: Slice,
    only: Sequence[Composable] = (),
) -> Composed:
    """Return the query of the slice's rows, or of those `only` that keep further conditions."""
    query = SQL("SELECT {} FROM {}").format(SQL(", ").join(selected), relation)
    conditions = list(only)
    if moment is not None:
        conditions.append(SQL("{} >= {}").format(moment, Literal(slice_.start)))
        conditions.append(SQL("{} < {}").format(moment, Literal(slice_.end)))
    return SQL("{} WHERE {}").format(query, SQL(" AND ").join(conditions)) if conditions else query


def _bound(out: Cursor, wanted: Wanted, slice_: Slice, stage: Stage) -> tuple[Composable, dict[str, str]]:
    """Return a query with the slice bound to it, as a relation, and the types of its columns.

    Raises:
        SchemaMismatch: Its parameters are none of the slice's, the source does not take it, or two of its columns have
            one name.
    """
    known: dict[str, Any] = {**slice_.parameters}
    if wanted.watermark:
        known[WATERMARK] = wanted.watermark.value
    where = {"dataset": stage.dataset, "slice_key": stage.slice_key}
    try:
        parts = list(parts_of_query(wanted.query.strip().rstrip(";"), list(known)))
    except (KeyError, ValueError) as error:
        raise SchemaMismatch(
            f"The query's parameters cannot be bound ({error}); known are {', '.join(known)}.",
            **where,
            next_step="write a literal % as %%, correct the parameters and clear `extract`.",
        ) from error
    query = Composed([Literal(known[name]) if name else SQL(text) for text, name in parts])
    relation = SQL("({}\n) AS {}").format(query, _QUERY)
    try:
        out.execute(SQL("SELECT * FROM {} LIMIT 0").format(relation))
    except psycopg2.ProgrammingError as error:
        raise SchemaMismatch(
            f"The query cannot be run: {' '.join(str(error).split())}",
            **where,
            next_step="correct the SQL and clear `extract`.",
        ) from error
    found = out.description or ()
    names = [column.name for column in found]
    if len(set(names)) < len(names):
        raise SchemaMismatch(
            f"The query gives columns of one name: {', '.join(names)}.",
            **where,
            next_step="name each column once and clear `extract`.",
        )
    present = {}
    for column in found:
        sized = column.type_code == _NUMERIC and 0 < (column.precision or 0) <= _MOST_DIGITS
        modifier = (column.precision << 16 | column.scale) + 4 if sized else -1  # as Postgres packs them
        out.execute("SELECT format_type(%s, %s)", (column.type_code, modifier))
        present[column.name] = str(out.fetchall()[0][0])
    return relation, present


def _ranges(
    out: Cursor,
    contract: Contract,
    query: Composed,
    table: Identifier,
    present: dict[str, str],
    slice_: Slice,
    readers: Readers,
) -> Ranges:
    column = contract.slice_column
    by_day = column is not None and present.get(column.source_name) == "date"
    return cut(out, query, table, readers, None if by_day else slice_moment(contract, present), slice_)


def slice_moment(contract: Contract, present: Mapping[str, str]) -> Composable | None:
    """Return what tells the slice of a row of the source (in a session in UTC); None where each takes the whole table.

    Args:
        contract: The contract.
        present: Type of each of the source's columns.
    """
    column = contract.slice_column
    if column is None or column.source_name == SLICE_FIELD:
        return None
    moment: Composable = Identifier(column.source_name)
    if column.timezone and not present[column.source_name].endswith("with time zone"):
        moment = SQL("({}::timestamp AT TIME ZONE {})").format(moment, Literal(column.timezone))
    return moment


def read_columns(contract: Contract, present: dict[str, str], slice_: Slice) -> dict[str, tuple[Composed, str]]:
    """Return by the contract's name of each column how the source gives it, and the type it is staged in."""
    names = [column.name for column in contract.columns]
    return dict(zip(names, _read(contract, present, slice_), strict=True))


def stage_table(
    source: Connection,
    warehouse: Connection,
    contract: Contract,
    slice_: Slice,
    stage: Stage,
    table: str | Wanted,
    *,
    detail: Mapping[str, Any] | None = None,
    readers: Readers | None = None,
) -> Extracted:
    """Stage one slice of a source table, cut by the contract's slice column, or of a query; commits the warehouse.

    A contract whose slice column is `$slice` takes the whole table, as it is now.

    Args:
        source: Connection to the source, used in one read-only transaction.
        warehouse: Connection to the warehouse.
        contract: The contract.
        slice_: The slice.
        stage: The run's stage; what an earlier attempt left in it is replaced.
        table: `schema.table` at the source, or what else is wanted of it.
        detail: What else is kept with the stage and in the ledger, such as the `conn_id` of the source.
        readers: Where a large table may be read by several sessions. The rows are those that one would read.

    Raises:
        SourceUnavailable: Somebody waits to change the table, so that further readers cannot join.
        SchemaMismatch: The source lacks the table, the query cannot be run, the columns do not fit the contract, or the
            table cannot be cut into slices.
    """
    wanted = Wanted(table) if isinstance(table, str) else table
    begin_snapshot(source)  # the columns are looked up, and the rows are read and summed up, in one snapshot
    with source, source.cursor() as out, warehouse, warehouse.cursor() as cur:
        contract = with_evolved(cur, contract)
        window = wanted.window(contract, slice_, stage)
        relation: Composable = Identifier(*wanted.path)
        if wanted.query:
            relation, present = _bound(out, wanted, slice_, stage)
        else:
            present = column_types(out, Identifier(*wanted.path))
        check_columns(contract, present, stage, wanted.table)
        drift = decide(contract, present, stage)
        contract = drift.extend(contract)
        read = _read(contract, present, slice_)
        columns = [(column.name, type_) for column, (_, type_) in zip(contract.columns, read, strict=True)]
        selected: list[Composable] = [expression for expression, _ in read]
        names = [column for column, _ in columns]
        if drift.watched:
            selected.append(_note(drift.watched))
            names.append(LANDING)
        moment = None if wanted.query else slice_moment(contract, present)

        def make(making: Cursor, where: Stage) -> None:
            create_stage(making, where, columns, contract, landing=bool(drift.watched))

        def copy_out(*only: Composable) -> Composed:
            return SQL("COPY ({}) TO STDOUT (FORMAT binary)").format(_rows(selected, relation, moment, window, only))

        ranges = Ranges()
        if readers is not None and readers.count > 1:
            name = Identifier(*wanted.path)
            query = _rows(selected, relation, moment, window)
            ranges = (
                Ranges(why_not="a query has no ranges")
                if wanted.query
                else _ranges(out, contract, query, name, present, window, readers)
            )
        if readers is not None and ranges.conditions:
            copy_outs = [copy_out(condition) for condition in ranges.conditions]
            rows = fill_together(readers, (source, warehouse), name, stage, make, copy_outs, names)
        else:
            make(cur, stage)
            rows = pipe_copy(out, copy_out(), cur, copy_into(stage, names, binary=True))
        found: dict[str, Any] = {"source": wanted.name}
        if wanted.accountable:
            found["source_rows"] = rows
            if contract.reconcile is Reconcile.CHECKSUM:
                total = source_checksum(contract, read_columns(contract, present, slice_))
                out.execute(_rows([total], relation, moment, slice_))
                found["source_checksum"] = str(out.fetchall()[0][0])
        record_stage(cur, stage, contract, extracted=rows, detail={**(detail or {}), **found, **drift.detail()})
    return Extracted(rows, drift, one_reader=ranges.why_not)
