"""append, replace_partition, snapshot: the slice is its partition. What random programs do is in test_programs."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.core.load_modes.partitions import detach, has_partition, partition_name
from penstock.core.slice import day_slice
from tests.core.load_modes.reference import Row, Variant
from tests.core.load_modes.tables import DAYS, document, load

DAY, NEXT, _ = DAYS
PARTITIONED = ["append", "replace_partition", "snapshot"]


def row(id_: int, grade: str = "A", hour: int = 7) -> Row:
    """A row of the day."""
    return Row(id_, grade, f"{DAY} {hour:02}:00")


def grades(bench: Any) -> list[tuple[int, str]]:
    """What users see."""
    return bench.run("SELECT id, grade FROM test.items ORDER BY 1, 2")


def test_an_append_adds_what_is_not_there(bench: Any, build: Any) -> None:
    """Rows that the next load lacks stay, those that are newer win, and the ledger tells how many were kept."""
    contract = build.contract(document(Variant("append")))
    load(bench.conn, contract, DAY, [row(1), row(2, hour=9), row(3)], "1")
    again = load(bench.conn, contract, DAY, [row(2, "B"), row(3, "C"), row(4)], "2")
    assert grades(bench) == [(1, "A"), (2, "A"), (3, "C"), (4, "A")]
    assert (again.extracted, again.loaded, again.deduplicated) == (5, 4, 1)
    assert bench.one("SELECT detail -> 'kept' FROM ops.slice_current") == 2


def test_an_append_without_a_key_counts_equal_rows(bench: Any, build: Any) -> None:
    """Two equal rows are two rows; the same two again are the same two, and a third is one more."""
    contract = build.contract(document(Variant("append", key=False, cursor=False)))
    for run_id, count in (("1", 2), ("2", 2), ("3", 3), ("4", 1)):
        load(bench.conn, contract, DAY, [row(1)] * count, run_id)
    assert grades(bench) == [(1, "A")] * 3


@pytest.mark.parametrize("mode", ["replace_partition", "snapshot"])
def test_what_the_next_load_lacks_is_gone(bench: Any, build: Any, mode: Any) -> None:
    """The slice is what was there when it was read last."""
    contract = build.contract(document(Variant(mode)))
    load(bench.conn, contract, DAY, [row(1), row(2)], "1")
    load(bench.conn, contract, DAY, [row(2, "B")], "2")
    assert grades(bench) == [(2, "B")]


@pytest.mark.parametrize("mode", ["append", "snapshot"])
def test_a_row_belongs_to_the_slice_it_came_in(bench: Any, build: Any, mode: Any) -> None:
    """Whatever its own time: the same row in two slices is in the table twice, each with its day."""
    contract = build.contract(document(Variant(mode)))
    for key in (DAY, NEXT):
        load(bench.conn, contract, key, [row(1)], "1")
    assert bench.run("SELECT day::text FROM test.items ORDER BY 1") == [(DAY,), (NEXT,)]


@pytest.mark.parametrize("mode", PARTITIONED)
def test_a_partition_can_be_taken_out(bench: Any, build: Any, mode: Any) -> None:
    """Its rows go with it, those of other slices stay, and the slice can be loaded again."""
    contract = build.contract(document(Variant(mode)))
    load(bench.conn, contract, DAY, [row(1)], "1")
    load(bench.conn, contract, NEXT, [Row(2, "B", f"{NEXT} 07:00")], "1")
    with bench.conn, bench.conn.cursor() as cur:
        assert has_partition(cur, contract, day_slice(DAY))
        detach(cur, contract, day_slice(DAY))
        assert not has_partition(cur, contract, day_slice(DAY))
    assert grades(bench) == [(2, "B")]
    load(bench.conn, contract, DAY, [row(1)], "2")
    assert grades(bench) == [(1, "A"), (2, "B")]


def test_a_partition_is_named_after_its_day(build: Any) -> None:
    """The name sorts as the days do."""
    contract = build.contract(document(Variant("append")))
    assert partition_name(contract, day_slice(DAY)).strings == ("test", "items_p20260101")
