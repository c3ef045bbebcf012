"""`penstock replay`: load a slice again from the lake, without its source."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.arguments import AsJson, By, Dataset
from penstock.cli.connections import use_local_airflow, warehouse
from penstock.cli.output import say, show, show_json
from penstock.cli.redriving import beyond_plan
from penstock.core.slice import day_slice
from penstock.project import DAGS, contract_of

if TYPE_CHECKING:
    from penstock.core.lake_attempts import Landed
    from penstock.core.lake_replay import Restage


def replay(
    name: Dataset,
    key: Annotated[str, typer.Argument(metavar="SLICE", help="Key of the slice, e.g. 2010-09-20.", show_default=False)],
    *,
    dag_id: Annotated[
        str | None, typer.Option("--dag", help="Of a file: the DAG that says how it is read, where several do.")
    ] = None,
    by: By,
    as_json: AsJson = False,
) -> None:
    """Stage, judge and publish a slice again from its newest whole attempt in the lake; the source is not asked.

    Marts do not follow: run their slices again where they should.
    """
    from penstock.core import lake_replay
    from penstock.core.lake_attempts import newest_attempt

    contract, slice_ = contract_of(name), day_slice(key)
    use_local_airflow()
    from penstock.hooks.lake import lake_root

    landed = newest_attempt(lake_root() / name / key)
    restage = _restage(landed, name, dag_id)
    say(f"{landed.folder}, landed {landed.at:%Y-%m-%d %H:%M} UTC from {landed.manifest.get('source')}")
    with warehouse() as connection:
        done = lake_replay.replay(
            connection,
            contract,
            slice_,
            landed,
            restage,
            run_id=f"replay__{datetime.now(UTC).isoformat()}",
            by=by,
            beyond_plan=beyond_plan,
        )
    if as_json:
        show_json(done.as_json())
        return
    outcome = done.outcome
    show(
        f"{name} {key}: {outcome.extracted:,} rows from the lake, {outcome.loaded:,} loaded,"
        f" {outcome.quarantined:,} in quarantine, {outcome.deduplicated:,} deduplicated, {outcome.filtered:,} filtered"
    )


def _restage(landed: Landed, name: str, dag_id: str | None) -> Restage:
    """Return how an attempt is staged: records are what they are, a file is read as its DAG says."""
    from penstock.core.lake_replay import stage_records

    if not landed.is_file:
        return stage_records
    from penstock.flows import find_extract

    return find_extract(name, dag_id=dag_id, folder=DAGS).stage_landed
