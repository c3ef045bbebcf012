"""The unit of work: one dataset × one partition key."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from penstock.core.errors import SliceError

DAY_KEY_FORMAT: Final = "%Y-%m-%d"


@dataclass(frozen=True, slots=True)
class Slice:
    """One UTC day.

    Attributes:
        key: The partition key, e.g. `2010-09-20`.
        start: First instant of the slice.
        end: First instant after the slice.
    """

    key: str
    start: datetime
    end: datetime

    @property
    def parameters(self) -> dict[str, object]:
        """What SQL sources may bind: `slice_key`, `slice_start` and `slice_end`."""
        return {"slice_key": self.key, "slice_start": self.start, "slice_end": self.end}


def day_slice(key: str) -> Slice:
    """Return the slice of a day key.

    Raises:
        SliceError: The key is not a date in the form YYYY-MM-DD.
    """
    try:
        start = datetime.strptime(key, DAY_KEY_FORMAT).replace(tzinfo=UTC)
        end = start + timedelta(days=1)
    except (ValueError, OverflowError) as error:
        raise SliceError(
            f"The partition key {key!r} is not a day in the form YYYY-MM-DD.",
            next_step="trigger the DAG again with a partition key such as 2010-09-20.",
        ) from error
    if start.strftime(DAY_KEY_FORMAT) != key:
        raise SliceError(
            f"The partition key {key!r} is not written as {start:%Y-%m-%d}.",
            next_step="use the padded form; a slice has one name only.",
        )
    return Slice(key, start, end)


def _utc_midnight(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def resolve_slice(
    *,
    partition_key: str | None,
    interval: tuple[datetime, datetime] | None,
    now: datetime,
) -> Slice:
    """Find the slice that a run stands for.

    The partition key wins; then a data interval that covers exactly one UTC day; then, for a bare manual run,
    the latest day that is over.

    Args:
        partition_key: The run's partition key, if it has one.
        interval: The run's data interval, if it has one.
        now: The present, with a time zone; used only by the last rule.

    Raises:
        SliceError: The key is malformed, or the interval is not one UTC day.
    """
    if partition_key:
        return day_slice(partition_key)
    if interval is not None and interval[0] != interval[1]:
        start, end = (moment.astimezone(UTC) for moment in interval)
        if start != _utc_midnight(start) or end - start != timedelta(days=1):
            raise SliceError(
                f"The data interval {start.isoformat()} – {end.isoformat()} is not one UTC day.",
                next_step="schedule the DAG with penstock.defaults.daily_slices().",
            )
        return day_slice(start.strftime(DAY_KEY_FORMAT))
    return day_slice((_utc_midnight(now) - timedelta(days=1)).strftime(DAY_KEY_FORMAT))
