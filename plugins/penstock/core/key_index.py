"""The unique index on the key of a slice's rows: the gate proves with it that the key is unique, publish needs it.

It is built once, on the table that is to become the partition, and moves with it. To count duplicates by a GROUP BY
instead took the gate as long as all its other rules together.
"""

from __future__ import annotations

from collections.abc import Sequence

import psycopg2.errors
from psycopg2.extensions import cursor as Cursor  # noqa: N812
from psycopg2.sql import SQL, Identifier


def find_key_index(cur: Cursor, table: Identifier) -> Identifier | None:
    """Return the unique index of a staged table, which has at most one; None if there is none yet."""
    cur.execute(
        "SELECT n.nspname, c.relname FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid"
        " JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE i.indrelid = to_regclass(%s) AND i.indisunique",
        (table.as_string(cur),),
    )
    row = cur.fetchone()
    return Identifier(*row) if row else None


def build_key_index(cur: Cursor, table: Identifier, key: Sequence[str]) -> None:
    """Build the unique index of a staged table; in the caller's transaction.

    Raises:
        psycopg2.errors.UniqueViolation: Two rows have the same key. A row with a NULL in its key is never one of them.
        psycopg2.Error: Postgres cannot index the key.
    """
    cur.execute(SQL("CREATE UNIQUE INDEX ON {} ({})").format(table, SQL(", ").join(map(Identifier, key))))


def prove_key(cur: Cursor, table: Identifier, key: Sequence[str]) -> bool:
    """Try to build the unique index, which proves that the key is unique; in the caller's transaction.

    Returns:
        Whether the index stands. Where it does not, the transaction is as it was before; nothing is proved where
        Postgres has no order for a type in the key.
    """
    cur.execute("SAVEPOINT prove_key")
    try:
        build_key_index(cur, table, key)
    except (psycopg2.errors.UniqueViolation, psycopg2.errors.UndefinedObject):
        cur.execute("ROLLBACK TO SAVEPOINT prove_key")
        return False
    cur.execute("RELEASE SAVEPOINT prove_key")
    return True


def drop_key_index(cur: Cursor, table: Identifier) -> None:
    """Drop the unique index of a staged table, so that any row can be put back into it; no error if there is none."""
    index = find_key_index(cur, table)
    if index is not None:
        cur.execute(SQL("DROP INDEX {}").format(index))
