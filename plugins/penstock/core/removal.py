"""Slices leave: because somebody says so, or because the contract's retention is over.

A slice's rows, its quarantined rows and the samples of both go in one transaction, with a ledger row of kind `drop`
that says by whom and why; its counts stay in the ledger. A dropped slice can be loaded again like any other.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import psycopg2.errors
from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extensions import cursor as Cursor  # noqa: N812
from psycopg2.sql import SQL, Composed, Identifier, Literal

from penstock.core.contract.ddl import table_name
from penstock.core.contract.model import SLICE_FIELD, Contract, LoadMode
from penstock.core.errors import PublishBlocked, RemovalRefused
from penstock.core.gaps import is_past_retention
from penstock.core.gate.plan import slice_bounds
from penstock.core.ledger import Attempt, Outcome, current_outcome, lock_slice, record_attempt
from penstock.core.load_modes.merge import lock_merge
from penstock.core.load_modes.partitions import detach, has_partition, partition_name
from penstock.core.load_modes.scd2 import derive, note_touched
from penstock.core.load_modes.tombstones import forget
from penstock.core.load_modes.versions import names
from penstock.core.slice import Slice, day_slice
from penstock.core.stage import Stage, column_types

LOCK_TIMEOUT_SECONDS: Final = 5
"""How long a removal waits for a load of the slice, or for others that change its rows."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """What a removal took away.

    Attributes:
        slice_key: The slice.
        rows: Rows that left the table.
        quarantined: Rows that left the quarantine, open or closed.
        staged_by: Runs that have rows of the slice staged, and may yet publish them.
    """

    slice_key: str
    rows: int
    quarantined: int
    staged_by: list[str]


def drop_slice(
    conn: Connection, contract: Contract, slice_: Slice, *, by: str, reason: str, dag_id: str | None = None
) -> Dropped:
    """Remove a slice from the table and the quarantine; commits.

    Of a partitioned table the slice's partition goes. Of a merged or scd2 table the rows and versions go whose cursor
    lies in the slice; the versions that are left are valid as if the others had never come.

    Args:
        conn: Connection to the warehouse.
        contract: The dataset's contract.
        slice_: The slice.
        by: Who removes it.
        reason: Why.
        dag_id: For the ledger row.

    Raises:
        RemovalRefused: There is nothing of the slice, its rows cannot be told from others, something depends on them,
            or nobody says why.
        PublishBlocked: Others held the slice or its table for too long; nothing was removed.
    """
    if not reason.strip() or not by.strip():
        raise _refused(contract, slice_, "A slice is dropped for a reason and by somebody.", "give both.")
    stage = Stage("", contract.dataset, slice_.key, f"drop by {by}")  # no run's id: the ledger tells a run by it
    with _obstacles_told(contract, slice_), conn, conn.cursor() as cur:
        cur.execute(SQL("SET LOCAL lock_timeout = {}").format(Literal(f"{LOCK_TIMEOUT_SECONDS}s")))
        lock_slice(cur, stage)
        before = current_outcome(cur, contract.dataset, slice_.key)
        rows = _remove_rows(cur, contract, slice_)
        quarantined = _remove_quarantine(cur, stage)
        _need_something(cur, contract, slice_, rows + quarantined)
        gone = max(before.extracted if before else 0, rows + quarantined)
        outcome = Outcome(gone, loaded=0, quarantined=0, deduplicated=0, filtered=gone)
        detail = {"by": by, "reason": reason, "rows": rows, "quarantined": quarantined}
        record_attempt(cur, stage, contract, Attempt(outcome, kind="drop", dag_id=dag_id, detail=detail))
        return Dropped(slice_.key, rows, quarantined, _staged_by(cur, stage))


def expired_slices(cur: Cursor, contract: Contract, *, now: datetime) -> list[Slice]:
    """Return the slices that are there and past the contract's retention, oldest first.

    Args:
        cur: Cursor on the warehouse.
        contract: The dataset's contract; without a retention no slice is past it.
        now: The present, with a time zone.
    """
    if contract.retention is None:
        return []
    cur.execute(
        "SELECT slice_key FROM ops.slice_current WHERE dataset = %s AND kind <> 'drop' ORDER BY 1", (contract.dataset,)
    )
    slices = [day_slice(key) for (key,) in cur.fetchall()]
    return [slice_ for slice_ in slices if is_past_retention(contract, slice_, now)]


def _refused(contract: Contract, slice_: Slice, problem: str, next_step: str) -> RemovalRefused:
    return RemovalRefused(problem, dataset=contract.dataset, slice_key=slice_.key, next_step=next_step)


@contextmanager
def _obstacles_told(contract: Contract, slice_: Slice) -> Iterator[None]:
    try:
        yield
    except psycopg2.errors.LockNotAvailable as error:
        raise PublishBlocked(
            f"Others held the slice, or readers {contract.domain}.{contract.table}, for several seconds;"
            " nothing was removed.",
            dataset=contract.dataset,
            slice_key=slice_.key,
            next_step="try again; pg_stat_activity shows who holds it.",
        ) from error
    except (psycopg2.IntegrityError, psycopg2.errors.DependentObjectsStillExist) as error:
        raise _refused(
            contract,
            slice_,
            f"Something in the warehouse depends on the rows: {str(error).splitlines()[0]}",
            "drop what depends on them first.",
        ) from error


def _need_something(cur: Cursor, contract: Contract, slice_: Slice, removed: int) -> None:
    cur.execute(
        "SELECT finished_at, detail ->> 'by' FROM ops.slice_current WHERE (dataset, slice_key) = (%s, %s)"
        " AND kind = 'drop'",
        (contract.dataset, slice_.key),
    )
    dropped = cur.fetchone()
    if removed or (dropped is None and current_outcome(cur, contract.dataset, slice_.key)):
        return
    why = f"It was dropped on {dropped[0]:%Y-%m-%d %H:%M} by {dropped[1]}." if dropped else "It was never published."
    raise _refused(
        contract, slice_, f"There is nothing of the slice. {why}", "nothing, or name another slice of the dataset."
    )


# --- the rows ----------------------------------------------------------------------------------------------------


def _remove_rows(cur: Cursor, contract: Contract, slice_: Slice) -> int:
    """Remove a slice's rows from the table and return their number; what the table's users see is whole at any time."""
    if not column_types(cur, table_name(contract)):
        return 0
    if contract.partitioned:
        return _remove_partition(cur, contract, slice_)
    inside = _inside(contract, slice_)
    lock_merge(cur, contract)
    if contract.load_mode is not LoadMode.SCD2:
        forget(cur, contract, slice_)
        cur.execute(SQL("DELETE FROM {} WHERE {}").format(table_name(contract), inside))
        return cur.rowcount
    return _remove_versions(cur, contract, slice_, inside)


def _remove_partition(cur: Cursor, contract: Contract, slice_: Slice) -> int:
    forget(cur, contract, slice_)
    if not has_partition(cur, contract, slice_):
        return 0
    cur.execute(SQL("SELECT count(*) FROM {}").format(partition_name(contract, slice_)))
    rows = int(cur.fetchall()[0][0])
    detach(cur, contract, slice_)
    return rows


def _inside(contract: Contract, slice_: Slice) -> Composed:
    """Return the condition that a row belongs to a slice by its cursor.

    Raises:
        RemovalRefused: Slices are not cut by the cursor.
    """
    column = contract.slice_column
    if column is None or column.source_name == SLICE_FIELD or not column.is_moment:
        raise _refused(
            contract,
            slice_,
            f"The rows of {contract.domain}.{contract.table} do not tell the slice they came in: its slices are not cut"
            " by a date or timestamp `cursor`.",
            "delete the rows by their keys.",
        )
    low, high = slice_bounds(slice_)
    return SQL("{c} >= {low} AND {c} < {high}").format(c=Identifier(column.name), low=Literal(low), high=Literal(high))


def _remove_versions(cur: Cursor, contract: Contract, slice_: Slice, inside: Composed) -> int:
    """Remove the versions of a slice, and what it said was deleted; derive anew how long the others are valid."""
    table, key = table_name(contract), names(contract.key)
    touched = note_touched(cur, contract, slice_, SQL("SELECT {} FROM {} WHERE {}").format(key, table, inside))
    forget(cur, contract, slice_)
    cur.execute(SQL("DELETE FROM {} WHERE {}").format(table, inside))
    rows = cur.rowcount
    derive(cur, contract, touched)
    return rows


def _remove_quarantine(cur: Cursor, stage: Stage) -> int:
    """Remove a slice's quarantined rows, and the values that rules keep as samples; close what was found of it."""
    slice_ = (stage.dataset, stage.slice_key)
    cur.execute("DELETE FROM ops.quarantine WHERE (dataset, slice_key) = (%s, %s)", slice_)
    rows = cur.rowcount
    cur.execute(
        "UPDATE ops.rule_result SET samples = '[]' WHERE (dataset, slice_key) = (%s, %s) AND samples <> '[]'", slice_
    )
    cur.execute(
        "UPDATE ops.finding SET closed_at = clock_timestamp() WHERE (dataset, slice_key) = (%s, %s)"
        " AND closed_at IS NULL",
        slice_,
    )
    return rows


def _staged_by(cur: Cursor, stage: Stage) -> list[str]:
    cur.execute(
        "SELECT run_id FROM ops.stage WHERE (dataset, slice_key) = (%s, %s) ORDER BY created_at",
        (stage.dataset, stage.slice_key),
    )
    return [run_id for (run_id,) in cur.fetchall()]
