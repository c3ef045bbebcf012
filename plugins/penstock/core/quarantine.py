"""The quarantine: rows that broke the contract, as they were received, until somebody mends or discards them.

A row is known by its slice and the fingerprint of what was received, so that a mend or a discard outlives a repeated
load of the slice: a discarded row stays discarded (the ledger counts it as `filtered`), and a mended row that was
re-driven comes back open with its mend, ready to be re-driven again.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, Literal, TextIO

from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extensions import cursor as Cursor  # noqa: N812
from psycopg2.extras import Json
from psycopg2.sql import SQL, Composable, Identifier
from psycopg2.sql import Literal as SqlLiteral

from penstock.core.contract.model import Contract
from penstock.core.drift import with_evolved
from penstock.core.errors import QuarantineError
from penstock.core.ledger import Attempt, current_outcome, lock_slice, record_attempt
from penstock.core.mask import EXTRA, mask_payload
from penstock.core.stage import DETAILS, LANDING, REASONS, ROW_NUMBER, Stage, column_types

State = Literal["open", "redriven", "discarded"]
_OWN_COLUMNS: Final = frozenset((REASONS, DETAILS, LANDING, ROW_NUMBER))
_PAGE: Final = 500


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of a published slice's broken rows.

    Attributes:
        discarded: Rows that somebody has discarded before.
        mended: Open rows that carry a mend and wait for a re-drive.
        standing: Rows that came again to an append and were re-driven before: they are in the table.
        left: Open rows of earlier loads that did not come again to an append.
    """

    discarded: int
    mended: int
    standing: int = 0
    left: int = 0


@dataclass(frozen=True, slots=True)
class QuarantinedRow:
    """One row, masked by the contract.

    Attributes:
        id: Number of the row.
        slice_key: The slice it came in.
        run_id: The run that saw it last.
        rules: The rules it broke.
        details: For values that do not cast: column, class of the value, target type.
        payload: Text of each field as received, masked.
        mended: The same after mending, masked; None where nobody has mended it.
        mended_by: Who mended it.
        state: `open`, `redriven` or `discarded`.
        closed_by: Who re-drove or discarded it.
        closed_reason: Why it was discarded, or the run that published it.
        first_seen: When it was quarantined first.
        last_seen: When a load saw it last.
    """

    id: int
    slice_key: str
    run_id: str
    rules: list[str]
    details: list[dict[str, Any]]
    payload: dict[str, Any]
    mended: dict[str, Any] | None
    mended_by: str | None
    state: State
    closed_by: str | None
    closed_reason: str | None
    first_seen: datetime
    last_seen: datetime


@dataclass(frozen=True, slots=True)
class Summary:
    """How many open rows of a slice broke a rule; a row that broke two rules counts in both."""

    dataset: str
    slice_key: str
    rule: str
    rows: int
    mended: int


def _payload(columns: Mapping[str, str]) -> Composable:
    """Return the JSON of a broken row `b`: the text of each column and, under `$extra`, what the contract lacks."""
    texts = SQL(", ").join(
        SQL("b.{name}::text AS {name}").format(name=Identifier(name)) for name in columns if name not in _OWN_COLUMNS
    )
    payload: Composable = SQL("(SELECT to_jsonb(_x) FROM (SELECT {}) AS _x)").format(texts)
    if LANDING in columns:
        extra = SQL("jsonb_strip_nulls(jsonb_build_object({}, nullif(b.{} -> 'extra', '{{}}')))")
        payload = SQL("({} || coalesce({}, '{{}}'))").format(
            payload, extra.format(SqlLiteral(EXTRA), Identifier(LANDING))
        )
    return payload


def keep_quarantine(cur: Cursor, stage: Stage, *, adds: bool = False) -> Kept:
    """Make a slice's open rows what the gate moved aside now; in the transaction that publishes the slice.

    Rows seen before keep their `first_seen`, a mend, and that they were discarded. Open rows that did not come again
    are gone: the source has corrected them. Those that were re-driven are open again: the load has taken them out.

    Args:
        cur: Cursor on the warehouse.
        stage: The run's stage.
        adds: Whether the load adds to the slice and takes nothing out; then open rows that did not come again stay,
            and re-driven ones stay closed.
    """
    cur.execute(
        SQL(
            "CREATE TEMPORARY TABLE penstock_bad ON COMMIT DROP AS SELECT rules, details, payload, fingerprint,"
            " row_number() OVER (PARTITION BY fingerprint ORDER BY rules)::integer AS occurrence FROM"
            " (SELECT b.{reasons} AS rules, coalesce(b.{details}, '[]') AS details, p.payload,"
            " md5(p.payload::text) AS fingerprint FROM {bad} AS b, LATERAL (SELECT {payload} AS payload) AS p) AS s"
        ).format(
            reasons=Identifier(REASONS),
            details=Identifier(DETAILS),
            bad=stage.bad,
            payload=_payload(column_types(cur, stage.bad)),
        )
    )
    slice_ = (stage.dataset, stage.slice_key)
    gone = (
        "FROM ops.quarantine AS q WHERE (dataset, slice_key, state) = (%s, %s, 'open') AND NOT EXISTS (SELECT"
        " FROM penstock_bad AS b WHERE (b.fingerprint, b.occurrence) = (q.fingerprint, q.occurrence))"
    )
    cur.execute(f"{'SELECT' if adds else 'DELETE'} {gone}", slice_)
    left = cur.rowcount if adds else 0
    cur.execute(
        "WITH kept AS (INSERT INTO ops.quarantine AS q"
        " (dataset, slice_key, run_id, rules, details, payload, fingerprint, occurrence)"
        " SELECT %s, %s, %s, rules, details, payload, fingerprint, occurrence FROM penstock_bad"
        " ON CONFLICT (dataset, slice_key, fingerprint, occurrence) DO UPDATE"
        " SET run_id = excluded.run_id, rules = excluded.rules, details = excluded.details,"
        " last_seen = clock_timestamp(),"
        " state = CASE WHEN q.state = ANY(%s) THEN q.state ELSE 'open' END,"
        " closed_by = CASE WHEN q.state = ANY(%s) THEN q.closed_by END,"
        " closed_reason = CASE WHEN q.state = ANY(%s) THEN q.closed_reason END,"
        " closed_at = CASE WHEN q.state = ANY(%s) THEN q.closed_at END"
        " RETURNING state, mended)"
        " SELECT count(*) FILTER (WHERE state = 'discarded'),"
        " count(*) FILTER (WHERE state = 'open' AND mended IS NOT NULL),"
        " count(*) FILTER (WHERE state = 'redriven') FROM kept",
        (*slice_, stage.run_id, *[["discarded", "redriven"] if adds else ["discarded"]] * 4),
    )
    row = cur.fetchone()
    cur.execute("DROP TABLE penstock_bad")
    discarded, mended, standing = row or (0, 0, 0)
    return Kept(discarded, mended, standing, left)


def _where(
    contract: Contract, *, slice_key: str | None, rule: str | None, state: State | None, after: int
) -> tuple[Composable, list[Any]]:
    parts, values = ["dataset = %s", "id > %s"], [contract.dataset, after]
    for condition, value in (("slice_key = %s", slice_key), ("%s = ANY(rules)", rule), ("state = %s", state)):
        if value is not None:
            parts.append(condition)
            values.append(value)
    return SQL(" AND ".join(parts)), values


def _rows(
    cur: Cursor, contract: Contract, where: Composable, values: Sequence[Any], limit: int, *, masked: bool
) -> list[QuarantinedRow]:
    cur.execute(
        SQL(
            "SELECT id, slice_key, run_id, rules, details, payload, mended, mended_by, state, closed_by, closed_reason,"
            " first_seen, last_seen FROM ops.quarantine WHERE {} ORDER BY id LIMIT %s"
        ).format(where),
        [*values, limit],
    )
    found = [QuarantinedRow(*row) for row in cur.fetchall()]
    return [_masked(contract, row) for row in found] if masked else found


def _masked(contract: Contract, row: QuarantinedRow) -> QuarantinedRow:
    mended = None if row.mended is None else mask_payload(contract, row.mended)
    return replace(row, payload=mask_payload(contract, row.payload), mended=mended)


def list_rows(
    cur: Cursor,
    contract: Contract,
    *,
    slice_key: str | None = None,
    rule: str | None = None,
    state: State | None = "open",
    limit: int = 50,
    after: int = 0,
) -> list[QuarantinedRow]:
    """Return quarantined rows, masked, in the order of their ids.

    Args:
        cur: Cursor on the warehouse.
        contract: The dataset's contract, which says what is masked.
        slice_key: Only rows of this slice.
        rule: Only rows that broke this rule.
        state: Only rows in this state; None for all.
        limit: The most rows to return.
        after: Only rows with a greater id, for the next page.
    """
    where, values = _where(contract, slice_key=slice_key, rule=rule, state=state, after=after)
    return _rows(cur, contract, where, values, limit, masked=True)


def summary(cur: Cursor, dataset: str | None = None) -> list[Summary]:
    """Count the open rows by dataset, slice and rule."""
    cur.execute(
        "SELECT dataset, slice_key, rule, count(*), count(mended) FROM ops.quarantine, unnest(rules) AS rule"
        " WHERE state = 'open' AND (%(dataset)s IS NULL OR dataset = %(dataset)s)"
        " GROUP BY dataset, slice_key, rule ORDER BY dataset, slice_key, rule",
        {"dataset": dataset},
    )
    return [Summary(*row) for row in cur.fetchall()]


def mend(cur: Cursor, contract: Contract, ids: Sequence[int], changes: Mapping[str, str | None], by: str) -> int:
    """Change fields of open rows, beside what was received; in the caller's transaction.

    Nothing is published: a re-drive holds the mended row to the whole contract.

    Args:
        cur: Cursor on the warehouse.
        contract: The dataset's contract.
        ids: The rows.
        changes: New text by column, None for NULL; `$extra` with None drops what the contract does not name.
        by: Who mends.

    Returns:
        The number of rows changed.

    Raises:
        QuarantineError: There is no such column, or one of the rows is not open, or not of this dataset.
    """
    known = {column.name for column in with_evolved(cur, contract).columns} | {EXTRA}
    strange = [name for name in changes if name not in known or (name == EXTRA and changes[name] is not None)]
    if strange or not changes:
        what = f"{contract.dataset} has no column {', '.join(strange)}" if strange else "no column is to be changed"
        raise QuarantineError(
            f"The rows cannot be mended so: {what}.",
            dataset=contract.dataset,
            next_step=f"name columns of the contract: {', '.join(column.name for column in contract.columns)}.",
        )
    _need_open(cur, contract, ids)
    cur.execute(
        "UPDATE ops.quarantine SET mended = (coalesce(mended, payload) || %s) - %s::text[], mended_by = %s,"
        " mended_at = clock_timestamp() WHERE id = ANY(%s)",
        (
            Json({name: value for name, value in changes.items() if name != EXTRA}),
            [EXTRA] if EXTRA in changes else [],
            by,
            list(ids),
        ),
    )
    return cur.rowcount


def _need_open(cur: Cursor, contract: Contract, ids: Sequence[int]) -> list[str]:
    """Lock the rows and return the slices they are in, in order.

    Raises:
        QuarantineError: One of them is not open, or not of this dataset.
    """
    cur.execute(
        "SELECT id, slice_key FROM ops.quarantine WHERE id = ANY(%s) AND (dataset, state) = (%s, 'open')"
        " ORDER BY id FOR UPDATE",
        (list(ids), contract.dataset),
    )
    found = dict(cur.fetchall())
    missing = sorted(set(ids) - found.keys())
    if missing:
        shown = ", ".join(map(str, missing[:10])) + (" …" if len(missing) > 10 else "")  # noqa: PLR2004
        raise QuarantineError(
            f"The quarantine of {contract.dataset} has no open row {shown}.",
            dataset=contract.dataset,
            next_step=f"`penstock quarantine list {contract.dataset}` shows the open rows.",
        )
    return sorted(set(found.values()))


def discard(conn: Connection, contract: Contract, ids: Sequence[int], *, by: str, reason: str) -> int:
    """Give rows up: they leave the quarantine without being loaded; commits.

    The ledger gets a row of its own for each slice: `quarantined` falls and `filtered` rises. A later load that
    meets the same row again discards it again.

    Args:
        conn: Connection to the warehouse.
        contract: The dataset's contract.
        ids: The rows.
        by: Who discards them.
        reason: Why.

    Returns:
        The number of rows discarded.

    Raises:
        QuarantineError: The reason is empty, or one of the rows is not open, or not of this dataset.
    """
    if not reason.strip() or not by.strip():
        raise QuarantineError(
            "Rows are discarded for a reason and by somebody.", dataset=contract.dataset, next_step="give both."
        )
    with conn, conn.cursor() as cur:
        stages = _lock_slices(cur, contract, ids, f"discard by {by}")
        _need_open(cur, contract, ids)
        return sum(_discard_in_slice(cur, contract, stage, ids, by=by, reason=reason) for stage in stages)


def _lock_slices(cur: Cursor, contract: Contract, ids: Sequence[int], run_id: str) -> list[Stage]:
    """Lock the slices of the rows, before the rows as publish does, and in one order so that two do not deadlock."""
    cur.execute(
        "SELECT DISTINCT slice_key FROM ops.quarantine WHERE id = ANY(%s) AND dataset = %s ORDER BY 1",
        (list(ids), contract.dataset),
    )
    stages = [Stage("", contract.dataset, key, run_id) for (key,) in cur.fetchall()]
    for stage in stages:
        lock_slice(cur, stage)
    return stages


def _discard_in_slice(
    cur: Cursor, contract: Contract, stage: Stage, ids: Sequence[int], *, by: str, reason: str
) -> int:
    """Discard those of the rows that are open and in this slice, whose lock is held; return their number."""
    cur.execute(
        "UPDATE ops.quarantine SET state = 'discarded', closed_by = %s, closed_reason = %s,"
        " closed_at = clock_timestamp() WHERE id = ANY(%s) AND (dataset, slice_key, state) = (%s, %s, 'open')",
        (by, reason, list(ids), stage.dataset, stage.slice_key),
    )
    gone = cur.rowcount
    now = current_outcome(cur, stage.dataset, stage.slice_key)
    if gone and now:
        outcome = replace(now, quarantined=now.quarantined - gone, filtered=now.filtered + gone)
        detail = {"discarded": gone, "by": by, "reason": reason}
        record_attempt(cur, stage, contract, Attempt(outcome, kind="discard", detail=detail))
    return gone


def purge(conn: Connection, contract: Contract, *, now: datetime, by: str) -> tuple[int, int]:
    """Keep the contract's `quarantineRetention`; commits.

    Open rows that no load has met for that long are discarded, with a ledger row; rows that were re-driven or
    discarded that long ago are deleted.

    Args:
        conn: Connection to the warehouse.
        contract: The dataset's contract; without a retention nothing happens.
        now: The present, with a time zone.
        by: Who keeps the retention.

    Returns:
        Rows discarded, and rows deleted.
    """
    if contract.quarantine_retention is None:
        return 0, 0
    before = now - contract.quarantine_retention
    with conn, conn.cursor() as cur:
        cur.execute(
            "DELETE FROM ops.quarantine WHERE dataset = %s AND state <> 'open' AND closed_at < %s",
            (contract.dataset, before),
        )
        deleted = cur.rowcount
        cur.execute(
            "SELECT id FROM ops.quarantine WHERE (dataset, state) = (%s, 'open')"
            " AND greatest(last_seen, mended_at) < %s",
            (contract.dataset, before),
        )
        old = [id_ for (id_,) in cur.fetchall()]
        reason = f"nobody mended it within {contract.quarantine_retention.days} days (quarantineRetention)"
        stages = _lock_slices(cur, contract, old, f"retention by {by}")
        discarded = sum(_discard_in_slice(cur, contract, stage, old, by=by, reason=reason) for stage in stages)
    return discarded, deleted


def export(
    cur: Cursor,
    contract: Contract,
    out: TextIO,
    *,
    format: Literal["csv", "jsonl"],  # noqa: A002 - the word that users know
    unmasked: bool = False,
    slice_key: str | None = None,
    rule: str | None = None,
) -> int:
    """Write open rows to a file, page by page.

    A CSV has a column for each of the contract's, then `_id`, `_slice`, `_rules`, `_details` and, where the source
    sent what the contract does not name, `_extra` as JSON. A JSON line holds a row as `list_rows` gives it.

    Returns:
        The number of rows written.
    """
    names = [column.name for column in contract.columns]
    table = csv.writer(out, lineterminator="\n")
    if format == "csv":
        table.writerow([*names, "_id", "_slice", "_rules", "_details", "_extra"])
    count = 0
    for row in _all_open(cur, contract, slice_key=slice_key, rule=rule, masked=not unmasked):
        if format == "csv":
            table.writerow(_csv_row(row, names))
        else:
            out.write(json.dumps(_as_dict(row), ensure_ascii=False) + "\n")
        count += 1
    return count


def _all_open(
    cur: Cursor, contract: Contract, *, slice_key: str | None, rule: str | None, masked: bool
) -> Iterator[QuarantinedRow]:
    after = 0
    while True:
        where, values = _where(contract, slice_key=slice_key, rule=rule, state="open", after=after)
        page = _rows(cur, contract, where, values, _PAGE, masked=masked)
        yield from page
        if len(page) < _PAGE:
            return
        after = page[-1].id


def _csv_row(row: QuarantinedRow, names: Sequence[str]) -> list[Any]:
    shown = row.payload if row.mended is None else row.mended
    extra = json.dumps(shown[EXTRA], ensure_ascii=False) if EXTRA in shown else ""
    rest = [row.id, row.slice_key, " ".join(row.rules), json.dumps(row.details, ensure_ascii=False), extra]
    return [*(shown.get(name) for name in names), *rest]


def _as_dict(row: QuarantinedRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "slice": row.slice_key,
        "run_id": row.run_id,
        "rules": row.rules,
        "details": row.details,
        "payload": row.payload,
        "mended": row.mended,
        "mended_by": row.mended_by,
        "first_seen": row.first_seen.isoformat(),
        "last_seen": row.last_seen.isoformat(),
    }
