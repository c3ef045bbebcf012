"""The ledger: where every row of every slice went."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from psycopg2.extensions import cursor as Cursor  # noqa: N812
from psycopg2.extras import Json

from penstock.core.contract.model import Contract
from penstock.core.stage import Stage


@dataclass(frozen=True, slots=True)
class Outcome:
    """Where the rows of one attempt went; they add up to `extracted`.

    Attributes:
        extracted: Rows that the source gave.
        loaded: Rows that are in the table because of this attempt.
        quarantined: Rows that broke a rule.
        deduplicated: Rows that an equal or newer version of the same key stands for.
        filtered: Rows left out on purpose by the extract.
        withheld: Sound rows of a refused slice.
    """

    extracted: int
    loaded: int
    quarantined: int
    deduplicated: int
    filtered: int
    withheld: int = 0


def record_attempt(
    cur: Cursor,
    stage: Stage,
    contract: Contract,
    outcome: Outcome,
    *,
    status: str,
    dag_id: str | None,
    seconds: tuple[float, float, float],
    detail: Mapping[str, Any],
) -> None:
    """Write an attempt's row, in the transaction that publishes or refuses it.

    Args:
        cur: Cursor on the warehouse.
        stage: The run's stage.
        contract: The contract the attempt was judged by.
        outcome: The counts; the table's CHECK holds them to their sum.
        status: `published` or `refused`.
        dag_id: The DAG, if known.
        seconds: Time of extract, validate and publish.
        detail: Whatever else is worth keeping, JSON.
    """
    cur.execute(
        "INSERT INTO ops.slice_ledger (dataset, slice_key, attempt, status, run_id, dag_id, load_mode, extracted,"
        " loaded, quarantined, deduplicated, filtered, withheld, extract_seconds, validate_seconds,"
        " publish_seconds, contract_version, contract_hash, detail)"
        " SELECT %(dataset)s, %(slice_key)s, 1 + coalesce(max(attempt), 0), %(status)s, %(run_id)s, %(dag_id)s,"
        " %(load_mode)s, %(extracted)s, %(loaded)s, %(quarantined)s, %(deduplicated)s, %(filtered)s, %(withheld)s,"
        " %(extract_seconds)s, %(validate_seconds)s, %(publish_seconds)s, %(contract_version)s, %(contract_hash)s,"
        " %(detail)s FROM ops.slice_ledger WHERE dataset = %(dataset)s AND slice_key = %(slice_key)s",
        {
            "dataset": stage.dataset,
            "slice_key": stage.slice_key,
            "status": status,
            "run_id": stage.run_id,
            "dag_id": dag_id,
            "load_mode": contract.load_mode.value,
            "extract_seconds": seconds[0],
            "validate_seconds": seconds[1],
            "publish_seconds": seconds[2],
            "contract_version": contract.version,
            "contract_hash": contract.hash,
            "detail": Json(dict(detail)),
            **asdict(outcome),
        },
    )


def published_by(cur: Cursor, stage: Stage) -> Outcome | None:
    """Return what this very run has published of this slice, if it has; it tells a repeated task that it is done."""
    cur.execute(
        "SELECT extracted, loaded, quarantined, deduplicated, filtered, withheld FROM ops.slice_ledger"
        " WHERE (dataset, slice_key, run_id, status) = (%s, %s, %s, 'published') ORDER BY attempt DESC LIMIT 1",
        (stage.dataset, stage.slice_key, stage.run_id),
    )
    row = cur.fetchone()
    return Outcome(*row) if row else None


def lock_slice(cur: Cursor, stage: Stage) -> None:
    """Let one transaction at a time work on a slice; released at its end."""
    cur.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))",
        (f"penstock {stage.dataset} {stage.slice_key}",),
    )
