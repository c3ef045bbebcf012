"""The datasets of the fault runs: one for each load mode, with the source that it is filled from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

FIRST_DAY: Final = date(2024, 1, 1)
ROWS: Final = 300
HEAVY_ROWS: Final = 20_000
HEAVY_EVERY: Final = 8


@dataclass(frozen=True, slots=True)
class Dataset:
    """One dataset: its load mode and the table of the source that it reads."""

    mode: str
    table: str

    @property
    def name(self) -> str:
        """The dataset's name."""
        return f"faults/{self.mode}"

    @property
    def published(self) -> str:
        """The table in the warehouse."""
        return f"faults.{self.mode}"

    @property
    def dag_id(self) -> str:
        """The DAG that loads it."""
        return f"faults_{self.mode}"


DATASETS: Final = (
    Dataset("append", "src.events_as_text"),
    Dataset("replace_partition", "src.events"),
    Dataset("merge", "src.events"),
    Dataset("scd2", "src.events_as_text"),
    Dataset("snapshot", "src.stock"),
)


def key_of(number: int) -> str:
    """Return the key of the n-th slice."""
    return (FIRST_DAY + timedelta(days=number)).isoformat()


def is_heavy(number: int) -> bool:
    """Tell whether a slice is long enough for a fault at a random instant to meet it at work."""
    return number % HEAVY_EVERY == HEAVY_EVERY - 1


SOURCE: Final = """
DROP SCHEMA IF EXISTS src CASCADE;
CREATE SCHEMA src;
CREATE FUNCTION src.pick(seed text, size integer) RETURNS bigint LANGUAGE sql IMMUTABLE
    RETURN abs(hashtextextended(seed, 7) % size);
CREATE TABLE src.events AS
SELECT src.pick(day || 'id' || n, rows * 2) AS id,
       CASE WHEN src.pick(day || 'region' || n, 40) = 0 THEN '?'
            ELSE (ARRAY['north', 'south', 'east'])[1 + src.pick(day || 'r' || n, 3)] END AS region,
       (src.pick(day || 'amount' || n, 100000) / 100.0)::numeric(12, 2) AS amount,
       timestamptz '{first} 00:00+00' + day * interval '1 day' + src.pick(day || 'at' || n, 1440) * interval '1 minute'
           AS at,
       src.pick(day || 'deleted' || n, 20) = 0 AS deleted
FROM (SELECT day, CASE WHEN day % {every} = {every} - 1 THEN {heavy} ELSE {rows} END AS rows
      FROM generate_series(0, {days} - 1) AS day) AS d, generate_series(1, rows) AS n;
CREATE INDEX ON src.events (at);
CREATE TABLE src.events_as_text AS
SELECT id, region, CASE WHEN amount > 990 THEN 'n/a' ELSE amount::text END AS amount, at, deleted FROM src.events;
CREATE INDEX ON src.events_as_text (at);
CREATE TABLE src.stock AS
SELECT n::bigint AS id, CASE WHEN n % 50 = 0 THEN '?' ELSE 'north' END AS region,
       CASE WHEN n % 77 = 0 THEN 'n/a' ELSE (n / 100.0)::numeric(12, 2)::text END AS amount,
       timestamptz '{first} 00:00+00' + n * interval '1 minute' AS at
FROM generate_series(1, {stock}) AS n;
ANALYZE src.events, src.events_as_text, src.stock;
"""


def source_sql(days: int) -> str:
    """Return the SQL that makes the source, with this many days of events: bad, repeated and deleted rows among them.

    Keys come again on other days, so that the order of the slices is felt by merge and scd2.
    """
    return SOURCE.format(first=FIRST_DAY, every=HEAVY_EVERY, heavy=HEAVY_ROWS, rows=ROWS, days=days, stock=3 * ROWS)
