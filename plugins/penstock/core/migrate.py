"""Bring a warehouse table to its contract: `plan` says what would change, `apply` changes it in one transaction.

A step is *destructive* where values of the table would be lost or written in another way, and *blocked* where rows
or other objects of the database stand against it. What does not convert is decided by the gate's own cast.

Most changes are made in place. Another partitioning, and another type of the partitioning column, need a new table
into which the rows are copied; it takes over owner, grants and comments.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import psycopg2
import psycopg2.errors
from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extensions import cursor as Cursor  # noqa: N812
from psycopg2.sql import SQL, Composable, Composed, Identifier, Literal

from penstock.core.contract.ddl import create_statements, lock_table, table_columns, table_name, wanted_shape
from penstock.core.contract.model import SLICE_FIELD, VALIDITY, Column, Contract, LoadMode
from penstock.core.contract.shape import TableShape, read_shape
from penstock.core.drift import with_evolved
from penstock.core.errors import MigrationRefused, PublishBlocked, SliceError
from penstock.core.gate.plan import slice_bounds
from penstock.core.gate.text_values import fails, value
from penstock.core.ledger import record_version
from penstock.core.load_modes.partitions import partition_name
from penstock.core.load_modes.scd2 import derivation
from penstock.core.load_modes.tombstones import remembers, taking_out
from penstock.core.ops import ensure_ops
from penstock.core.slice import day_slice
from penstock.core.source_table import widens

LOCK_TIMEOUT_SECONDS: Final = 5
"""How long `apply` waits for readers and publishes. Others queue behind it, so it is short."""

_ZONED: Final = "timestamp with time zone"
_BUILDING: Final = "staging"
_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class Step:
    """One change to a table.

    Attributes:
        words: What it does, with the figures that matter.
        statements: The SQL, in order; none where a later step does it all at once.
        destructive: Whether values would be lost or written in another way.
        blocked: Why it cannot be done now, or None.
    """

    words: str
    statements: tuple[str, ...] = ()
    destructive: bool = False
    blocked: str | None = None


@dataclass(frozen=True, slots=True)
class Migration:
    """All that stands between a table and its contract, in the order in which it is done."""

    dataset: str
    steps: tuple[Step, ...]

    @property
    def blocked(self) -> tuple[Step, ...]:
        """The steps that cannot be done now."""
        return tuple(step for step in self.steps if step.blocked)

    @property
    def destructive(self) -> tuple[Step, ...]:
        """The steps that lose values or write them in another way."""
        return tuple(step for step in self.steps if step.destructive)


def plan(cur: Cursor, contract: Contract) -> Migration:
    """Compare a contract with its table, and look at the rows where they decide; changes nothing."""
    contract = _with_evolved_columns(cur, contract)
    present = read_shape(cur, table_name(contract))
    if present is None:
        statements = tuple(statement.as_string(cur) for statement in create_statements(contract))
        words = f"create the table {contract.domain}.{contract.table} with {len(contract.columns)} columns"
        return Migration(contract.dataset, (Step(words, statements),))
    return Migration(contract.dataset, tuple(_Comparison(cur, contract, present).steps()))


def apply(conn: Connection, contract: Contract, *, by: str, allow_destructive: bool = False) -> Migration:
    """Bring the table to its contract; commits all of it or nothing.

    Args:
        conn: A session in the warehouse.
        contract: The contract.
        by: Who does it, for `ops.schema_change`.
        allow_destructive: Whether steps may be taken that lose values or write them in another way.

    Returns:
        What was done.

    Raises:
        MigrationRefused: A step is blocked or destructive without leave, or Postgres refuses it.
        PublishBlocked: The table was in use for longer than `LOCK_TIMEOUT_SECONDS`.
    """
    ensure_ops(conn)
    try:
        with conn, conn.cursor() as cur:
            _lock(cur, contract)
            migration = plan(cur, contract)
            _check(migration, allow_destructive)
            for step in migration.steps:
                for statement in step.statements:
                    cur.execute(statement)
            _record(cur, contract, migration, by)
            return migration
    except psycopg2.errors.LockNotAvailable as error:
        raise PublishBlocked(
            f"{contract.domain}.{contract.table} was in use for more than {LOCK_TIMEOUT_SECONDS} s; nothing was"
            " changed.",
            dataset=contract.dataset,
            next_step="apply again when nobody loads or reads it for long; pg_stat_activity shows who does.",
        ) from error
    except psycopg2.Error as error:
        raise MigrationRefused(
            f"Postgres refused the change, and nothing was changed: {' '.join(str(error).split())}",
            dataset=contract.dataset,
            next_step="take away what stands against it and apply again.",
        ) from error


def _lock(cur: Cursor, contract: Contract) -> None:
    cur.execute(SQL("SET LOCAL lock_timeout = {}").format(Literal(f"{LOCK_TIMEOUT_SECONDS}s")))
    lock_table(cur, contract)
    if read_shape(cur, table_name(contract)) is not None:
        cur.execute(SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(table_name(contract)))


def _check(migration: Migration, allow_destructive: bool) -> None:
    if migration.blocked:
        raise MigrationRefused(
            "; ".join(f"{step.words}: {step.blocked}" for step in migration.blocked) + ".",
            dataset=migration.dataset,
            next_step="take away what stands against it, or change the contract, and apply again.",
        )
    if migration.destructive and not allow_destructive:
        raise MigrationRefused(
            f"Values would be lost: {'; '.join(step.words for step in migration.destructive)}.",
            dataset=migration.dataset,
            next_step="apply again with --allow-destructive if that is meant.",
        )


def _record(cur: Cursor, contract: Contract, migration: Migration, by: str) -> None:
    for step in migration.steps:
        cur.execute(
            "INSERT INTO ops.schema_change (dataset, made_by, change, statement, destructive, contract_hash)"
            " VALUES (%s, %s, %s, %s, %s, %s)",
            (contract.dataset, by, step.words, ";\n".join(step.statements), step.destructive, contract.hash),
        )
    record_version(cur, contract)
    # A column that the contract names now is no longer one that came by itself; nor is one that is gone.
    present = read_shape(cur, table_name(contract))
    unnamed = set(present.columns if present else ()) - {column.name for column in contract.columns}
    cur.execute(
        "DELETE FROM ops.evolved_column WHERE dataset = %s AND NOT name = ANY (%s)", (contract.dataset, list(unnamed))
    )


def _with_evolved_columns(cur: Cursor, contract: Contract) -> Contract:
    """Return the contract with the columns that came by themselves, less those that it names now."""
    renamed = {column.renamed_from for column in contract.columns}
    found = with_evolved(cur, contract)
    return replace(found, columns=tuple(column for column in found.columns if column.name not in renamed))


def _list(names: tuple[str, ...] | list[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown


def _names(columns: tuple[str, ...]) -> Composed:
    return SQL(", ").join(map(Identifier, columns))


class _Comparison:
    """A contract held against the table that is there."""

    def __init__(self, cur: Cursor, contract: Contract, present: TableShape) -> None:
        self.cur = cur
        self.contract = contract
        self.table = table_name(contract)
        self.present = present
        self.wanted = wanted_shape(contract)
        # The old name of each column that stays.
        self.sources = {
            column.name: old for column in table_columns(contract) if (old := self._old_name(column)) in present.columns
        }
        self.dropped = [name for name in present.columns if name not in self.sources.values()]

    def _old_name(self, column: Column) -> str:
        old = column.renamed_from
        if old is None or old not in self.present.columns or column.name in self.present.columns:
            return column.name
        return old

    # --- the steps ---

    def steps(self) -> Iterator[Step]:
        """Yield the steps; of a rebuild, those before the last one carry no SQL."""
        steps = [
            *self._renames(),
            *self._key_drops(),
            *self._ended_versions(),
            *self._drops(),
            *self._types(),
            *self._additions(),
            *self._nulls(),
            *self._keys(),
            *self._burials(),
            *self._spans(),
        ]
        if self._is_rebuilt:
            yield from (replace(step, statements=()) for step in steps)
            yield self._rebuild()
        else:
            yield from steps
            yield from self._comments()

    @cached_property
    def _is_rebuilt(self) -> bool:
        """Tell whether the rows must go into a new table: Postgres partitions only when a table is made."""
        before, after = self.present.partition_by, self.wanted.partition_by
        if after is None or before is None:
            return before != after
        return self.sources.get(after) != before or self._is_retyped(after)

    def _is_retyped(self, name: str) -> bool:
        return self.present.columns[self.sources[name]].type != self.wanted.columns[name].type

    def _renames(self) -> Iterator[Step]:
        for name, old in self.sources.items():
            if name != old:
                yield Step(
                    f"rename {old} to {name}",
                    (
                        self._alter(SQL("RENAME COLUMN {} TO {}").format(Identifier(old), Identifier(name))),
                        # Rows in quarantine are mended and published under the new name; their fingerprint follows.
                        self._text(
                            SQL(
                                "UPDATE ops.quarantine AS q SET payload = n.payload,"
                                " fingerprint = md5(n.payload::text),"
                                " mended = (mended - {old}) || jsonb_build_object({new}, mended -> {old})"
                                " FROM (SELECT id, (payload - {old}) || jsonb_build_object({new}, payload -> {old})"
                                " AS payload FROM ops.quarantine WHERE dataset = {dataset} AND payload ? {old}) AS n"
                                " WHERE q.id = n.id"
                            ).format(old=Literal(old), new=Literal(name), dataset=Literal(self.contract.dataset))
                        ),
                    ),
                )

    def _drops(self) -> Iterator[Step]:
        for name in self.dropped:
            values = self._count(SQL("{} IS NOT NULL").format(Identifier(name)))
            readers = self._readers((name,))
            yield Step(
                f"drop {name} ({self.present.columns[name].type}) with {values:,} values",
                (self._alter(SQL("DROP COLUMN {}").format(Identifier(name))),),
                destructive=values > 0,
                blocked=self._drop_views(readers) if readers else None,
            )

    def _types(self) -> Iterator[Step]:
        for name, old in self.sources.items():
            before, after = self.present.columns[old].type, self.wanted.columns[name].type
            if before == after:
                continue
            readers = self._readers((old,))
            blocked = self._drop_views(readers) if readers else None
            if widens(before, after):
                yield Step(f"widen {name} from {before} to {after}", self._retype(name), blocked=blocked)
                continue
            values = self._count(SQL("{} IS NOT NULL").format(Identifier(old)))
            failing = self._failing(name)
            if failing:
                blocked = f"{failing:,} of {values:,} values do not convert; mend or load them first"
            words = f"change {name} from {before} to {after}, rewriting {values:,} values"
            yield Step(words, self._retype(name), destructive=values > 0, blocked=blocked)

    def _additions(self) -> Iterator[Step]:
        for name, column in self.wanted.columns.items():
            if name in self.sources:
                continue
            add = self._alter(SQL("ADD COLUMN {} {}").format(Identifier(name), SQL(column.type)))
            rows = self._count(SQL("true")) if column.not_null else 0
            words = f"add {name} ({column.type}{', required' if column.not_null else ''})"
            if rows and name in self._fillings:
                what, value = self._fillings[name]
                fill = self._text(SQL("UPDATE {} SET {} = {}").format(self.table, Identifier(name), value))
                yield Step(f"{words}: {what}", (add, fill, self._require(name)))
                continue
            lacking = "add it as optional, load it, then require it"
            if name in self._told_by_slice:
                lacking = "nobody knows any more in which slice they came; drop the table and load the slices again"
            yield Step(
                words,
                (add, self._require(name)) if column.not_null else (add,),
                blocked=f"{rows:,} rows would have no value; {lacking}" if rows else None,
            )

    def _require(self, name: str) -> str:
        return self._alter(SQL("ALTER {} SET NOT NULL").format(Identifier(name)))

    # --- another load mode ---

    @cached_property
    def _told_by_slice(self) -> list[str]:
        """The columns that hold the slice a row came in."""
        return [column.name for column in self.contract.columns if column.source_name == SLICE_FIELD]

    @cached_property
    def _fillings(self) -> dict[str, tuple[str, Composable]]:
        """Required columns that the table lacks and its rows can tell: what they hold, by the columns' new values."""
        found: dict[str, tuple[str, Composable]] = {}
        if self.contract.load_mode is LoadMode.SCD2 and VALIDITY[0] not in self.sources:
            assert self.contract.cursor is not None  # noqa: S101 - checked when the contract is read
            if self.contract.cursor in self.sources:
                moment = self._moved(self.contract.cursor)
                found[VALIDITY[0]] = (f"each row is valid from its {self.contract.cursor}", moment)
        cut_by = next((name for name, old in self.sources.items() if old == self.present.partition_by), None)
        if cut_by is None or not self._is_rebuilt:
            return found
        for name in self._told_by_slice:
            day = self._day(self._after(cut_by, Identifier(cut_by)), self.wanted.columns[cut_by].type)
            zone = SQL(" AT TIME ZONE 'UTC'" if self.wanted.columns[name].type == _ZONED else "")
            found[name] = ("the slice of each row", SQL("({}::timestamp{})").format(day, zone))
        return found

    def _moved(self, name: str) -> Composable:
        """Return a column's new value, as it is in the table after the steps, or on the way into a new one."""
        return self._after(name, Identifier(name)) if self._is_rebuilt else Identifier(name)

    @cached_property
    def _leaves_history(self) -> bool:
        """Tell whether the table holds versions that end, and is to hold one row per key."""
        was_history = self.present.key[-1:] == VALIDITY[:1] and set(VALIDITY) <= set(self.dropped)
        return was_history and self.contract.load_mode is LoadMode.MERGE

    def _ended_versions(self) -> Iterator[Step]:
        if not self._leaves_history:
            return
        ended = SQL("{} IS NOT NULL").format(Identifier(VALIDITY[1]))
        rows = self._count(ended)
        if rows:
            words = f"keep the current version of each row and delete {rows:,} versions that ended"
            yield Step(words, (self._text(SQL("DELETE FROM {} WHERE {}").format(self.table, ended)),), destructive=True)

    @cached_property
    def _buries(self) -> bool:
        """Tell whether deletions, which acted on the rows of their slice only, are to act on all."""
        if self.contract.partitioned or not self.present.partition_by or not remembers(self.contract):
            return False
        self.cur.execute("SELECT to_regclass('ops.tombstone') IS NOT NULL")
        if self.cur.fetchone() != (True,):
            return False
        self.cur.execute("SELECT EXISTS (SELECT FROM ops.tombstone WHERE dataset = %s)", (self.contract.dataset,))
        return self.cur.fetchone() == (True,)

    def _burials(self) -> Iterator[Step]:
        if self._buries:
            yield Step("take out the rows that any slice says were deleted", destructive=True)

    def _spans(self) -> Iterator[Step]:
        if VALIDITY[0] in self._fillings:
            yield Step("let each version end where the next one of its key begins", (self._derivation(),))

    def _derivation(self) -> str:
        keys = SQL("(SELECT {} FROM {})").format(_names(self.contract.key), self.table)
        return self._text(derivation(self.contract, keys))

    def _nulls(self) -> Iterator[Step]:
        for name, old in self.sources.items():
            before, after = self.present.columns[old].not_null, self.wanted.columns[name].not_null
            if before and not after:
                yield Step(
                    f"let {name} be NULL",
                    (self._alter(SQL("ALTER {} DROP NOT NULL").format(Identifier(name))),),
                )
            if after and not before:
                rows = self._count(SQL("{} IS NULL").format(Identifier(old)))
                yield Step(
                    f"require {name}",
                    (self._alter(SQL("ALTER {} SET NOT NULL").format(Identifier(name))),),
                    blocked=f"{rows:,} rows have no value" if rows else None,
                )

    # --- the key ---

    @cached_property
    def _kept_key(self) -> tuple[str, ...]:
        """The table's present key under its new names; empty if any of it goes."""
        new_names = {old: name for name, old in self.sources.items()}
        key = tuple(new_names.get(name, "") for name in self.present.key)
        return key if all(key) else ()

    @cached_property
    def _partition_key(self) -> tuple[str, ...]:
        """The key where each partition has a unique index of its own."""
        return self.contract.key if self.wanted.partition_by and not self.wanted.key else ()

    @cached_property
    def _own_indexes(self) -> list[tuple[Identifier, Identifier, tuple[str, ...]]]:
        """Partition, name and columns (as they are now) of the unique indexes that partitions have of their own."""
        self.cur.execute(
            "SELECT tn.nspname, t.relname, n.nspname, c.relname, ARRAY(SELECT a.attname::text"
            " FROM unnest(x.indkey::int2[]) WITH ORDINALITY AS k (attnum, n) JOIN pg_attribute AS a"
            " ON (a.attrelid, a.attnum) = (x.indrelid, k.attnum) ORDER BY k.n)"
            " FROM pg_inherits AS i JOIN pg_index AS x ON x.indrelid = i.inhrelid AND x.indisunique"
            " JOIN pg_class AS c ON c.oid = x.indexrelid AND NOT c.relispartition"
            " JOIN pg_namespace AS n ON n.oid = c.relnamespace JOIN pg_class AS t ON t.oid = x.indrelid"
            " JOIN pg_namespace AS tn ON tn.oid = t.relnamespace WHERE i.inhparent = to_regclass(%s) ORDER BY 2, 4",
            (self.table.as_string(self.cur),),
        )
        return [(Identifier(a, b), Identifier(c, d), tuple(columns)) for a, b, c, d, columns in self.cur.fetchall()]

    @cached_property
    def _old_partition_key(self) -> tuple[str, ...]:
        return tuple(self.sources.get(name, name) for name in self._partition_key)

    def _key_drops(self) -> Iterator[Step]:
        if self.present.key and self._kept_key != self.wanted.key:
            assert self.present.key_name is not None  # noqa: S101 - a key is a constraint, which has a name
            yield Step(
                f"drop the primary key ({', '.join(self.present.key)})",
                (self._alter(SQL("DROP CONSTRAINT {}").format(Identifier(self.present.key_name))),),
            )
        stale = [index for _, index, columns in self._own_indexes if columns != self._old_partition_key]
        if stale and not self._is_rebuilt:
            yield Step(
                f"drop the unique index of {len(stale):,} partitions",
                tuple(self._text(SQL("DROP INDEX {}").format(index)) for index in stale),
            )

    def _keys(self) -> Iterator[Step]:
        if self.wanted.key and self._kept_key != self.wanted.key:
            yield Step(
                f"make ({', '.join(self.wanted.key)}) the primary key",
                (self._alter(SQL("ADD PRIMARY KEY ({})").format(_names(self.wanted.key))),),
                blocked=self._duplicates(self.wanted.key),
            )
        elif self.wanted.key and any(self._is_retyped(name) for name in self.wanted.key):
            blocked = self._duplicates(self.wanted.key)
            if blocked:
                yield Step(f"keep the primary key ({', '.join(self.wanted.key)})", blocked=blocked)
        if self._partition_key:
            keyed = [table for table, _, columns in self._own_indexes if columns == self._old_partition_key]
            lacking = [partition for partition in self.present.partitions if partition not in keyed]
            if lacking or self._is_rebuilt:
                yield Step(
                    f"make ({', '.join(self._partition_key)}) unique in each partition",
                    tuple(self._unique_index(partition) for partition in lacking),
                    blocked=self._duplicates(self._partition_key),
                )

    def _unique_index(self, partition: Identifier) -> str:
        return self._text(SQL("CREATE UNIQUE INDEX ON {} ({})").format(partition, _names(self._partition_key)))

    def _duplicates(self, key: tuple[str, ...]) -> str | None:
        """Say how many rows repeat a key, as it will be; None where none does, or where that cannot be known yet."""
        if VALIDITY[0] in self._fillings:  # it holds what the cursor does
            key = tuple(str(self.contract.cursor) if name == VALIDITY[0] else name for name in key)
        if any(name not in self.sources or self._failing(name) for name in key):
            return None
        parts = key
        if key == self._partition_key and self.wanted.partition_by in self.sources:
            parts = (*key, self.wanted.partition_by)
        values = [self._after(name, Identifier(name)) for name in parts]
        if len(parts) > len(key):
            assert self.wanted.partition_by is not None  # noqa: S101 - it is what `parts` was given above
            values[-1] = self._day(values[-1], self.wanted.columns[self.wanted.partition_by].type)
        self.cur.execute(
            SQL(
                "SELECT coalesce(sum(n - 1), 0)::bigint FROM"
                " (SELECT count(*) AS n FROM {} GROUP BY {} HAVING count(*) > 1) AS d"
            ).format(self._before(), SQL(", ").join(values))
        )
        row = self.cur.fetchone()
        return f"{row[0]:,} rows repeat the key of another" if row and row[0] else None

    # --- values, before and after ---

    def _count(self, condition: Composed | SQL) -> int:
        self.cur.execute(SQL("SELECT count(*) FROM {} WHERE {}").format(self.table, condition))
        row = self.cur.fetchone()
        return int(row[0]) if row else 0

    def _before(self) -> Composed:
        """Return the rows under their new names; what does not simply widen is text, as the cast wants it."""
        columns = [
            SQL("{} AS {}").format(self._plain_or_text(name, Identifier(old)), Identifier(name))
            for name, old in self.sources.items()
        ]
        only = SQL(" WHERE {} IS NULL").format(Identifier(VALIDITY[1])) if self._leaves_history else SQL("")
        return SQL("(SELECT {} FROM {}{}) AS before").format(SQL(", ").join(columns), self.table, only)

    def _plain_or_text(self, name: str, found: Identifier) -> Composable:
        """Return a present value, found under this name; a decimal's text without the zeros its type pads it with."""
        if self._is_simple(name):
            return found
        before = self.present.columns[self.sources[name]].type
        is_decimal = before.startswith("numeric") and not before.endswith("[]")
        return SQL("trim_scale({})::text" if is_decimal else "{}::text").format(found)

    def _is_simple(self, name: str) -> bool:
        return widens(self.present.columns[self.sources[name]].type, self.wanted.columns[name].type)

    def _after(self, name: str, before: Composable) -> Composed:
        """Return the new value of what `_plain_or_text` gives."""
        column = self._as_stored[name]
        if self._is_simple(name) or _is_array(column):
            return SQL("{}::{}").format(before, SQL(column.type))  # canonical, see contract.types
        return value(column, before)

    @cached_property
    def _as_stored(self) -> dict[str, Column]:
        """The columns as the cast is to see them: values in the warehouse are in ISO 8601 and carry no unit."""
        return {column.name: replace(column, format=None, unit=None) for column in table_columns(self.contract)}

    def _failing(self, name: str) -> int:
        """Count the values that do not convert."""
        if self._is_simple(name):
            return 0
        column, text = self._as_stored[name], Identifier(name)
        failing = (
            SQL("NOT pg_input_is_valid({}, {})").format(text, Literal(column.type))
            if _is_array(column)  # the text is Postgres' own literal, and the cast's reading is no plain expression
            else fails(column, text)
        )
        self.cur.execute(
            SQL("SELECT count(*) FROM {} WHERE {} IS NOT NULL AND {}").format(self._before(), text, failing)
        )
        row = self.cur.fetchone()
        return int(row[0]) if row else 0

    def _retype(self, name: str) -> tuple[str, ...]:
        found = self._plain_or_text(name, Identifier(name))
        type_ = SQL(self.wanted.columns[name].type)
        change = SQL("ALTER {} TYPE {} USING {}").format(Identifier(name), type_, self._after(name, found))
        return (self._alter(change),)

    @staticmethod
    def _day(value: Composable, type_: str) -> Composed:
        """Return the slice of a value of the partitioning column, which has this type."""
        return SQL("({} AT TIME ZONE 'UTC')::date" if type_ == _ZONED else "({})::date").format(value)

    # --- other objects ---

    def _readers(self, columns: tuple[str, ...] | None = None) -> list[str]:
        """Return the views that read these columns, or any part of the table."""
        self.cur.execute(
            "SELECT DISTINCT r.ev_class::regclass::text FROM pg_depend AS d JOIN pg_rewrite AS r ON r.oid = d.objid"
            " LEFT JOIN pg_attribute AS a ON (a.attrelid, a.attnum) = (d.refobjid, d.refobjsubid)"
            " WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass"
            " AND d.refobjid IN (SELECT to_regclass(%(t)s) UNION ALL SELECT inhrelid FROM pg_inherits"
            " WHERE inhparent = to_regclass(%(t)s)) AND (%(c)s::text[] IS NULL OR a.attname = ANY (%(c)s)) ORDER BY 1",
            {"t": self.table.as_string(self.cur), "c": list(columns) if columns else None},
        )
        return [name for (name,) in self.cur.fetchall()]

    @staticmethod
    def _drop_views(readers: list[str]) -> str:
        return f"the view {_list(readers)} reads it; drop the view, apply, and make it again"

    def _others(self) -> list[str]:
        """Name what hangs on the table and would not come along to a new one."""
        self.cur.execute(
            "SELECT 'the foreign key ' || conname || ' of ' || conrelid::regclass FROM pg_constraint"
            " WHERE confrelid = to_regclass(%(t)s) AND contype = 'f'"
            " UNION ALL SELECT 'the trigger ' || tgname FROM pg_trigger"
            " WHERE tgrelid = to_regclass(%(t)s) AND NOT tgisinternal"
            " UNION ALL SELECT 'the policy ' || polname FROM pg_policy WHERE polrelid = to_regclass(%(t)s)"
            " UNION ALL SELECT 'the constraint ' || conname FROM pg_constraint WHERE conrelid = to_regclass(%(t)s)"
            " AND contype NOT IN ('p', 'n')"
            " UNION ALL SELECT 'the index ' || indexrelid::regclass FROM pg_index WHERE indrelid = to_regclass(%(t)s)"
            " AND NOT indisprimary ORDER BY 1",
            {"t": self.table.as_string(self.cur)},
        )
        return [name for (name,) in self.cur.fetchall()]

    # --- comments ---

    def _comments(self) -> Iterator[Step]:
        if self.present.comment != self.wanted.comment:
            statement = SQL("COMMENT ON TABLE {} IS {}").format(self.table, Literal(self.wanted.comment))
            yield Step("comment on the table", (self._text(statement),))
        for name, column in self.wanted.columns.items():
            old = self.sources.get(name)
            if column.comment != (self.present.columns[old].comment if old else None):
                statement = SQL("COMMENT ON COLUMN {}.{} IS {}").format(
                    self.table, Identifier(name), Literal(column.comment)
                )
                yield Step(f"comment on {name}", (self._text(statement),))

    # --- the rebuild ---

    def _rebuild(self) -> Step:
        """Copy the rows into a new table, made aside, which then takes the old one's place."""
        new = replace(self.contract, dataset=f"{_BUILDING}/{self.contract.table}")
        cut_by = self.wanted.partition_by
        rows = self._count(SQL("true"))
        how = f"partitioned by {cut_by}" if cut_by else "in one piece"
        words = f"copy {rows:,} rows into a new table, {how}"
        against = [*(f"the view {name}" for name in self._readers()), *self._others()]
        if against:
            return Step(words, blocked=f"{_list(against)} would be lost; drop it, apply, and make it again")
        try:
            keys = self._slice_keys() if cut_by else []
            partitions = [(partition_name(new, slice_), slice_bounds(slice_)) for slice_ in map(day_slice, keys)]
        except SliceError as error:
            return Step(words, blocked=f"a row lies in no slice: {error.message}")
        made = table_name(new)
        values: dict[str, Composable] = {name: self._after(name, Identifier(name)) for name in self.sources}
        values |= {name: value for name, (_, value) in self._fillings.items()}
        copied = SQL("INSERT INTO {} ({}) SELECT {} FROM {}").format(
            made,
            _names(tuple(values)),
            SQL(", ").join(values.values()),
            self._before(),
        )
        statements: list[Composable] = [
            *create_statements(new),
            *(
                SQL("CREATE TABLE {} PARTITION OF {} FOR VALUES FROM ({}) TO ({})").format(
                    name, made, *(Literal(bound) for bound in bounds)
                )
                for name, bounds in partitions
            ),
            copied,
            *(
                SQL("CREATE UNIQUE INDEX ON {} ({})").format(name, _names(self._partition_key))
                for name, _ in partitions
                if self._partition_key
            ),
            *self._owner_and_grants(made),
            SQL("DROP TABLE {}").format(self.table),
            *(
                SQL("ALTER TABLE {} SET SCHEMA {}").format(name, Identifier(self.contract.domain))
                for name in (made, *(name for name, _ in partitions))
            ),
        ]
        versions = self.contract.load_mode is LoadMode.SCD2
        derived = [self._text(taking_out(self.contract, self.table, versions=versions))] if self._buries else []
        derived += [self._derivation()] if VALIDITY[0] in self._fillings else []
        return Step(words, (*(self._text(statement) for statement in statements), *derived))

    def _slice_keys(self) -> list[str]:
        cut_by = self.wanted.partition_by
        if cut_by in self._fillings:
            moment = self._fillings[cut_by][1]
        elif cut_by not in self.sources or self._failing(cut_by):
            return []  # told as a step of its own
        else:
            moment = self._after(cut_by, Identifier(cut_by))
        day = self._day(moment, self.wanted.columns[cut_by].type)
        self.cur.execute(
            SQL(
                "SELECT DISTINCT to_char(day, 'YYYY-MM-DD'), isfinite(day), extract(year FROM day) BETWEEN 1 AND 9999"
                " FROM (SELECT {} AS day FROM {}) AS d WHERE day IS NOT NULL ORDER BY 1"
            ).format(day, self._before())
        )
        found = self.cur.fetchall()
        if not all(finite and known for _, finite, known in found):
            raise SliceError(f"{cut_by} holds days before year 1, after 9999, or infinite ones")
        return [key for key, _, _ in found]

    def _owner_and_grants(self, made: Identifier) -> Iterator[Composable]:
        self.cur.execute(
            "SELECT pg_get_userbyid(c.relowner), pg_get_userbyid(c.relowner) = current_user FROM pg_class AS c"
            " WHERE c.oid = to_regclass(%s)",
            (self.table.as_string(self.cur),),
        )
        owner, is_ours = self.cur.fetchone() or (None, True)
        if owner and not is_ours:
            yield SQL("ALTER TABLE {} OWNER TO {}").format(made, Identifier(owner))
        self.cur.execute(
            "SELECT CASE g.grantee WHEN 0 THEN NULL ELSE pg_get_userbyid(g.grantee) END, g.privilege_type,"
            " g.is_grantable FROM pg_class AS c, LATERAL aclexplode(c.relacl) AS g"
            " WHERE c.oid = to_regclass(%s) AND g.grantee <> c.relowner ORDER BY 1, 2",
            (self.table.as_string(self.cur),),
        )
        for grantee, privilege, grantable in self.cur.fetchall():
            yield SQL("GRANT {} ON {} TO {}{}").format(
                SQL(privilege),
                made,
                Identifier(grantee) if grantee else SQL("PUBLIC"),
                SQL(" WITH GRANT OPTION" if grantable else ""),
            )

    # --- SQL as text ---

    def _alter(self, change: Composable) -> str:
        return self._text(SQL("ALTER TABLE {} {}").format(self.table, change))

    def _text(self, statement: Composable) -> str:
        return statement.as_string(self.cur)


def _is_array(column: Column) -> bool:
    return column.type.endswith("[]")
