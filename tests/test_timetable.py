"""The schedule of daily slices."""

from datetime import UTC, datetime

import pendulum
import pytest
from airflow.timetables.base import TimeRestriction

from penstock.timetable import DailySliceTimetable


def _keys(first: datetime, last: datetime, after: str) -> list[str | None]:
    infos = DailySliceTimetable(after=after).iter_partition_dagrun_infos(earliest=first, latest=last)
    return [info.partition_key for info in infos]


@pytest.mark.parametrize("after", ["00:00", "02:00", "23:59"])
def test_backfill_dates_are_slice_dates(after: str) -> None:
    """Whatever the time of the run, a backfill from day A to day B has the keys A to B, both included."""
    keys = _keys(datetime(2010, 9, 20, tzinfo=UTC), datetime(2010, 9, 22, tzinfo=UTC), after)
    assert keys == ["2010-09-20", "2010-09-21", "2010-09-22"]


def test_scheduled_run_stands_for_the_day_before() -> None:
    """The run at 02:00 carries the key and the date of the day that has just ended."""
    timetable = DailySliceTimetable(after="02:00")
    start = pendulum.datetime(2010, 9, 20, 1)
    info = timetable.next_dagrun_info_v2(
        last_dagrun_info=None, restriction=TimeRestriction(earliest=start, latest=None, catchup=True)
    )
    assert info is not None
    assert (info.run_after, info.partition_key) == (pendulum.datetime(2010, 9, 20, 2), "2010-09-19")
    assert info.partition_date == pendulum.datetime(2010, 9, 19)


@pytest.mark.parametrize("after", ["00:00", "02:00"])
def test_a_key_has_one_date_however_the_run_came_about(after: str) -> None:
    """Scheduled, backfilled and triggered runs of a slice agree on its date; Airflow tells slices apart by it."""
    timetable = DailySliceTimetable(after=after)
    day = datetime(2010, 9, 20, tzinfo=UTC)
    backfilled = next(iter(timetable.iter_partition_dagrun_infos(earliest=day, latest=day)))
    scheduled, key = timetable._get_partition_info(run_date=pendulum.datetime(2010, 9, 21, int(after[:2])))
    assert key == "2010-09-20"
    assert backfilled.partition_date == scheduled == timetable.resolve_partition_date(key) == day


@pytest.mark.parametrize("hour", [0, 3, 12, 23])
def test_first_run_is_at_once(hour: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A DAG switched on at any hour loads the latest day that has ended, not tomorrow's first."""
    monkeypatch.setattr("airflow.timetables.trigger.utcnow", lambda: datetime(2010, 9, 20, hour, 30, tzinfo=UTC))
    info = DailySliceTimetable(after="00:00").next_dagrun_info_v2(
        last_dagrun_info=None, restriction=TimeRestriction(earliest=None, latest=None, catchup=False)
    )
    assert info is not None
    assert (info.run_after, info.partition_key) == (pendulum.datetime(2010, 9, 20), "2010-09-19")


def test_survives_serialization() -> None:
    """The scheduler rebuilds the timetable as the DAG file made it."""
    timetable = DailySliceTimetable(after="03:30")
    rebuilt = DailySliceTimetable.deserialize(timetable.serialize())
    assert (rebuilt.after, rebuilt.summary) == ("03:30", timetable.summary)
