"""Stage what changed in a table of a Postgres since the last published slice, from its log: inserts, updates, deletes.

A replication slot at the source keeps the log for us, the ledger keeps how far it was read: the position stands in the
detail of the slice that was published with it. What was staged and not published is read again. The first slice is the
whole table, in the very snapshot after which the slot begins.
"""

from __future__ import annotations

import select
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extensions import cursor as Cursor  # noqa: N812
from psycopg2.extensions import quote_ident
from psycopg2.extras import LogicalReplicationConnection, ReplicationCursor
from psycopg2.sql import SQL, Identifier

from penstock.core.contract.model import SLICE_FIELD, Contract, LoadMode
from penstock.core.drift import Extracted, decide, with_evolved
from penstock.core.errors import PenstockError, SchemaMismatch, SourceError, SourceUnavailable
from penstock.core.landing import Stream, csv_row
from penstock.core.pgoutput import Change, Commit, Decoder
from penstock.core.slice import Slice
from penstock.core.stage import (
    Stage,
    begin_snapshot,
    column_types,
    copy_into,
    create_text_stage,
    default_to_slice,
    record_stage,
)

LSN: Final = "$lsn"
DELETED: Final = "$deleted"
COMMITTED_AT: Final = "$committed_at"
FIELDS: Final[Mapping[str, str]] = {
    LSN: "bigint",
    DELETED: "boolean",
    COMMITTED_AT: "timestamp with time zone",
}
"""`physicalName`s of columns that the log fills: where a change stands in it, whether the row is gone, since when."""
_SILENCE_SECONDS: Final = 60
_PIECE_ROWS: Final = 500
_GRACE_STEPS: Final = 50


@dataclass(frozen=True, slots=True)
class ChangeLog:
    """Where changes come from.

    Attributes:
        table: `schema.table` at the source.
        publication: A publication of the source that has the table.
        slot: The replication slot; made by the first extract, and by nobody else.
    """

    table: str
    publication: str
    slot: str


@dataclass
class _Read:
    """How far the log was read.

    Attributes:
        position: All transactions up to here are staged.
        rows: Number of changes staged.
    """

    position: int
    rows: int = 0
    fields: Sequence[str] = field(default_factory=tuple)


def stage_changes(
    source: Connection,
    replication: LogicalReplicationConnection,
    warehouse: Connection,
    contract: Contract,
    slice_: Slice,
    stage: Stage,
    log: ChangeLog,
    *,
    detail: Mapping[str, Any],
) -> Extracted:
    """Stage all changes that were committed since the last published slice and before now; commits the warehouse.

    Args:
        source: Connection to the source.
        replication: Connection to the source for logical replication.
        warehouse: Connection to the warehouse.
        contract: The contract, which merges by key, newest by `$lsn`.
        slice_: The slice.
        stage: The run's stage; what an earlier attempt left in it is replaced.
        log: Table, publication and slot.
        detail: What else is kept with the stage and in the ledger.

    Raises:
        SchemaMismatch: The contract cannot take changes, or the log says less of a row than can be loaded.
        SourceUnavailable: Another run reads from the slot, or the source sends nothing any more.
        SourceError: The slot is gone, or the source refused.
    """
    _check(contract, stage)
    try:
        with warehouse, warehouse.cursor() as cur, replication.cursor() as feed:
            contract = with_evolved(cur, contract)
            known = _published_position(cur, contract, log)
            begin_snapshot(source)
            with source, source.cursor() as out:
                present = column_types(out, Identifier(*log.table.split(".")))
            if not present:
                raise _mismatch(stage, f"The source has no table {log.table} that this connection may see.")
            named = {column.source_name for column in contract.columns}
            drift = decide(contract, present | {name: kind for name, kind in FIELDS.items() if name in named}, stage)
            contract = drift.extend(contract)
            columns = {
                column.name: column.source_name
                for column in contract.columns
                if column.source_name != SLICE_FIELD and (column.source_name in present or column.source_name in FIELDS)
            }
            create_text_stage(cur, stage, contract, slice_)
            statement = copy_into(stage, list(columns), binary=False)
            read = _Read(known or 0, fields=list(columns.values()))
            if known is None:
                pieces = _whole_table(source, feed, log, read)
            else:
                key = frozenset(contract.column(name).source_name for name in contract.key)
                pieces = _changes(source, feed, log, key, read)
            stream = Stream(pieces)
            try:
                cur.copy_expert(statement, stream)
            except psycopg2.Error:
                if stream.error is not None:  # the driver has only its words
                    raise stream.error from None
                raise
            if cur.rowcount != read.rows:
                raise SourceError(f"{read.rows:,} changes were read and {cur.rowcount:,} staged.")
            default_to_slice(cur, stage, contract, None)
            told = {"source": log.table, "slot": log.slot, "position": read.position}
            record_stage(cur, stage, contract, extracted=read.rows, detail={**detail, **told, **drift.detail()})
    except PenstockError as error:
        error.dataset, error.slice_key = stage.dataset, stage.slice_key
        raise
    return Extracted(read.rows, drift)


def _mismatch(
    stage: Stage, problem: str, next_step: str = "correct the DAG or the contract and clear `extract`."
) -> Any:
    return SchemaMismatch(problem, dataset=stage.dataset, slice_key=stage.slice_key, next_step=next_step)


def _check(contract: Contract, stage: Stage) -> None:
    """Hold a contract to what changes need.

    Raises:
        SchemaMismatch: It merges by no key, orders versions by something else than the log, or lets no row be deleted.
    """
    sources = {column.name: column.source_name for column in contract.columns}
    if contract.load_mode is not LoadMode.MERGE or not contract.key:
        problem = f"Changes are merged by key, and the contract says {contract.load_mode}."
    elif sources.get(contract.cursor or "") != LSN or sources.get(contract.tombstone or "") != DELETED:
        problem = (
            f"Changes are ordered by {LSN} and rows are marked as deleted by {DELETED}; the contract says otherwise."
        )
    else:
        return
    raise _mismatch(
        stage,
        problem,
        f"state `loadMode: merge`, a `cursor` column with `physicalName: {LSN}` (bigint) and a `tombstone` column with"
        f" `physicalName: {DELETED}` (boolean), and clear `extract`.",
    )


def _published_position(cur: Cursor, contract: Contract, log: ChangeLog) -> int | None:
    """Return how far the log was read by what is published; None if nothing is."""
    cur.execute(
        "SELECT max((detail->>'position')::bigint) FROM ops.slice_ledger WHERE dataset = %s AND status = 'published'"
        " AND detail->>'slot' = %s",
        (contract.dataset, log.slot),
    )
    row = cur.fetchone()
    return row[0] if row else None


# --- the first time ------------------------------------------------------------------------------------------------


def _whole_table(source: Connection, feed: ReplicationCursor, log: ChangeLog, read: _Read) -> Iterator[bytes]:
    """Make the slot, and yield all rows of the table as they were when it began."""
    with source, source.cursor() as out:
        out.execute("SELECT FROM pg_replication_slots WHERE slot_name = %s AND NOT active", (log.slot,))
        left = out.fetchone() is not None
    if left:  # by an attempt whose rows were never published
        feed.drop_replication_slot(log.slot)
    feed.create_replication_slot(log.slot, output_plugin="pgoutput")
    ((_, point, snapshot, _),) = feed.fetchall()
    read.position = _lsn(point)
    begin_snapshot(source)
    with source, source.cursor() as out:
        out.execute("SET TRANSACTION SNAPSHOT %s", (snapshot,))
        out.execute("SELECT now()::text")
        ((now,),) = out.fetchall()
        own = {LSN: str(read.position), DELETED: "false", COMMITTED_AT: now}
        with source.cursor("penstock_rows") as rows:
            rows.itersize = _PIECE_ROWS
            wanted = [SQL("{}::text").format(Identifier(name)) for name in read.fields if name not in own]
            query = SQL("SELECT {} FROM {}").format(
                SQL(", ").join(wanted or [SQL("NULL::text")]), Identifier(*log.table.split("."))
            )
            rows.execute(query)
            for row in rows:
                values = iter(row)
                read.rows += 1
                yield csv_row([own[name] if name in own else next(values) for name in read.fields]).encode()


def _lsn(text: str) -> int:
    """Return a position as a number; `16/B374D848` is how Postgres writes it."""
    high, _, low = text.partition("/")
    return (int(high, 16) << 32) + int(low, 16)


# --- from then on --------------------------------------------------------------------------------------------------


def _changes(
    source: Connection, feed: ReplicationCursor, log: ChangeLog, key: frozenset[str], read: _Read
) -> Iterator[bytes]:
    """Yield all changes from the published position to the present end of the log; the source may forget what is older.

    Raises:
        SourceUnavailable: Another run reads from the slot, or the source sends nothing any more.
        SourceError: The slot is gone, or the source refused.
    """
    with source, source.cursor() as out:
        out.execute("SELECT pg_current_wal_flush_lsn()::text")
        ((end,),) = out.fetchall()
    stop, decoder = _lsn(end), Decoder(log.table, key)
    feed.execute("SET TIME ZONE 'UTC'")
    feed.execute("SET DateStyle = 'ISO, YMD'")
    options = {"proto_version": "1", "publication_names": quote_ident(log.publication, source)}
    _await_slot(source, log)
    try:
        feed.start_replication(slot_name=log.slot, start_lsn=read.position, options=options)
    except psycopg2.errors.ObjectInUse as error:
        raise SourceUnavailable(
            f"Another session reads from slot {log.slot}: {' '.join(str(error).split())}",
            next_step="nothing: the task is retried; one run of the DAG at a time is enough.",
        ) from error
    except psycopg2.Error as error:
        raise SourceError(
            f"Slot {log.slot} cannot be read from: {' '.join(str(error).split())}",
            next_step="if the slot is gone, changes are lost: give the DAG another `slot`, so that it begins with the"
            " whole table, and clear `extract`.",
        ) from error
    feed.send_feedback(flush_lsn=read.position)  # type: ignore[no-untyped-call]
    for message in _messages(feed, stop):
        for found in decoder.read(message.payload, message.data_start):
            if isinstance(found, Commit):
                read.position = max(read.position, found.end)
            else:
                read.rows += 1
                yield _row(found, read.fields)
    read.position = max(read.position, stop)


def _await_slot(source: Connection, log: ChangeLog) -> None:
    """Give the server a few seconds to see that the last session which read from the slot has gone."""
    for _ in range(_GRACE_STEPS):
        with source, source.cursor() as out:
            out.execute("SELECT pg_sleep(0.1) FROM pg_replication_slots WHERE slot_name = %s AND active", (log.slot,))
            if not out.rowcount:
                return


def _row(change: Change, fields: Sequence[str]) -> bytes:
    own = {
        LSN: str(change.lsn),
        DELETED: "true" if change.deleted else "false",
        COMMITTED_AT: change.committed_at.isoformat(sep=" "),
    }
    return csv_row([own[name] if name in own else change.values.get(name) for name in fields]).encode()


def _messages(feed: ReplicationCursor, stop: int) -> Iterator[Any]:
    """Yield the messages of whole transactions, up to the first that ends at `stop` or later.

    Raises:
        SourceUnavailable: The source sends nothing any more.
    """
    open_transaction, silence = False, 0
    while silence < _SILENCE_SECONDS:
        message = feed.read_message()
        if message is not None:
            silence = 0
            kind = message.payload[:1]
            open_transaction = (open_transaction or kind == b"B") and kind != b"C"
            yield message
        if not open_transaction and feed.wal_end >= stop:
            return
        if message is None:
            feed.send_feedback(reply=True)  # type: ignore[no-untyped-call]
            silence += not any(select.select([feed], [], [], 1.0))
    raise SourceUnavailable(
        f"The source's log was silent for {silence} s before its end.", next_step="nothing: the task is retried."
    )
