"""The janitor: stages whose runs will not come back.

A run that was given up (a refused slice nobody mended, a DAG run somebody deleted) leaves its rows staged. They go
when nothing has changed them for long enough, with a ledger row of kind `expire` that accounts for them. A staging
table that no record names, as a worker leaves it that died while several sessions filled one stage, has no age that
Postgres would tell: it is marked with a comment when it is seen first, and goes when it is still there long after.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import psycopg2.errors
from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extensions import cursor as Cursor  # noqa: N812
from psycopg2.sql import SQL, Identifier, Literal

from penstock.core.ledger import Attempt, FormerContract, Outcome, record_attempt, try_lock_slice
from penstock.core.stage import Stage, Staged, drop_stage, read_stage

_STAGE: Final = re.compile(r"^(.+_[0-9a-f]{14})(__.+)?$")
_RECORDED: Final = (None, "__typed", "__bad")
"""Ends of the tables that belong to a stage's record; others are parts of a stage that was never finished."""

_MARK: Final = "penstock: no record names this table; seen first "
_LOCK_TIMEOUT: Final = "1s"


@dataclass(frozen=True, slots=True)
class Expired:
    """A stage that was removed.

    Attributes:
        dataset: The dataset.
        slice_key: The slice.
        run_id: The run that staged the rows.
        state: `staged`, `passed` or `refused`.
        rows: Number of rows that were extracted.
    """

    dataset: str
    slice_key: str
    run_id: str
    state: str
    rows: int


@dataclass(frozen=True, slots=True)
class Swept:
    """What the janitor removed.

    Attributes:
        stages: Stages, each with its ledger row.
        tables: Names of staging tables that no record named.
        marked: Names of such tables that were seen for the first time.
    """

    stages: list[Expired]
    tables: list[str]
    marked: list[str]


def sweep(conn: Connection, *, now: datetime, age: timedelta, by: str) -> Swept:
    """Remove the stages that nothing has changed for some time; commits after each.

    A stage that somebody works on at the moment is left alone.

    Args:
        conn: Connection to the warehouse.
        now: The present, with a time zone.
        age: How long nothing must have changed.
        by: Who sweeps.
    """
    before = now - age
    with conn, conn.cursor() as cur:
        cur.execute(
            "SELECT name, dataset, slice_key, run_id FROM ops.stage WHERE changed_at < %s ORDER BY changed_at, name",
            (before,),
        )
        old = [Stage(*row) for row in cur.fetchall()]
    stages = [gone for stage in old if (gone := _expire(conn, stage, before, by))]
    return Swept(stages, *_sweep_tables(conn, now, before))


# --- stages ------------------------------------------------------------------------------------------------------


@contextmanager
def _lock_timeout(cur: Cursor) -> Iterator[None]:
    """Wait for locks but shortly, and leave what somebody else holds as it is."""
    cur.execute(SQL("SET LOCAL lock_timeout = {}").format(Literal(_LOCK_TIMEOUT)))
    cur.execute("SAVEPOINT janitor")
    try:
        yield
    except psycopg2.errors.LockNotAvailable:
        cur.execute("ROLLBACK TO SAVEPOINT janitor")


def _expire(conn: Connection, stage: Stage, before: datetime, by: str) -> Expired | None:
    """Remove a stage with its tables, and account for its rows; None where somebody works on it (again)."""
    with conn, conn.cursor() as cur, _lock_timeout(cur):
        if not try_lock_slice(cur, stage):
            return None
        cur.execute(
            "SELECT FROM ops.stage WHERE name = %s AND changed_at < %s FOR UPDATE SKIP LOCKED", (stage.name, before)
        )
        if cur.rowcount != 1:
            return None
        staged = read_stage(cur, stage)
        assert staged is not None  # noqa: S101 - it is locked
        drop_stage(cur, stage)
        record_attempt(cur, stage, _contract_of(cur, stage, staged), _attempt(staged, before, by))
        return Expired(stage.dataset, stage.slice_key, stage.run_id, staged.state, staged.extracted)
    return None


def _attempt(staged: Staged, before: datetime, by: str) -> Attempt:
    outcome = Outcome(
        extracted=staged.extracted,
        loaded=0,
        quarantined=staged.quarantined,
        deduplicated=0,
        filtered=staged.filtered,
        withheld=staged.extracted - staged.quarantined - staged.filtered,
    )
    reason = f"its run has not changed it since {before:%Y-%m-%d %H:%M}"
    detail = {**staged.detail, "by": by, "reason": reason, "state": staged.state}
    seconds = (staged.extract_seconds, staged.validate_seconds, 0.0)
    return Attempt(outcome, status="refused", kind="expire", seconds=seconds, detail=detail)


def _contract_of(cur: Cursor, stage: Stage, staged: Staged) -> FormerContract:
    """Return what the ledger knows of the contract by which rows were staged, whose file may be gone by now."""
    cur.execute(
        "SELECT load_mode, contract_version FROM ops.slice_ledger WHERE dataset = %s"
        " ORDER BY contract_hash = %s DESC, id DESC LIMIT 1",
        (stage.dataset, staged.contract_hash),
    )
    load_mode, version = cur.fetchone() or ("unknown", "unknown")
    return FormerContract(load_mode, version, staged.contract_hash)


# --- tables without a record -------------------------------------------------------------------------------------


def _sweep_tables(conn: Connection, now: datetime, before: datetime) -> tuple[list[str], list[str]]:
    """Drop the staging tables that had no record long ago and have none now; mark those that are seen first."""
    with conn, conn.cursor() as cur:
        found = _without_record(cur)
    dropped, marked = [], []
    for name, comment in found:
        if comment is None:
            if _mark(conn, name, now):
                marked.append(name)
        elif _seen_first(comment) < before and _drop_table(conn, name):
            dropped.append(name)
    return dropped, marked


def _without_record(cur: Cursor, only: str | None = None) -> list[tuple[str, str | None]]:
    """Return name and mark of the tables in the schema of stages that are named as stages are and have no record."""
    cur.execute(
        "SELECT c.relname, obj_description(c.oid, 'pg_class') FROM pg_class AS c"
        " WHERE c.relnamespace = 'staging'::regnamespace AND c.relkind = 'r'"
        " AND (%(only)s IS NULL OR relname = %(only)s) ORDER BY 1",
        {"only": only},
    )
    tables = [(match, comment) for name, comment in cur.fetchall() if (match := _STAGE.match(name))]
    cur.execute("SELECT name FROM ops.stage WHERE name = ANY(%s)", ([match[1] for match, _ in tables],))
    recorded = {name for (name,) in cur.fetchall()}
    return [
        (match[0], comment)
        for match, comment in tables
        if (match[1] not in recorded or match[2] not in _RECORDED) and (comment is None or comment.startswith(_MARK))
    ]


def _seen_first(comment: str) -> datetime:
    return datetime.fromisoformat(comment.removeprefix(_MARK))


def _mark(conn: Connection, name: str, now: datetime) -> bool:
    with conn, conn.cursor() as cur, _lock_timeout(cur):
        try:
            cur.execute(
                SQL("COMMENT ON TABLE {} IS {}").format(
                    Identifier("staging", name), Literal(f"{_MARK}{now.isoformat()}")
                )
            )
        except psycopg2.errors.UndefinedTable:  # published or dropped meanwhile
            cur.execute("ROLLBACK TO SAVEPOINT janitor")
            return False
        return True
    return False


def _drop_table(conn: Connection, name: str) -> bool:
    """Drop a marked table, unless a record names it by now or somebody holds it."""
    with conn, conn.cursor() as cur, _lock_timeout(cur):
        try:
            cur.execute(SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(Identifier("staging", name)))
        except psycopg2.errors.UndefinedTable:
            cur.execute("ROLLBACK TO SAVEPOINT janitor")
            return False
        if not any(comment for _, comment in _without_record(cur, name)):
            return False
        cur.execute(SQL("DROP TABLE {}").format(Identifier("staging", name)))
        return True
    return False
