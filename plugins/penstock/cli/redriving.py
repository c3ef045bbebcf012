"""`penstock redrive`: send quarantined rows through the gate again, into their own slices."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.arguments import AsJson, By, Dataset, SliceKey
from penstock.cli.connections import WAREHOUSE, dsn_of, warehouse
from penstock.cli.output import say, show_json, show_table
from penstock.core.slice import day_slice
from penstock.project import EXPECTATIONS, contract_of

if TYPE_CHECKING:
    from psycopg2.sql import Identifier

    from penstock.core.contract import Rule
    from penstock.core.gate.plan import Verdict


def beyond_plan(table: Identifier, rules: Sequence[Rule]) -> list[Verdict]:
    """Let Great Expectations itself judge the rules that the gate's plan does not cover, and say so."""
    from penstock.core.gate.gx import judge_with_gx

    say(f"Great Expectations itself judges {', '.join(rule.id for rule in rules)}")
    return judge_with_gx(dsn_of(WAREHOUSE), table, rules, EXPECTATIONS)


def redrive(
    name: Dataset,
    *,
    slice_key: SliceKey = None,
    ids: Annotated[list[int] | None, typer.Option("--id", help="Only this row; may stand several times.")] = None,
    mended_only: Annotated[bool, typer.Option("--mended-only", help="Only rows that somebody has mended.")] = False,
    by: By,
    as_json: AsJson = False,
) -> None:
    """Send a dataset's open rows through the gate again, slice by slice, and publish those that pass.

    Marts do not follow from here: run the DAG `redrive_<domain>_<table>` where they should.
    """
    from penstock.core import redrive as core

    contract = contract_of(name)
    run_id = f"cli__{datetime.now(UTC).isoformat()}"
    with warehouse() as connection:
        with connection, connection.cursor() as cur:
            keys = core.slices_with_open_rows(cur, contract, mended_only=mended_only, slice_key=slice_key)
        done = [
            core.redrive(
                connection,
                contract,
                day_slice(key),
                run_id=run_id,
                by=by,
                ids=ids,
                mended_only=mended_only,
                beyond_plan=beyond_plan,
            )
            for key in keys
        ]
    if as_json:
        show_json(done)
        return
    show_table(
        ("slice", "re-driven", "loaded", "deduplicated", "still open"),
        [(one.slice_key, one.considered, one.loaded, one.deduplicated, one.still_open) for one in done],
    )
