"""Reconciliation: what a slice's source, the ledger and the table say of it, long after it was loaded.

An extract records what the source had of the slice, counted in the very snapshot that it read. Here the source is
asked again, one grouped query for a range of slices, and the table is counted beside the ledger. Where they differ a
*finding* is opened in `ops.finding`; it is seen again for as long as it lasts, and closed by the reconciliation that
finds nothing any more.

What can be said depends on how slices are loaded:

* The source has changed, if it has other rows of the slice than when it was loaded. Rows leave a slice of `append`,
  `merge` and `scd2` by themselves (a changed row carries a newer cursor, an old one is purged at the source), and
  another load would not take them from the table; so there, fewer rows are no finding.
* The table differs, if a partition does not hold what the ledger says, or an scd2 table holds fewer versions of the
  slice than its last load gave. Of a merged table nothing can be said: each row is where its last change was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import Any, Final, Literal

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extensions import cursor as Cursor  # noqa: N812
from psycopg2.extras import Json
from psycopg2.sql import SQL, Composable, Identifier
from psycopg2.sql import Literal as SqlLiteral

from penstock.core.checksum import comparable, source_checksum, table_checksum
from penstock.core.contract.ddl import table_name
from penstock.core.contract.model import SLICE_FIELD, Contract, LoadMode, Reconcile
from penstock.core.errors import SourceError
from penstock.core.gate.plan import slice_bounds
from penstock.core.slice import Slice, day_slice
from penstock.core.source_rows import count_slices
from penstock.core.source_table import check_columns, read_columns, slice_moment
from penstock.core.stage import Stage, begin_snapshot, column_types

Source = Connection | Any
"""A session at a source: psycopg2's at a Postgres, SQLAlchemy's at any other database."""
OpenSource = Callable[[str], AbstractContextManager[Source]]
Kind = Literal["source_changed", "table_differs"]

_ROWS_LEAVE: Final = frozenset((LoadMode.APPEND, LoadMode.MERGE, LoadMode.SCD2))
_KEY: Final = SQL("to_char(({})::timestamptz AT TIME ZONE 'UTC', 'YYYY-MM-DD')")
_WIDEST_GAP: Final = timedelta(days=31)
"""Slices further apart are asked for by queries of their own."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What there is of a slice: number of rows, and their checksum where the contract asks for one."""

    rows: int
    checksum: str | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """Source, ledger and table do not say the same of a slice.

    Attributes:
        dataset: The dataset.
        slice_key: The slice.
        kind: `source_changed` or `table_differs`.
        then: What was loaded, as the ledger has it.
        now: What there is at the source, or in the table.
        new: Whether this reconciliation is the first to see it.
    """

    dataset: str
    slice_key: str
    kind: Kind
    then: Figures
    now: Figures
    new: bool = True

    def __str__(self) -> str:
        then, now = f"{self.then.rows:,}", f"{self.now.rows:,}{' others' if self.now.rows == self.then.rows else ''}"
        if self.kind == "source_changed":
            return (
                f"{self.dataset} {self.slice_key}: the source had {then} rows when they were loaded, and has {now} now"
            )
        return f"{self.dataset} {self.slice_key}: the ledger accounts for {then} rows in the table, which holds {now}"

    @property
    def next_step(self) -> str:
        """What somebody who reads it should do."""
        again = f"`penstock backfill {self.dataset} --gaps` loads such slices again."
        return again if self.kind == "source_changed" else f"find out who changed the table; {again}"


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What a reconciliation of a dataset came to.

    Attributes:
        slices: Number of slices looked at.
        asked: How many of them could be compared with their source.
        findings: What differs, in the order of the slices.
        closed: Number of findings of earlier reconciliations that are no more.
    """

    slices: int
    asked: int
    findings: list[Finding]
    closed: int


@dataclass(frozen=True, slots=True)
class _Known:
    """What the warehouse has of a slice; `attempt` changes with every attempt at it."""

    slice: Slice
    attempt: int
    loaded_from: Mapping[str, Any]
    source_then: Figures | None
    table_then: Figures | None
    table_now: Figures | None


# --- the source --------------------------------------------------------------------------------------------------


def recorded_figures(detail: Mapping[str, Any]) -> Figures | None:
    """Return what an extract recorded of its source in the stage's, and the ledger's, `detail`; None for nothing."""
    rows = detail.get("source_rows")
    return None if rows is None else Figures(int(rows), detail.get("source_checksum"))


def can_be_asked(contract: Contract) -> bool:
    """Tell whether a source can be asked for a slice of long ago: not if each slice is the whole source of its time."""
    column = contract.slice_column
    return column is not None and column.source_name != SLICE_FIELD


def source_now(source: Source, contract: Contract, table: str, slices: Sequence[Slice]) -> dict[str, Figures]:
    """Ask a source what it has of slices now, in one grouped query from the first to the last of them.

    Args:
        source: Session at the source; one read-only transaction is used. Only a Postgres gives checksums.
        contract: The contract, whose slices can be asked for (`can_be_asked`).
        table: `schema.table` at the source.
        slices: The slices, in any order.

    Returns:
        The figures of each slice by its key; also of those that the source has no row of.

    Raises:
        SchemaMismatch: The source lacks the table, or it cannot be cut into slices any more.
        SourceError: The source failed.
    """
    if not slices:
        return {}
    if not isinstance(source, Connection):
        return {key: Figures(rows) for key, rows in count_slices(source, contract, table, slices).items()}
    try:
        return _ask(source, contract, table, slices)
    except psycopg2.Error as error:
        raise SourceError(
            f"{table} could not be counted at the source: {' '.join(str(error).split())}",
            dataset=contract.dataset,
            next_step="nothing at first: ask again; then see whether the connection's user may read the table.",
        ) from error


def _ask(source: Connection, contract: Contract, table: str, slices: Sequence[Slice]) -> dict[str, Figures]:
    name, first = Identifier(*table.split(".")), min(slices, key=lambda slice_: slice_.start)
    last = max(slices, key=lambda slice_: slice_.start)
    begin_snapshot(source)
    with source, source.cursor() as out:
        present = column_types(out, name)
        check_columns(contract, present, Stage("", contract.dataset, first.key, ""), table)
        moment = slice_moment(contract, present)
        if moment is None:
            raise ValueError(f"each slice of {contract.dataset} is the whole source of its time")
        total: Composable = SQL("NULL::text")
        if contract.reconcile is Reconcile.CHECKSUM:
            total = source_checksum(contract, read_columns(contract, present, first))
        out.execute(_grouped(name, moment, total, SqlLiteral(first.start), SqlLiteral(last.end)))
        found = {key: Figures(rows, text) for key, rows, text in out.fetchall()}
    return {slice_.key: found.get(slice_.key, Figures(0)) for slice_ in slices}


def _spans(slices: Sequence[Slice]) -> Iterator[list[Slice]]:
    """Yield the slices, which are in order, in groups that lie close together."""
    span: list[Slice] = []
    for slice_ in slices:
        if span and slice_.start - span[-1].end > _WIDEST_GAP:
            yield span
            span = []
        span.append(slice_)
    if span:
        yield span


def ask_sources(
    contract: Contract, loads: Iterable[tuple[Slice, Mapping[str, Any]]], open_source: OpenSource
) -> dict[str, Figures]:
    """Ask the database sources of slices what they have of them now; return it by the slice's key.

    Slices of one table that lie close together are asked for by one grouped query.

    Args:
        contract: The dataset's contract.
        loads: The slices, each with the `detail` that its load recorded; those without figures are left out.
        open_source: Gives a session over the Airflow connection of this id.

    Raises:
        SchemaMismatch: A source lacks the table, or it cannot be cut into slices any more.
        SourceError: A source failed.
        PenstockError: What `open_source` raises.
    """
    if not can_be_asked(contract):
        return {}
    asked: dict[tuple[str, str], list[Slice]] = {}
    for slice_, detail in loads:
        if recorded_figures(detail) is not None and detail.get("conn_id") and detail.get("source"):
            asked.setdefault((detail["conn_id"], detail["source"]), []).append(slice_)
    now: dict[str, Figures] = {}
    for (conn_id, table), slices in asked.items():
        with open_source(conn_id) as source:
            for span in _spans(sorted(slices, key=lambda slice_: slice_.start)):
                now |= source_now(source, contract, table, span)
    return now


def _grouped(
    table: Identifier, moment: Composable, total: Composable, start: Composable, end: Composable
) -> Composable:
    """Return the query for key, number of rows and checksum of each UTC day between two instants."""
    return SQL("SELECT {key}, count(*), {total} FROM {table} WHERE {c} >= {start} AND {c} < {end} GROUP BY 1").format(
        key=_KEY.format(moment), total=total, table=table, c=moment, start=start, end=end
    )


def source_changed(contract: Contract, then: Figures, now: Figures) -> bool:
    """Tell whether a source has other rows of a slice than when it was loaded, as far as another load could see it."""
    if now.rows < then.rows:
        return contract.load_mode not in _ROWS_LEAVE
    return _differ(then, now)


def _differ(then: Figures, now: Figures) -> bool:
    if then.rows != now.rows:
        return True
    return bool(now.rows) and comparable(then.checksum, now.checksum) and then.checksum != now.checksum


# --- the warehouse -----------------------------------------------------------------------------------------------


def _slices_to_check(cur: Cursor, dataset: str, days: int) -> list[Slice]:
    """Return the slices of so many days up to the newest published one, and those that have an open finding."""
    cur.execute(
        "SELECT slice_key FROM ops.slice_current WHERE dataset = %(dataset)s AND slice_key > (SELECT"
        " to_char(max(slice_key)::date - %(days)s, 'YYYY-MM-DD') FROM ops.slice_current WHERE dataset = %(dataset)s)"
        " UNION SELECT f.slice_key FROM ops.finding AS f WHERE f.dataset = %(dataset)s AND f.closed_at IS NULL"
        " ORDER BY 1",
        {"dataset": dataset, "days": days},
    )
    return [day_slice(key) for (key,) in cur.fetchall()]


def _table_moment(cur: Cursor, contract: Contract) -> Identifier | None:
    """Return the column by which the table's rows are counted; None where there is no table, or it tells nothing."""
    column = contract.partition_by if contract.partitioned else contract.cursor
    if column is None or contract.load_mode is LoadMode.MERGE or column not in column_types(cur, table_name(contract)):
        return None
    return Identifier(column)


def _known(cur: Cursor, contract: Contract, span: Sequence[Slice]) -> list[_Known]:
    """Return what the warehouse has of slices.

    Ledger and table are read by one statement: a publish in between would be seen in one of them only.
    """
    moment = _table_moment(cur, contract)
    counted: Composable = SQL("SELECT NULL::text, NULL::bigint, NULL::text")
    if moment is not None:
        checks = contract.reconcile is Reconcile.CHECKSUM
        total = table_checksum(contract) if checks else SQL("NULL::text")
        low, high = slice_bounds(span[0])[0], slice_bounds(span[-1])[1]
        counted = _grouped(table_name(contract), moment, total, SqlLiteral(low), SqlLiteral(high))
    cur.execute(
        SQL(
            "WITH t (slice_key, n, checksum) AS ({})"
            " SELECT c.slice_key, c.attempt, w.kind, w.loaded, w.detail, l.loaded, l.detail,"
            " coalesce(l.load_mode, c.load_mode), coalesce(t.n, 0), t.checksum"
            " FROM ops.slice_current AS c LEFT JOIN ops.slice_loaded AS l USING (dataset, slice_key)"
            " LEFT JOIN t USING (slice_key) CROSS JOIN LATERAL (SELECT kind, loaded, detail FROM ops.slice_ledger AS w"
            " WHERE (w.dataset, w.slice_key, w.status) = (c.dataset, c.slice_key, 'published') AND w.kind <> 'discard'"
            " ORDER BY w.attempt DESC LIMIT 1) AS w"  # the last that changed the table
            " WHERE c.dataset = %s AND c.slice_key = ANY(%s) ORDER BY c.slice_key"
        ).format(counted),
        (contract.dataset, [slice_.key for slice_ in span]),
    )
    return [_read_known(contract, row, counted=moment is not None) for row in cur.fetchall()]


def _read_known(contract: Contract, row: tuple[Any, ...], *, counted: bool) -> _Known:
    key, attempt, kind, now_loaded, now_detail, loaded, detail, load_mode, rows, checksum = row
    detail = detail or {}
    is_there = kind != "drop"
    source_then = recorded_figures(detail) if is_there else None
    expected = None
    if counted and load_mode == contract.load_mode:
        if contract.partitioned:
            total = now_detail.get("table_checksum")
            if total is None and kind == "load" and source_then and source_then.rows == now_loaded:
                total = None if detail.get("kept") else source_then.checksum  # all that the source had was loaded
            expected = Figures(now_loaded, total)
        elif source_then and rows < min(now_loaded, loaded):
            expected = Figures(min(now_loaded, loaded))
    return _Known(
        day_slice(key),
        attempt,
        detail if is_there else {},
        source_then,
        expected,
        None if expected is None else Figures(rows, checksum),
    )


# --- findings ----------------------------------------------------------------------------------------------------


def reconcile(conn: Connection, contract: Contract, open_source: OpenSource, *, days: int) -> Reconciled:
    """Compare a dataset's source, ledger and table, slice by slice; records the findings; commits.

    Args:
        conn: Connection to the warehouse.
        contract: The dataset's contract.
        open_source: Gives a session over the Airflow connection of this id.
        days: How many days back from the newest slice. Slices with an open finding are always looked at.

    Raises:
        SchemaMismatch: The source lacks the table, or it cannot be cut into slices any more.
        SourceError: The source failed.
        PenstockError: What `open_source` raises.
    """
    with conn, conn.cursor() as cur:
        slices = _slices_to_check(cur, contract.dataset, days)
        known = [found for span in _spans(slices) for found in _known(cur, contract, span)]
    now = ask_sources(contract, [(found.slice, found.loaded_from) for found in known], open_source)
    findings = [*_source_findings(contract, known, now), *_table_findings(contract, known)]
    with conn, conn.cursor() as cur:
        settled = _unchanged_since(cur, contract, known, slices)
        recorded = _record(cur, contract.dataset, [found for found in findings if found.slice_key in settled], settled)
    return Reconciled(len(slices), len(now), *recorded)


def _source_findings(contract: Contract, known: Sequence[_Known], now: Mapping[str, Figures]) -> Iterator[Finding]:
    for found in known:
        key, then = found.slice.key, found.source_then
        if then is not None and key in now and source_changed(contract, then, now[key]):
            yield Finding(contract.dataset, key, "source_changed", then, now[key])


def _table_findings(contract: Contract, known: Sequence[_Known]) -> Iterator[Finding]:
    for found in known:
        then, now = found.table_then, found.table_now
        if then is not None and now is not None and _differ(then, now):
            yield Finding(contract.dataset, found.slice.key, "table_differs", then, now)


def _unchanged_since(cur: Cursor, contract: Contract, known: Sequence[_Known], slices: Sequence[Slice]) -> list[str]:
    """Return the keys of the slices that nobody has loaded, re-driven or dropped since they were read."""
    keys = [slice_.key for slice_ in slices]
    cur.execute(
        "SELECT slice_key, attempt FROM ops.slice_current WHERE dataset = %s AND slice_key = ANY(%s)",
        (contract.dataset, keys),
    )
    attempts, before = dict(cur.fetchall()), {found.slice.key: found.attempt for found in known}
    return [key for key in keys if attempts.get(key) == before.get(key)]


def _record(
    cur: Cursor, dataset: str, findings: Sequence[Finding], settled: Sequence[str]
) -> tuple[list[Finding], int]:
    """Open or renew these findings, and close the others of the settled slices; return them, and how many closed."""
    new: dict[tuple[str, str], bool] = {}
    for found in findings:
        cur.execute(
            "INSERT INTO ops.finding (dataset, slice_key, kind, detail) VALUES (%s, %s, %s, %s)"
            " ON CONFLICT (dataset, slice_key, kind) WHERE closed_at IS NULL"
            " DO UPDATE SET detail = excluded.detail, last_seen = clock_timestamp() RETURNING xmax = 0",
            (dataset, found.slice_key, found.kind, Json({"then": asdict(found.then), "now": asdict(found.now)})),
        )
        new[found.slice_key, found.kind] = cur.fetchall() == [(True,)]
    cur.execute(
        "UPDATE ops.finding SET closed_at = clock_timestamp() WHERE dataset = %s AND closed_at IS NULL"
        " AND slice_key = ANY(%s) AND NOT (slice_key || ' ' || kind) = ANY(%s)",
        (dataset, list(settled), [f"{key} {kind}" for key, kind in new]),
    )
    closed = cur.rowcount
    marked = [replace(found, new=new[found.slice_key, found.kind]) for found in findings]
    return sorted(marked, key=lambda found: (found.slice_key, found.kind)), closed
