"""A session that dies before any of its statements, and the same run again: as if nothing had happened."""

from __future__ import annotations

import os
import random
from contextlib import closing
from typing import Any

import psycopg2
import psycopg2.extensions
import pytest

from penstock.core.publish import publish
from penstock.core.slice import day_slice
from penstock.core.stage import open_session, stage_of
from tests.core.load_modes.reference import MODES, Mode, Reference, Row, Variant
from tests.core.load_modes.tables import DAYS, aside, document, load, seen

DAY = DAYS[0]
KILLS = int(os.environ.get("PENSTOCK_TEST_KILLS", "6"))
"""Places per load mode, drawn anew each time; 1000 takes all of them."""
BEFORE = [Row(1, "A", f"{DAY} 00:00", False), Row(2, "B", f"{DAY} 07:00", False), Row(3, "C", f"{DAY} 07:00", False)]
NOW = [
    Row(1, "B", f"{DAY} 07:00", False),
    Row(1, "A", f"{DAY} 00:00", False),
    Row(3, "C", f"{DAY} 23:00", True),
    Row(4, "D", f"{DAY} 07:00", False),
    Row(5, "?", f"{DAY} 07:00", False),
]


class Died(Exception):
    """The session is gone."""


class Mortal(psycopg2.extensions.cursor):
    """A cursor whose session closes instead of running the statement of a certain number."""

    left = -1
    ran = 0

    def execute(self, query: Any, vars: Any = None) -> None:  # noqa: A002 - its name
        """Run a statement, unless it is the one."""
        if Mortal.left == 0:
            self.connection.close()
            raise Died
        Mortal.left -= 1
        Mortal.ran += 1
        super().execute(query, vars)


def _wait_for_the_server(bench: Any) -> None:
    """Wait until the server has seen that its client is gone and has let go of its locks."""
    others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    while bench.one(others):
        pass


def _run_mortal(bench: Any, contract: Any, lives: int) -> bool:
    """Load the slice in a session that ends before this many statements are over; tell whether it got through."""
    with closing(psycopg2.connect(bench.dsn, cursor_factory=Mortal)) as conn:
        Mortal.left = -1
        open_session(conn)
        Mortal.left, Mortal.ran = lives, 0
        try:
            load(conn, contract, DAY, NOW, "now")
        except (Died, psycopg2.InterfaceError):  # the second is what a closed connection says at the end of a `with`
            return False
        else:
            return True
        finally:
            Mortal.left = -1


@pytest.mark.parametrize("mode", MODES)
def test_a_session_may_end_before_any_statement(bench: Any, build: Any, mode: Mode) -> None:
    """Of a repeated slice with deletions: after each end the table is old or new, and the same run gives the new one.

    Whether the run goes on with the task that died, or starts again from its extract, makes no difference.
    """
    variant = Variant(mode, tombstone="hard")
    contract = build.contract(document(variant))
    old, new = Reference(variant), Reference(variant)
    for reference in (old, new):
        reference.load(DAY, BEFORE)
    new.load(DAY, NOW)
    load(bench.conn, contract, DAY, BEFORE, "before")
    assert _run_mortal(bench, contract, -1)
    statements = Mortal.ran
    assert statements > 40
    seed = int(os.environ.get("PENSTOCK_TEST_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)
    print(f"seed {seed}: PENSTOCK_TEST_SEED={seed} repeats the places")  # noqa: T201 - shown when the test fails
    places = random.Random(seed).sample(range(statements), min(KILLS, statements))  # noqa: S311
    for place in places:
        bench.reset("test")
        bench.run("TRUNCATE ops.tombstone")
        load(bench.conn, contract, DAY, BEFORE, "before")
        assert not _run_mortal(bench, contract, place)
        _wait_for_the_server(bench)
        assert seen(bench, variant) in (old.table(), new.table()), "half a slice is visible"
        if bench.run("SELECT state FROM ops.stage") == [("passed",)] and place % 2:
            publish(bench.conn, contract, day_slice(DAY), stage_of(contract.dataset, day_slice(DAY), "now"))
        else:
            load(bench.conn, contract, DAY, NOW, "now")
        assert seen(bench, variant) == new.table()
        assert aside(bench) == new.quarantine()
        assert bench.run("SELECT FROM ops.stage") == []
        assert bench.staged_tables() == []
        ledger = "SELECT run_id, extracted - loaded - quarantined - deduplicated - filtered FROM ops.slice_ledger"
        assert bench.run(f"{ledger} ORDER BY id") == [("before", 0), ("now", 0)]
