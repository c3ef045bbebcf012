"""The schedule of daily slices."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from airflow.timetables.base import DagRunInfo
from airflow.timetables.trigger import CronPartitionTimetable

from penstock.core.slice import DAY_KEY_FORMAT

if TYPE_CHECKING:
    from pendulum import DateTime


class DailySliceTimetable(CronPartitionTimetable):
    """One run a day, at a fixed time (UTC), for the UTC day that has just ended.

    A partition's date is the first instant of its day whatever the time of the run. With a plain
    `CronPartitionTimetable` it is the cron tick, so that `airflow backfill create --to-date D` leaves out day D
    unless runs start at midnight, and a run triggered with the key of D has another date than the scheduled one.

    A DAG without a start date that is switched on has its first run at once, for the latest day that has ended.

    Args:
        after: Time of the run, `HH:MM`, UTC.
    """

    def __init__(self, *, after: str = "00:00") -> None:
        moment = datetime.time.fromisoformat(after)
        super().__init__(
            f"{moment.minute} {moment.hour} * * *",
            timezone="UTC",
            run_offset=-1,
            key_format=DAY_KEY_FORMAT,
            run_immediately=True,
        )
        self.after = after
        self.description = f"Each day at {after} UTC, for the day before"

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> DailySliceTimetable:
        """Rebuild the timetable in the scheduler."""
        return cls(after=data["after"])

    def serialize(self) -> dict[str, Any]:
        """Return what `deserialize` needs."""
        return {"after": self.after}

    @property
    def summary(self) -> str:
        """What the UI shows as the schedule."""
        return f"daily, {self.after} UTC"

    def _get_partition_date(self, *, run_date: DateTime) -> DateTime:
        return run_date.start_of("day").subtract(days=1)

    def iter_partition_dagrun_infos(
        self, *, earliest: datetime.datetime, latest: datetime.datetime
    ) -> Iterable[DagRunInfo]:
        """Yield a run for each UTC day from that of `earliest` to that of `latest`, both included."""
        day = self.localize_partition_datetime(earliest).start_of("day")
        last = self.localize_partition_datetime(latest)
        while day <= last:
            yield DagRunInfo(run_after=day, data_interval=None, partition_date=day, partition_key=self._format_key(day))
            day = day.add(days=1)
