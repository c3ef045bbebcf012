"""What the gate runs for a contract, as SQL to be read, and how Postgres goes about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from psycopg2.extensions import adapt
from psycopg2.extensions import cursor as Cursor  # noqa: N812
from psycopg2.sql import SQL, Composable, Composed, Identifier, Literal

from penstock.core.contract.model import Contract
from penstock.core.errors import StageMissing
from penstock.core.gate.cast import cast_stage
from penstock.core.gate.judge import candidate_of, split_rows
from penstock.core.gate.plan import GatePlan, compile_plan
from penstock.core.slice import Slice
from penstock.core.stage import ROW_NUMBER, Stage, column_types, stage_of

_EXAMPLE_RUN: Final = "explain"


class _Recorder:
    """Stands where a cursor is expected, and keeps the statements instead of running them."""

    rowcount = 0

    def __init__(self) -> None:
        self.statements: list[Composable] = []

    def execute(self, statement: Composable, _: object = None) -> None:
        self.statements.append(statement)

    def fetchone(self) -> tuple[int]:
        return (0,)


def sql_text(statement: Composable | str) -> str:
    """Return a statement as text, without a connection to quote it by; as UTF-8 with standard strings."""
    if isinstance(statement, Composed):
        return "".join(map(sql_text, statement.seq))
    if isinstance(statement, Identifier):
        return ".".join('"' + part.replace('"', '""') + '"' for part in statement.strings)
    if isinstance(statement, Literal):
        return _literal(statement.wrapped)
    return statement.string if isinstance(statement, SQL) else str(statement)


def _literal(value: Any) -> str:
    if isinstance(value, list):
        return f"ARRAY[{', '.join(map(_literal, value))}]"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return str(adapt(value).getquoted().decode("ascii")).strip()


def _scan(plan: GatePlan, table: Identifier) -> str:
    parts = plan.scan_parts(table)
    lines = [
        f"  {sql_text(part)}{',' if number < len(parts) else ''}  -- {label}"
        for number, (label, part) in enumerate(parts, start=1)
    ]
    return "\n".join(["SELECT", *lines, f"FROM {sql_text(table)};"])


def _recorded(recorder: _Recorder) -> str:
    return "\n".join(_broken_up(sql_text(statement)) + ";" for statement in recorder.statements)


def _broken_up(text: str) -> str:
    """Begin a line with each part of a statement that is long."""
    for word in (" INSERT INTO ", " SELECT s.*", " FROM (", " WHERE ", " RETURNING ", " CASE WHEN "):
        text = text.replace(word, f"\n {word}")
    return text


def _casts(contract: Contract, stage: Stage, staged: Mapping[str, str]) -> str:
    recorder = _Recorder()
    cast_stage(cast("Cursor", recorder), stage, contract, dict(staged))
    return _recorded(recorder)


def _splits(plan: GatePlan, stage: Stage, table: Identifier, columns: Mapping[str, str]) -> str:
    recorder = _Recorder()
    critical = [row for row in plan.row_rules if row.rule.severity.value == "critical"]
    split_rows(cast("Cursor", recorder), stage, table, critical, dict(columns))
    return _recorded(recorder) or "-- no critical rule about rows"


def _newest_stage(cur: Cursor, contract: Contract, slice_: Slice) -> Stage | None:
    cur.execute(
        "SELECT run_id FROM ops.stage WHERE (dataset, slice_key) = (%s, %s) ORDER BY created_at DESC LIMIT 1",
        (contract.dataset, slice_.key),
    )
    row = cur.fetchone()
    return stage_of(contract.dataset, slice_, row[0]) if row else None


def _analyzed(cur: Cursor, plan: GatePlan, table: Identifier) -> str:
    cur.execute(SQL("EXPLAIN (ANALYZE, BUFFERS) {}").format(plan.scan(table)))
    return "\n".join(line for (line,) in cur.fetchall())


def _section(title: str, body: str) -> str:
    return f"-- {title}\n{body}\n"


def _beyond(plan: GatePlan) -> Sequence[str]:
    if not plan.gx_rules:
        return []
    ids = "\n".join(f"--   {rule.id}: {rule.expectation}" for rule in plan.gx_rules)
    return [_section("Great Expectations itself judges", ids)]


def explain(contract: Contract, slice_: Slice, cur: Cursor | None, *, analyze: bool) -> str:
    """Return the SQL by which a slice is cast, scanned and split.

    Args:
        contract: The contract.
        slice_: The slice.
        cur: Cursor on the warehouse, by which the slice's stage is found; None for the statements of any stage.
        analyze: Whether to run the scan and add Postgres' plan of it: over the slice's newest stage, or, where it is
            published already, over the published table. Needs a cursor.

    Raises:
        StageMissing: There is neither a stage nor a published table to analyze.
    """
    plan = compile_plan(contract, slice_)
    found = _newest_stage(cur, contract, slice_) if cur else None
    stage = found or stage_of(contract.dataset, slice_, _EXAMPLE_RUN)
    typed = {column.name: column.type for column in contract.columns}
    text = {**dict.fromkeys(typed, "text"), ROW_NUMBER: "bigint"}
    columns = column_types(cur, stage.table) if cur and found else typed
    table = candidate_of(stage, columns)
    parts = []
    if not found:
        parts.append(_section("cast, where a source gives text", _casts(contract, stage, text)))
    elif ROW_NUMBER in columns:
        parts.append(_section("cast", _casts(contract, stage, columns)))
    parts.append(_section("scan: one row with what each verdict needs", _scan(plan, table)))
    parts.append(_section("split, for those rules that some row breaks", _splits(plan, stage, table, columns)))
    parts += _beyond(plan)
    if analyze and cur:
        scanned = _scanned(cur, contract, slice_, table)
        parts.append(_section(f"Postgres' plan of the scan of {sql_text(scanned)}", _analyzed(cur, plan, scanned)))
    return "\n".join(parts)


def _scanned(cur: Cursor, contract: Contract, slice_: Slice, candidate: Identifier) -> Identifier:
    """Return what can be scanned: the candidate, or the published table."""
    for table in (candidate, Identifier(contract.domain, contract.table)):
        if column_types(cur, table):
            return table
    raise StageMissing(
        "There is nothing to analyze: the slice is not staged, and no slice of the dataset is published.",
        dataset=contract.dataset,
        slice_key=slice_.key,
        next_step="run the slice, or leave out --analyze.",
    )
