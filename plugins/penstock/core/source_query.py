"""Stage a slice by a query in the warehouse: a mart is a dataset like any other, only its source is SQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extensions import cursor as Cursor  # noqa: N812
from psycopg2.sql import SQL, Composed, Identifier

from penstock.core.contract.model import SLICE_FIELD, Column, Contract
from penstock.core.drift import stated_columns, with_evolved
from penstock.core.errors import SchemaMismatch
from penstock.core.ledger import current_attempts
from penstock.core.slice import Slice
from penstock.core.source_table import is_naive, widens
from penstock.core.stage import Stage, column_types, create_stage, default_to_slice, record_stage

_PROBE = "penstock_query"


def _query_types(cur: Cursor, query: SQL) -> dict[str, str]:
    cur.execute(SQL("CREATE TEMPORARY TABLE {} ON COMMIT DROP AS {}\nWITH NO DATA").format(Identifier(_PROBE), query))
    return column_types(cur, Identifier("pg_temp", _PROBE))


def _bound(cur: Cursor, sql: str, slice_: Slice) -> SQL:
    """Return the query with the slice's parameters bound by the driver.

    Raises:
        KeyError: It names another parameter.
        ValueError: It holds a `%` that stands for no parameter.
    """
    try:
        return SQL(cur.mogrify(sql.strip().rstrip(";"), slice_.parameters).decode("utf-8"))
    except (TypeError, IndexError, psycopg2.ProgrammingError) as error:  # what the driver raises for a stray %
        raise ValueError(str(error)) from error


def _staged_type(column: Column, present: dict[str, str]) -> str:
    fits = column.name not in present or widens(present[column.name], column.type)
    return column.type if fits else "text"


def stage_query(
    warehouse: Connection,
    contract: Contract,
    slice_: Slice,
    stage: Stage,
    sql: str,
    *,
    producers: Sequence[str] = (),
    detail: Mapping[str, Any] | None = None,
) -> int:
    """Stage what a query gives for a slice; commits.

    The query may bind `%(slice_key)s`, `%(slice_start)s` and `%(slice_end)s`, and must name its columns as the
    contract does. A column whose type could lose something on the way to the contract's (say, a sum of unbounded
    scale) is staged as text and cast by the gate, never rounded.

    Args:
        warehouse: Connection to the warehouse.
        contract: The contract.
        slice_: The slice.
        stage: The run's stage; what an earlier attempt left in it is replaced.
        sql: The query.
        producers: Datasets that the query reads: which attempt at their slice it has read is kept with the stage.
        detail: What else is kept with the stage and in the ledger.

    Returns:
        The number of rows staged.

    Raises:
        SchemaMismatch: The query cannot be run, or lacks one of the contract's columns.
    """
    where = {"dataset": stage.dataset, "slice_key": stage.slice_key}
    with warehouse, warehouse.cursor() as cur:
        try:
            query = _bound(cur, sql, slice_)
            present = _query_types(cur, query)
        except (KeyError, ValueError) as error:
            raise SchemaMismatch(
                f"The query's parameters cannot be bound ({error}); known are {', '.join(slice_.parameters)}.",
                **where,
                next_step="write a literal % as %%, correct the parameters and clear `extract`.",
            ) from error
        except psycopg2.ProgrammingError as error:
            raise SchemaMismatch(
                f"The query cannot be run: {' '.join(str(error).split())}",
                **where,
                next_step="correct the SQL (or load the datasets it reads) and clear `extract`.",
            ) from error
        contract = with_evolved(cur, contract)
        sent = [column for column in stated_columns(contract) if column.source_name != SLICE_FIELD]
        missing = [column.name for column in sent if column.name not in present]
        if missing:
            raise SchemaMismatch(
                f"The query gives no column {', '.join(missing)}.",
                **where,
                next_step="name the query's columns as the contract does and clear `extract`.",
            )
        naive = [column.name for column in sent if is_naive(column, present[column.name])]
        if naive:
            raise SchemaMismatch(
                f"The query's {', '.join(naive)} says no offset from UTC, and the contract wants a moment.",
                **where,
                next_step="give a timestamptz (AT TIME ZONE), or state `logicalTypeOptions.defaultTimezone`, and clear"
                " `extract`.",
            )
        # Before the rows are read: a producer that publishes in between has newer rows than is said, never older ones.
        read = current_attempts(cur, producers, slice_.key)
        types = [(column.name, _staged_type(column, present)) for column in contract.columns]
        create_stage(cur, stage, types, contract)
        default_to_slice(cur, stage, contract, slice_)
        columns = [(name, type_) for name, type_ in types if name in present]
        names = SQL(", ").join(Identifier(name) for name, _ in columns)
        values: list[Composed] = [SQL("{}::{}").format(Identifier(name), SQL(type_)) for name, type_ in columns]
        cur.execute(
            SQL("INSERT INTO {} ({}) SELECT {} FROM ({}\n) AS q").format(
                stage.table, names, SQL(", ").join(values), query
            )
        )
        rows = cur.rowcount
        default_to_slice(cur, stage, contract, None)
        told = {"source": "query", "producers": read, **(detail or {})}
        record_stage(cur, stage, contract, extracted=rows, detail=told)
    return rows
