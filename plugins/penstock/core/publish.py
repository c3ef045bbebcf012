"""Publish: the one transaction that makes a gated slice visible, with its quarantine and its ledger row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import psycopg2.errors
from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extensions import cursor as Cursor  # noqa: N812
from psycopg2.sql import SQL, Composable, Composed, Identifier, Literal

from penstock.core.contract.ddl import ensure_table, has_table_key, table_name
from penstock.core.contract.model import Contract, LoadMode
from penstock.core.drift import complete, take_in
from penstock.core.errors import PublishBlocked
from penstock.core.gate.judge import candidate_of
from penstock.core.gate.plan import slice_bounds
from penstock.core.key_index import build_key_index, find_key_index, prove_key
from penstock.core.ledger import (
    Attempt,
    Outcome,
    lock_slice,
    published_by,
    record_attempt,
    record_version,
    seconds_so_far,
)
from penstock.core.quarantine import keep_quarantine
from penstock.core.slice import Slice
from penstock.core.stage import (
    ROW_NUMBER,
    Stage,
    Staged,
    column_types,
    drop_stage,
    need_stage,
    read_stage,
    stage_missing,
)

LOCK_TIMEOUT_SECONDS: Final = 5
"""How long publish waits for readers at the final metadata change. Readers queue behind it, so it is short."""


def partition_name(contract: Contract, slice_: Slice) -> Identifier:
    """Return the partition that holds a slice."""
    return Identifier(contract.domain, f"{contract.table}_p{slice_.key.replace('-', '')}")


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
        SchemaMismatch: The warehouse table does not fit the contract.
        PublishBlocked: Readers held the table for longer than `LOCK_TIMEOUT_SECONDS`.
    """
    try:
        with conn, conn.cursor() as cur:
            lock_slice(cur, stage)
            if read_stage(cur, stage) is None:
                done = published_by(cur, stage)
                if done is not None:
                    return done
            staged = need_stage(cur, stage)
            _check_passed(staged, contract, stage)
            return _publish(cur, contract, slice_, stage, staged, dag_id)
    except psycopg2.errors.LockNotAvailable as error:
        raise PublishBlocked(
            f"Readers held {contract.domain}.{contract.table} for more than {LOCK_TIMEOUT_SECONDS} s.",
            dataset=stage.dataset,
            slice_key=stage.slice_key,
            next_step="nothing: the task is retried; pg_stat_activity shows who reads for that long.",
        ) from error


def _check_passed(staged: Staged, contract: Contract, stage: Stage) -> None:
    if staged.state != "passed" or staged.contract_hash != contract.hash:
        why = "was judged by another version of the contract" if staged.state == "passed" else "did not pass the gate"
        raise stage_missing(stage, f"The stage of run {stage.run_id} {why}.", "validate")


def _publish(
    cur: Cursor, contract: Contract, slice_: Slice, stage: Stage, staged: Staged, dag_id: str | None
) -> Outcome:
    contract = take_in(cur, contract, table_name(contract), stage, staged, lock_timeout_seconds=LOCK_TIMEOUT_SECONDS)
    ensure_table(cur, contract)
    candidate = candidate_of(stage, column_types(cur, stage.table))
    complete(cur, contract, candidate)
    passed = staged.extracted - staged.filtered - staged.quarantined
    loaded = _MODES[contract.load_mode](cur, contract, slice_, candidate, passed)
    kept = keep_quarantine(cur, stage)
    outcome = Outcome(
        extracted=staged.extracted,
        loaded=loaded,
        quarantined=staged.quarantined - kept.discarded,
        deduplicated=passed - loaded,
        filtered=staged.filtered + kept.discarded,
    )
    drop_stage(cur, stage)
    record_version(cur, contract)
    seconds = (staged.extract_seconds, staged.validate_seconds, seconds_so_far(cur))
    detail = staged.detail | ({"mends_waiting": kept.mended} if kept.mended else {})
    record_attempt(cur, stage, contract, Attempt(outcome, dag_id=dag_id, seconds=seconds, detail=detail))
    return outcome


def _names(columns: tuple[str, ...]) -> Composed:
    return SQL(", ").join(map(Identifier, columns))


def _all_columns(contract: Contract) -> tuple[str, ...]:
    return tuple(column.name for column in contract.columns)


# --- replace_partition -------------------------------------------------------------------------------------------


def _replace_partition(cur: Cursor, contract: Contract, slice_: Slice, candidate: Identifier, passed: int) -> int:
    """Make the staged table itself the slice's partition; return the number of its rows.

    All that takes time (the one pass that proves the constraints, the index) happens before the table is locked.
    """
    assert contract.partition_by is not None  # noqa: S101 - checked when the contract is read
    if ROW_NUMBER in column_types(cur, candidate):
        cur.execute(SQL("ALTER TABLE {} DROP COLUMN {}").format(candidate, Identifier(ROW_NUMBER)))
    removed = _prove_key(cur, contract, candidate)
    bounds: list[Composable] = [Literal(bound) for bound in slice_bounds(slice_)]
    column = Identifier(contract.partition_by)
    changes = [SQL("ALTER {} SET NOT NULL").format(Identifier(name.name)) for name in contract.columns if name.required]
    in_slice = SQL("ADD CONSTRAINT penstock_slice CHECK ({c} IS NOT NULL AND {c} >= {low} AND {c} < {high})")
    changes.append(in_slice.format(c=column, low=bounds[0], high=bounds[1]))
    index = find_key_index(cur, candidate)
    if index is not None and has_table_key(contract):
        changes.append(SQL("ADD PRIMARY KEY USING INDEX {}").format(Identifier(index.strings[1])))
    cur.execute(SQL("ALTER TABLE {} {}").format(candidate, SQL(", ").join(changes)))
    _attach(cur, contract, slice_, candidate, bounds)
    return passed - removed


def _attach(cur: Cursor, contract: Contract, slice_: Slice, candidate: Identifier, bounds: list[Composable]) -> None:
    """Put the proved table in the partition's place; the only step that readers can notice."""
    partition, parent = partition_name(contract, slice_), table_name(contract)
    cur.execute(SQL("SET LOCAL lock_timeout = {}").format(Literal(f"{LOCK_TIMEOUT_SECONDS}s")))
    cur.execute("SELECT to_regclass(%s) IS NOT NULL", (partition.as_string(cur),))
    if cur.fetchone() == (True,):
        cur.execute(SQL("ALTER TABLE {} DETACH PARTITION {}").format(parent, partition))
        cur.execute(SQL("DROP TABLE {}").format(partition))
    cur.execute(SQL("ALTER TABLE {} SET SCHEMA {}").format(candidate, Identifier(contract.domain)))
    moved = Identifier(contract.domain, candidate.strings[1])
    cur.execute(SQL("ALTER TABLE {} RENAME TO {}").format(moved, Identifier(partition.strings[1])))
    cur.execute(
        SQL("ALTER TABLE {} ATTACH PARTITION {} FOR VALUES FROM ({}) TO ({})").format(parent, partition, *bounds)
    )
    cur.execute(SQL("ALTER TABLE {} DROP CONSTRAINT penstock_slice").format(partition))
    cur.execute("SET LOCAL lock_timeout = 0")


def _prove_key(cur: Cursor, contract: Contract, candidate: Identifier) -> int:
    """Build the key's unique index, unless the gate has; only if that finds duplicates, remove them and build it again.

    Returns:
        The number of rows removed.
    """
    if not contract.key or find_key_index(cur, candidate) or prove_key(cur, candidate, contract.key):
        return 0
    removed = _deduplicate(cur, contract, candidate)
    build_key_index(cur, candidate, contract.key)
    return removed


def _newest_first(contract: Contract, table: Composed) -> Composed:
    """Order versions of one key so that the outcome depends on the rows alone, not on the order they came in."""
    assert contract.cursor is not None  # noqa: S101 - without a cursor the gate lets no duplicate key pass
    return SQL("{} DESC, {} DESC").format(Identifier(contract.cursor), table)


def _as_text(alias: str, contract: Contract) -> Composed:
    return SQL("({})::text").format(
        SQL("ROW({})").format(SQL(", ").join(Identifier(alias, name) for name in _all_columns(contract)))
    )


def _deduplicate(cur: Cursor, contract: Contract, candidate: Identifier) -> int:
    cur.execute(
        SQL(
            "DELETE FROM {table} WHERE ctid IN (SELECT c FROM (SELECT s.ctid AS c, row_number() OVER"
            " (PARTITION BY {key} ORDER BY {order}) AS n FROM {table} AS s) AS d WHERE n > 1)"
        ).format(table=candidate, key=_names(contract.key), order=_newest_first(contract, _as_text("s", contract)))
    )
    return cur.rowcount


# --- merge -------------------------------------------------------------------------------------------------------


def lock_merge(cur: Cursor, contract: Contract) -> None:
    """Let one merge into a table run at a time: two that touch the same keys in another order would deadlock."""
    cur.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"penstock merge {contract.dataset}",))


def _merge(cur: Cursor, contract: Contract, slice_: Slice, candidate: Identifier, passed: int) -> int:  # noqa: ARG001
    """Upsert by key; a row in the table gives way only to a row that is not older by the cursor.

    Returns:
        The rows inserted or updated; the others were older versions.
    """
    lock_merge(cur, contract)
    table = table_name(contract)
    cur.execute("SAVEPOINT merge")
    try:
        cur.execute(_upsert(contract, table, SQL("{} AS s").format(candidate)))
    except psycopg2.errors.CardinalityViolation:  # the slice holds a key twice
        cur.execute("ROLLBACK TO SAVEPOINT merge")
        cur.execute(_upsert(contract, table, _newest(contract, candidate)))
    return cur.rowcount


def join_rows(cur: Cursor, contract: Contract, target: Identifier, candidate: Identifier) -> tuple[int, int]:
    """Insert rows beside those that are there; by key, a row gives way only to one that is not older by the cursor.

    Args:
        cur: Cursor on the warehouse.
        contract: The contract.
        target: The table, or the partition, that the rows belong in.
        candidate: The rows; without a cursor their keys are known to be free.

    Returns:
        The rows that are new, and those that took the place of another.
    """
    if not contract.key or contract.cursor is None:
        names = _names(_all_columns(contract))
        cur.execute(SQL("INSERT INTO {} ({}) SELECT {} FROM {}").format(target, names, names, candidate))
        return cur.rowcount, 0
    cur.execute(
        SQL(
            "WITH done AS ({} RETURNING t.xmax = 0 AS new)"
            " SELECT count(*) FILTER (WHERE new), count(*) FILTER (WHERE NOT new) FROM done"
        ).format(_upsert(contract, target, _newest(contract, candidate)))
    )
    row = cur.fetchone()
    return (row[0], row[1]) if row else (0, 0)


def _newest(contract: Contract, candidate: Identifier) -> Composed:
    """Return the newest row of each key, as the alias `s`."""
    return SQL("(SELECT DISTINCT ON ({key}) * FROM {table} AS s ORDER BY {key}, {order}) AS s").format(
        key=_names(contract.key),
        table=candidate,
        order=_newest_first(contract, _as_text("s", contract)),
    )


def _upsert(contract: Contract, target: Identifier, rows: Composed) -> Composed:
    assert contract.cursor is not None  # noqa: S101 - checked when the contract is read
    columns = _all_columns(contract)
    others = [name for name in columns if name not in contract.key]
    return SQL(
        "INSERT INTO {table} AS t ({names}) SELECT {names} FROM {rows} ON CONFLICT ({key})"
        " DO UPDATE SET {sets} WHERE excluded.{cursor} >= t.{cursor}"
    ).format(
        table=target,
        names=_names(columns),
        rows=rows,
        key=_names(contract.key),
        sets=SQL(", ").join(SQL("{n} = excluded.{n}").format(n=Identifier(name)) for name in others),
        cursor=Identifier(contract.cursor),
    )


_MODES: Final[Mapping[LoadMode, Callable[[Cursor, Contract, Slice, Identifier, int], int]]] = {
    LoadMode.REPLACE_PARTITION: _replace_partition,
    LoadMode.MERGE: _merge,
}
