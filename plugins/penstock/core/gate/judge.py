"""Run the gate over a stage: cast, scan, split, decide."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extensions import cursor as Cursor  # noqa: N812
from psycopg2.extras import Json, execute_values
from psycopg2.sql import SQL, Composable, Identifier

from penstock.core.attempts import need_own, refuse_superseded, with_try
from penstock.core.contract.model import Contract, Rule
from penstock.core.drift import as_staged
from penstock.core.errors import ContractError, SliceRefused
from penstock.core.gate.cast import cast_stage
from penstock.core.gate.part import part_of
from penstock.core.gate.plan import GatePlan, RowRule, Verdict, any_broken, compile_plan, reasons
from penstock.core.gate.samples import samples_of
from penstock.core.key_index import drop_key_index, prove_key
from penstock.core.ledger import Attempt, Outcome, lock_slice, record_attempt
from penstock.core.slice import Slice
from penstock.core.stage import (
    DETAILS,
    LANDING,
    REASONS,
    ROW_NUMBER,
    Stage,
    Staged,
    column_types,
    need_stage,
    stage_missing,
)

Judge = Callable[[Identifier, Sequence[Rule]], list[Verdict]]
"""Judges rules that the plan does not cover over a table that other sessions can see."""


@dataclass(frozen=True, slots=True)
class Gated:
    """What the gate found; counts in rows.

    Attributes:
        verdicts: One per rule.
        extracted: Rows that came in.
        quarantined: Rows moved aside, each with the rules it broke.
        refusals: Why the slice is refused; empty where it may be published.
    """

    verdicts: list[Verdict]
    extracted: int
    quarantined: int
    refusals: list[str]

    @property
    def passed(self) -> int:
        """Rows that may be published."""
        return self.extracted - self.quarantined


@dataclass(frozen=True, slots=True)
class Joining:
    """The staged rows join a slice that is published already, as those of a re-drive do.

    Attributes:
        published: The slice's published rows; None where they cannot be told from those of other slices.
    """

    published: Identifier | None


def candidate_of(stage: Stage, staged_columns: dict[str, str]) -> Identifier:
    """Return the table whose rows are judged and published: the cast one where a cast was needed."""
    return stage.typed if ROW_NUMBER in staged_columns else stage.table


def _claim(cur: Cursor, stage: Stage, staged: Staged) -> None:
    """Record which try judges the stage: one that it replaces must not, should it go on, undo a verdict."""
    refuse_superseded(stage, "validate", staged.detail)
    if stage.by:
        detail = Json(with_try(stage, "validate", staged.detail))
        cur.execute("UPDATE ops.stage SET detail = %s WHERE name = %s", (detail, stage.name))


def _prepare(cur: Cursor, stage: Stage, contract: Contract, columns: dict[str, str]) -> int:
    """Bring the stage to where it was after the extract, then cast it; return the rows that do not cast."""
    # The rows are put back below: until they are judged again, nothing of an earlier verdict may be published.
    cur.execute(
        "UPDATE ops.stage SET state = 'staged', quarantined = 0, changed_at = clock_timestamp() WHERE name = %s",
        (stage.name,),
    )
    cur.execute("SELECT to_regclass(%s) IS NOT NULL", (stage.bad.as_string(cur),))
    judged_before = cur.fetchone() == (True,)
    if ROW_NUMBER in columns:
        cur.execute(SQL("DROP TABLE IF EXISTS {}, {}").format(stage.typed, stage.bad))
    elif judged_before:
        drop_key_index(cur, stage.table)
        names = SQL(", ").join(map(Identifier, columns))
        cur.execute(SQL("INSERT INTO {} ({}) SELECT {} FROM {}").format(stage.table, names, names, stage.bad))
        cur.execute(SQL("DROP TABLE {}").format(stage.bad))
    cur.execute(
        SQL("CREATE TABLE {} (LIKE {}, {} text[] NOT NULL, {} jsonb)").format(
            stage.bad, stage.table, Identifier(REASONS), Identifier(DETAILS)
        )
    )
    return cast_stage(cur, stage, contract, columns) if ROW_NUMBER in columns else 0


def _scan(cur: Cursor, plan: GatePlan, table: Identifier, dataset: str) -> tuple[int, list[Verdict]]:
    cur.execute("SAVEPOINT scan")
    try:
        cur.execute(plan.scan(table))
    except (psycopg2.ProgrammingError, psycopg2.DataError) as error:
        cur.execute("ROLLBACK TO SAVEPOINT scan")
        raise ContractError(_unjudgeable(cur, plan, table, dataset) or [f"{dataset}: {error}"]) from error
    row = cur.fetchone()
    assert row is not None  # noqa: S101 - an aggregate gives one row
    return int(row[0]), plan.read_scan(row)


def _with_key_proved(cur: Cursor, plan: GatePlan, contract: Contract, table: Identifier) -> GatePlan:
    """Spare the scan the count of duplicate keys, where the index that publish needs can prove that there are none."""
    wanted = contract.partitioned and plan.judges_unique(contract.key)
    return plan.with_unique(contract.key) if wanted and prove_key(cur, table, contract.key) else plan


def _unjudgeable(cur: Cursor, plan: GatePlan, table: Identifier, dataset: str) -> list[str]:
    """Name the rules that Postgres cannot run against the table's types."""
    probes: list[tuple[Rule, Composable]] = [(row.rule, row.test.count(table)) for row in plan.row_rules]
    probes += [(rule.rule, rule.test.observed(table)) for rule in plan.table_rules]
    problems = []
    for rule, expression in probes:
        cur.execute("SAVEPOINT probe")
        try:
            cur.execute(SQL("SELECT {} FROM {}").format(expression, table))
        except (psycopg2.ProgrammingError, psycopg2.DataError) as error:
            problems.append(f"{dataset}: rule {rule.id}: {str(error).splitlines()[0]}")
            cur.execute("ROLLBACK TO SAVEPOINT probe")
    return problems


def split_rows(cur: Cursor, stage: Stage, table: Identifier, rules: list[RowRule], columns: dict[str, str]) -> int:
    """Move the rows that break any of the rules to `stage.bad`, each with the names of all it broke."""
    if not rules:
        return 0
    why, condition = reasons(rules, table), any_broken(rules, table)
    if ROW_NUMBER in columns:
        cur.execute(
            SQL(
                "WITH gone AS (DELETE FROM {typed} WHERE {condition} RETURNING {number}, {why} AS {reasons})"
                " INSERT INTO {bad} SELECT s.*, gone.{reasons} FROM gone JOIN {stage} AS s USING ({number})"
            ).format(
                typed=table,
                condition=condition,
                number=Identifier(ROW_NUMBER),
                why=why,
                reasons=Identifier(REASONS),
                bad=stage.bad,
                stage=stage.table,
            )
        )
    else:
        cur.execute(
            SQL(
                "WITH gone AS (DELETE FROM {stage} WHERE {condition} RETURNING {names}, {why})"
                " INSERT INTO {bad} SELECT * FROM gone"
            ).format(
                stage=table,
                condition=condition,
                names=SQL(", ").join(map(Identifier, columns)),
                why=why,
                bad=stage.bad,
            )
        )
    return cur.rowcount


def _uncast_verdicts(cur: Cursor, stage: Stage, staged: Staged) -> list[Verdict]:
    """Return a verdict for each of the gate's own rules that rows broke before they could be judged."""
    cur.execute(
        SQL("SELECT rule, count(*) FROM {}, unnest({}) AS rule GROUP BY rule ORDER BY rule").format(
            stage.bad, Identifier(REASONS)
        )
    )
    considered = staged.extracted - staged.filtered
    return [
        Verdict(Rule(name, "penstock_row_can_be_read", {}), False, considered=considered, unexpected=count)
        for name, count in cur.fetchall()
    ]


def _unsplit(gated: Gated, plan: GatePlan) -> list[str]:
    """Name the critical rules whose broken rows nobody could tell apart."""
    ids = {rule.id for rule in plan.gx_rules}
    return [f"{verdict} (critical)" for verdict in gated.verdicts if verdict.refuses and verdict.rule.id in ids]


def _refusals(contract: Contract, gated: Gated) -> list[str]:
    found = [f"{verdict} (critical)" for verdict in gated.verdicts if verdict.refuses]
    if not contract.budget.allows(gated.quarantined, gated.extracted):
        worst = "; ".join(str(verdict) for verdict in gated.verdicts if verdict.unexpected)
        found.append(
            f"{gated.quarantined:,} of {gated.extracted:,} rows break row-level rules, the budget allows"
            f" {contract.budget} ({worst})"
        )
    return found


def _check_columns(columns: dict[str, str], contract: Contract, stage: Stage) -> None:
    """Hold the stage to the contract it is judged by, which may have changed since the extract."""
    castable = ("text",) if ROW_NUMBER in columns else ()
    fits = [name for name in columns if name not in (ROW_NUMBER, LANDING)] == [
        column.name for column in contract.columns
    ] and all(columns[column.name] in (column.type, *castable) for column in contract.columns)
    if not fits:
        problem = "The rows were staged for other columns than the contract's: it has changed since the extract."
        raise stage_missing(stage, problem, "extract")


def _check_still_whole(staged: Staged, seen: int, stage: Stage) -> None:
    if seen != staged.extracted - staged.filtered:
        counted = staged.extracted - staged.filtered
        raise stage_missing(stage, f"The stage holds {seen:,} rows where the extract counted {counted:,}.", "extract")


def _record_verdicts(
    cur: Cursor, stage: Stage, contract: Contract, gated: Gated, samples: Mapping[str, list[dict[str, str | None]]]
) -> None:
    cur.execute("DELETE FROM ops.rule_result WHERE (dataset, slice_key, run_id) = (%s, %s, %s)",
                (stage.dataset, stage.slice_key, stage.run_id))  # fmt: skip
    execute_values(
        cur,
        "INSERT INTO ops.rule_result (dataset, slice_key, run_id, contract_version, contract_hash, judged, rule,"
        " expectation, kwargs, severity, success, considered, unexpected, observed, samples) VALUES %s",
        [
            (stage.dataset, stage.slice_key, stage.run_id, contract.version, contract.hash, gated.extracted, v.rule.id,
             v.rule.expectation, Json(dict(v.rule.kwargs)), v.rule.severity.value, v.success, v.considered,
             v.unexpected, v.observed, Json(samples.get(v.rule.id, [])))
            for v in gated.verdicts
        ],
    )  # fmt: skip


def _close(
    cur: Cursor, stage: Stage, contract: Contract, staged: Staged, gated: Gated, dag_id: str | None
) -> Attempt | None:
    """Note the outcome with the stage; return the ledger's row of a refused slice."""
    cur.execute(
        "UPDATE ops.stage SET state = %s, quarantined = %s, contract_hash = %s, changed_at = clock_timestamp(),"
        " validate_seconds = extract(epoch FROM clock_timestamp() - now()) WHERE name = %s"
        " RETURNING validate_seconds",
        ("refused" if gated.refusals else "passed", gated.quarantined, contract.hash, stage.name),
    )
    row = cur.fetchone()
    if not gated.refusals or row is None:
        return None
    outcome = Outcome(
        extracted=staged.extracted,
        loaded=0,
        quarantined=gated.quarantined,
        deduplicated=0,
        filtered=staged.filtered,
        withheld=gated.passed,
    )
    return Attempt(
        outcome,
        status="refused",
        dag_id=dag_id,
        seconds=(staged.extract_seconds, row[0], 0.0),
        detail={**staged.detail, "refusals": gated.refusals},
    )


def judge(
    conn: Connection,
    contract: Contract,
    slice_: Slice,
    stage: Stage,
    *,
    dag_id: str | None = None,
    beyond_plan: Judge | None = None,
    joining: Joining | None = None,
) -> Gated:
    """Judge a staged slice and split its rows; commits.

    Judging again gives the same result: what an earlier attempt moved aside is put back first.

    Args:
        conn: Connection to the warehouse.
        contract: The contract.
        slice_: The slice.
        stage: The run's stage.
        dag_id: For the ledger row of a refused slice.
        beyond_plan: Judges the rules that the plan does not cover; needed only where there are such rules.
        joining: The published rows that the staged ones join, which are then only a part of the slice.

    Raises:
        StageMissing: Nothing is staged for this run, or not what the extract recorded or the contract asks for.
        StageBusy: Another try of the task judges the stage, or has judged it.
        ValueError: There are rules that the plan does not cover, and nobody to judge them.
        ContractError: A rule cannot be applied to its column's type.
    """
    plan = compile_plan(contract, slice_)
    if plan.gx_rules and beyond_plan is None:
        raise ValueError(f"nobody judges {', '.join(rule.id for rule in plan.gx_rules)}: pass `beyond_plan`")
    with conn, conn.cursor() as cur:
        staged = need_stage(cur, stage)
        _claim(cur, stage, staged)
        contract = as_staged(cur, contract, stage, staged)
        columns = column_types(cur, stage.table)
        _check_columns(columns, contract, stage)
        table = candidate_of(stage, columns)
        uncast = _prepare(cur, stage, contract, columns)
        uncast_verdicts = _uncast_verdicts(cur, stage, staged) if uncast else []
    if joining:
        plan = part_of(plan, table, joining.published, [column.name for column in contract.columns])
    beyond = beyond_plan(table, plan.gx_rules) if plan.gx_rules and beyond_plan else []
    with conn, conn.cursor() as cur:
        lock_slice(cur, stage)  # before the stage's record, in the order in which publish takes them
        need_own(stage, "validate", need_stage(cur, stage).detail)
        plan = plan if joining else _with_key_proved(cur, plan, contract, table)
        seen, verdicts = _scan(cur, plan, table, contract.dataset)
        _check_still_whole(staged, seen + uncast, stage)
        verdicts += uncast_verdicts + beyond
        plan = plan.with_rows_of(beyond)
        moved = split_rows(cur, stage, table, plan.quarantining(verdicts), columns)
        gated = Gated(verdicts, staged.extracted - staged.filtered, uncast + moved, [])
        gated.refusals.extend(_unsplit(gated, plan) if joining else _refusals(contract, gated))
        _record_verdicts(cur, stage, contract, gated, samples_of(cur, plan, stage, table, contract, verdicts))
        attempt = _close(cur, stage, contract, staged, gated, dag_id)
        if attempt and not joining:
            record_attempt(cur, stage, contract, attempt)
    return gated


def refuse(gated: Gated, stage: Stage, contract_file: str) -> None:
    """Raise for a refused slice.

    Raises:
        SliceRefused: The gate refused the slice.
    """
    if gated.refusals:
        raise SliceRefused(
            f"The gate refused {gated.extracted:,} rows: {' · '.join(gated.refusals)}."
            " What was published before is unchanged.",
            dataset=stage.dataset,
            slice_key=stage.slice_key,
            next_step=f"look at staging.{stage.name}__bad (make psql); then mend the source and clear `extract`,"
            f" or change the rule or quarantineBudget in {contract_file} and clear `validate`.",
        )
