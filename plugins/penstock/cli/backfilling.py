"""`penstock backfill`: ask Airflow for runs of just the slices that have a gap, a few at a time."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import quote

import typer

from penstock.cli.airflow import airflow_api
from penstock.cli.arguments import Dataset
from penstock.cli.gaps import AskSource, DagId, From, Looked, To, Whys, look, reasons, show_gaps
from penstock.cli.output import say, show_table
from penstock.core import gaps as core
from penstock.core.errors import AirflowApiError
from penstock.core.gaps import Gap

if TYPE_CHECKING:
    from penstock.airflow_api import AirflowApi

LOOK_SECONDS: Final = 1.0
_UNFINISHED: Final = ("queued", "running")
_NOT_FOUND: Final = 404


def backfill(  # noqa: PLR0913 - the options of a command
    name: Dataset,
    *,
    only_gaps: Annotated[bool, typer.Option("--gaps", help="Only slices that `penstock gaps` lists.")] = False,
    first: From = None,
    last: To = None,
    why: Whys = None,
    at_once: Annotated[int, typer.Option(min=1, help="The most runs that are under way at the same time.")] = 4,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say which slices would be asked for.")] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Stay until all runs have ended, or go.")] = True,
    as_it_is_now: Annotated[
        bool,
        typer.Option("--as-it-is-now", help="Also old slices of a source that shows only how it is today."),
    ] = False,
    ask_source: AskSource = True,
    dag_id: DagId = None,
) -> None:
    """Load slices (again): those with a gap, or all from --from to --to.

    Slices that are under way already are not asked for twice, so an interrupted call may be repeated.
    """
    if not only_gaps and not (first and last):
        raise typer.BadParameter("say which slices: --gaps, or --from and --to")
    found = look(name, first, last, reasons(why), dag_id=dag_id, ask_source=ask_source and only_gaps)
    wanted = _loadable(found.gaps if only_gaps else _all_of(found), as_it_is_now=as_it_is_now)
    if not wanted:
        say(f"{name}: nothing to load")
        return
    if dry_run:
        show_gaps(wanted)
        say(f"{len(wanted):,} slices would be asked for, {at_once} at once")
        return
    with airflow_api() as api:
        check_dag(api, name, found.flow.dag_id)
        work = Work(api, found.flow.dag_id, wanted, at_once)
        work.meet_running()
        if not wait:
            work.fill()
            say(f"{work.asked:,} runs asked for, {len(work.waiting):,} slices left: repeat the command for these")
            return
        _stay(work)
    _tell(work)


def _all_of(found: Looked) -> list[Gap]:
    by_key = {gap.slice_key: gap for gap in found.gaps}
    return [by_key.get(state.slice.key) or core.gap_of(state, found.today) for state in found.states]


def _loadable(gaps: Iterable[Gap], *, as_it_is_now: bool) -> list[Gap]:
    """Leave out, and say so, what a run would not fill, or would fill with something else."""
    wanted, waiting, late = [], [], []
    for gap in gaps:
        if gap.waits_for:
            waiting.append(gap)
        elif gap.reads_now and not as_it_is_now:
            late.append(gap)
        else:
            wanted.append(gap)
    if waiting:
        producers = sorted({name for gap in waiting for name in gap.waits_for})
        todo = " and ".join(f"`penstock backfill {name} --gaps`" for name in producers)
        say(f"{len(waiting):,} slices wait for their producer: {todo}, and this dataset follows by itself")
    if late:
        say(
            f"{len(late):,} slices are left out: the source shows only how it is today, and a load would put that into"
            " them (--as-it-is-now does it)"
        )
    return wanted


def check_dag(api: AirflowApi, dataset: str, dag_id: str) -> None:
    """See that Airflow knows the DAG and would run it.

    Raises:
        AirflowApiError: It does not.
    """
    try:
        dag = api.get(f"dags/{quote(dag_id)}")
    except AirflowApiError as error:
        if error.status != _NOT_FOUND:
            raise
        raise AirflowApiError(
            f"Airflow at {api.url} has no DAG {dag_id}.",
            status=error.status,
            dataset=dataset,
            next_step="wait until it has read the DAG's file; its web UI shows import errors.",
        ) from error
    if dag["is_paused"]:
        raise AirflowApiError(
            f"The DAG {dag_id} is paused: its runs would wait for ever.",
            dataset=dataset,
            next_step=f"`airflow dags unpause {dag_id}` (or the switch in the web UI), then repeat the command.",
        )


@dataclass
class Work:
    """The slices of a backfill on their way through Airflow.

    Attributes:
        api: A client of Airflow.
        dag_id: The DAG.
        gaps: The slices, in the order in which they are asked for.
        at_once: The most runs under way at the same time, runs of the same slices that others asked for included.
        waiting: Slices that no run has been asked for yet.
        running: Id of the run of each slice that is under way.
        ended: State and run of each slice that is done.
        asked: Number of runs asked for.
    """

    api: AirflowApi
    dag_id: str
    gaps: Sequence[Gap]
    at_once: int
    waiting: deque[Gap] = field(default_factory=deque)
    running: dict[str, str] = field(default_factory=dict)
    ended: dict[str, tuple[str, str]] = field(default_factory=dict)
    asked: int = 0

    def __post_init__(self) -> None:
        self.waiting.extend(self.gaps)

    def meet_running(self) -> None:
        """Take over the runs of these slices that are under way already."""
        keys = {gap.slice_key for gap in self.gaps}
        for run in self.api.unfinished_runs(self.dag_id):
            if run["partition_key"] in keys:
                self.running.setdefault(run["partition_key"], run["dag_run_id"])
        self.waiting = deque(gap for gap in self.waiting if gap.slice_key not in self.running)
        if self.running:
            say(f"{len(self.running):,} slices are under way already: {', '.join(sorted(self.running)[:5])} …")

    def fill(self) -> None:
        """Ask for as many runs as may be under way."""
        while self.waiting and len(self.running) < self.at_once:
            gap = self.waiting.popleft()
            self.running[gap.slice_key] = self._ask(gap)

    def look(self) -> None:
        """See which runs have ended."""
        unfinished = {run["dag_run_id"] for run in self.api.unfinished_runs(self.dag_id)}
        for key, run_id in list(self.running.items()):
            if run_id in unfinished:
                continue
            state = str(self.api.run(self.dag_id, run_id)["state"])
            if state not in _UNFINISHED:
                del self.running[key]
                self.ended[key] = (state, run_id)
                say(f"{key}  {state}  ({len(self.ended):,} of {len(self.gaps):,})")

    def _ask(self, gap: Gap) -> str:
        """Ask for a run, or find the one that somebody has asked for at the same moment.

        The id follows from slice and attempt: of two calls that want the same, Airflow lets one make the run.
        """
        number = 1
        while True:
            run_id = f"gap__{gap.slice_key}__{gap.attempt + 1}" + (f"_{number}" if number > 1 else "")
            note = f"penstock backfill: {', '.join(why.words for why in gap.why) or 'asked for'}"
            if self.api.trigger(self.dag_id, dag_run_id=run_id, partition_key=gap.slice_key, note=note):
                self.asked += 1
                return run_id
            if self.api.run(self.dag_id, run_id)["state"] in _UNFINISHED:
                return run_id
            number += 1


def _stay(work: Work) -> None:
    try:
        while work.waiting or work.running:
            work.fill()
            time.sleep(LOOK_SECONDS)
            work.look()
    except KeyboardInterrupt:
        left = f"{len(work.running):,} runs go on, {len(work.waiting):,} slices were not asked for"
        say(f"\n{left}: repeat the command to go on")
        raise


def _tell(work: Work) -> None:
    """Say what came of it.

    Raises:
        typer.Exit: A run has not succeeded.
    """
    bad = [(key, state, _page(work, run)) for key, (state, run) in sorted(work.ended.items()) if state != "success"]
    if bad:
        show_table(("slice", "run", "look at"), bad)
    say(f"{len(work.ended) - len(bad):,} of {len(work.ended):,} slices loaded")
    if bad:
        raise typer.Exit(1)


def _page(work: Work, run_id: str) -> Any:
    return f"{work.api.url}/dags/{work.dag_id}/runs/{quote(run_id)}"
