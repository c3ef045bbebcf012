"""merge: one row per key, the newest that any slice gave. What random programs do is in test_programs."""

from __future__ import annotations

from typing import Any

import psycopg2.errors
import pytest

from penstock.core.load_modes.merge import lock_merge
from tests.core.load_modes.reference import Row, Variant
from tests.core.load_modes.tables import DAYS, document, load

DAY, NEXT, THIRD = DAYS


def test_a_row_that_is_born_again_is_let_in(bench: Any, build: Any) -> None:
    """A key that was deleted and comes with a newer moment is in the table, and a late repeat changes nothing."""
    contract = build.contract(document(Variant("merge", tombstone="hard")))
    load(bench.conn, contract, DAY, [Row(1, "A", f"{DAY} 07:00", False)], "1")
    gone = load(bench.conn, contract, NEXT, [Row(1, "A", f"{NEXT} 07:00", True)], "2")
    assert (gone.loaded, gone.filtered) == (0, 1)
    assert bench.one("SELECT detail -> 'deleted' FROM ops.slice_ledger ORDER BY id DESC LIMIT 1") == 1
    assert bench.run("SELECT FROM test.items") == []
    load(bench.conn, contract, THIRD, [Row(1, "C", f"{THIRD} 07:00", False)], "3")
    load(bench.conn, contract, NEXT, [Row(1, "A", f"{NEXT} 07:00", True)], "4")
    assert bench.run("SELECT grade FROM test.items") == [("C",)]


def test_rows_that_the_source_no_longer_has_stay(bench: Any, build: Any) -> None:
    """A slice that is loaded again without a row says nothing of it: only a mark deletes."""
    contract = build.contract(document(Variant("merge", tombstone="hard")))
    load(bench.conn, contract, DAY, [Row(1, "A", f"{DAY} 07:00"), Row(2, "A", f"{DAY} 07:00")], "1")
    load(bench.conn, contract, DAY, [Row(1, "A", f"{DAY} 07:00")], "2")
    assert bench.run("SELECT id FROM test.items ORDER BY 1") == [(1,), (2,)]


def test_one_merge_at_a_time(bench: Any, build: Any) -> None:
    """The lock is the dataset's, and goes with the transaction."""
    one, other = (build.contract(document(Variant("merge"), table)) for table in ("items", "others"))
    second = bench.connect()
    with second.cursor() as waiting:
        with bench.conn, bench.conn.cursor() as cur:
            lock_merge(cur, one)
            lock_merge(cur, one)
            waiting.execute("SET lock_timeout = '50ms'")
            lock_merge(waiting, other)
            with pytest.raises(psycopg2.errors.LockNotAvailable):
                lock_merge(waiting, one)
            second.rollback()
        lock_merge(waiting, one)
