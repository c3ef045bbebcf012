"""Which of several versions of a row stands."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import psycopg2.errors
from psycopg2.extensions import cursor as Cursor  # noqa: N812
from psycopg2.sql import SQL, Composable, Composed, Identifier

from penstock.core.contract.model import Contract
from penstock.core.contract.tombstone import buries, is_deleted


def names(columns: Sequence[str]) -> Composed:
    """Return column names as a list."""
    return SQL(", ").join(map(Identifier, columns))


def all_columns(contract: Contract) -> tuple[str, ...]:
    """Return the names of the contract's columns."""
    return tuple(column.name for column in contract.columns)


def as_text(alias: str, contract: Contract) -> Composed:
    """Return the text of a whole row, by the contract's columns."""
    return SQL("({})::text").format(
        SQL("ROW({})").format(SQL(", ").join(Identifier(alias, name) for name in all_columns(contract)))
    )


def newest_first(contract: Contract, alias: str) -> Composed:
    """Order versions of one key so that the outcome depends on the rows alone, not on the order they came in.

    Of a row and its deletion at one moment, the deletion is the last word.
    """
    assert contract.cursor is not None  # noqa: S101 - without a cursor the gate lets no duplicate key pass
    parts: list[Composable] = [SQL("{} DESC").format(Identifier(contract.cursor))]
    if buries(contract):
        parts.append(SQL("{} DESC").format(is_deleted(contract)))
    parts.append(SQL("{} DESC").format(as_text(alias, contract)))
    return SQL(", ").join(parts)


def newest(contract: Contract, candidate: Identifier, by: Sequence[str]) -> Composed:
    """Return the rows of a table of which each is the newest with its values of `by`, as the alias `s`."""
    return SQL("(SELECT DISTINCT ON ({by}) * FROM {table} AS s ORDER BY {by}, {order}) AS s").format(
        by=names(by), table=candidate, order=newest_first(contract, "s")
    )


def put_newest(
    cur: Cursor, contract: Contract, candidate: Identifier, by: Sequence[str], upsert: Callable[[Composed], Composed]
) -> int:
    """Upsert the rows of a table; only if it holds values of `by` twice, the newest row with each of them.

    Args:
        cur: Cursor on the warehouse.
        contract: The contract.
        candidate: The rows.
        by: The columns that the upsert tells rows by.
        upsert: Gives the statement for rows, which stand under the alias `s`.

    Returns:
        The number of rows that were put into the table.
    """
    cur.execute("SAVEPOINT put_newest")
    try:
        cur.execute(upsert(SQL("{} AS s").format(candidate)))
    except psycopg2.errors.CardinalityViolation:
        cur.execute("ROLLBACK TO SAVEPOINT put_newest")
        cur.execute(upsert(newest(contract, candidate, by)))
    return cur.rowcount


def deduplicate(cur: Cursor, contract: Contract, candidate: Identifier, by: Sequence[str]) -> int:
    """Leave only the newest row with its values of `by` in a table; return the number of rows removed."""
    cur.execute(
        SQL(
            "DELETE FROM {table} WHERE ctid IN (SELECT c FROM (SELECT s.ctid AS c, row_number() OVER"
            " (PARTITION BY {by} ORDER BY {order}) AS n FROM {table} AS s) AS d WHERE n > 1)"
        ).format(table=candidate, by=names(by), order=newest_first(contract, "s"))
    )
    return cur.rowcount
