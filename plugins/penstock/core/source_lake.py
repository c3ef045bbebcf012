"""Stage a slice from what was landed in the lake."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extensions import cursor as Cursor  # noqa: N812

from penstock.core.contract.model import SLICE_FIELD, Column, Contract
from penstock.core.drift import Drift, Extracted, decide, with_evolved
from penstock.core.lake import LakePath, landed_fields, landed_text, read_parts
from penstock.core.landing import UNKNOWN_FIELDS, Aside, Stream
from penstock.core.nested import held_by
from penstock.core.proof import NotProved, stage_proved, unproved
from penstock.core.slice import day_slice
from penstock.core.stage import Stage, copy_into, create_text_stage, default_to_slice, record_stage

_GATHERED_ROWS: Final = 10_000


def stage_lake(
    warehouse: Connection, contract: Contract, stage: Stage, folder: LakePath, detail: Mapping[str, Any]
) -> Extracted:
    """Stage all rows of one landed attempt as text; commits.

    A row with a text that Postgres cannot hold is staged with the text escaped, and the gate quarantines it.

    Args:
        warehouse: Connection to the warehouse.
        contract: The contract.
        stage: The run's stage; what an earlier attempt left in it is replaced.
        folder: The attempt's folder, with its manifest.
        detail: What to keep with the stage and in the ledger.

    Raises:
        SourceError: The lake's files are not what their manifest says.
        SchemaMismatch: The fields that were landed do not fit the contract.
    """
    with warehouse, warehouse.cursor() as cur:
        contract = with_evolved(cur, contract)
        held = held_by(contract)
        fields = [name for name in landed_fields(folder) if name not in held]
        drift = decide(contract, dict.fromkeys(fields), stage) if fields else Drift()  # no record, no drift
        contract = drift.extend(contract)
        slice_ = day_slice(stage.slice_key)
        sent = [column for column in contract.columns if column.source_name != SLICE_FIELD]
        columns = {column.name: column.source_name for column in sent}
        statement = copy_into(stage, list(columns), binary=False)

        def copy(proved: Sequence[Column]) -> int:
            stream = Stream(_proved(_gathered(read_parts(folder, columns)), proved))
            try:
                cur.copy_expert(statement, stream)
            except psycopg2.Error:
                if stream.error is not None:  # the driver has only its words
                    raise stream.error from None
                raise
            return cur.rowcount

        quick = None if drift.watched else stage_proved(cur, stage, contract, slice_, sent, copy)
        rows = _copy_all(cur, contract, stage, folder, drift, columns) if quick is None else quick
        record_stage(cur, stage, contract, extracted=rows, detail={**detail, **drift.detail()})
    return Extracted(rows, drift)


def _copy_all(
    cur: Cursor, contract: Contract, stage: Stage, folder: LakePath, drift: Drift, columns: Mapping[str, str]
) -> int:
    """Stage all rows as text, those last that cannot be staged as they are; return their number."""
    create_text_stage(cur, stage, contract, day_slice(stage.slice_key))
    statement = copy_into(stage, list(columns), binary=False)
    aside, rows = Aside(list(columns)), 0
    try:
        watched = {_WATCHED + name: name for name in drift.watched}
        for part in _gathered(read_parts(folder, dict(columns) | watched)):
            rows += part.num_rows
            cur.copy_expert(statement, _good_rows(part, columns, aside))
        aside.copy(cur, stage)
    finally:
        aside.close()
    default_to_slice(cur, stage, contract, None)
    return rows


def _gathered(parts: Iterator[Any]) -> Iterator[Any]:
    """Put parts together that are small, as an API's pages are: to look at each costs more than its rows do."""
    import pyarrow

    waiting: list[Any] = []
    for part in parts:
        if waiting and (part.schema != waiting[0].schema or sum(map(len, waiting)) >= _GATHERED_ROWS):
            yield pyarrow.concat_tables(waiting)
            waiting = []
        waiting.append(part)
    if waiting:
        yield pyarrow.concat_tables(waiting)


def _proved(parts: Iterator[Any], columns: Sequence[Column]) -> Iterator[bytes]:
    """Yield rows as COPY takes them, as long as each text of the columns is sure to be a value.

    Raises:
        NotProved: One is not, or a row cannot be copied as it is.
    """
    for part in parts:
        if _odd(part) is not None:
            raise NotProved
        if broken := unproved(columns, part):
            raise NotProved(broken)
        yield _csv(part).getvalue()


_WATCHED = "$"  # no column's name begins so


def _good_rows(part: Any, columns: Mapping[str, str], aside: Aside) -> io.BytesIO:
    """Return the rows that can be staged as they are, as COPY takes them, and put the others aside."""
    from pyarrow import compute

    odd = _odd(part)
    if odd is None:
        return _csv(part.select(list(columns)))
    for record in part.filter(odd).to_pylist():
        texts = {name: landed_text(value) for name, value in record.items()}
        extra = {
            name[len(_WATCHED) :]: text for name, text in texts.items() if name[0] == _WATCHED and text is not None
        }
        aside.add({name: texts[name] for name in columns}, [UNKNOWN_FIELDS] if extra else [], (), extra)
    return _csv(part.filter(compute.invert(odd)).select(list(columns)))


def _odd(part: Any) -> Any:
    """Return which rows must be looked at one by one; None where there are none."""
    import pyarrow
    from pyarrow import compute

    odd = None
    for name in part.column_names:
        column = part.column(name)
        # A field that is watched, and a column that is not Unicode throughout: each row that has one is looked at.
        if name.startswith(_WATCHED) or pyarrow.types.is_binary(column.type):
            suspect = compute.is_valid(column)
        else:
            suspect = compute.match_substring(column, "\0")
        if compute.any(suspect).as_py():
            suspect = compute.fill_null(suspect, False)
            odd = suspect if odd is None else compute.or_(odd, suspect)
    return odd


def _csv(part: Any) -> io.BytesIO:
    """Return rows as COPY takes them."""
    from pyarrow import csv

    buffer = io.BytesIO()
    options = csv.WriteOptions(include_header=False, quoting_style="all_valid")  # NULL is the unquoted nothing
    csv.write_csv(part, buffer, options)
    buffer.seek(0)
    return buffer
