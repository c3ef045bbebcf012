"""`penstock check` and `penstock explain`: what is wrong with contracts, and what the gate does with a sound one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from penstock.cli.arguments import AsJson, Dataset, Datasets, SliceKey
from penstock.cli.connections import warehouse
from penstock.cli.output import say, show, show_json
from penstock.core.errors import ContractError
from penstock.core.slice import day_slice, resolve_slice
from penstock.project import contract_of, contract_path, datasets


def check(names: Datasets = None, *, as_json: AsJson = False) -> None:
    """Report all that is wrong with the contracts, by file and line; exit code 1 if anything is."""
    problems: list[str] = []
    checked = names or datasets()
    for name in checked:
        try:
            contract_of(name)
        except ContractError as error:
            problems += error.problems
    if as_json:
        show_json({"checked": {name: str(contract_path(name)) for name in checked}, "problems": problems})
    else:
        for problem in problems:
            show(problem)
        say(f"{len(problems)} problems in {len(checked)} contracts" if problems else f"{len(checked)} contracts: sound")
    if problems:
        raise typer.Exit(1)


def explain(
    name: Dataset,
    slice_key: SliceKey = None,
    *,
    analyze: Annotated[bool, typer.Option("--analyze", help="Let Postgres say how it does it; needs a slice.")] = False,
) -> None:
    """Print the SQL by which the gate casts, judges and splits a slice; with --analyze, Postgres' plan of the scan."""
    from penstock.core.gate.explain import explain as explain_gate

    contract = contract_of(name)
    slice_ = (
        day_slice(slice_key) if slice_key else resolve_slice(partition_key=None, interval=None, now=datetime.now(UTC))
    )
    if not analyze:
        show(explain_gate(contract, slice_, None, analyze=False))
        return
    with warehouse() as connection, connection, connection.cursor() as cur:
        show(explain_gate(contract, slice_, cur, analyze=True))
