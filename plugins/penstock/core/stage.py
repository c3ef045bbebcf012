"""The stage: where a slice's rows wait for the gate.

A stage is a table in the schema `staging`, named after dataset and run, with a row in `ops.stage`. Columns carry the
contract's names; a column whose values the source cannot give in the contract's type is staged as text, and the
gate casts it. Beside it may stand `<name>__typed`, the cast rows, and `<name>__bad`, the rows that broke a rule.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final

import psycopg2.errors
from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extensions import cursor as Cursor  # noqa: N812
from psycopg2.extras import Json
from psycopg2.sql import SQL, Composed, Identifier, Literal

from penstock.core.attempts import Try, refuse_superseded, with_try
from penstock.core.contract.model import SLICE_FIELD, Column, Contract
from penstock.core.errors import StageMissing
from penstock.core.slice import Slice

ROW_NUMBER: Final = "_row"
REASONS: Final = "_rules"
DETAILS: Final = "_details"
LANDING: Final = "_landing"
"""What the landing says of a row beside its values, NULL for most: `{"rules": […], "details": […], "extra": {…}}`."""
_UNFINISHED: Final = "__r"
_MAX_STEM: Final = 40  # 63 bytes for a Postgres name, less the digest and the longest suffix


@dataclass(frozen=True, slots=True)
class Stage:
    """The names of one run's stage.

    Attributes:
        name: Bare name of the stage table, also the key of `ops.stage`.
        dataset: The dataset.
        slice_key: The slice.
        run_id: The Airflow run.
        by: The try of a task that works on it; None outside Airflow.
    """

    name: str
    dataset: str
    slice_key: str
    run_id: str
    by: Try | None = None

    @property
    def table(self) -> Identifier:
        """The rows as extracted (less those that the gate has moved out of a typed stage)."""
        return Identifier("staging", self.name)

    @property
    def typed(self) -> Identifier:
        """The rows after casting, where any column was staged as text."""
        return Identifier("staging", f"{self.name}__typed")

    @property
    def bad(self) -> Identifier:
        """The rows that broke a rule: the stage's columns, the rules' names, and details of what does not cast."""
        return Identifier("staging", f"{self.name}__bad")


@dataclass(frozen=True, slots=True)
class Staged:
    """What `ops.stage` holds about a stage; counts in rows, times in seconds."""

    state: str
    extracted: int
    filtered: int
    quarantined: int
    contract_hash: str
    detail: dict[str, Any]
    extract_seconds: float
    validate_seconds: float


def stage_of(dataset: str, slice_: Slice, run_id: str, by: Try | None = None) -> Stage:
    """Name the stage of a run; the same dataset, slice and run always give the same name."""
    digest = hashlib.sha256(f"{dataset}\n{slice_.key}\n{run_id}".encode()).hexdigest()[:14]
    stem = dataset.replace("/", "__")[:_MAX_STEM]
    return Stage(f"{stem}_{digest}", dataset, slice_.key, run_id, by)


def create_stage(
    cur: Cursor, stage: Stage, columns: Sequence[tuple[str, str]], contract: Contract, *, landing: bool = False
) -> None:
    """Make the stage anew, dropping what an earlier attempt of the run left; in the caller's transaction.

    Args:
        cur: Cursor on the warehouse.
        stage: The stage.
        columns: Name and type of each column, in the order in which they will be copied.
        contract: The contract; if any type differs from its own, the rows are numbered for the cast.
        landing: Whether rows come with a note (see `LANDING`); then they are numbered too.

    Raises:
        StageBusy: A later try of the task, or this very one in another process, has staged the rows.
    """
    _refuse_superseded(cur, stage)
    drop_stage(cur, stage)
    definitions = [
        SQL("{} {}").format(Identifier(name), SQL(type_))  # a canonical type: see contract.types
        for name, type_ in columns
    ]
    if landing:
        definitions.append(SQL("{} jsonb").format(Identifier(LANDING)))
    if landing or any(contract.column(name).type != type_ for name, type_ in columns):
        definitions.append(SQL("{} bigint GENERATED ALWAYS AS IDENTITY").format(Identifier(ROW_NUMBER)))
    cur.execute(SQL("CREATE TABLE {} ({})").format(stage.table, SQL(", ").join(definitions)))


def unfinished_stage(cur: Cursor, stage: Stage) -> Stage:
    """Name the table that the sessions of this attempt fill; it becomes the stage by `finish_stage`.

    No other attempt gives the same name: one that goes on though it was given up must not add to the rows of the next.
    """
    cur.execute("SELECT pg_current_xact_id()::text")
    row = cur.fetchone()
    digest = hashlib.sha256(row[0].encode() if row else b"").hexdigest()[:5]
    return replace(stage, name=f"{stage.name}{_UNFINISHED}{digest}")


def drop_unfinished(conn: Connection, stage: Stage) -> None:
    """Drop what earlier attempts at a stage left unfinished, but for what is being written to; commits."""
    with conn, conn.cursor() as cur:
        cur.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'staging'::regnamespace AND relkind = 'r'"
            " AND starts_with(relname, %s)",
            (f"{stage.name}{_UNFINISHED}",),
        )
        tables = [Identifier("staging", name) for (name,) in cur.fetchall()]
    for table in tables:
        with suppress(psycopg2.errors.LockNotAvailable), conn, conn.cursor() as cur:
            cur.execute("SET LOCAL lock_timeout = '1s'")
            cur.execute(SQL("DROP TABLE IF EXISTS {}").format(table))


def finish_stage(cur: Cursor, unfinished: Stage, stage: Stage) -> None:
    """Let a filled table take the place of the stage; in the caller's transaction.

    Raises:
        StageBusy: A later try of the task, or this very one in another process, has staged the rows.
    """
    _refuse_superseded(cur, stage)
    drop_stage(cur, stage)
    cur.execute(SQL("COMMENT ON TABLE {} IS NULL").format(unfinished.table))  # the janitor may have marked it
    cur.execute(SQL("ALTER TABLE {} RENAME TO {}").format(unfinished.table, Identifier(stage.name)))


def copy_into(
    stage: Stage, columns: Sequence[str], *, binary: bool, delimiter: str = ",", freeze: bool = True
) -> Composed:
    """Return the COPY statement that fills a stage.

    FREEZE spares the gate's scan from writing hint bits; it is allowed in the transaction that made the stage only.
    """
    form = SQL("FORMAT binary") if binary else SQL("FORMAT csv, DELIMITER {}").format(Literal(delimiter))
    options = SQL("{}, FREEZE").format(form) if freeze else form
    return SQL("COPY {} ({}) FROM STDIN ({})").format(stage.table, SQL(", ").join(map(Identifier, columns)), options)


def slice_value(column: Column, slice_: Slice) -> object:
    """Return what a column that the source does not send (`$slice`) holds in a slice: its day, key or first instant."""
    if column.type == "date":
        return slice_.start.date()
    return slice_.key if column.type == "text" else slice_.start


def default_to_slice(cur: Cursor, stage: Stage, contract: Contract, slice_: Slice | None) -> None:
    """Let rows that are copied from now on hold the slice where the contract says `$slice`; None ends it."""
    for column in contract.columns:
        if column.source_name != SLICE_FIELD:
            continue
        change = SQL("DROP DEFAULT") if slice_ is None else SQL("SET DEFAULT {}").format(_literal(column, slice_))
        cur.execute(SQL("ALTER TABLE {} ALTER {} {}").format(stage.table, Identifier(column.name), change))


def create_text_stage(cur: Cursor, stage: Stage, contract: Contract, slice_: Slice) -> None:
    """Make the stage of a source that sends text anew; copied rows hold the slice till `default_to_slice` ends it."""
    types = [(c.name, c.type if c.source_name == SLICE_FIELD else "text") for c in contract.columns]
    create_stage(cur, stage, types, contract)
    default_to_slice(cur, stage, contract, slice_)


def _literal(column: Column, slice_: Slice) -> Composed:
    # The offset is dropped by a timestamp without time zone, whose slices are days of UTC.
    return SQL("{}::{}").format(Literal(slice_value(column, slice_)), SQL(column.type))


def record_stage(cur: Cursor, stage: Stage, contract: Contract, *, extracted: int, detail: dict[str, Any]) -> None:
    """Record a filled stage; in the transaction that fills it, whose age is taken as the time of the extract.

    Raises:
        StageBusy: A later try of the task, or this very one in another process, has staged the rows.
    """
    _refuse_superseded(cur, stage)
    detail = with_try(stage, "extract", detail)
    cur.execute(
        "INSERT INTO ops.stage (name, dataset, slice_key, run_id, state, extracted, contract_hash, detail,"
        " extract_seconds) VALUES (%s, %s, %s, %s, 'staged', %s, %s, %s,"
        " extract(epoch FROM clock_timestamp() - now()))",
        (stage.name, stage.dataset, stage.slice_key, stage.run_id, extracted, contract.hash, Json(detail)),
    )


def _refuse_superseded(cur: Cursor, stage: Stage) -> None:
    """Stop a try of the extract where its successor, or its twin, has staged the rows or has seen them published."""
    if stage.by is None:
        return
    cur.execute(
        "SELECT detail FROM ops.stage WHERE name = %s UNION ALL SELECT detail FROM ops.slice_ledger"
        " WHERE (dataset, slice_key, run_id) = (%s, %s, %s)",
        (stage.name, stage.dataset, stage.slice_key, stage.run_id),
    )
    for (detail,) in cur.fetchall():
        refuse_superseded(stage, "extract", detail)


def read_stage(cur: Cursor, stage: Stage) -> Staged | None:
    """Return what is recorded about a stage and lock the record until the transaction ends; None if there is none."""
    cur.execute(
        "SELECT state, extracted, filtered, quarantined, contract_hash, detail, extract_seconds, validate_seconds"
        " FROM ops.stage WHERE name = %s FOR UPDATE",
        (stage.name,),
    )
    row = cur.fetchone()
    return Staged(*row) if row else None


def stage_missing(stage: Stage, problem: str, task: str) -> StageMissing:
    """Return the error that a task's rows are not staged as it needs them, and that `task` must run again."""
    return StageMissing(
        problem,
        dataset=stage.dataset,
        slice_key=stage.slice_key,
        next_step=f"clear the task `{task}` with its downstream tasks.",
    )


def need_stage(cur: Cursor, stage: Stage) -> Staged:
    """Return what is recorded about a stage, as `read_stage` does.

    Raises:
        StageMissing: Nothing is staged for this run.
    """
    staged = read_stage(cur, stage)
    if staged is None:
        raise stage_missing(stage, f"Run {stage.run_id} has no staged rows.", "extract")
    return staged


def drop_stage(cur: Cursor, stage: Stage) -> None:
    """Drop a stage with all that belongs to it; no error where there is none."""
    cur.execute("DELETE FROM ops.stage WHERE name = %s", (stage.name,))
    cur.execute(SQL("DROP TABLE IF EXISTS {}, {}, {}").format(stage.table, stage.typed, stage.bad))


def column_types(cur: Cursor, table: Identifier | str) -> dict[str, str]:
    """Return name and type, as `format_type()` spells it, of a table's columns in order; empty if there is no table."""
    name = table if isinstance(table, str) else table.as_string(cur)
    cur.execute(
        "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute"
        " WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        (name,),
    )
    return dict(cur.fetchall())


def open_session(conn: Connection) -> None:
    """Give a warehouse session the settings that results depend on; commits.

    Times are UTC, text is UTF-8, and a date is year, month, day: one that could be read in two ways does not cast.
    """
    with conn, conn.cursor() as cur:
        # The last three: a host that went away without a word keeps its locks for a minute, not for Linux' two hours.
        cur.execute(
            "SET TIME ZONE 'UTC'; SET DateStyle = 'ISO, YMD'; SET application_name = 'penstock';"
            " SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3"
        )
    conn.set_client_encoding("UTF8")


def begin_snapshot(source: Connection) -> None:
    """Begin a read-only transaction in which the source stands still; its texts are as the gate reads them."""
    source.set_session(readonly=True, isolation_level="REPEATABLE READ")
    with source.cursor() as out:
        out.execute("SET TIME ZONE 'UTC'")
        out.execute("SET DateStyle = 'ISO, YMD'")  # what travels as text is read by the gate as ISO 8601
