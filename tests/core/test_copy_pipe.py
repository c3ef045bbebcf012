"""COPY through a pipe: all bytes or an error that says what happened, and nothing left behind either way."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import psycopg2
import psycopg2.errors
import pytest
from psycopg2.sql import SQL

from penstock.core.copy_pipe import pipe_copy

ENDLESS = "SELECT generate_series(1, 2000000000)::bigint"


@pytest.fixture
def tables(bench: Any) -> Any:
    """A table that takes any number, and one that does not take 5000."""
    bench.run("CREATE TABLE src.any_number (i bigint); CREATE TABLE src.no_5000 (i bigint CHECK (i <> 5000))")
    return bench


@pytest.fixture(autouse=True)
def nothing_leaks() -> Iterator[None]:
    """No test here may leave a thread, or a file descriptor that is not a connection's, behind."""
    threads, pipes = threading.active_count(), _pipes()
    yield
    assert threading.active_count() == threads
    assert _pipes() <= pipes


def _pipes() -> int:
    found = 0
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208
        with suppress(FileNotFoundError):
            found += os.readlink(f"/proc/self/fd/{name}").startswith("pipe:")  # noqa: PTH115
    return found


def copy(source: Any, target: Any, query: str, table: str = "src.any_number", form: str = "binary") -> int:
    """Pipe a query into a table, both sides left in their transactions."""
    return pipe_copy(
        source.cursor(),
        SQL("COPY ({}) TO STDOUT (FORMAT {})").format(SQL(query), SQL(form)),
        target.cursor(),
        SQL("COPY {} FROM STDIN (FORMAT {})").format(SQL(table), SQL(form)),
    )


@pytest.mark.parametrize("form", ["binary", "csv", "text"])
@pytest.mark.parametrize("rows", [0, 1, 100_000])
def test_every_row_arrives(tables: Any, form: str, rows: int) -> None:
    """In any format and any number, the rows that were sent are the rows that are there, and they are counted."""
    source, target = tables.connect(), tables.connect()
    assert copy(source, target, f"SELECT i::bigint FROM generate_series(1, {rows}) AS i", form=form) == rows
    target.commit()
    assert tables.run("SELECT count(*), coalesce(sum(i), 0) FROM src.any_number") == [(rows, rows * (rows + 1) // 2)]


def test_a_source_that_fails_midway_is_the_error(tables: Any) -> None:
    """A query that breaks after many rows were sent raises the source's own error; the target commits nothing."""
    source, target = tables.connect(), tables.connect()
    with pytest.raises(psycopg2.errors.DivisionByZero):
        copy(source, target, "SELECT (1 / (i - 90000))::bigint FROM generate_series(1, 100000) AS i")
    source.rollback()
    target.rollback()
    assert tables.one("SELECT count(*) FROM src.any_number") == 0
    assert copy(source, target, "SELECT 1::bigint") == 1, "both connections can still be used"


def test_a_target_that_refuses_a_row_is_the_error(tables: Any) -> None:
    """A constraint of the target that breaks midway raises at once, though the source could send rows for hours."""
    source, target = tables.connect(), tables.connect()
    started = time.monotonic()
    with pytest.raises(psycopg2.errors.CheckViolation):
        copy(source, target, ENDLESS, "src.no_5000")
    source.rollback()
    target.rollback()
    assert time.monotonic() - started < 20
    assert copy(source, target, "SELECT 1::bigint") == 1, "both connections can still be used"


def test_a_target_that_is_not_there_is_the_error(tables: Any) -> None:
    """A target that fails before it took a byte raises its own error, not a broken pipe."""
    with pytest.raises(psycopg2.errors.UndefinedTable):
        copy(tables.connect(), tables.connect(), ENDLESS, "src.nowhere")


def test_both_sides_failing_shows_the_source(tables: Any) -> None:
    """A query that cannot run at all is the error, whatever the target thinks of the empty stream."""
    with pytest.raises(psycopg2.errors.UndefinedTable, match="not_there"):
        copy(tables.connect(), tables.connect(), "SELECT * FROM not_there", "src.nowhere")


@pytest.mark.parametrize("victim", ["source", "target"])
@pytest.mark.parametrize("query", [ENDLESS, "SELECT 1::bigint FROM pg_sleep(600)"], ids=["busy", "waiting"])
def test_a_backend_that_dies_is_the_error(tables: Any, victim: str, query: str) -> None:
    """Either server process may be terminated, with rows flowing or none yet: a lost connection, soon, no rows.

    The driver says so by OperationalError, or, where it saw the stream break before the server's last words, by a bare
    DatabaseError without a code. Both are retried; an error that the server gave a code of its own would be neither.
    """
    sides = {"source": tables.connect(), "target": tables.connect()}
    pid = sides[victim].info.backend_pid
    killer = threading.Timer(0.3, tables.run, ("SELECT pg_terminate_backend(%s)", (pid,)))
    killer.start()
    started = time.monotonic()
    try:
        with pytest.raises(psycopg2.DatabaseError) as caught:
            copy(sides["source"], sides["target"], query)
        bare = type(caught.value) is psycopg2.DatabaseError and caught.value.pgcode is None
        assert isinstance(caught.value, psycopg2.OperationalError) or bare
        for connection in sides.values():
            with suppress(psycopg2.Error):
                connection.rollback()
    finally:
        killer.join()
    assert time.monotonic() - started < 20
    assert tables.one("SELECT count(*) FROM src.any_number") == 0
