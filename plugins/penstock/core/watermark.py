"""The newest of what is published: from there a source is read on that knows no slices.

A slice then tells when rows were read, and not which. Rows that come again are merged by their key, so it does not
matter how often, or in which order, slices are loaded; what a failed slice would have read, the next one reads, for
the watermark is that of the published table.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final

from psycopg2.extensions import cursor as Cursor  # noqa: N812
from psycopg2.sql import SQL, Identifier

from penstock.core.contract.model import Contract, LoadMode
from penstock.core.errors import SchemaMismatch

Value = int | Decimal | date | datetime
_REPEATABLE: Final = frozenset((LoadMode.MERGE, LoadMode.SCD2))


@dataclass(frozen=True, slots=True)
class Watermark:
    """From where a source is read on.

    Attributes:
        value: The largest value of a column that is published, less the lookback; None where nothing is.
    """

    value: Value | None

    @property
    def text(self) -> str | None:
        """It as text: a number, or ISO 8601."""
        if self.value is None:
            return None
        return self.value.isoformat() if isinstance(self.value, date) else str(self.value)


NOWHERE: Final = Watermark(None)
"""Where nothing is published yet."""


def watermark_of(cur: Cursor, contract: Contract, column: str, lookback: timedelta | int = timedelta()) -> Watermark:
    """Return from where on to read a source.

    Args:
        cur: Cursor on the warehouse, in UTC.
        contract: The contract; it merges by key.
        column: The column that grows: times, or numbers.
        lookback: How far before the newest row to begin, for rows that come late: a time, or a number where the column
            holds numbers.

    Raises:
        SchemaMismatch: The contract has no such column or merges nothing, or the lookback is of another kind.
    """
    if contract.load_mode not in _REPEATABLE or contract.partition_by is not None:
        raise _unfit(contract, "A watermark reads rows again, and the dataset does not merge them.")
    if column not in {found.name for found in contract.columns}:
        raise _unfit(contract, f"The contract has no column {column!r} for a watermark.")
    schema, table = contract.domain, contract.table
    cur.execute("SELECT to_regclass(%s) IS NOT NULL", (Identifier(schema, table).as_string(cur),))
    (there,) = cur.fetchone() or (False,)
    if not there:
        return NOWHERE
    cur.execute(SQL("SELECT max({}) FROM {}").format(Identifier(column), Identifier(schema, table)))
    (newest,) = cur.fetchone() or (None,)
    if newest is None:
        return NOWHERE
    if not isinstance(newest, int | Decimal | date):
        raise _unfit(contract, f"The watermark {column!r} is neither a time nor a number.")
    if not lookback:
        return Watermark(newest)
    if isinstance(newest, date) != isinstance(lookback, timedelta):
        raise _unfit(contract, f"The lookback is {lookback!r}, and the watermark {column!r} is of another kind.")
    return Watermark(newest - lookback)  # type: ignore[operator]


def _unfit(contract: Contract, problem: str) -> SchemaMismatch:
    return SchemaMismatch(
        problem,
        dataset=contract.dataset,
        next_step="name a column of times or numbers that grow, of a dataset with the `loadMode` merge or scd2 and no"
        " `partitionBy`; or take the watermark out of the DAG.",
    )
