"""Replay: a slice is staged, judged and published again from what was landed in the lake, without its source."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extensions import cursor as Cursor  # noqa: N812

from penstock.core.contract.model import Contract
from penstock.core.drift import Extracted
from penstock.core.gate.judge import Judge, judge, refuse
from penstock.core.lake_attempts import Landed
from penstock.core.ledger import Outcome
from penstock.core.publish import publish
from penstock.core.slice import Slice
from penstock.core.source_lake import stage_lake
from penstock.core.stage import Stage, stage_of

Restage = Callable[[Connection, Contract, Slice, Stage, Any, Mapping[str, Any]], Extracted]
"""Stages a landed folder: connection, contract, slice, stage, folder, and what to keep with the stage."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of a replayed slice.

    Attributes:
        slice_key: The slice.
        lake: The attempt's folder.
        landed_at: When it was landed, ISO 8601.
        outcome: Where its rows went.
    """

    slice_key: str
    lake: str
    landed_at: str
    outcome: Outcome

    def as_json(self) -> dict[str, Any]:
        """Return it as a flat JSON object."""
        return {
            "slice_key": self.slice_key,
            "lake": self.lake,
            "landed_at": self.landed_at,
            **asdict(self.outcome),
        }


def stage_records(
    conn: Connection,
    contract: Contract,
    slice_: Slice,  # noqa: ARG001 - the stage knows it
    stage: Stage,
    folder: Any,
    detail: Mapping[str, Any],
) -> Extracted:
    """Stage landed records; the `Restage` of all that is no file.

    Raises:
        SourceError: The lake's files are not what their manifest says.
        SchemaMismatch: The fields that were landed do not fit the contract.
    """
    return stage_lake(conn, contract, stage, folder, detail)


def replay(  # noqa: PLR0913 - what, how, on whose behalf and in which run: all of it is recorded
    conn: Connection,
    contract: Contract,
    slice_: Slice,
    landed: Landed,
    restage: Restage,
    *,
    run_id: str,
    by: str,
    dag_id: str | None = None,
    beyond_plan: Judge | None = None,
) -> Replayed:
    """Stage, judge and publish a slice from an attempt in the lake; commits.

    The ledger gets a row of kind `load` whose detail names the folder (`lake`), who replayed it (`replayed_by`), and
    what is known of how the rows were asked for when they were landed (`code`, `conn_id`).

    Args:
        conn: Connection to the warehouse.
        contract: The dataset's contract.
        slice_: The slice.
        landed: The attempt.
        restage: How its folder is staged.
        run_id: Names the attempt at the slice; the same again replaces what an interrupted one left staged.
        by: Who replays.
        dag_id: For the ledger row.
        beyond_plan: Judges the rules that the gate's plan does not cover.

    Raises:
        SourceError: The lake's files are not what their manifest says.
        SchemaMismatch: The fields that were landed do not fit the contract, or the table does not.
        SliceRefused: The gate refused the slice; what was published before stays.
        PublishBlocked: Readers held the table for too long.
    """
    stage = stage_of(contract.dataset, slice_, run_id)
    folder = str(landed.folder)
    with conn, conn.cursor() as cur:
        asked = _asked(cur, stage, folder)
    told = {"source": landed.manifest.get("source"), "lake": folder, "replayed_by": by, **asked}
    if "files" in landed.manifest:  # else they would count as new
        told["files"] = landed.manifest["files"]
    restage(conn, contract, slice_, stage, landed.folder, told)
    gated = judge(conn, contract, slice_, stage, dag_id=dag_id, beyond_plan=beyond_plan)
    refuse(gated, stage, f"the contract of {contract.dataset}")
    outcome = publish(conn, contract, slice_, stage, dag_id=dag_id)
    return Replayed(slice_.key, folder, landed.at.isoformat(), outcome)


def _asked(cur: Cursor, stage: Stage, folder: str) -> dict[str, Any]:
    """Return how the rows of a folder were asked for, as the ledger knows it from an earlier load."""
    cur.execute(
        "SELECT detail FROM ops.slice_ledger WHERE (dataset, slice_key) = (%s, %s) AND detail ->> 'lake' = %s"
        " ORDER BY id DESC LIMIT 1",
        (stage.dataset, stage.slice_key, folder),
    )
    row = cur.fetchone()
    return {name: row[0][name] for name in ("code", "conn_id") if name in row[0]} if row else {}
