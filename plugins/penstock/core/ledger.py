"""The ledger: where every row of every slice went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

from psycopg2.extensions import cursor as Cursor  # noqa: N812
from psycopg2.extras import Json

from penstock.core.contract.model import Contract
from penstock.core.stage import Stage

_COUNTS: Final = "extracted, loaded, quarantined, deduplicated, filtered, withheld"


@dataclass(frozen=True, slots=True)
class Outcome:
    """Where the rows of one attempt went; they add up to `extracted`.

    Attributes:
        extracted: Rows that the source gave.
        loaded: Rows that are in the table because of this attempt.
        quarantined: Rows that broke a rule.
        deduplicated: Rows that an equal or newer version of the same key stands for.
        filtered: Rows left out on purpose, by the extract or by somebody who discarded them from the quarantine.
        withheld: Sound rows of a refused slice.
    """

    extracted: int
    loaded: int
    quarantined: int
    deduplicated: int
    filtered: int
    withheld: int = 0


@dataclass(frozen=True, slots=True)
class Attempt:
    """One row of the ledger, beside the slice and the contract.

    Attributes:
        outcome: The counts; the table's CHECK holds them to their sum.
        status: `published` or `refused`.
        kind: What moved the rows. After a re-drive or a discard the counts are the slice's new ones, not differences.
        dag_id: The DAG, if known.
        seconds: Time of extract, validate and publish.
        detail: Whatever else is worth keeping, JSON.
    """

    outcome: Outcome
    status: Literal["published", "refused"] = "published"
    kind: Literal["load", "redrive", "discard", "drop", "expire"] = "load"
    dag_id: str | None = None
    seconds: tuple[float, float, float] = (0.0, 0.0, 0.0)
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FormerContract:
    """What the ledger keeps of a contract, where the contract itself may be gone."""

    load_mode: str
    version: str
    hash: str


def record_attempt(cur: Cursor, stage: Stage, contract: Contract | FormerContract, attempt: Attempt) -> None:
    """Write an attempt's row, in the transaction that moves its rows.

    Args:
        cur: Cursor on the warehouse.
        stage: Names the slice and the run.
        contract: The contract the rows were judged by.
        attempt: The rest of the row.
    """
    cur.execute(
        "INSERT INTO ops.slice_ledger (kind, dataset, slice_key, attempt, status, run_id, dag_id, load_mode, extracted,"
        " loaded, quarantined, deduplicated, filtered, withheld, extract_seconds, validate_seconds,"
        " publish_seconds, contract_version, contract_hash, detail)"
        " SELECT %(kind)s, %(dataset)s, %(slice_key)s, 1 + coalesce(max(attempt), 0), %(status)s, %(run_id)s,"
        " %(dag_id)s, %(load_mode)s, %(extracted)s, %(loaded)s, %(quarantined)s, %(deduplicated)s, %(filtered)s,"
        " %(withheld)s, %(extract_seconds)s, %(validate_seconds)s, %(publish_seconds)s, %(contract_version)s,"
        " %(contract_hash)s, %(detail)s"
        " FROM ops.slice_ledger WHERE dataset = %(dataset)s AND slice_key = %(slice_key)s",
        {
            "kind": attempt.kind,
            "dataset": stage.dataset,
            "slice_key": stage.slice_key,
            "status": attempt.status,
            "run_id": stage.run_id,
            "dag_id": attempt.dag_id,
            "load_mode": str(contract.load_mode),
            "extract_seconds": attempt.seconds[0],
            "validate_seconds": attempt.seconds[1],
            "publish_seconds": attempt.seconds[2],
            "contract_version": contract.version,
            "contract_hash": contract.hash,
            "detail": Json(dict(attempt.detail)),
            **asdict(attempt.outcome),
        },
    )


def published_by(cur: Cursor, stage: Stage) -> Outcome | None:
    """Return what this very run has published of this slice, if it has; it tells a repeated task that it is done."""
    cur.execute(
        f"SELECT {_COUNTS} FROM ops.slice_ledger"  # noqa: S608 - a constant
        " WHERE (dataset, slice_key, run_id, status) = (%s, %s, %s, 'published') ORDER BY attempt DESC LIMIT 1",
        (stage.dataset, stage.slice_key, stage.run_id),
    )
    row = cur.fetchone()
    return Outcome(*row) if row else None


def current_outcome(cur: Cursor, dataset: str, slice_key: str) -> Outcome | None:
    """Return where the rows of a published slice are now; None for a slice that was never published."""
    cur.execute(
        f"SELECT {_COUNTS} FROM ops.slice_current WHERE (dataset, slice_key) = (%s, %s)",  # noqa: S608 - a constant
        (dataset, slice_key),
    )
    row = cur.fetchone()
    return Outcome(*row) if row else None


def last_landed(cur: Cursor, dataset: str, code: str, slice_key: str = "") -> str | None:
    """Return the lake's folder that a dataset was last published from, if `code` tells how it was read.

    Args:
        cur: Cursor on the warehouse.
        dataset: The dataset.
        code: How it is read now.
        slice_key: A slice whose own folder is preferred, if it has one.
    """
    cur.execute(
        "SELECT detail->>'lake', detail->>'code' FROM ops.slice_ledger WHERE dataset = %s AND status = 'published'"
        " AND detail ? 'lake' ORDER BY (slice_key = %s) DESC, id DESC LIMIT 1",
        (dataset, slice_key),
    )
    row = cur.fetchone()
    return row[0] if row and row[1] == code else None


def current_attempts(cur: Cursor, datasets: Sequence[str], slice_key: str) -> dict[str, int]:
    """Return which attempt at a slice is the published one, for those of the datasets that have published it."""
    cur.execute(
        "SELECT dataset, attempt FROM ops.slice_current WHERE dataset = ANY(%s) AND slice_key = %s",
        (list(datasets), slice_key),
    )
    return dict(cur.fetchall())


def lock_slice(cur: Cursor, stage: Stage) -> None:
    """Let one transaction at a time work on a slice; released at its end.

    A process that stops amid its work (not its server, which may take its time) gives the slice back after a minute.
    """
    cur.execute("SET LOCAL idle_in_transaction_session_timeout = '60s'")
    cur.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (_lock_name(stage),))


def try_lock_slice(cur: Cursor, stage: Stage) -> bool:
    """Lock a slice as `lock_slice` does, unless somebody works on it; return whether it is locked."""
    cur.execute("SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0))", (_lock_name(stage),))
    return cur.fetchone() == (True,)


def _lock_name(stage: Stage) -> str:
    return f"penstock {stage.dataset} {stage.slice_key}"


def record_version(cur: Cursor, contract: Contract) -> None:
    """Keep the contract that rows are published by, once per content."""
    cur.execute(
        "INSERT INTO ops.contract_version (dataset, hash, version, document) VALUES (%s, %s, %s, %s)"
        " ON CONFLICT (dataset, hash) DO NOTHING",
        (contract.dataset, contract.hash, contract.version, Json(dict(contract.document))),
    )


def seconds_so_far(cur: Cursor) -> float:
    """Return how long the transaction has taken, seconds."""
    cur.execute("SELECT extract(epoch FROM clock_timestamp() - now())::float8")
    row = cur.fetchone()
    return row[0] if row else 0.0
