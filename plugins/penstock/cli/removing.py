"""`penstock drop-slice`: remove a slice from the table and the quarantine, with a ledger row that says why."""

from __future__ import annotations

from typing import Annotated

import typer

from penstock.cli.arguments import AsJson, By, Dataset
from penstock.cli.connections import warehouse
from penstock.cli.output import say, show, show_json
from penstock.core.slice import day_slice
from penstock.project import contract_of


def drop_slice(
    name: Dataset,
    key: Annotated[str, typer.Argument(metavar="SLICE", help="Key of the slice, e.g. 2010-09-20.", show_default=False)],
    *,
    reason: Annotated[str, typer.Option(help="Why; it is kept in the ledger.", show_default=False)],
    by: By,
    as_json: AsJson = False,
) -> None:
    """Remove a slice's rows from the table and the quarantine; it can be loaded again.

    Marts do not follow: run their slices again where they should.
    """
    from penstock.core import removal

    contract = contract_of(name)
    with warehouse() as connection:
        dropped = removal.drop_slice(connection, contract, day_slice(key), by=by, reason=reason)
    if as_json:
        show_json(dropped)
    else:
        show(f"{dropped.rows:,} rows of {name} {key} are gone, and {dropped.quarantined:,} quarantined ones")
    for run_id in dropped.staged_by:
        say(f"run {run_id} has rows of the slice staged, and publishes them if it goes on")
