"""Rows that the source deleted: they leave the table, and what they said is remembered.

Without the memory an older version of a deleted row that comes later, from a late slice or a backfill, would bring the
row back.
"""

from __future__ import annotations

from psycopg2.extensions import cursor as Cursor  # noqa: N812
from psycopg2.sql import SQL, Composed, Identifier, Literal

from penstock.core.contract.model import Contract
from penstock.core.contract.tombstone import buries, is_deleted
from penstock.core.slice import Slice


def forget(cur: Cursor, contract: Contract, slice_: Slice) -> None:
    """Forget what an earlier load of the slice said was deleted: it is loaded anew."""
    if remembers(contract):
        cur.execute("DELETE FROM ops.tombstone WHERE (dataset, slice_key) = (%s, %s)", (contract.dataset, slice_.key))


def remembers(contract: Contract) -> bool:
    """Tell whether deletions of this dataset can be told from each other, and from versions of the row."""
    return buries(contract) and bool(contract.key) and contract.cursor is not None


def bury(cur: Cursor, contract: Contract, slice_: Slice, rows: Identifier) -> int:
    """Remember the deletions among the rows of a slice, and take them out; return their number."""
    if not buries(contract):
        return 0
    if remembers(contract):
        assert contract.cursor is not None  # noqa: S101 - it is what `remembers` asks
        cur.execute(
            SQL(
                "INSERT INTO ops.tombstone (dataset, slice_key, key, moment)"
                " SELECT {dataset}, {slice}, ARRAY[{key}], {cursor}::text FROM {rows} WHERE {deleted}"
                " ON CONFLICT DO NOTHING"
            ).format(
                dataset=Literal(contract.dataset),
                slice=Literal(slice_.key),
                key=SQL(", ").join(SQL("{}::text").format(Identifier(name)) for name in contract.key),
                cursor=Identifier(contract.cursor),
                rows=rows,
                deleted=is_deleted(contract),
            )
        )
    cur.execute(SQL("DELETE FROM {} WHERE {}").format(rows, is_deleted(contract)))
    return cur.rowcount


def graves(contract: Contract, slice_: Slice | None = None) -> Composed:
    """Return what is remembered as a subquery: the contract's key and cursor, in their own types.

    Args:
        contract: A contract whose deletions are remembered.
        slice_: Only what this slice said; None for all slices.
    """
    assert contract.cursor is not None  # noqa: S101 - it is what `remembers` asks
    types = {column.name: column.type for column in contract.columns}
    key = [
        SQL("key[{}]::{} AS {}").format(Literal(position), SQL(types[name]), Identifier(name))
        for position, name in enumerate(contract.key, start=1)
    ]
    moment = SQL("moment::{} AS {}").format(SQL(types[contract.cursor]), Identifier(contract.cursor))
    return SQL("(SELECT {}, {} FROM ops.tombstone WHERE dataset = {} AND {})").format(
        SQL(", ").join(key),
        moment,
        Literal(contract.dataset),
        SQL("slice_key = {}").format(Literal(slice_.key)) if slice_ else SQL("true"),
    )


def take_out(
    cur: Cursor, contract: Contract, table: Identifier, slice_: Slice | None = None, *, versions: bool = False
) -> int:
    """Delete the rows of a table that were deleted at the source after they were valid; return their number.

    Args:
        cur: Cursor on the warehouse.
        contract: The contract.
        table: The published table, or rows that are to join it.
        slice_: Only what this slice said; None for all slices.
        versions: Whether the table holds all versions of a row; then only one of the very moment of its deletion goes.
    """
    if not remembers(contract):
        return 0
    cur.execute(taking_out(contract, table, slice_, versions=versions))
    return cur.rowcount


def taking_out(
    contract: Contract, table: Identifier, slice_: Slice | None = None, *, versions: bool = False
) -> Composed:
    """Return the statement by which `take_out` does it; the contract's deletions are remembered."""
    assert contract.cursor is not None  # noqa: S101 - it is what `remembers` asks
    same = [SQL("t.{n} = g.{n}").format(n=Identifier(name)) for name in contract.key]
    when = SQL("t.{c} = g.{c}" if versions else "t.{c} <= g.{c}").format(c=Identifier(contract.cursor))
    return SQL("DELETE FROM {} AS t USING {} AS g WHERE {}").format(
        table, graves(contract, slice_), SQL(" AND ").join([*same, when])
    )
