"""Which of several versions of a row stands: the same whatever the order in which they come."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
from psycopg2.sql import Identifier

from penstock.core.load_modes.versions import all_columns, deduplicate
from tests.core.load_modes.reference import MODES, Mode, Row, Variant
from tests.core.load_modes.tables import DAYS, document, load, seen

DAY = DAYS[0]
SAME = f"{DAY} 07:00"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("deletes", [None, "hard", "soft"])
def test_at_one_moment_the_greatest_row_stands(bench: Any, build: Any, mode: Mode, deletes: Any) -> None:
    """Of rows of one key and moment in a slice the greatest as text is taken, a deletion before all of them."""
    variant = Variant(mode, tombstone=deletes)
    contract = build.contract(document(variant))
    rows = [Row(1, "A", SAME, False), Row(1, "C", SAME, False), Row(1, "B", SAME, True)]
    tables = []
    for number, order in enumerate(permutations(rows)):
        bench.reset("test")
        bench.run("TRUNCATE ops.tombstone")
        load(bench.conn, contract, DAY, order, f"run-{number}")
        tables.append(seen(bench, variant))
    assert all(table == tables[0] for table in tables)
    assert [row[1] for row in tables[0]] == ([] if deletes == "hard" else ["C"])


@pytest.mark.parametrize("mode", MODES)
def test_across_loads_the_later_load_stands(bench: Any, build: Any, mode: Mode) -> None:
    """A source that corrects a row without a new moment is believed, though the row is smaller as text."""
    contract = build.contract(document(Variant(mode)))
    load(bench.conn, contract, DAY, [Row(1, "C", SAME)], "1")
    load(bench.conn, contract, DAY, [Row(1, "A", SAME)], "2")
    assert bench.run("SELECT grade FROM test.items") == [("A",)]


def test_only_what_is_repeated_is_removed(bench: Any, build: Any) -> None:
    """A table without duplicates is left alone, and the number says how many rows went."""
    contract = build.contract(document(Variant("merge")))
    table = Identifier("test", "rows")
    bench.run("CREATE SCHEMA IF NOT EXISTS test")
    bench.run("CREATE TABLE test.rows (id bigint, grade text, at timestamptz, gone boolean)")
    for id_, grade, hour in ((1, "A", 1), (1, "B", 2), (2, "A", 1), (1, "C", 0)):
        bench.run("INSERT INTO test.rows VALUES (%s, %s, %s, false)", (id_, grade, f"{DAY} {hour:02}:00"))
    assert all_columns(contract) == ("id", "grade", "at", "gone")
    with bench.conn, bench.conn.cursor() as cur:
        assert deduplicate(cur, contract, table, ("id", "at")) == 0
        assert deduplicate(cur, contract, table, ("id",)) == 2
        assert deduplicate(cur, contract, table, ("id",)) == 0
    assert bench.run("SELECT id, grade FROM test.rows ORDER BY 1") == [(1, "B"), (2, "A")]
