"""Several sessions read one large table at once, all in one snapshot, and fill one table of the warehouse.

The table is cut into ranges of its blocks or, where the source reads a slice through an index, of its slice column.
The first range begins and the last ends nowhere, so that each row is in one range, whatever the figures they were
cut by. The readers take the ranges in turn, a few for each of them, so that none waits long for another.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import psycopg2.errors
from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extensions import cursor as Cursor  # noqa: N812
from psycopg2.sql import SQL, Composable, Composed, Identifier, Literal

from penstock.core.copy_pipe import pipe_copy
from penstock.core.errors import SourceUnavailable
from penstock.core.slice import Slice
from penstock.core.stage import Stage, begin_snapshot, copy_into, drop_unfinished, finish_stage, unfinished_stage

RANGES_PER_READER: Final = 4
_BLOCK_BYTES: Final = 8192
_RANGES_OF_BLOCKS: Final = 140000  # since Postgres 14 a range of blocks is read without the rest of the table
_THROUGH_INDEX: Final = {"Index Scan", "Index Only Scan", "Bitmap Heap Scan"}
_PATIENCE_SECONDS: Final = 0.2

Pair = tuple[Connection, Connection]


@dataclass(frozen=True, slots=True)
class Readers:
    """How many sessions may read, and where the further ones come from.

    Attributes:
        count: Number of readers, of which the caller's own two sessions are one.
        source: Opens a further session at the source.
        warehouse: Opens a further session in the warehouse.
        least_blocks: A range is not made smaller than this many blocks of 8 kB.
    """

    count: int
    source: Callable[[], Connection]
    warehouse: Callable[[], Connection]
    least_blocks: int = 2048


@dataclass(frozen=True, slots=True)
class Ranges:
    """The conditions that cut a query into ranges; none, with the reason, where one reader does better."""

    conditions: tuple[Composed, ...] = ()
    why_not: str = ""


# --- what each reads ---------------------------------------------------------------------------------------------


def cut(
    out: Cursor, query: Composed, table: Identifier, readers: Readers, moment: Composable | None, slice_: Slice
) -> Ranges:
    """Cut a query on one table into ranges, by how the source's planner means to read it.

    Args:
        out: Cursor on the source.
        query: The query of the whole slice.
        table: The table.
        readers: How many read at most.
        moment: The expression that the slice is cut by, where it can be cut further; a date cannot.
        slice_: The slice.
    """
    if out.connection.info.server_version < _RANGES_OF_BLOCKS:
        return Ranges(why_not="the source is older than Postgres 14")
    out.execute(
        "SELECT relkind IN ('r', 'p') AND has_table_privilege(oid, 'SELECT') FROM pg_class WHERE oid = to_regclass(%s)",
        (table.as_string(out),),
    )
    if out.fetchone() != (True,):
        return Ranges(why_not="only a table, all of which may be read, has ranges")
    scans = list(_scans(out, query))
    kinds = {scan["Node Type"] for scan in scans}
    if kinds and kinds <= _THROUGH_INDEX:
        if moment is None:
            return Ranges(why_not="the source finds the slice through an index, on values that have no ranges")
        size = sum(scan["Plan Rows"] * scan["Plan Width"] for scan in scans) // _BLOCK_BYTES
        return _worth(_ranges_of_time(moment, slice_, _number(readers, size)))
    if not kinds <= {"Seq Scan", "Tid Range Scan", *_THROUGH_INDEX}:
        return Ranges(why_not=f"the source reads by {', '.join(sorted(kinds))}")
    size = _blocks(out, scans)
    return _worth(_ranges_of_blocks(size, _number(readers, size)))


def _number(readers: Readers, blocks: int) -> int:
    return min(readers.count * RANGES_PER_READER, blocks // readers.least_blocks)


def _worth(conditions: tuple[Composed, ...]) -> Ranges:
    return Ranges(conditions) if len(conditions) > 1 else Ranges(why_not="the slice is small")


def _scans(out: Cursor, query: Composed) -> Iterator[dict[str, Any]]:
    """Yield the parts of the planner's plan that read a relation."""
    out.execute(SQL("EXPLAIN (FORMAT json, VERBOSE) {}").format(query))
    row = out.fetchone()
    nodes = [row[0][0]["Plan"]] if row else []
    while nodes:
        node = nodes.pop()
        nodes += node.get("Plans", [])
        if "Relation Name" in node:
            yield node


def _blocks(out: Cursor, scans: Sequence[dict[str, Any]]) -> int:
    """Return the blocks of the largest relation: partitions are cut at the same numbers, each for itself."""
    names = [Identifier(scan["Schema"], scan["Relation Name"]).as_string(out) for scan in scans]
    out.execute(
        "SELECT coalesce(max(pg_relation_size(name::regclass)) / current_setting('block_size')::integer, 0)::bigint"
        " FROM unnest(%s::text[]) AS name",
        (names,),
    )
    row = out.fetchone()
    return int(row[0]) if row else 0


def _ranges_of_blocks(blocks: int, number: int) -> tuple[Composed, ...]:
    edges = [Literal(f"({blocks * i // number},0)") for i in range(1, number)]
    return _between(SQL("ctid"), [SQL("{}::tid").format(edge) for edge in edges])


def _ranges_of_time(moment: Composable, slice_: Slice, number: int) -> tuple[Composed, ...]:
    span = slice_.end - slice_.start
    return _between(moment, [SQL("{}").format(Literal(slice_.start + span * i / number)) for i in range(1, number)])


def _between(value: Composable, edges: Sequence[Composed]) -> tuple[Composed, ...]:
    if not edges:
        return ()
    low, high = (SQL("{} >= {}"), SQL("{} < {}"))
    inner = [
        SQL("{} AND {}").format(low.format(value, first), high.format(value, last)) for first, last in pairwise(edges)
    ]
    return (high.format(value, edges[0]), *inner, low.format(value, edges[-1]))


# --- how they read -----------------------------------------------------------------------------------------------


def fill_together(
    readers: Readers,
    own: Pair,
    table: Identifier,
    stage: Stage,
    make: Callable[[Cursor, Stage], None],
    copy_outs: Sequence[Composed],
    columns: Sequence[str],
) -> int:
    """Fill a stage by several sessions, the caller's own among them; the caller commits.

    They could not see a table that the caller's transaction makes. So they fill one that stands for itself, which no
    record names, and the caller's transaction puts it in the stage's place.

    Args:
        readers: How many read, and where the further sessions come from.
        own: The caller's sessions at the source and in the warehouse, both in a transaction.
        table: The table at the source.
        stage: The stage.
        make: Makes the table that is filled.
        copy_outs: `COPY … TO STDOUT (FORMAT binary)`, one for each range.
        columns: The stage's columns, in the order in which they are copied.

    Returns:
        The number of rows.

    Raises:
        SourceUnavailable: Somebody waits to change the source's table.
        psycopg2.Error: The first error of any reader; the others were stopped.
        ConnectionError: The servers counted different numbers of rows.
    """
    with own[1].cursor() as cur, _opened(readers, own, table, min(readers.count, len(copy_outs))) as pairs:
        unfinished = unfinished_stage(cur, stage)
        further = [warehouse for _, warehouse in pairs[1:]]
        drop_unfinished(further[0], stage)
        with further[0], further[0].cursor() as making:
            make(making, unfinished)
        try:
            # Held to the end, so that nobody takes it for one that was given up.
            cur.execute(SQL("LOCK TABLE {} IN ROW EXCLUSIVE MODE").format(unfinished.table))
            rows = _read_ranges(pairs, copy_outs, copy_into(unfinished, columns, binary=True, freeze=False))
            for warehouse in further:
                warehouse.commit()
        except BaseException:
            with suppress(psycopg2.Error):
                for _, warehouse in pairs:
                    warehouse.rollback()
                drop_unfinished(further[0], stage)
            raise
        finish_stage(cur, unfinished, stage)
    return rows


@contextmanager
def _opened(readers: Readers, own: Pair, table: Identifier, number: int) -> Iterator[list[Pair]]:
    """Open the further readers' sessions, all in the snapshot of the caller's; commits none, closes all.

    Args:
        readers: Where they come from.
        own: The caller's sessions at the source, in its transaction, and in the warehouse.
        table: The table at the source. Each reader holds it, so that nobody moves its rows meanwhile.
        number: How many read, the caller's own among them.

    Raises:
        SourceUnavailable: Somebody waits to change the source's table.
    """
    with own[0].cursor() as out:
        out.execute(SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(table))
        out.execute("SELECT pg_export_snapshot()")
        row = out.fetchone()
    with ExitStack() as stack:
        pairs = [own]
        for _ in range(number - 1):
            source = stack.enter_context(closing(readers.source()))
            _join_snapshot(source, str(row[0]) if row else "", table)
            pairs.append((source, stack.enter_context(closing(readers.warehouse()))))
        yield pairs


def _join_snapshot(source: Connection, snapshot: str, table: Identifier) -> None:
    begin_snapshot(source)
    with source.cursor() as out:
        out.execute("SET TRANSACTION SNAPSHOT %s", (snapshot,))
        try:
            # Without NOWAIT, one who waits for the first reader to let the table go would be waited for in turn.
            out.execute(SQL("LOCK TABLE {} IN ACCESS SHARE MODE NOWAIT").format(table))
        except psycopg2.errors.LockNotAvailable as error:
            raise SourceUnavailable(
                f"Somebody at the source waits to change {'.'.join(table.strings)}, and further readers cannot join.",
                next_step="nothing: the task is retried.",
            ) from error


class _Team:
    """Readers at work: the ranges that are left, the rows so far, and the first error."""

    def __init__(self, pairs: Sequence[Pair], copy_outs: Sequence[Composed], copy_in: Composed) -> None:
        self._left = iter(copy_outs)
        self._copy_in = copy_in
        self._pairs = pairs
        self._lock = threading.Lock()
        # Not `Thread.join`: one that an exception breaks into takes the thread for ended (seen in Python 3.11).
        self._done = [threading.Event() for _ in pairs]
        self._stopped = False
        self.rows = 0
        self.error: BaseException | None = None

    def work(self) -> None:
        """Read all ranges; returns when no reader is at work any more."""
        threads = [
            threading.Thread(target=self._read, args=(pair, done), name=f"reader-{number}", daemon=True)
            for number, (pair, done) in enumerate(zip(self._pairs, self._done, strict=True))
        ]
        started: list[threading.Event] = []
        try:
            for thread, done in zip(threads, self._done, strict=True):
                thread.start()
                started.append(done)
            self._wait(started)
        finally:  # the task may have been told to end while it waited
            self._stopped = True
            self._wait(started)

    def _wait(self, started: Sequence[threading.Event]) -> None:
        for done in started:
            while not done.wait(_PATIENCE_SECONDS):
                if self._stopped:
                    self._cancel()

    def _read(self, pair: Pair, done: threading.Event) -> None:
        try:
            with pair[0].cursor() as out, pair[1].cursor() as cur:
                while (copy_out := self._next()) is not None:
                    rows = pipe_copy(out, copy_out, cur, self._copy_in)
                    with self._lock:
                        self.rows += rows
        except BaseException as error:
            with self._lock:
                if not self._stopped:
                    self._stopped, self.error = True, error
        finally:
            done.set()

    def _next(self) -> Composed | None:
        with self._lock:
            return None if self._stopped else next(self._left, None)

    def _cancel(self) -> None:
        """Ask both servers of each reader to break off: either may be the one that is waited for."""
        for done, pair in zip(self._done, self._pairs, strict=True):
            for connection in pair:
                if not done.is_set():
                    with suppress(psycopg2.Error):
                        connection.cancel()


def _read_ranges(pairs: Sequence[Pair], copy_outs: Sequence[Composed], copy_in: Composed) -> int:
    """Copy all ranges, each by the reader that is free; in the sessions' transactions.

    Returns:
        The number of rows.

    Raises:
        psycopg2.Error: The first error of any reader; the others were stopped.
        ConnectionError: The servers counted different numbers of rows.
    """
    team = _Team(pairs, copy_outs, copy_in)
    team.work()
    if team.error is not None:
        raise team.error
    return team.rows
