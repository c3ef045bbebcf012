"""What the demo runs: its DAGs, their datasets, and its range of slices."""

import datetime
from collections.abc import Mapping
from dataclasses import dataclass

from penstock.local.errors import DemoError

FIRST_DAY = datetime.date(2010, 9, 20)
LAST_DAY = datetime.date(2010, 11, 25)
DEFAULT_DAYS = 14


@dataclass(frozen=True)
class Pipeline:
    """A DAG and the dataset it publishes; a mart names the dataset whose slices it follows."""

    dag_id: str
    dataset: str
    follows: str | None = None


PIPELINES = (
    Pipeline("commerce_order_lines", "commerce/order_lines"),
    Pipeline("commerce_customers", "commerce/customers"),
    Pipeline("energy_power_readings", "energy/power_readings"),
    Pipeline("commerce_daily_revenue", "commerce/daily_revenue", follows="commerce/order_lines"),
)


def demo_keys(environ: Mapping[str, str]) -> list[str]:
    """The slice keys of the demo, DAYS of them from the first day of the bundled data.

    Raises:
        DemoError: if DAYS is no number of days that the bundled data has.
    """
    most = (LAST_DAY - FIRST_DAY).days + 1
    given = environ.get("DAYS") or str(DEFAULT_DAYS)
    if not given.isdecimal() or not 1 <= int(given) <= most:
        raise DemoError(f"DAYS must be a number from 1 to {most}, not {given!r}")
    return [(FIRST_DAY + datetime.timedelta(days=number)).isoformat() for number in range(int(given))]
