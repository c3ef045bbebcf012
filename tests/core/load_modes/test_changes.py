"""A contract that asks for another load mode: `plan` and `apply` bring the table there, or say why not."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from penstock.core.contract.ddl import table_name
from penstock.core.contract.shape import read_shape
from penstock.core.errors import MigrationRefused, SchemaMismatch
from penstock.core.migrate import apply, plan
from tests.core.load_modes.reference import MODES, Mode, Reference, Row, Variant
from tests.core.load_modes.tables import DAYS, document, load, seen
from tests.core.load_modes.test_orders import history

DAY, NEXT, THIRD = DAYS
LOADED = {
    DAY: [Row(1, "A", f"{DAY} 07:00", False), Row(2, "A", f"{DAY} 07:00", False)],
    NEXT: [Row(3, "B", f"{NEXT} 07:00", False), Row(2, "B", f"{NEXT} 07:00", True)],
}
LATER = [Row(4, "C", f"{THIRD} 07:00", False), Row(1, "C", f"{THIRD} 07:00", False)]
BY_SLICE = ("append", "snapshot")
UNKNOWN = [(before, after) for before, after in product(("merge", "scd2"), BY_SLICE)]
"""Changes that nothing can do: which slice a row came in is not known any more."""


def planned(bench: Any, contract: Any) -> list[str]:
    """What a plan says it would do."""
    with bench.conn, bench.conn.cursor() as cur:
        return [step.words for step in plan(cur, contract).steps]


def shape(bench: Any, contract: Any) -> Any:
    """The table as the catalog has it, without the names of what belongs to it."""
    with bench.conn, bench.conn.cursor() as cur:
        found = read_shape(cur, table_name(contract))
    assert found is not None
    return found.columns, found.key, found.partition_by, sorted(name.strings for name in found.partitions)


@pytest.mark.parametrize(("before", "after"), product(MODES, MODES))
def test_a_table_is_brought_to_another_mode(bench: Any, build: Any, before: Mode, after: Mode) -> None:
    """After it the table is what the same loads by the new contract would have made, and the next slice fits in."""
    old, new = (Variant(mode, tombstone="hard") for mode in (before, after))
    for key, rows in LOADED.items():
        load(bench.conn, build.contract(document(old)), key, rows, "old")
    contract = build.contract(document(new))
    if (before, after) in UNKNOWN:
        with pytest.raises(MigrationRefused, match=r"day .*which slice"):
            apply(bench.conn, contract, by="tester", allow_destructive=True)
        return
    if before == after or {before, after} == set(BY_SLICE):
        assert planned(bench, contract) == []
    apply(bench.conn, contract, by="tester", allow_destructive=True)
    assert planned(bench, contract) == []
    reference = Reference(new)
    for key, rows in LOADED.items():
        reference.load(key, rows)
    if before != "merge" or after == "merge":  # which has forgotten what it held before
        assert seen(bench, new) == reference.table()
    load(bench.conn, contract, THIRD, LATER, "later")
    load(bench.conn, contract, DAY, LOADED[DAY], "again")
    reference.load(THIRD, LATER)
    reference.load(DAY, LOADED[DAY])
    assert seen(bench, new) == reference.table()
    made = shape(bench, contract)
    bench.reset("test")
    for key, rows in (*LOADED.items(), (THIRD, LATER)):
        load(bench.conn, contract, key, rows, "fresh")
    assert made == shape(bench, contract)


def test_a_history_that_becomes_a_merge_keeps_what_is_current(bench: Any, build: Any) -> None:
    """Versions that ended would be lost, so it needs leave; what was deleted stays deleted."""
    old, new = (build.contract(document(Variant(mode, tombstone="hard"))) for mode in ("scd2", "merge"))
    rows = [
        Row(1, "A", f"{DAY} 00:00", False),
        Row(1, "B", f"{DAY} 07:00", False),
        Row(2, "A", f"{DAY} 00:00", False),
        Row(2, "A", f"{DAY} 07:00", True),
    ]
    load(bench.conn, old, DAY, rows, "old")
    with pytest.raises(MigrationRefused, match="2 versions that ended"):
        apply(bench.conn, new, by="tester")
    assert bench.one("SELECT count(*) FROM test.items") == 3
    apply(bench.conn, new, by="tester", allow_destructive=True)
    assert bench.run("SELECT id, grade FROM test.items") == [(1, "B")]
    load(bench.conn, new, NEXT, [Row(2, "A", f"{DAY} 00:00", False)], "late")
    assert bench.run("SELECT id, grade FROM test.items") == [(1, "B")]


@pytest.mark.parametrize("after", ["merge", "scd2"])
def test_rows_that_another_slice_says_were_deleted_go_with_leave(bench: Any, build: Any, after: Mode) -> None:
    """A deletion acted on its own slice only; the plan says that it is to act on all, and asks for leave."""
    old, new = (build.contract(document(Variant(mode, tombstone="hard"))) for mode in ("replace_partition", after))
    for key, rows in LOADED.items():
        load(bench.conn, old, key, rows, "old")
    with pytest.raises(MigrationRefused, match="any slice says were deleted"):
        apply(bench.conn, new, by="tester")
    assert bench.one("SELECT count(*) FROM test.items") == 3


def test_slices_that_become_a_history_have_their_spans(bench: Any, build: Any) -> None:
    """Rows of one key in several slices become its versions; a moment that a key has twice stands against it."""
    old, new = (build.contract(document(Variant(mode, tombstone="hard"))) for mode in ("append", "scd2"))
    load(bench.conn, old, DAY, [Row(1, "A", f"{DAY} 07:00", False)], "1")
    load(bench.conn, old, NEXT, [Row(1, "B", f"{NEXT} 07:00", False), Row(2, "B", f"{NEXT} 07:00", True)], "2")
    load(bench.conn, old, THIRD, [Row(1, "B", f"{NEXT} 07:00", False)], "3")
    with pytest.raises(MigrationRefused, match="1 rows repeat the key"):
        apply(bench.conn, new, by="tester", allow_destructive=True)
    load(bench.conn, old, THIRD, [Row(1, "C", f"{THIRD} 07:00", False)], "4")
    apply(bench.conn, new, by="tester", allow_destructive=True)
    assert bench.run("SELECT grade, valid_to::date::text FROM test.items ORDER BY valid_from") == [
        ("A", NEXT),
        ("B", THIRD),
        ("C", None),
    ]
    assert history(bench) == []


@pytest.mark.parametrize(("before", "after"), [("merge", "scd2"), ("scd2", "merge"), ("replace_partition", "append")])
def test_publish_asks_for_the_change_first(bench: Any, build: Any, before: Mode, after: Mode) -> None:
    """A slice of the new contract does not touch a table of the old one."""
    load(bench.conn, build.contract(document(Variant(before))), DAY, LOADED[DAY], "old")
    contract = build.contract(document(Variant(after)))
    with pytest.raises(SchemaMismatch, match=r"penstock plan test/items"):
        load(bench.conn, contract, DAY, LOADED[DAY], "new")
