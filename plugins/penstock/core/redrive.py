"""Re-drive: quarantined rows, mended or not, go through the same gate and are published into their own slice.

It is the flow of any slice with another source: the quarantine is staged, judged and published. The rows join what
is published of their slice already, so rules about the slice as a whole are not asked again, and what must be unique
must be so among all rows of the slice. Rows that break a rule (still) stay in quarantine, with their new reasons.

Everything that changes what users see happens in one transaction under the slice's lock: the rows, their state in
the quarantine, and a ledger row of kind `redrive` that holds the slice's new counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Final

from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extensions import cursor as Cursor  # noqa: N812
from psycopg2.sql import SQL, Composable, Identifier, Literal

from penstock.core.checksum import note_checksum
from penstock.core.contract.ddl import ensure_table
from penstock.core.contract.model import Contract, LoadMode, SchemaPolicy
from penstock.core.drift import with_evolved
from penstock.core.errors import SchemaMismatch, StageMissing
from penstock.core.gate.judge import Joining, Judge, judge, refuse
from penstock.core.ledger import (
    Attempt,
    current_outcome,
    lock_slice,
    record_attempt,
    record_version,
    seconds_so_far,
)
from penstock.core.load_modes import Applied
from penstock.core.load_modes.merge import merge
from penstock.core.load_modes.partitions import has_partition, join_partition, partition_name
from penstock.core.load_modes.scd2 import scd2
from penstock.core.mask import EXTRA
from penstock.core.publish import refusals_told
from penstock.core.slice import Slice
from penstock.core.stage import (
    DETAILS,
    LANDING,
    REASONS,
    ROW_NUMBER,
    Stage,
    Staged,
    create_stage,
    drop_stage,
    need_stage,
    record_stage,
    stage_missing,
    stage_of,
)

_TRIES: Final = 3
"""How often a slice is re-driven anew because a load or a mend changed its quarantine meanwhile."""

_LANDING_RULES: Final = r"^row\.|\.encoding$"
"""Rules whose break is seen in what was received, not in the values: only a mend can answer them."""


@dataclass(frozen=True, slots=True)
class Redriven:
    """What became of the rows of one slice.

    Attributes:
        slice_key: The slice.
        considered: Rows that were re-driven.
        loaded: Rows that are in the table now.
        deduplicated: Rows that an equal or newer version of the same key stands for.
        still_open: Rows that break a rule and stay in quarantine.
        filtered: Rows that only said that a key was deleted.
    """

    slice_key: str
    considered: int
    loaded: int
    deduplicated: int
    still_open: int
    filtered: int = 0


def slices_with_open_rows(
    cur: Cursor, contract: Contract, *, mended_only: bool, slice_key: str | None = None
) -> list[str]:
    """Return the keys of the slices that have open rows, or open rows with a mend, in order; of one slice if given."""
    cur.execute(
        "SELECT DISTINCT slice_key FROM ops.quarantine WHERE (dataset, state) = (%s, 'open')"
        " AND (mended IS NOT NULL OR NOT %s) AND (%s::text IS NULL OR slice_key = %s) ORDER BY 1",
        (contract.dataset, mended_only, slice_key, slice_key),
    )
    return [key for (key,) in cur.fetchall()]


def redrive(  # noqa: PLR0913 - which rows, on whose behalf, in which run: all of it is recorded
    conn: Connection,
    contract: Contract,
    slice_: Slice,
    *,
    run_id: str,
    by: str,
    ids: Sequence[int] | None = None,
    mended_only: bool = False,
    dag_id: str | None = None,
    beyond_plan: Judge | None = None,
) -> Redriven:
    """Re-drive a slice's open rows; commits.

    A repeated call finds published rows closed, and leaves them alone.

    Args:
        conn: Connection to the warehouse.
        contract: The dataset's contract.
        slice_: The slice.
        run_id: Names the attempt; the same again replaces what an interrupted one left staged.
        by: Who re-drives.
        ids: Only these rows; None for all that are open.
        mended_only: Only rows that carry a mend.
        dag_id: For the ledger row.
        beyond_plan: Judges the rules that the gate's plan does not cover.

    Raises:
        SliceRefused: A critical rule failed whose broken rows only Great Expectations could name.
        StageMissing: The slice's quarantine changed at each of the tries.
        SchemaMismatch: The warehouse table does not fit the contract, or lacks the slice's partition.
        PenstockError: As `gate.judge.judge` and publish do.
    """
    stage = stage_of(contract.dataset, slice_, run_id)
    with conn, conn.cursor() as cur:
        contract = with_evolved(cur, contract)
    for left in reversed(range(_TRIES)):
        with conn, conn.cursor() as cur:
            _need_partition(cur, contract, slice_)
            considered = _stage_rows(cur, contract, stage, ids, mended_only=mended_only)
            if not considered:
                drop_stage(cur, stage)
                return Redriven(slice_.key, 0, 0, 0, 0)
        joining = Joining(_published(contract, slice_))
        gated = judge(conn, contract, slice_, stage, dag_id=dag_id, beyond_plan=beyond_plan, joining=joining)
        refuse(gated, stage, f"the contract of {contract.dataset}")
        try:
            return _publish(conn, contract, slice_, stage, by=by, dag_id=dag_id)
        except StageMissing:
            if not left:
                raise
    raise AssertionError  # the last try returns or raises


def _published(contract: Contract, slice_: Slice) -> Identifier | None:
    return partition_name(contract, slice_) if contract.partitioned else None


def _need_partition(cur: Cursor, contract: Contract, slice_: Slice) -> None:
    target = _published(contract, slice_)
    if target is not None and not has_partition(cur, contract, slice_):
        raise SchemaMismatch(
            f"The table has no partition {'.'.join(target.strings)}, though the slice is published.",
            dataset=contract.dataset,
            slice_key=slice_.key,
            next_step="load the slice again (clear `extract`); its mends are kept.",
        )


# --- stage -------------------------------------------------------------------------------------------------------


def _stage_rows(cur: Cursor, contract: Contract, stage: Stage, ids: Sequence[int] | None, *, mended_only: bool) -> int:
    """Stage the open rows as text, numbered by their ids; return how many there are."""
    columns = [column.name for column in contract.columns]
    create_stage(cur, stage, [(name, "text") for name in columns], contract)
    cur.execute(
        SQL("ALTER TABLE {} ADD COLUMN IF NOT EXISTS {} bigint, ADD COLUMN {} jsonb").format(
            stage.table, Identifier(ROW_NUMBER), Identifier(LANDING)
        )
    )
    values = SQL(", ").join(SQL("now ->> {}").format(Literal(name)) for name in columns)
    cur.execute(
        SQL(
            "INSERT INTO {stage} ({names}, {number}, {landing}) OVERRIDING SYSTEM VALUE"
            " SELECT {values}, id, {said} FROM (SELECT *, coalesce(mended, payload) AS now FROM ops.quarantine"
            " WHERE (dataset, slice_key, state) = (%(dataset)s, %(slice_key)s, 'open')"
            " AND (%(ids)s IS NULL OR id = ANY(%(ids)s)) AND (mended IS NOT NULL OR NOT %(mended_only)s)"
            " ORDER BY id FOR UPDATE) AS q"
        ).format(
            stage=stage.table,
            names=SQL(", ").join(map(Identifier, columns)),
            number=Identifier(ROW_NUMBER),
            landing=Identifier(LANDING),
            values=values,
            said=_landing(contract),
        ),
        {
            "dataset": stage.dataset,
            "slice_key": stage.slice_key,
            "ids": None if ids is None else list(ids),
            "mended_only": mended_only,
        },
    )
    rows = cur.rowcount
    record_stage(
        cur, stage, contract, extracted=rows, detail={"source": "quarantine", "version": _version_of(cur, stage)}
    )
    return rows


def _version_of(cur: Cursor, stage: Stage) -> str | None:
    """Return a digest that changes when any of the staged rows' entries in the quarantine does."""
    cur.execute(
        SQL(
            "SELECT md5(string_agg(q.id || ' ' || q.xmin, ',' ORDER BY q.id)) FROM ops.quarantine AS q"
            " JOIN {} AS s ON s.{} = q.id"
        ).format(stage.table, Identifier(ROW_NUMBER))
    )
    row = cur.fetchone()
    return row[0] if row else None


def _landing(contract: Contract) -> Composable:
    """Return what a row carries beside its values: unknown fields, and what only a mend can answer."""
    refuses = contract.schema_policy is SchemaPolicy.QUARANTINE
    unknown = SQL("CASE WHEN now ? {} AND {} THEN ARRAY['row.unknown_fields'] ELSE '{{}}' END").format(
        Literal(EXTRA), Literal(refuses)
    )
    unread = SQL(
        "CASE WHEN mended IS NULL THEN ARRAY(SELECT r FROM unnest(rules) AS r WHERE r ~ {}"
        " AND r <> 'row.unknown_fields') ELSE '{{}}' END"
    ).format(Literal(_LANDING_RULES))
    return SQL(
        "(SELECT CASE WHEN cardinality(broken) > 0 THEN jsonb_build_object('rules', to_jsonb(broken),"
        " 'details', details, 'extra', coalesce(now -> {}, '{{}}')) END FROM (SELECT {} || {} AS broken) AS b)"
    ).format(Literal(EXTRA), unread, unknown)


# --- publish -----------------------------------------------------------------------------------------------------


def _publish(
    conn: Connection, contract: Contract, slice_: Slice, stage: Stage, *, by: str, dag_id: str | None
) -> Redriven:
    """Make the rows that passed visible and close them in the quarantine; commits.

    Raises:
        StageMissing: The slice's quarantine is not what was staged any more.
        SchemaMismatch: The warehouse table does not fit the contract, or lacks the slice's partition.
    """
    with refusals_told(contract, slice_), conn, conn.cursor() as cur:
        lock_slice(cur, stage)
        staged = need_stage(cur, stage)
        if _version_of(cur, stage) != staged.detail["version"]:
            raise stage_missing(stage, "The slice's quarantine changed while its rows were judged.", "redrive")
        ensure_table(cur, contract)
        passed = staged.extracted - staged.quarantined
        _settle(cur, stage, by)  # first: deletions leave the rows that passed when they join
        applied = _join(cur, contract, slice_, stage, passed)
        same = passed - applied.loaded - applied.marks
        result = Redriven(slice_.key, staged.extracted, applied.loaded, same, staged.quarantined, applied.marks)
        if passed:
            noted = {"by": by, **note_checksum(cur, contract, partition_name(contract, slice_))}
            _account(cur, contract, stage, staged, result, noted, dag_id=dag_id)
        drop_stage(cur, stage)
    return result


def _join(cur: Cursor, contract: Contract, slice_: Slice, stage: Stage, passed: int) -> Applied:
    """Put the rows that passed beside those that are published; `loaded` is by how many rows the slice has more."""
    if contract.partitioned:
        return join_partition(cur, contract, slice_, stage.typed)
    mode = scd2 if contract.load_mode is LoadMode.SCD2 else merge
    return mode(cur, contract, slice_, stage.typed, passed, again=False)


def _settle(cur: Cursor, stage: Stage, by: str) -> None:
    """Close the rows that passed; give the others the reasons they have now."""
    cur.execute(
        SQL(
            "UPDATE ops.quarantine SET state = 'redriven', closed_by = %s, closed_reason = %s,"
            " closed_at = clock_timestamp() WHERE id IN (SELECT {} FROM {})"
        ).format(Identifier(ROW_NUMBER), stage.typed),
        (by, f"published by {stage.run_id}"),
    )
    cur.execute(
        SQL(
            "UPDATE ops.quarantine AS q SET rules = b.{}, details = coalesce(b.{}, '[]') FROM {} AS b WHERE b.{} = q.id"
        ).format(Identifier(REASONS), Identifier(DETAILS), stage.bad, Identifier(ROW_NUMBER))
    )


def _account(
    cur: Cursor,
    contract: Contract,
    stage: Stage,
    staged: Staged,
    result: Redriven,
    noted: Mapping[str, str],
    *,
    dag_id: str | None,
) -> None:
    now = current_outcome(cur, stage.dataset, stage.slice_key)
    assert now is not None  # noqa: S101 - only a published slice has quarantined rows
    outcome = replace(
        now,
        loaded=now.loaded + result.loaded,
        deduplicated=now.deduplicated + result.deduplicated,
        quarantined=now.quarantined - (result.considered - result.still_open),
        filtered=now.filtered + result.filtered,
    )
    record_version(cur, contract)
    seconds = (staged.extract_seconds, staged.validate_seconds, seconds_so_far(cur))
    counts = asdict(result)
    counts.pop("slice_key")
    attempt = Attempt(outcome, kind="redrive", dag_id=dag_id, seconds=seconds, detail={**noted, **counts})
    record_attempt(cur, stage, contract, attempt)
