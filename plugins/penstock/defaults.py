"""What DAG files share: schedules, default arguments. No I/O but the reading of contracts."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from penstock.notifiers.log import LogNotifier
from penstock.project import SQL, contract_of
from penstock.retries import SliceRetryPolicy

if TYPE_CHECKING:
    from airflow.sdk import PartitionedAssetTimetable

    from penstock.timetable import DailySliceTimetable

POOL: Final = "slices"
"""The pool of all tasks that a DAG file gives no other: its slots are what may work on the warehouse at once."""

DAG_DEFAULTS: Final[dict[str, Any]] = {
    "catchup": False,
    "max_active_runs": 4,
    "template_searchpath": [str(SQL)],
    "default_args": {
        "pool": POOL,
        "retries": 4,
        "retry_delay": timedelta(seconds=10),
        "retry_exponential_backoff": 2.0,
        "max_retry_delay": timedelta(minutes=10),
        "retry_policy": SliceRetryPolicy(),
        "on_failure_callback": [LogNotifier()],
    },
}
"""Keyword arguments for `@dag`. Retries after 10, 20, 40 and 80 s, unless the source asks for longer."""


def dataset(name: str) -> str:
    """Name a dataset in a DAG file; a broken contract stops the import of the DAG here.

    Raises:
        ContractError: With one line per problem: file, field, what is wrong.
    """
    return contract_of(name).dataset


def daily_slices(after: str = "00:00") -> DailySliceTimetable:
    """Schedule one run a day at a time (UTC, `HH:MM`) for the UTC day that has just ended."""
    from penstock.timetable import DailySliceTimetable

    return DailySliceTimetable(after=after)


def follows(*names: str) -> PartitionedAssetTimetable:
    """Schedule a mart: a run for each slice once all of these datasets have published it."""
    from airflow.sdk import Asset, PartitionedAssetTimetable

    condition = Asset(names[0])
    for name in names[1:]:
        condition = condition & Asset(name)  # type: ignore[assignment]
    return PartitionedAssetTimetable(assets=condition)
