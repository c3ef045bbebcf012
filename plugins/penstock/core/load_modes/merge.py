"""merge: one row per key, the newest version that any slice gave."""

from __future__ import annotations

from functools import partial

from psycopg2.extensions import cursor as Cursor  # noqa: N812
from psycopg2.sql import SQL, Composed, Identifier

from penstock.core.contract.ddl import table_name
from penstock.core.contract.model import Contract
from penstock.core.contract.tombstone import buries
from penstock.core.load_modes import Applied
from penstock.core.load_modes.tombstones import bury, forget, take_out
from penstock.core.load_modes.versions import all_columns, deduplicate, names, put_newest
from penstock.core.slice import Slice


def lock_merge(cur: Cursor, contract: Contract) -> None:
    """Let one merge into a table run at a time: two that touch the same keys in another order would deadlock."""
    cur.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"penstock merge {contract.dataset}",))


def merge(
    cur: Cursor,
    contract: Contract,
    slice_: Slice,
    candidate: Identifier,
    passed: int,  # noqa: ARG001 - all load modes are called alike
    *,
    again: bool = True,
) -> Applied:
    """Upsert by key; a row in the table gives way only to a row that is not older by the cursor.

    Args:
        cur: Cursor on the warehouse.
        contract: The contract.
        slice_: The slice.
        candidate: The rows that passed the gate.
        passed: Their number.
        again: Whether they are the whole slice, so that they replace what an earlier load of it deleted.
    """
    lock_merge(cur, contract)
    marks = deleted = 0
    if buries(contract):
        if again:
            forget(cur, contract, slice_)
        deduplicate(cur, contract, candidate, contract.key)
        marks = bury(cur, contract, slice_, candidate)
        deleted = take_out(cur, contract, table_name(contract), slice_)
        take_out(cur, contract, candidate)
    loaded = put_newest(cur, contract, candidate, contract.key, partial(upsert, contract, table_name(contract)))
    return Applied(loaded, marks, deleted)


def upsert(contract: Contract, target: Identifier, rows: Composed) -> Composed:
    """Return the statement that puts rows, one per key, into a table where no newer version of theirs is."""
    assert contract.cursor is not None  # noqa: S101 - checked when the contract is read
    columns = all_columns(contract)
    others = [name for name in columns if name not in contract.key]
    return SQL(
        "INSERT INTO {table} AS t ({names}) SELECT {names} FROM {rows} ON CONFLICT ({key})"
        " DO UPDATE SET {sets} WHERE excluded.{cursor} >= t.{cursor}"
    ).format(
        table=target,
        names=names(columns),
        rows=rows,
        key=names(contract.key),
        sets=SQL(", ").join(SQL("{n} = excluded.{n}").format(n=Identifier(name)) for name in others),
        cursor=Identifier(contract.cursor),
    )
