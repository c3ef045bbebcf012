"""`penstock gaps`: the slices that a dataset should have and has not, or not as they would be loaded today."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.arguments import AsJson, Dataset
from penstock.cli.connections import open_source, use_local_airflow, warehouse
from penstock.cli.output import say, show_json, show_table
from penstock.core import gaps as core
from penstock.core.errors import SliceError
from penstock.core.gaps import Gap, SliceState, Today, Why
from penstock.core.slice import Slice, day_slice
from penstock.project import DAGS, contract_of

if TYPE_CHECKING:
    from penstock.flows import Flow

From = Annotated[
    str | None, typer.Option("--from", help="First slice.", show_default="the first one that there ever was")
]
To = Annotated[str | None, typer.Option("--to", help="Last slice.", show_default="the newest one that is due")]
Whys = Annotated[
    str | None,
    typer.Option("--why", help=f"Only for these reasons: {', '.join(Why)}.", show_default="all of them"),
]
DagId = Annotated[str | None, typer.Option("--dag", help="The DAG, where several fill the dataset.")]
AskSource = Annotated[bool, typer.Option("--source/--no-source", help="Whether the source is asked what has changed.")]


@dataclass(frozen=True, slots=True)
class Looked:
    """What was looked at.

    Attributes:
        flow: The DAG that fills the dataset.
        today: How it is loaded now.
        states: The slices, in order.
        gaps: Those that have a gap, in order.
    """

    flow: Flow
    today: Today
    states: list[SliceState]
    gaps: list[Gap]


def gaps(
    name: Dataset,
    *,
    first: From = None,
    last: To = None,
    why: Whys = None,
    ask_source: AskSource = True,
    dag_id: DagId = None,
    as_json: AsJson = False,
) -> None:
    """List the slices of a dataset that were never loaded, were refused, or would be loaded otherwise today.

    The exit code is 1 if there are any.
    """
    found = look(name, first, last, reasons(why), dag_id=dag_id, ask_source=ask_source)
    if as_json:
        show_json([gap.as_json() for gap in found.gaps])
    else:
        show_gaps(found.gaps)
        say(f"{len(found.gaps):,} of {len(found.states):,} slices have a gap{_span(found.states)}")
        if any(gap.loadable for gap in found.gaps):
            say(f"next: penstock backfill {name} --gaps")
    if found.gaps:
        raise typer.Exit(1)


def reasons(text: str | None) -> frozenset[Why]:
    """Read `--why never,refused`; without it, all reasons.

    Raises:
        typer.BadParameter: One of them is none.
    """
    if text is None:
        return frozenset(Why)
    try:
        return frozenset(Why(word.strip()) for word in text.split(","))
    except ValueError as error:
        raise typer.BadParameter(f"{error}: known are {', '.join(Why)}", param_hint="--why") from error


def look(
    name: str,
    first: str | None,
    last: str | None,
    why: Collection[Why],
    *,
    dag_id: str | None = None,
    ask_source: bool = True,
) -> Looked:
    """Look for gaps.

    Args:
        name: The dataset.
        first: Key of the first slice; by default that of the first one the ledger knows, else the DAG's first day.
        last: Key of the last one; by default that of the newest one whose run is due.
        why: The reasons that count.
        dag_id: The DAG, where several fill the dataset.
        ask_source: Whether its database is asked for what has changed.

    Raises:
        SliceError: A key is no day, no DAG fills the dataset, or nobody knows where to begin.
        PenstockError: Warehouse or source cannot be reached, or the contract is broken.
    """
    use_local_airflow()
    from penstock.flows import find_flow

    contract, now = contract_of(name), datetime.now(UTC)
    flow = find_flow(name, dag_id=dag_id, folder=DAGS)
    with warehouse() as connection:
        with connection, connection.cursor() as cur:
            begin = day_slice(first) if first else core.first_slice(cur, [name, *flow.producers]) or _start(flow)
            newest = flow.newest_due(now)
            slices = core.slices_between(begin, day_slice(last) if last else newest)
            states = core.read_states(cur, name, slices, flow.producers)
            known_as = core.versions_like(cur, contract)
        today = Today(contract, known_as, flow.code, flow.producers, newest, flow.reads_now)
        kept = [state for state in states if not core.is_past_retention(contract, state.slice, now)]
        changes = {}
        if ask_source and Why.CHANGED in why:
            changes = core.changes_at_source(contract, kept, open_source)
    found = core.find_gaps(states, today, now=now, changes=changes)
    return Looked(flow, today, states, [gap for gap in found if not frozenset(gap.why).isdisjoint(why)])


def _start(flow: Flow) -> Slice:
    if flow.start is None:
        raise SliceError(
            "Nothing was ever loaded, and the DAG says no start_date.",
            dataset=flow.dataset,
            next_step="say where to begin: --from 2026-01-31.",
        )
    return day_slice(flow.start.isoformat())


def show_gaps(found: Sequence[Gap]) -> None:
    """Print gaps, one line for days in a row with the same reasons."""
    show_table(("from", "to", "slices", "why", "remark"), list(_lines(found))) if found else None


def _lines(found: Sequence[Gap]) -> Iterator[tuple[str, str, int, list[str], str]]:
    numbered = enumerate(found)
    for _, group in groupby(numbered, key=lambda pair: (_day(pair[1]) - pair[0], *_alike(pair[1]))):
        run = [gap for _, gap in group]
        yield run[0].slice_key, run[-1].slice_key, len(run), [why.words for why in run[0].why], _remark(run)


def _day(gap: Gap) -> int:
    return day_slice(gap.slice_key).start.toordinal()


def _alike(gap: Gap) -> tuple[object, ...]:
    return gap.why, gap.waits_for, gap.reads_now


def _remark(run: Sequence[Gap]) -> str:
    if run[0].waits_for:
        return f"waits for {', '.join(run[0].waits_for)}"
    if run[0].reads_now:
        return "the source shows only how it is today"
    changes = [gap.change for gap in run if gap.change]
    if not changes:
        return ""
    then, now = (sum(figures) for figures in zip(*((c.then.rows, c.now.rows) for c in changes), strict=True))
    return f"{then:,} rows then, {now:,} now" if then != now else f"{now:,} rows, other ones than then"


def _span(states: Sequence[SliceState]) -> str:
    return f", from {states[0].slice.key} to {states[-1].slice.key}" if states else ""
