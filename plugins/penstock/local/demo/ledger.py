"""What the warehouse's ledger says of the demo's slices."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

import psycopg2
from psycopg2.extensions import connection as PgConnection  # noqa: N812 - the class is named so

from penstock.local.demo.pipelines import PIPELINES
from penstock.local.errors import DemoError

NO_LEDGER = (psycopg2.errors.UndefinedTable, psycopg2.errors.InvalidSchemaName)
DATASETS = [pipeline.dataset for pipeline in PIPELINES]

PUBLISHED = """
SELECT dataset, slice_key FROM ops.slice_current WHERE dataset = ANY(%s) AND slice_key = ANY(%s)
"""

SUMMARY = """
SELECT dataset, count(*) AS slices, sum(extracted)::bigint AS extracted, sum(loaded)::bigint AS loaded,
       sum(quarantined)::bigint AS quarantined, sum(deduplicated)::bigint AS deduplicated,
       sum(extract_seconds + validate_seconds + publish_seconds)::float AS seconds
FROM ops.slice_current
WHERE dataset = ANY(%s) AND slice_key = ANY(%s)
GROUP BY dataset
ORDER BY array_position(%s, dataset)
"""


@dataclass(frozen=True)
class DatasetTotals:
    """The sums over the latest published attempts of a dataset's slices."""

    dataset: str
    slices: int
    extracted: int
    loaded: int
    quarantined: int
    deduplicated: int
    seconds: float


class Ledger:
    """The ledger in the warehouse at `dsn`."""

    def __init__(self, dsn: str) -> None:
        self._connection = _connect(dsn)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def published(self, keys: Sequence[str]) -> dict[str, set[str]]:
        """The published ones of `keys` for each dataset; none where the ledger is not made yet."""
        found: dict[str, set[str]] = {dataset: set() for dataset in DATASETS}
        with self._connection.cursor() as cursor:
            try:
                cursor.execute(PUBLISHED, [DATASETS, list(keys)])
            except NO_LEDGER:
                return found
            for dataset, key in cursor:
                found[dataset].add(key)
        return found

    def totals(self, keys: Sequence[str]) -> list[DatasetTotals]:
        """The sums over `keys` for each dataset that has any."""
        with self._connection.cursor() as cursor:
            try:
                cursor.execute(SUMMARY, [DATASETS, list(keys), DATASETS])
            except NO_LEDGER:
                return []
            columns = [column.name for column in cursor.description or ()]
            return [DatasetTotals(**dict(zip(columns, row, strict=True))) for row in cursor]


def open_ledger(dsn: str) -> "closing[Ledger]":
    """The ledger, closed at the end of a `with`.

    Raises:
        DemoError: if the warehouse cannot be reached.
    """
    return closing(Ledger(dsn))


def _connect(dsn: str) -> PgConnection:
    try:
        connection = psycopg2.connect(dsn, connect_timeout=10)
    except psycopg2.OperationalError as error:
        raise DemoError(f"the warehouse cannot be reached: {str(error).strip()}") from None
    connection.autocommit = True
    return connection
