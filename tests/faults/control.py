"""The fault runs' own notes, in a database beside the warehouse that no fault concerns."""

from __future__ import annotations

import os
import time
from contextlib import closing
from typing import Any, Final

import psycopg2

VARIABLE: Final = "FAULTS_CONTROL"
TABLES: Final = """
CREATE TABLE IF NOT EXISTS injected (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, run_id text, task text, try integer, kind text, role text,
    step integer, at timestamptz DEFAULT clock_timestamp());
CREATE TABLE IF NOT EXISTS request (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, done boolean DEFAULT false);
CREATE TABLE IF NOT EXISTS ended (id bigint PRIMARY KEY, how text);
"""


def ask(statement: str, values: Any = None, dsn: str | None = None) -> list[tuple[Any, ...]]:
    """Run one statement over a connection of its own and return its rows."""
    with closing(psycopg2.connect(dsn or os.environ[VARIABLE], application_name="faults control")) as connection:
        connection.autocommit = True
        with connection.cursor() as cur:
            cur.execute(statement, values)
            return cur.fetchall() if cur.description else []


def note(run_id: str, task: str, try_number: int, kind: str, role: str, step: int) -> int:
    """Note a fault that is about to happen; return the note's number."""
    statement = (
        "INSERT INTO injected (run_id, task, try, kind, role, step) VALUES (%s, %s, %s, %s, %s, %s) RETURNING id"
    )
    ((number,),) = ask(statement, (run_id, task, try_number, kind, role, step))
    return int(number)


def note_end(number: int, how: str) -> None:
    """Note how a twin or a zombie ended."""
    ask("INSERT INTO ended VALUES (%s, %s)", (number, how))


def wait_for(statement: str, values: Any, seconds: float) -> bool:
    """Wait until a query gives rows; tell whether it did in time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if ask(statement, values):
            return True
        time.sleep(0.05)
    return False
