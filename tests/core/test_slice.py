"""A slice has one name, and a run resolves to exactly one slice."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from penstock.core.errors import SliceError
from penstock.core.slice import day_slice, resolve_slice

NOW = datetime(2010, 9, 21, 5, 0, tzinfo=UTC)


def test_a_day_key_is_that_utc_day() -> None:
    """The slice of a key begins at its midnight UTC, ends a day later, and carries the key as it was given."""
    found = day_slice("2010-09-20")
    assert (found.key, found.start, found.end) == (
        "2010-09-20",
        datetime(2010, 9, 20, tzinfo=UTC),
        datetime(2010, 9, 21, tzinfo=UTC),
    )


def test_sql_sources_may_bind_key_and_bounds() -> None:
    """The parameters offered to SQL are the key and both bounds, and nothing else."""
    found = day_slice("2010-09-20")
    assert found.parameters == {
        "slice_key": "2010-09-20",
        "slice_start": found.start,
        "slice_end": found.end,
    }


@pytest.mark.parametrize(
    "key", ["", "yesterday", "2010-9-20", "20100920", "2010-09-20 ", "2010-02-30", "2010-09-20T00", "9999-12-31"]
)
def test_a_malformed_key_is_refused_with_what_to_do(key: str) -> None:
    """A key that is no padded date, or whose day has no end, names no slice; the error says what to do next."""
    with pytest.raises(SliceError, match="Next: ") as caught:
        day_slice(key)
    assert repr(key) in str(caught.value)


def test_the_partition_key_wins_over_the_interval() -> None:
    """A run with both a partition key and an interval stands for the key's day."""
    interval = (datetime(2010, 1, 1, tzinfo=UTC), datetime(2010, 1, 2, tzinfo=UTC))
    assert resolve_slice(partition_key="2010-09-20", interval=interval, now=NOW).key == "2010-09-20"


def test_an_interval_of_one_utc_day_is_that_day() -> None:
    """The interval may be written in any zone, as long as it covers one UTC day."""
    zone = timezone(timedelta(hours=2))
    start = datetime(2010, 9, 20, 2, 0, tzinfo=zone)
    found = resolve_slice(partition_key=None, interval=(start, start + timedelta(days=1)), now=NOW)
    assert found.key == "2010-09-20"


@pytest.mark.parametrize(
    ("start", "hours"),
    [
        (datetime(2010, 9, 20, 2, 0, tzinfo=UTC), 24),
        (datetime(2010, 9, 20, tzinfo=timezone(timedelta(hours=2))), 24),
        (datetime(2010, 9, 20, tzinfo=UTC), 1),
        (datetime(2010, 9, 20, tzinfo=UTC), 48),
    ],
)
def test_an_interval_that_is_not_one_utc_day_is_refused(start: datetime, hours: int) -> None:
    """A day of another zone, an hour or two days are not guessed into a slice."""
    with pytest.raises(SliceError, match="not one UTC day"):
        resolve_slice(partition_key=None, interval=(start, start + timedelta(hours=hours)), now=NOW)


def test_a_bare_run_stands_for_the_latest_day_that_is_over() -> None:
    """Without key and interval (or with the zero-length interval of a bare cron string) it is yesterday in UTC."""
    assert resolve_slice(partition_key=None, interval=None, now=NOW).key == "2010-09-20"
    assert resolve_slice(partition_key="", interval=(NOW, NOW), now=NOW).key == "2010-09-20"


def test_yesterday_is_meant_in_utc() -> None:
    """The zone of `now` does not move the day: 01:00 in UTC+2 is still the day before in UTC."""
    now = datetime(2010, 9, 22, 1, 0, tzinfo=timezone(timedelta(hours=2)))
    assert resolve_slice(partition_key=None, interval=None, now=now).key == "2010-09-20"
