"""`penstock plan` and `penstock apply`: bring a table in the warehouse to its changed contract."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from penstock.cli.arguments import AsJson, By, Dataset, Datasets, contracts_of
from penstock.cli.connections import warehouse
from penstock.cli.output import say, show, show_json
from penstock.core import migrate
from penstock.core.migrate import Migration
from penstock.project import contract_of


def _show(migration: Migration, *, done: bool) -> None:
    if not migration.steps:
        show(f"{migration.dataset}: the table fits the contract")
        return
    show(f"{migration.dataset}: {'done' if done else 'would'}")
    for step in migration.steps:
        show(f"  {'✗' if step.blocked else '!' if step.destructive else '·'} {step.words}")
        if step.blocked:
            show(f"      blocked: {step.blocked}")
        for statement in step.statements:
            show(f"      {statement}")


def _as_json(migration: Migration) -> dict[str, Any]:
    return {
        "dataset": migration.dataset,
        "blocked": bool(migration.blocked),
        "destructive": bool(migration.destructive),
        "steps": migration.steps,
    }


def plan(names: Datasets = None, *, as_json: AsJson = False) -> None:
    """Show what `apply` would do to the tables, and what stands against it; exit code 1 where something does."""
    contracts = contracts_of(names)
    with warehouse() as connection, connection, connection.cursor() as cur:
        migrations = [migrate.plan(cur, contract) for contract in contracts]
    if as_json:
        show_json([_as_json(migration) for migration in migrations])
    else:
        for migration in migrations:
            _show(migration, done=False)
        if any(migration.destructive for migration in migrations):
            say("! loses values or writes them in another way: `apply` wants --allow-destructive")
    if any(migration.blocked for migration in migrations):
        raise typer.Exit(1)


def apply(
    name: Dataset,
    *,
    allow_destructive: Annotated[
        bool, typer.Option("--allow-destructive", help="Take steps that lose values, too.")
    ] = False,
    by: By,
    as_json: AsJson = False,
) -> None:
    """Bring a dataset's table to its contract, in one transaction; all of it or nothing."""
    contract = contract_of(name)
    with warehouse() as connection:
        migration = migrate.apply(connection, contract, by=by, allow_destructive=allow_destructive)
    if as_json:
        show_json(_as_json(migration))
    else:
        _show(migration, done=True)
