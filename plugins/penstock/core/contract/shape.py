"""The shape of a warehouse table, as the catalog has it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from psycopg2.extensions import cursor as Cursor  # noqa: N812
from psycopg2.sql import Identifier


@dataclass(frozen=True, slots=True)
class ColumnShape:
    """A column as the catalog has it; the type as `format_type()` spells it."""

    type: str
    not_null: bool
    comment: str | None


@dataclass(frozen=True, slots=True)
class TableShape:
    """A table as the catalog has it.

    Attributes:
        columns: By name. Their order means nothing.
        key: Columns of the primary key, in order; empty where there is none.
        key_name: Name of the primary key's constraint, or None.
        partition_by: The column by whose ranges the table is partitioned, or None.
        comment: The table's comment, or None.
        partitions: Schema and name of each partition.
    """

    columns: Mapping[str, ColumnShape]
    key: tuple[str, ...] = ()
    key_name: str | None = None
    partition_by: str | None = None
    comment: str | None = None
    partitions: tuple[Identifier, ...] = ()


def read_shape(cur: Cursor, table: Identifier) -> TableShape | None:
    """Return the shape of a table, or None where there is no such table."""
    cur.execute(
        "SELECT c.oid, obj_description(c.oid, 'pg_class'),"
        " (SELECT a.attname FROM pg_partitioned_table AS p JOIN pg_attribute AS a"
        " ON (a.attrelid, a.attnum) = (p.partrelid, p.partattrs[0]) WHERE p.partrelid = c.oid)"
        " FROM pg_class AS c WHERE c.oid = to_regclass(%s)",
        (table.as_string(cur),),
    )
    found = cur.fetchone()
    if found is None:
        return None
    oid, comment, partition_by = found
    cur.execute(
        "SELECT attname, format_type(atttypid, atttypmod), attnotnull, col_description(attrelid, attnum)"
        " FROM pg_attribute WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        (oid,),
    )
    columns = {name: ColumnShape(*facts) for name, *facts in cur.fetchall()}
    cur.execute(
        "SELECT conname, ARRAY(SELECT a.attname::text FROM unnest(conkey) WITH ORDINALITY AS k (attnum, n)"
        " JOIN pg_attribute AS a ON (a.attrelid, a.attnum) = (conrelid, k.attnum) ORDER BY k.n)"
        " FROM pg_constraint WHERE conrelid = %s AND contype = 'p'",
        (oid,),
    )
    key_name, key = cur.fetchone() or (None, [])
    cur.execute(
        "SELECT n.nspname, c.relname FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid"
        " JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE i.inhparent = %s ORDER BY 2",
        (oid,),
    )
    partitions = tuple(Identifier(*names) for names in cur.fetchall())
    return TableShape(columns, tuple(key), key_name, partition_by, comment, partitions)
