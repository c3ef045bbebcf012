"""Which DAG fills a dataset, and how it asks for the rows today: read from the DAG files, as Airflow reads them."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import redirect_stdout
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

from penstock.core.errors import SliceError
from penstock.core.slice import Slice, day_slice
from penstock.project import DAGS, contract_of

if TYPE_CHECKING:
    from pathlib import Path

    from penstock.operators.slices import SliceOperator


@dataclass(frozen=True, slots=True)
class Flow:
    """The DAG that fills a dataset.

    Attributes:
        dataset: `<domain>/<table>`.
        dag_id: The DAG.
        code: Digest of how the rows are asked for (`penstock.operators.code`).
        producers: Datasets that the DAG runs after; empty if it is no mart's.
        reads_now: Whether a load of an old slice would put into it what the source has today.
        after: How long after the end of a day its run is due; zero where the schedule does not say.
        start: First day of the schedule, if the DAG has one.
    """

    dataset: str
    dag_id: str
    code: str
    producers: tuple[str, ...]
    reads_now: bool
    after: timedelta
    start: date | None

    def newest_due(self, now: datetime) -> Slice:
        """Return the newest slice whose run should have begun by now."""
        return day_slice((now - self.after - timedelta(days=1)).strftime("%Y-%m-%d"))


def find_flow(dataset: str, *, dag_id: str | None = None, folder: Path = DAGS) -> Flow:
    """Find the DAG that fills a dataset.

    Args:
        dataset: `<domain>/<table>`.
        dag_id: The DAG to take where several fill it.
        folder: Where the DAG files are.

    Raises:
        SliceError: None or several of them fill it, or their file cannot be loaded.
        ContractError: The dataset's contract is broken.
    """
    dags, name, extract = _find(dataset, dag_id, folder)
    dag, contract = dags[name], contract_of(dataset)
    return Flow(
        dataset=dataset,
        dag_id=name,
        code=str(extract.asked["code"]),
        producers=tuple(extract.producers),
        reads_now=contract.partitioned and extract.reads_now(contract),
        after=_due_after(dag, dags.values()),
        start=dag.start_date.date() if dag.start_date else None,
    )


def find_extract(dataset: str, *, dag_id: str | None = None, folder: Path = DAGS) -> SliceOperator:
    """Find the task that extracts a dataset; arguments as `find_flow` takes them.

    Raises:
        SliceError: None or several DAGs fill it, or their file cannot be loaded.
    """
    return _find(dataset, dag_id, folder)[2]


def _find(dataset: str, dag_id: str | None, folder: Path) -> tuple[dict[str, Any], str, SliceOperator]:
    """Return all DAGs, the id of the one that fills a dataset, and its extract."""
    dags, problems = _load(folder)
    found = {
        name: extract
        for name, dag in sorted(dags.items())
        if (extract := _extract_of(dag, dataset)) is not None and dag_id in (None, name)
    }
    if len(found) != 1:
        raise _not_one(dataset, list(found), problems, folder)
    [(name, extract)] = found.items()
    return dags, name, extract


def _load(folder: Path) -> tuple[dict[str, Any], dict[str, str]]:
    from airflow.dag_processing.dagbag import DagBag

    # Neither what Airflow says of its work nor what a DAG file prints is a result.
    with redirect_stdout(sys.stderr):
        bag = DagBag(str(folder))
    return bag.dags, bag.import_errors


def _extract_of(dag: Any, dataset: str) -> SliceOperator | None:
    """Return the task that stages a dataset's rows for the DAG's publish task."""
    from penstock.operators.publish import PublishOperator
    from penstock.operators.slices import SliceOperator
    from penstock.operators.validate import ValidateOperator

    ours = [task for task in dag.tasks if isinstance(task, SliceOperator) and task.dataset == dataset]
    if not any(isinstance(task, PublishOperator) for task in ours):
        return None
    return next((task for task in ours if not isinstance(task, (PublishOperator, ValidateOperator))), None)


def _due_after(dag: Any, dags: Iterable[Any]) -> timedelta:
    """Return how long after its day a DAG's run is due: by its schedule, or by those of the DAGs that it follows."""
    after = getattr(dag.timetable, "after", None)
    if isinstance(after, str):
        moment = time.fromisoformat(after)
        return timedelta(hours=moment.hour, minutes=moment.minute)
    producers = {name for task in dag.tasks for name in getattr(task, "producers", ())}
    others = [other for other in dags if other is not dag]
    above = [other for other in others if any(_extract_of(other, name) is not None for name in producers)]
    return max((_due_after(other, others) for other in above), default=timedelta())


def _not_one(dataset: str, found: list[str], problems: dict[str, str], folder: Path) -> SliceError:
    if found:
        return SliceError(
            f"Several DAGs fill it: {', '.join(found)}.", dataset=dataset, next_step="name one of them by --dag."
        )
    broken = f" These files cannot be loaded: {', '.join(sorted(problems))}." if problems else ""
    return SliceError(
        f"No DAG in {folder} fills it: none has its extract and its publish task.{broken}",
        dataset=dataset,
        next_step=f"{'mend the DAG file, or ' if problems else ''}write one: docs/authoring.md.",
    )
