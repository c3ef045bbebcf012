"""Publish: the one transaction that makes a gated slice visible, with its quarantine and its ledger row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import psycopg2
import psycopg2.errors
from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extensions import cursor as Cursor  # noqa: N812
from psycopg2.sql import Identifier

from penstock.core.checksum import note_checksum
from penstock.core.contract.ddl import ensure_table, table_name
from penstock.core.contract.model import Contract, LoadMode
from penstock.core.drift import brought_along, complete, take_in
from penstock.core.errors import PublishBlocked, SchemaMismatch
from penstock.core.gate.judge import candidate_of
from penstock.core.ledger import (
    Attempt,
    Outcome,
    lock_slice,
    published_by,
    record_attempt,
    record_version,
    seconds_so_far,
)
from penstock.core.load_modes import Applied
from penstock.core.load_modes.merge import merge
from penstock.core.load_modes.partitions import append, partition_name, replace_partition
from penstock.core.load_modes.scd2 import scd2
from penstock.core.quarantine import Kept, keep_quarantine
from penstock.core.slice import Slice
from penstock.core.stage import (
    Stage,
    Staged,
    column_types,
    drop_stage,
    need_stage,
    read_stage,
    stage_missing,
)
from penstock.core.table_lock import LOCK_TIMEOUT_SECONDS

_MODES: Final[Mapping[LoadMode, Callable[[Cursor, Contract, Slice, Identifier, int], Applied]]] = {
    LoadMode.APPEND: append,
    LoadMode.REPLACE_PARTITION: replace_partition,
    LoadMode.MERGE: merge,
    LoadMode.SCD2: scd2,
    LoadMode.SNAPSHOT: replace_partition,
}


def publish(conn: Connection, contract: Contract, slice_: Slice, stage: Stage, *, dag_id: str | None = None) -> Outcome:
    """Publish a slice that passed the gate; commits.

    A repeated call of the same run finds its work done and returns the same counts.

    Args:
        conn: Connection to the warehouse.
        contract: The contract.
        slice_: The slice.
        stage: The run's stage.
        dag_id: For the ledger row.

    Raises:
        StageMissing: The run has no stage that passed the gate by this very contract.
        SchemaMismatch: The warehouse table does not fit the contract, or refuses rows for reasons of its own.
        PublishBlocked: Readers held the table at each of several short tries.
    """
    with refusals_told(contract, slice_):
        _take_in_columns(conn, contract, stage)
        return _publish_rows(conn, contract, slice_, stage, dag_id)


def _take_in_columns(conn: Connection, contract: Contract, stage: Stage) -> None:
    """Add the columns that a stage brings along; commits, so that readers wait for them alone, not for the rows."""
    with conn, conn.cursor() as cur:
        lock_slice(cur, stage)
        staged = read_stage(cur, stage)
        if staged is not None and brought_along(staged):
            _check_passed(staged, contract, stage)
            take_in(cur, contract, table_name(contract), stage, staged)


def _publish_rows(conn: Connection, contract: Contract, slice_: Slice, stage: Stage, dag_id: str | None) -> Outcome:
    with conn, conn.cursor() as cur:
        lock_slice(cur, stage)
        if read_stage(cur, stage) is None:
            done = published_by(cur, stage)
            if done is not None:
                return done
        staged = need_stage(cur, stage)
        _check_passed(staged, contract, stage)
        return _publish(cur, contract, slice_, stage, staged, dag_id)


@contextmanager
def refusals_told(contract: Contract, slice_: Slice) -> Iterator[None]:
    """Say in Penstock's words why the warehouse refused a change to a published table.

    Raises:
        PublishBlocked: Readers held the table at each of the tries.
        SchemaMismatch: The table has constraints, or dependent objects, of which the contract does not know.
    """
    table = f"{contract.domain}.{contract.table}"
    try:
        yield
    except psycopg2.errors.LockNotAvailable as error:
        raise PublishBlocked(
            f"Readers held {table} for more than {LOCK_TIMEOUT_SECONDS} s at each of several tries.",
            dataset=contract.dataset,
            slice_key=slice_.key,
            next_step="nothing: the task is retried; pg_stat_activity shows who reads for that long.",
        ) from error
    except (psycopg2.IntegrityError, psycopg2.errors.DependentObjectsStillExist) as error:
        raise SchemaMismatch(
            f"{table} does not take the slice: {str(error).splitlines()[0]}",
            dataset=contract.dataset,
            slice_key=slice_.key,
            next_step="state as a rule of the contract what somebody has put on the table as a constraint, so that the"
            " gate sets such rows aside, or take it off; then clear `validate`.",
        ) from error


def _check_passed(staged: Staged, contract: Contract, stage: Stage) -> None:
    if staged.state != "passed" or staged.contract_hash != contract.hash:
        why = "was judged by another version of the contract" if staged.state == "passed" else "did not pass the gate"
        raise stage_missing(stage, f"The stage of run {stage.run_id} {why}.", "validate")


def _publish(
    cur: Cursor, contract: Contract, slice_: Slice, stage: Stage, staged: Staged, dag_id: str | None
) -> Outcome:
    contract = take_in(cur, contract, table_name(contract), stage, staged)
    ensure_table(cur, contract)
    candidate = candidate_of(stage, column_types(cur, stage.table))
    complete(cur, contract, candidate)
    passed = staged.extracted - staged.filtered - staged.quarantined
    applied = _MODES[contract.load_mode](cur, contract, slice_, candidate, passed)
    kept = keep_quarantine(cur, stage, adds=contract.load_mode is LoadMode.APPEND)
    outcome = _account(staged, passed, applied, kept)
    drop_stage(cur, stage)
    record_version(cur, contract)
    seconds = (staged.extract_seconds, staged.validate_seconds, seconds_so_far(cur))
    told = {"deleted": applied.deleted, "kept": applied.kept + kept.left, "mends_waiting": kept.mended}
    detail = staged.detail | {name: count for name, count in told.items() if count}
    detail |= note_checksum(cur, contract, partition_name(contract, slice_))
    record_attempt(cur, stage, contract, Attempt(outcome, dag_id=dag_id, seconds=seconds, detail=detail))
    return outcome


def _account(staged: Staged, passed: int, applied: Applied, kept: Kept) -> Outcome:
    """Say where the rows went: those that came, and those of earlier loads that an append keeps beside them."""
    return Outcome(
        extracted=staged.extracted + applied.kept + kept.left,
        loaded=applied.loaded,
        quarantined=staged.quarantined - kept.discarded - kept.standing + kept.left,
        deduplicated=passed + applied.kept - applied.loaded - applied.marks + kept.standing,
        filtered=staged.filtered + applied.marks + kept.discarded,
    )
