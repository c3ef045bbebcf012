"""Locks of published tables: waited for in short tries, so that readers are never kept waiting for long."""

from __future__ import annotations

from typing import Final

import psycopg2.errors
from psycopg2.extensions import cursor as Cursor  # noqa: N812
from psycopg2.sql import SQL, Identifier, Literal

LOCK_TIMEOUT_SECONDS: Final = 1
"""How long each try waits for readers. New readers queue behind it, so it is short."""

LOCK_PAUSES_SECONDS: Final = (0.5, 1.0, 2.0, 4.0)
"""Rests between tries, in which the readers that queued get through."""


def lock_for_change(cur: Cursor, *tables: Identifier, mode: str = "ACCESS EXCLUSIVE") -> None:
    """Lock tables till the transaction ends; tries several times, each of them short.

    While a lock is waited for, new readers queue behind it: a long wait behind one slow reader would stop all others.

    Args:
        cur: Cursor on the warehouse.
        tables: The tables, in this order.
        mode: The lock's mode; by default nobody reads them meanwhile.

    Raises:
        psycopg2.errors.LockNotAvailable: Readers held a table at each of the tries.
    """
    cur.execute(SQL("SET LOCAL lock_timeout = {}").format(Literal(f"{LOCK_TIMEOUT_SECONDS}s")))
    for pause in (*LOCK_PAUSES_SECONDS, None):
        cur.execute("SAVEPOINT lock_for_change")
        try:
            for table in tables:
                cur.execute(SQL("LOCK TABLE ONLY {} IN {} MODE").format(table, SQL(mode)))
        except psycopg2.errors.LockNotAvailable:
            if pause is None:
                raise
            cur.execute("ROLLBACK TO SAVEPOINT lock_for_change")
            cur.execute("SELECT pg_sleep(%s)", (pause,))
        else:
            cur.execute("RELEASE SAVEPOINT lock_for_change")
            return
