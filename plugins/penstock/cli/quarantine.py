"""`penstock quarantine …`: look at rows that broke a rule, mend them, or discard them. Values are masked."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import astuple
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, TextIO

import typer

from penstock.cli.arguments import AsJson, By, Dataset, SliceKey
from penstock.cli.connections import warehouse
from penstock.cli.output import say, show, show_json, show_table
from penstock.core import quarantine
from penstock.core.errors import QuarantineError
from penstock.core.quarantine import QuarantinedRow
from penstock.project import contract_of

commands = typer.Typer(help="Rows that broke a rule: list, show, export, mend, discard.", no_args_is_help=True)

Ids = Annotated[list[int], typer.Option("--id", help="Number of a row, as `list` shows it; may stand several times.")]
RuleId = Annotated[str | None, typer.Option("--rule", help="Only rows that broke this rule.")]


class State(StrEnum):
    """What has become of a row."""

    OPEN = "open"
    REDRIVEN = "redriven"
    DISCARDED = "discarded"
    ANY = "any"


_STATES: Final[Mapping[State, quarantine.State | None]] = {
    State.OPEN: "open",
    State.REDRIVEN: "redriven",
    State.DISCARDED: "discarded",
    State.ANY: None,
}


class Format(StrEnum):
    """How rows are exported."""

    CSV = "csv"
    JSONL = "jsonl"


@commands.command("list")
def list_(
    name: Annotated[
        str | None, typer.Argument(metavar="DATASET", help="<domain>/<table>; without it, the counts of all.")
    ] = None,
    *,
    slice_key: SliceKey = None,
    rule: RuleId = None,
    state: Annotated[State, typer.Option(help="What has become of the rows.")] = State.OPEN,
    limit: Annotated[int, typer.Option(min=1, help="How many.")] = 50,
    after: Annotated[int, typer.Option(help="Only rows with a greater number.")] = 0,
    as_json: AsJson = False,
) -> None:
    """List a dataset's quarantined rows, or count those of all datasets by slice and rule."""
    if name is None:
        _count(as_json=as_json)
        return
    contract = contract_of(name)
    with warehouse() as connection, connection, connection.cursor() as cur:
        rows = quarantine.list_rows(
            cur,
            contract,
            slice_key=slice_key,
            rule=rule,
            state=_STATES[state],
            limit=limit,
            after=after,
        )
    if as_json:
        show_json(rows)
        return
    show_table(
        ("id", "slice", "state", "rules", "row"),
        [(row.id, row.slice_key, _state(row), row.rules, _values(row)) for row in rows],
    )
    if len(rows) == limit:
        say(f"there may be more: --after {rows[-1].id}")


def _state(row: QuarantinedRow) -> str:
    return "mended" if row.state == "open" and row.mended is not None else row.state


def _values(row: QuarantinedRow) -> str:
    values = row.mended if row.mended is not None else row.payload
    return " ".join(f"{name}={'∅' if value is None else value}" for name, value in values.items())


def _count(*, as_json: bool) -> None:
    with warehouse() as connection, connection, connection.cursor() as cur:
        found = quarantine.summary(cur)
    if as_json:
        show_json(found)
    else:
        show_table(("dataset", "slice", "rule", "rows", "mended"), [astuple(line) for line in found])


@commands.command("show")
def show_(name: Dataset, row_id: Annotated[int, typer.Argument(metavar="ID")], *, as_json: AsJson = False) -> None:
    """Show all that is known of one row."""
    contract = contract_of(name)
    with warehouse() as connection, connection, connection.cursor() as cur:
        rows = quarantine.list_rows(cur, contract, state=None, limit=1, after=row_id - 1)
    if not rows or rows[0].id != row_id:
        raise QuarantineError(
            f"There is no row {row_id} in quarantine.",
            dataset=name,
            next_step=f"`penstock quarantine list {name} --state any` shows which there are.",
        )
    row = rows[0]
    if as_json:
        show_json(row)
        return
    show(f"row {row.id} of {name}, slice {row.slice_key}: {_state(row)}")
    show(f"first seen {row.first_seen:%Y-%m-%d %H:%M} UTC, last {row.last_seen:%Y-%m-%d %H:%M} UTC by {row.run_id}")
    show(f"broke {', '.join(row.rules)}")
    for detail in row.details:
        show(f"  {', '.join(f'{key} {value}' for key, value in detail.items())}")
    if row.mended_by:
        show(f"mended by {row.mended_by}")
    if row.closed_by:
        show(f"closed by {row.closed_by}: {row.closed_reason}")
    mended = row.mended or row.payload
    show_table(
        ("field", "received", "mended"),
        [
            (field, "∅" if value is None else value, mended.get(field) if mended.get(field) != value else "")
            for field, value in row.payload.items()
        ],
    )


@commands.command()
def export(
    name: Dataset,
    *,
    out: Annotated[Path | None, typer.Option("--out", help="A file; without it, standard output.")] = None,
    format_: Annotated[Format, typer.Option("--format", help="How.")] = Format.CSV,
    unmasked: Annotated[bool, typer.Option("--unmasked", help="Values as they were received.")] = False,
    slice_key: SliceKey = None,
    rule: RuleId = None,
) -> None:
    """Write a dataset's open rows to a file."""
    contract = contract_of(name)
    with _opened(out) as target, warehouse() as connection, connection, connection.cursor() as cur:
        count = quarantine.export(
            cur, contract, target, format=format_.value, unmasked=unmasked, slice_key=slice_key, rule=rule
        )
    say(f"{count:,} rows{f' in {out}' if out else ''}")


def _opened(path: Path | None) -> AbstractContextManager[TextIO]:
    """Open the file for nobody but the user, also if it was there and others could read it; or standard output."""
    if path is None:
        return nullcontext(sys.stdout)
    path.unlink(missing_ok=True)
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8", newline="")


@commands.command()
def mend(
    name: Dataset,
    *,
    ids: Ids,
    changes: Annotated[list[str], typer.Option("--set", help="column=value", show_default=False)] = [],  # noqa: B006
    nulls: Annotated[list[str], typer.Option("--null", help="A column that has no value.", show_default=False)] = [],  # noqa: B006
    by: By,
) -> None:
    """Change values of rows; `penstock redrive` then sends them through the gate again."""
    values: dict[str, str | None] = dict.fromkeys(nulls)
    for change in changes:
        column, equals, value = change.partition("=")
        if not equals:
            raise typer.BadParameter(f"{change!r} is not column=value", param_hint="--set")
        values[column] = value
    if not values:
        raise typer.BadParameter("say what to change: --set column=value or --null column")
    contract = contract_of(name)
    with warehouse() as connection, connection, connection.cursor() as cur:
        count = quarantine.mend(cur, contract, ids, values, by)
    say(f"{count:,} rows mended; next: penstock redrive {name} --mended-only")


@commands.command()
def discard(
    name: Dataset,
    *,
    ids: Ids,
    reason: Annotated[str, typer.Option(help="Why; it is kept with the rows.", show_default=False)],
    by: By,
) -> None:
    """Give rows up, with a reason; the ledger counts them as filtered from now on."""
    contract = contract_of(name)
    with warehouse() as connection:
        count = quarantine.discard(connection, contract, ids, by=by, reason=reason)
    say(f"{count:,} rows discarded")
