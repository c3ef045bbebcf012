"""append, replace_partition, snapshot: a partition for each slice; the staged table itself becomes the partition."""

from __future__ import annotations

from psycopg2.extensions import cursor as Cursor  # noqa: N812
from psycopg2.sql import SQL, Composable, Composed, Identifier, Literal

from penstock.core.contract.ddl import has_table_key, table_name
from penstock.core.contract.model import Contract
from penstock.core.contract.tombstone import buries
from penstock.core.gate.plan import slice_bounds
from penstock.core.key_index import build_key_index, drop_key_index, find_key_index, prove_key
from penstock.core.load_modes import Applied
from penstock.core.load_modes.merge import upsert
from penstock.core.load_modes.tombstones import bury, forget, take_out
from penstock.core.load_modes.versions import all_columns, as_text, deduplicate, names, newest
from penstock.core.slice import Slice
from penstock.core.stage import ROW_NUMBER, column_types
from penstock.core.table_lock import lock_for_change


def partition_name(contract: Contract, slice_: Slice) -> Identifier:
    """Return the partition that holds a slice."""
    return Identifier(contract.domain, f"{contract.table}_p{slice_.key.replace('-', '')}")


def has_partition(cur: Cursor, contract: Contract, slice_: Slice) -> bool:
    """Tell whether a slice has its partition."""
    cur.execute("SELECT to_regclass(%s) IS NOT NULL", (partition_name(contract, slice_).as_string(cur),))
    return cur.fetchone() == (True,)


def replace_partition(cur: Cursor, contract: Contract, slice_: Slice, candidate: Identifier, passed: int) -> Applied:
    """Make the staged table itself the slice's partition.

    All that takes time (the one pass that proves the constraints, the indexes) happens before the table is locked.

    Args:
        cur: Cursor on the warehouse.
        contract: The contract.
        slice_: The slice.
        candidate: The rows that passed the gate; the table is gone afterwards.
        passed: Their number.
    """
    forget(cur, contract, slice_)
    removed, marks = _take_marks(cur, contract, slice_, candidate)
    removed += _settle(cur, contract, slice_, candidate)
    return Applied(passed - marks - removed, marks)


def append(cur: Cursor, contract: Contract, slice_: Slice, candidate: Identifier, passed: int) -> Applied:
    """Make the staged rows, and those of an earlier load of the slice that are not among them, its partition.

    The arguments are those of `replace_partition`.
    """
    removed, marks = _take_marks(cur, contract, slice_, candidate)
    kept = deleted = 0
    if has_partition(cur, contract, slice_):
        drop_key_index(cur, candidate)
        removed += take_out(cur, contract, candidate, slice_)  # older than what an earlier load said was deleted
        kept = _keep_earlier(cur, contract, partition_name(contract, slice_), candidate)
        deleted = take_out(cur, contract, candidate, slice_)
        kept -= deleted
    removed += _settle(cur, contract, slice_, candidate)
    return Applied(passed + kept - marks - removed, marks, deleted, kept)


def _take_marks(cur: Cursor, contract: Contract, slice_: Slice, candidate: Identifier) -> tuple[int, int]:
    """Let deletions in the slice act on its rows, and take them out.

    Returns:
        The number of rows for which newer ones stand, and that of the deletions.
    """
    removed = 0
    if not buries(contract):
        return 0, 0
    if contract.key and contract.cursor and not find_key_index(cur, candidate):
        removed = deduplicate(cur, contract, candidate, contract.key)
    return removed, bury(cur, contract, slice_, candidate)


def _keep_earlier(cur: Cursor, contract: Contract, earlier: Identifier, candidate: Identifier) -> int:
    """Add those rows of an earlier load that no row of this one stands for; return their number.

    By key a row stands for one that is not newer. Without a key, equal rows are counted.
    """
    columns = names(all_columns(contract))
    if contract.key:
        same = SQL(" AND ").join(SQL("c.{n} = o.{n}").format(n=Identifier(name)) for name in contract.key)
        newer: Composable = SQL("true")
        if contract.cursor:
            newer = SQL("c.{c} >= o.{c}").format(c=Identifier(contract.cursor))
        missing = SQL("SELECT {} FROM {} AS o WHERE NOT EXISTS (SELECT FROM {} AS c WHERE {} AND {})").format(
            columns, earlier, candidate, same, newer
        )
    else:
        # Names that begin with _ are no column's.
        missing = SQL(
            "SELECT {columns} FROM (SELECT *, {text} AS _text, row_number() OVER (PARTITION BY {text}) AS _n"
            " FROM {earlier} AS o) AS o LEFT JOIN (SELECT {new_text} AS _text, count(*) AS _n FROM {candidate} AS c"
            " GROUP BY 1) AS c USING (_text) WHERE o._n > coalesce(c._n, 0)"
        ).format(
            columns=columns,
            text=as_text("o", contract),
            earlier=earlier,
            new_text=as_text("c", contract),
            candidate=candidate,
        )
    cur.execute(SQL("INSERT INTO {} ({}) {}").format(candidate, columns, missing))
    return cur.rowcount


def _settle(cur: Cursor, contract: Contract, slice_: Slice, candidate: Identifier) -> int:
    """Prove of the candidate what the table asks of a partition, and put it in place; return the rows removed."""
    assert contract.partition_by is not None  # noqa: S101 - checked when the contract is read
    if ROW_NUMBER in column_types(cur, candidate):
        cur.execute(SQL("ALTER TABLE {} DROP COLUMN {}").format(candidate, Identifier(ROW_NUMBER)))
    removed = _prove_key(cur, contract, candidate)
    bounds: list[Composable] = [Literal(bound) for bound in slice_bounds(slice_)]
    column = Identifier(contract.partition_by)
    changes = [SQL("ALTER {} SET NOT NULL").format(Identifier(name.name)) for name in contract.columns if name.required]
    in_slice = SQL("ADD CONSTRAINT penstock_slice CHECK ({c} IS NOT NULL AND {c} >= {low} AND {c} < {high})")
    changes.append(in_slice.format(c=column, low=bounds[0], high=bounds[1]))
    changes += _own_checks(cur, contract)
    index = find_key_index(cur, candidate)
    if index is not None and has_table_key(contract):
        changes.append(SQL("ADD PRIMARY KEY USING INDEX {}").format(Identifier(index.strings[1])))
    cur.execute(SQL("ALTER TABLE {} {}").format(candidate, SQL(", ").join(changes)))
    _build_own_indexes(cur, contract, candidate)
    _attach(cur, contract, slice_, candidate, bounds)
    return removed


def _prove_key(cur: Cursor, contract: Contract, candidate: Identifier) -> int:
    """Build the key's unique index, unless the gate has; only if that finds duplicates, remove them and build it."""
    if not contract.key or find_key_index(cur, candidate) or prove_key(cur, candidate, contract.key):
        return 0
    removed = deduplicate(cur, contract, candidate, contract.key)
    build_key_index(cur, candidate, contract.key)
    return removed


# --- what people have put on the table ---------------------------------------------------------------------------


def _own_checks(cur: Cursor, contract: Contract) -> list[Composed]:
    """Return the CHECK constraints of the table, which a partition must have before it is attached."""
    cur.execute(
        "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE conrelid = to_regclass(%s) AND contype = 'c' AND NOT connoinherit",
        (table_name(contract).as_string(cur),),
    )
    return [
        SQL("ADD CONSTRAINT {} {}").format(Identifier(name), SQL(definition)) for name, definition in cur.fetchall()
    ]


def _build_own_indexes(cur: Cursor, contract: Contract, candidate: Identifier) -> None:
    """Build the indexes that the table has beside its key; ATTACH would build them while readers wait."""
    cur.execute(
        "SELECT CASE WHEN i.indisunique THEN 'UNIQUE ' ELSE '' END,"
        " format('CREATE %%sINDEX %%I ON ONLY %%I.%%I ',"
        " CASE WHEN i.indisunique THEN 'UNIQUE ' ELSE '' END, x.relname, n.nspname, t.relname),"
        " pg_get_indexdef(i.indexrelid)"
        " FROM pg_index AS i JOIN pg_class AS x ON x.oid = i.indexrelid JOIN pg_class AS t ON t.oid = i.indrelid"
        " JOIN pg_namespace AS n ON n.oid = t.relnamespace"
        " WHERE i.indrelid = to_regclass(%s) AND NOT i.indisprimary AND i.indisvalid ORDER BY x.relname",
        (table_name(contract).as_string(cur),),
    )
    for unique, head, definition in cur.fetchall():
        if definition.startswith(head):
            cur.execute(
                SQL("CREATE {}INDEX ON {} {}").format(SQL(unique), candidate, SQL(definition.removeprefix(head)))
            )


# --- the final metadata change -----------------------------------------------------------------------------------


def detach(cur: Cursor, contract: Contract, slice_: Slice) -> None:
    """Take a slice's partition out of the table and drop it; in the caller's transaction.

    Raises:
        psycopg2.errors.LockNotAvailable: Readers held the table for too long.
    """
    partition, parent = partition_name(contract, slice_), table_name(contract)
    lock_for_change(cur, parent, partition)
    cur.execute(SQL("ALTER TABLE {} DETACH PARTITION {}").format(parent, partition))
    cur.execute(SQL("DROP TABLE {}").format(partition))


def _attach(cur: Cursor, contract: Contract, slice_: Slice, candidate: Identifier, bounds: list[Composable]) -> None:
    """Put the proved table in the partition's place; the only step that readers can notice."""
    partition, parent = partition_name(contract, slice_), table_name(contract)
    if has_partition(cur, contract, slice_):
        detach(cur, contract, slice_)
    else:
        lock_for_change(cur, parent, mode="SHARE UPDATE EXCLUSIVE")
    cur.execute(SQL("ALTER TABLE {} SET SCHEMA {}").format(candidate, Identifier(contract.domain)))
    moved = Identifier(contract.domain, candidate.strings[1])
    cur.execute(SQL("ALTER TABLE {} RENAME TO {}").format(moved, Identifier(partition.strings[1])))
    cur.execute(
        SQL("ALTER TABLE {} ATTACH PARTITION {} FOR VALUES FROM ({}) TO ({})").format(parent, partition, *bounds)
    )
    cur.execute(SQL("ALTER TABLE {} DROP CONSTRAINT penstock_slice").format(partition))
    cur.execute("SET LOCAL lock_timeout = 0")


# --- rows that join a published slice ----------------------------------------------------------------------------


def join_partition(cur: Cursor, contract: Contract, slice_: Slice, candidate: Identifier) -> Applied:
    """Insert rows beside those of their slice; by key, a row gives way only to one that is not older by the cursor.

    Args:
        cur: Cursor on the warehouse.
        contract: The contract.
        slice_: The slice, which has its partition.
        candidate: The rows; without a cursor their keys are known to be free.

    Returns:
        Under `loaded`, by how many rows the partition has grown.
    """
    target = partition_name(contract, slice_)
    _, marks = _take_marks(cur, contract, slice_, candidate)
    deleted = take_out(cur, contract, target, slice_)
    take_out(cur, contract, candidate, slice_)
    if not contract.key or contract.cursor is None:
        columns = names(all_columns(contract))
        cur.execute(SQL("INSERT INTO {} ({}) SELECT {} FROM {}").format(target, columns, columns, candidate))
        return Applied(cur.rowcount - deleted, marks, deleted)
    cur.execute(
        SQL("WITH done AS ({} RETURNING t.xmax = 0 AS new) SELECT count(*) FILTER (WHERE new) FROM done").format(
            upsert(contract, target, newest(contract, candidate, contract.key))
        )
    )
    row = cur.fetchone()
    return Applied((row[0] if row else 0) - deleted, marks, deleted)
