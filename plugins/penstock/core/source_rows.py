"""Stage a slice of a table, or of a query, of any database that SQLAlchemy knows.

Rows are read by a server-side cursor in one read-only transaction and staged chunk by chunk: a number that the source's
type makes sure of in the contract's type, all else as text, which the gate casts row by row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extensions import cursor as Cursor  # noqa: N812

from penstock.core.contract.model import SLICE_FIELD, Column, Contract
from penstock.core.dialects import Dialect, Field, dialect_of, selected
from penstock.core.drift import Extracted, decide, with_evolved
from penstock.core.errors import PenstockError, SchemaMismatch, SourceError, SourceUnavailable
from penstock.core.landing import Aside, Stream
from penstock.core.proof import stage_proved
from penstock.core.row_text import Sent, chunks, csv_of
from penstock.core.slice import Slice
from penstock.core.source_table import is_naive, widens
from penstock.core.stage import Stage, copy_into, create_stage, default_to_slice, record_stage
from penstock.core.wanted import WATERMARK, Wanted, parts_of_query

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, FromClause, Select
    from sqlalchemy import Connection as Source
    from sqlalchemy.exc import DBAPIError

_QUERY: Final = "penstock_query"
_BUFFERED_ROWS: Final = 1000
_BUFFERED_WIDE_ROWS: Final = 10


@dataclass(frozen=True, slots=True)
class _Relation:
    """What is read: a table or a query, with its columns."""

    source: FromClause
    fields: Mapping[str, Field]


def stage_rows(
    source: Source,
    warehouse: Connection,
    contract: Contract,
    slice_: Slice,
    stage: Stage,
    wanted: Wanted,
    detail: Mapping[str, Any] | None = None,
) -> Extracted:
    """Stage one slice of a source; commits the warehouse.

    A table is cut by the contract's slice column; where that is `$slice`, or there is none, the whole of it is taken,
    as it is now. A query cuts itself, by its parameters.

    Args:
        source: Connection to the source, used in one read-only transaction.
        warehouse: Connection to the warehouse.
        contract: The contract.
        slice_: The slice.
        stage: The run's stage; what an earlier attempt left in it is replaced.
        wanted: The table or query.
        detail: What else is kept with the stage and in the ledger, such as the `conn_id` of the source.

    Raises:
        SourceUnavailable: The connection broke.
        SourceError: The source failed, or took too long.
        SchemaMismatch: There is no such table, the query cannot be run, the columns do not fit the contract, or the
            table cannot be cut into slices.
    """
    from sqlalchemy import select

    dialect = dialect_of(source)
    with _translated(source, stage, wanted), warehouse, warehouse.cursor() as cur:
        contract = with_evolved(cur, contract)
        window = wanted.window(contract, slice_, stage)
        dialect.begin(source)
        relation = _relation(source, dialect, wanted, slice_, stage)
        check_fields(contract, relation.fields, stage, wanted, typed=dialect.typed)
        drift = decide(contract, {name: field.type for name, field in relation.fields.items()}, stage)
        contract = drift.extend(contract)
        sent = [column for column in contract.columns if column.source_name in relation.fields]
        fields = [relation.fields[name] for name in (*(column.source_name for column in sent), *drift.watched)]
        query = select(*selected(dialect, relation.source, fields)).select_from(relation.source)
        if wanted.table and (condition := _window(dialect, contract, relation, window)) is not None:
            _check_times(source, dialect, contract, relation, stage)
            query = query.where(condition)
        shape = Sent({column.name: column.type for column in sent}, drift.watched)

        def copy(proof: Sequence[Column]) -> int:
            return _copy(source, cur, stage, query, fields, shape, proof)

        rows = None if drift.watched else stage_proved(cur, stage, contract, slice_, sent, copy)
        if rows is None:
            types = [(column.name, _staged_type(column, relation.fields)) for column in contract.columns]
            create_stage(cur, stage, types, contract)
            default_to_slice(cur, stage, contract, slice_)
            rows = copy(())
            default_to_slice(cur, stage, contract, None)
        found: dict[str, Any] = {"source": wanted.name}
        if wanted.accountable:
            found["source_rows"] = rows
        record_stage(cur, stage, contract, extracted=rows, detail={**(detail or {}), **found, **drift.detail()})
    return Extracted(rows, drift, one_reader="sessions there share no snapshot")


def count_slices(source: Source, contract: Contract, table: str, slices: Sequence[Slice]) -> dict[str, int]:
    """Count what a source's table has of slices now, in one query; return it by the slice's key.

    Args:
        source: Connection to the source; one read-only transaction is used.
        contract: The contract, whose slice column cuts the table.
        table: `schema.table` at the source.
        slices: The slices, in any order.

    Raises:
        SourceUnavailable: The connection broke.
        SourceError: The source failed, or took too long.
        SchemaMismatch: There is no such table, or it cannot be cut into slices any more.
    """
    from sqlalchemy import case, func, or_, select

    dialect, wanted = dialect_of(source), Wanted(table)
    stage = Stage("", contract.dataset, slices[0].key, "")
    with _translated(source, stage, wanted):
        dialect.begin(source)
        relation = _relation(source, dialect, wanted, slices[0], stage)
        check_fields(contract, relation.fields, stage, wanted, typed=dialect.typed)
        windows = [_window(dialect, contract, relation, slice_) for slice_ in slices]
        conditions = [window for window in windows if window is not None]
        if len(conditions) < len(slices):
            raise ValueError(f"each slice of {contract.dataset} is the whole source of its time")
        counts = [func.count(case((condition, 1))) for condition in conditions]
        found = source.execute(select(*counts).select_from(relation.source).where(or_(*conditions))).one()
    return {slice_.key: int(count) for slice_, count in zip(slices, found, strict=True)}


# --- what is read ------------------------------------------------------------------------------------------------


def _relation(source: Source, dialect: Dialect, wanted: Wanted, slice_: Slice, stage: Stage) -> _Relation:
    if wanted.query:
        return _query_of(source, dialect, wanted, slice_, stage)
    return _table_of(source, dialect, wanted)


def _table_of(source: Source, dialect: Dialect, wanted: Wanted) -> _Relation:
    from sqlalchemy import column, inspect, table
    from sqlalchemy.exc import NoSuchTableError

    *schema, name = wanted.path
    try:
        found = inspect(source).get_columns(name, schema=".".join(schema) or None)
    except NoSuchTableError:
        found = []
    fields = {item["name"]: dialect.field(item["name"], item["type"]) for item in found}
    return _Relation(table(name, *map(column, fields), schema=".".join(schema) or None), fields)


def _query_of(source: Source, dialect: Dialect, wanted: Wanted, slice_: Slice, stage: Stage) -> _Relation:
    """Return a query with the slice bound to it, and its columns, for which it is asked for no row.

    Raises:
        SchemaMismatch: Its parameters are none of the slice's, or the source does not take it.
    """
    from sqlalchemy import bindparam, column, select, text
    from sqlalchemy.exc import DBAPIError

    known: dict[str, Any] = {"slice_key": slice_.key, **{n: dialect.parameter(m) for n, m in _instants(slice_)}}
    if wanted.watermark:
        newest = wanted.watermark.value
        known[WATERMARK] = dialect.parameter(newest) if isinstance(newest, datetime) else newest
    where = {"dataset": stage.dataset, "slice_key": stage.slice_key}
    try:
        parts = list(parts_of_query(wanted.query.strip().rstrip(";"), list(known)))
    except (KeyError, ValueError) as error:
        raise SchemaMismatch(
            f"The query's parameters cannot be bound ({error}); known are {', '.join(known)}.",
            **where,
            next_step="write a literal % as %%, correct the parameters and clear `extract`.",
        ) from error
    sql = "".join(f":{name}" if name else literal.replace(":", r"\:") for literal, name in parts)
    query = text(f"{sql}\n").bindparams(*(bindparam(name, known[name]) for name in {n for _, n in parts if n}))
    probe = select(text("*")).select_from(query.columns().subquery(_QUERY)).limit(0)
    try:
        with source.execute(probe) as result:
            described = result.cursor.description if result.cursor is not None else ()
    except DBAPIError as error:
        if error.connection_invalidated:
            raise
        raise SchemaMismatch(
            f"The query cannot be run: {_words(error)}", **where, next_step="correct the SQL and clear `extract`."
        ) from error
    fields = {name: dialect.described(name, code) for name, code, *_ in described}
    return _Relation(query.columns(*map(column, fields)).subquery(_QUERY), fields)


def _instants(slice_: Slice) -> Iterator[tuple[str, datetime]]:
    yield "slice_start", slice_.start
    yield "slice_end", slice_.end


def check_fields(
    contract: Contract, fields: Mapping[str, Field], stage: Stage, wanted: Wanted, *, typed: bool = True
) -> None:
    """Hold a source's columns to what cuts it into slices and reads its times.

    Args:
        contract: The contract.
        fields: The columns by name.
        stage: The run's stage, for errors.
        wanted: The table or query.
        typed: Whether a column's type says what its values are.

    Raises:
        SchemaMismatch: There is no such table, it cannot be cut into slices, or its times say no offset.
    """
    types = {name: field.type or "" for name, field in fields.items()} if typed else {}
    cut_by = contract.slice_column.source_name if contract.slice_column and wanted.table else ""
    naive = [c.source_name for c in contract.columns if is_naive(c, types.get(c.source_name, ""))]
    next_step = "correct the table's name in the DAG, or the contract, and clear `extract`."
    if not fields:
        problem = f"The source has no table {wanted.table} that this connection may see."
    elif cut_by and cut_by != SLICE_FIELD and cut_by not in fields:
        problem = f"The source has no column {cut_by}, which the contract cuts slices by."
    elif not types.get(cut_by, "date").startswith(("date", "timestamp")):
        problem = f"The source's {cut_by} is {types[cut_by] or 'no time'}; slices are cut by a date or a timestamp."
    elif naive:
        problem = f"The source's {', '.join(naive)} says no offset from UTC, and the contract wants a moment."
        next_step = "state `logicalTypeOptions.defaultTimezone` in the contract and clear `extract`."
    else:
        return
    raise SchemaMismatch(problem, dataset=stage.dataset, slice_key=stage.slice_key, next_step=next_step)


def _window(dialect: Dialect, contract: Contract, relation: _Relation, slice_: Slice) -> ColumnElement[bool] | None:
    """Return the condition that a row of a table is of a slice; None where each slice takes the whole table."""
    column = contract.slice_column
    if column is None or column.source_name == SLICE_FIELD:
        return None
    told = relation.source.c[column.source_name]
    return dialect.window(told, relation.fields[column.source_name], slice_, column.timezone)


def _check_times(source: Source, dialect: Dialect, contract: Contract, relation: _Relation, stage: Stage) -> None:
    """Look for rows that would be of no slice, where a column's type does not rule them out.

    Raises:
        SchemaMismatch: There are some.
    """
    from sqlalchemy import func, select

    column = contract.slice_column
    if column is None or column.source_name == SLICE_FIELD:
        return
    condition = dialect.unreadable(relation.source.c[column.source_name])
    if condition is None:
        return
    rows = source.execute(select(func.count()).select_from(relation.source).where(condition)).scalar_one()
    if rows:
        raise SchemaMismatch(
            f"In {rows:,} rows the source's {column.source_name} is no time in ISO 8601: they are of no slice.",
            dataset=stage.dataset,
            slice_key=stage.slice_key,
            next_step="mend them, or give the DAG a query that cuts the slice, and clear `extract`.",
        )


def _staged_type(column: Column, fields: Mapping[str, Field]) -> str:
    """Return the type that a column is staged in: the contract's if each value is sure to be of it, else text."""
    field = fields.get(column.source_name)
    if field is None:
        return column.type
    sure = field.exact and field.type is not None and widens(field.type, column.type)
    return column.type if sure else "text"


# --- how it is read ----------------------------------------------------------------------------------------------


def _copy(
    source: Source,
    cur: Cursor,
    stage: Stage,
    query: Select[Any],
    fields: Sequence[Field],
    sent: Sent,
    proof: Sequence[Column],
) -> int:
    """Copy a query's rows, then those that were put aside; return the number of both.

    Raises:
        NotProved: A row is not proved to be one of the contract's types, and `proof` names them.
        SourceError: Postgres counted other rows than were read: nothing is staged.
    """
    wide = [position for position, field in enumerate(fields) if not field.short]
    options = {"stream_results": True, "max_row_buffer": _BUFFERED_WIDE_ROWS if wide else _BUFFERED_ROWS}
    aside, read = Aside(list(sent.types)), 0

    def pieces() -> Iterator[bytes]:
        nonlocal read
        with source.execute(query, execution_options=options) as result:
            for rows in chunks(result, wide):
                read += len(rows)
                yield csv_of(rows, sent, aside, proof)

    stream = Stream(pieces())
    try:
        try:
            cur.copy_expert(copy_into(stage, list(sent.types), binary=False), stream)
        except psycopg2.Error:
            if stream.error is not None:  # the driver has only its words
                raise stream.error from None
            raise
        if cur.rowcount + aside.rows != read:
            raise SourceError(f"{read:,} rows were read and {cur.rowcount + aside.rows:,} staged.")
        aside.copy(cur, stage)
    finally:
        aside.close()
    return read


@contextmanager
def _translated(source: Source, stage: Stage, wanted: Wanted) -> Iterator[None]:
    """Say what a driver's error means.

    Raises:
        SourceUnavailable: The connection broke.
        SourceError: The source failed, or took too long.
    """
    from sqlalchemy.exc import DBAPIError

    try:
        yield
    except BaseException as error:
        source.invalidate()  # a result that is not read to its end would be, before the connection is given back
        if isinstance(error, PenstockError):
            error.dataset, error.slice_key = stage.dataset, stage.slice_key
        if not isinstance(error, DBAPIError):
            raise
        where = {"dataset": stage.dataset, "slice_key": stage.slice_key}
        if error.connection_invalidated:
            raise SourceUnavailable(
                f"The connection to the source broke: {_words(error)}",
                **where,
                next_step="nothing if it comes back: the task is retried.",
            ) from error
        raise SourceError(
            f"The source failed to give {wanted.name}: {_words(error)}",
            **where,
            next_step="nothing at first: the task is retried; then ask the owner of the source.",
        ) from error


def _words(error: DBAPIError) -> str:
    return " ".join(str(error.orig).split())
