"""scd2: every version that any slice gave, each valid until the next one of its key (Kimball's type 2).

A version is known by its key and its moment, the cursor. When one comes late, the version before it and its own end
are derived anew from all moments of the key, so that history does not depend on the order of the slices.
"""

from __future__ import annotations

from functools import partial

from psycopg2.extensions import cursor as Cursor  # noqa: N812
from psycopg2.sql import SQL, Composable, Composed, Identifier

from penstock.core.contract.ddl import table_key, table_name
from penstock.core.contract.model import VALIDITY, Contract
from penstock.core.contract.tombstone import buries
from penstock.core.load_modes import Applied
from penstock.core.load_modes.merge import lock_merge
from penstock.core.load_modes.tombstones import bury, forget, graves, remembers, take_out
from penstock.core.load_modes.versions import all_columns, deduplicate, names, put_newest
from penstock.core.slice import Slice

_TOUCHED = Identifier("penstock_touched")


def scd2(
    cur: Cursor,
    contract: Contract,
    slice_: Slice,
    candidate: Identifier,
    passed: int,  # noqa: ARG001 - all load modes are called alike
    *,
    again: bool = True,
) -> Applied:
    """Add the slice's versions and derive the validity of all versions of their keys.

    Args:
        cur: Cursor on the warehouse.
        contract: The contract.
        slice_: The slice.
        candidate: The rows that passed the gate.
        passed: Their number.
        again: Whether they are the whole slice, so that they replace what an earlier load of it deleted.
    """
    lock_merge(cur, contract)
    assert contract.cursor is not None  # noqa: S101 - checked when the contract is read
    if not buries(contract):
        loaded = _add(cur, contract, candidate)
        derive(cur, contract, SQL("(SELECT {} FROM {})").format(names(contract.key), candidate))
        return Applied(loaded)
    touched = note_touched(cur, contract, slice_, SQL("SELECT {} FROM {}").format(names(contract.key), candidate))
    if again:
        forget(cur, contract, slice_)
    deduplicate(cur, contract, candidate, (*contract.key, contract.cursor))
    marks = bury(cur, contract, slice_, candidate)
    deleted = take_out(cur, contract, table_name(contract), slice_, versions=True)
    take_out(cur, contract, candidate, versions=True)
    loaded = _add(cur, contract, candidate)
    derive(cur, contract, touched)
    cur.execute(SQL("DROP TABLE {}").format(_TOUCHED))
    return Applied(loaded, marks, deleted)


def note_touched(cur: Cursor, contract: Contract, slice_: Slice, keys: Composed) -> Composed:
    """Note, till the transaction ends, some keys and those that an earlier load of the slice said were deleted.

    Args:
        cur: Cursor on the warehouse.
        contract: The contract.
        slice_: The slice.
        keys: A query of the keys, with the columns of the contract's key.

    Returns:
        A subquery of what was noted, as `derive` takes it.
    """
    if remembers(contract):
        keys = SQL("{} UNION SELECT {} FROM {} AS g").format(keys, names(contract.key), graves(contract, slice_))
    cur.execute(SQL("CREATE TEMPORARY TABLE {} ON COMMIT DROP AS {}").format(_TOUCHED, keys))
    return SQL("(SELECT {} FROM {})").format(names(contract.key), _TOUCHED)


def _add(cur: Cursor, contract: Contract, candidate: Identifier) -> int:
    assert contract.cursor is not None  # noqa: S101 - checked when the contract is read
    return put_newest(cur, contract, candidate, (*contract.key, contract.cursor), partial(_upsert, contract))


def _upsert(contract: Contract, rows: Composed) -> Composed:
    assert contract.cursor is not None  # noqa: S101 - checked when the contract is read
    columns = all_columns(contract)
    others = [name for name in columns if name not in contract.key]
    return SQL(
        "INSERT INTO {table} ({names}, {since}) SELECT {names}, {cursor} FROM {rows} ON CONFLICT ({key})"
        " DO UPDATE SET {sets}"
    ).format(
        table=table_name(contract),
        names=names(columns),
        since=Identifier(VALIDITY[0]),
        cursor=Identifier(contract.cursor),
        rows=rows,
        key=names(table_key(contract)),
        sets=SQL(", ").join(SQL("{n} = excluded.{n}").format(n=Identifier(name)) for name in others),
    )


def derive(cur: Cursor, contract: Contract, keys: Composable) -> None:
    """Let each version of some keys end where the next one, or the deletion of its row, begins.

    Args:
        cur: Cursor on the warehouse.
        contract: The contract.
        keys: A subquery of the keys, with the columns of the contract's key.
    """
    cur.execute(derivation(contract, keys))


def derivation(contract: Contract, keys: Composable) -> Composed:
    """Return the statement by which `derive` does it."""
    since, until = map(Identifier, VALIDITY)
    # Names that begin with _ are no column's.
    moments = SQL(
        "SELECT {key}, {since} AS _at, {until} AS _said, true AS _version FROM {table} WHERE ({key}) IN {keys}"
    ).format(key=names(contract.key), since=since, until=until, table=table_name(contract), keys=keys)
    if remembers(contract):
        assert contract.cursor is not None  # noqa: S101 - checked when the contract is read
        gone = SQL("SELECT {key}, {cursor}, NULL, false FROM {graves} AS g WHERE ({key}) IN {keys}").format(
            key=names(contract.key), cursor=Identifier(contract.cursor), graves=graves(contract), keys=keys
        )
        moments = SQL("{} UNION ALL {}").format(moments, gone)
    return SQL(
        "UPDATE {table} AS t SET {until} = n._next FROM (SELECT *, lead(_at) OVER (PARTITION BY {key} ORDER BY _at)"
        " AS _next FROM ({moments}) AS m) AS n WHERE n._version AND n._said IS DISTINCT FROM n._next"
        " AND {same} AND t.{since} = n._at"
    ).format(
        table=table_name(contract),
        until=until,
        since=since,
        key=names(contract.key),
        moments=moments,
        same=SQL(" AND ").join(SQL("t.{n} = n.{n}").format(n=Identifier(name)) for name in contract.key),
    )
