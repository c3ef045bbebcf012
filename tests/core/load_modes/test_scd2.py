"""scd2: every version, each valid until the next. What random programs do is in test_programs and test_orders."""

from __future__ import annotations

from typing import Any

from tests.core.load_modes.reference import Row, Variant
from tests.core.load_modes.tables import DAYS, document, load
from tests.core.load_modes.test_orders import history

DAY, NEXT, THIRD = DAYS
SPANS = "SELECT grade, valid_from::text, valid_to::text FROM test.items ORDER BY valid_from"


def version(grade: str, moment: str, gone: bool = False) -> Row:
    """A version of the one key."""
    return Row(1, grade, moment, gone)


def test_history_has_a_gap_only_where_the_row_was_deleted(bench: Any, build: Any) -> None:
    """Versions that come late cut those before them; a deletion ends one, and the row may be born again."""
    contract = build.contract(document(Variant("scd2", tombstone="hard")))
    load(bench.conn, contract, THIRD, [version("C", f"{THIRD} 07:00")], "1")
    assert bench.run("SELECT grade, valid_to FROM test.items") == [("C", None)]
    load(bench.conn, contract, DAY, [version("A", f"{DAY} 07:00")], "2")
    load(bench.conn, contract, NEXT, [version("B", f"{NEXT} 00:00"), version("B", f"{NEXT} 07:00", gone=True)], "3")
    assert bench.run(SPANS) == [
        ("A", f"{DAY} 07:00:00+00", f"{NEXT} 00:00:00+00"),
        ("B", f"{NEXT} 00:00:00+00", f"{NEXT} 07:00:00+00"),
        ("C", f"{THIRD} 07:00:00+00", None),
    ]
    assert history(bench) == []


def test_a_deletion_that_is_taken_back_leaves_no_gap(bench: Any, build: Any) -> None:
    """Its slice loaded again without the mark: the version before it is valid until the next one again."""
    contract = build.contract(document(Variant("scd2", tombstone="hard")))
    load(bench.conn, contract, DAY, [version("A", f"{DAY} 07:00")], "1")
    load(bench.conn, contract, NEXT, [version("A", f"{NEXT} 07:00", gone=True)], "2")
    assert bench.run(SPANS) == [("A", f"{DAY} 07:00:00+00", f"{NEXT} 07:00:00+00")]
    load(bench.conn, contract, NEXT, [], "3")
    assert bench.run(SPANS) == [("A", f"{DAY} 07:00:00+00", None)]


def test_a_repeated_slice_rewrites_no_other_version(bench: Any, build: Any) -> None:
    """Versions whose span stays are not touched: a repeat costs what its own rows cost."""
    contract = build.contract(document(Variant("scd2")))
    others = [Row(id_, "A", f"{DAY} 07:00") for id_ in range(20)]
    load(bench.conn, contract, DAY, others, "1")
    load(bench.conn, contract, NEXT, [Row(1, "B", f"{NEXT} 07:00")], "2")
    untouched = f"SELECT id, ctid::text FROM test.items WHERE at < '{NEXT}' ORDER BY 1"
    before = bench.run(untouched)
    load(bench.conn, contract, NEXT, [Row(1, "C", f"{NEXT} 07:00")], "3")
    assert bench.run(untouched) == before
    assert bench.run("SELECT grade FROM test.items WHERE id = 1 ORDER BY at") == [("A",), ("C",)]


def test_the_present_is_what_a_merge_would_hold(bench: Any, build: Any) -> None:
    """The versions that are valid now are the rows of the same loads by `merge`."""
    rows = {
        DAY: [Row(1, "A", f"{DAY} 07:00", False), Row(2, "A", f"{DAY} 07:00", False)],
        NEXT: [Row(1, "B", f"{NEXT} 07:00", False), Row(2, "A", f"{NEXT} 23:00", True)],
    }
    present = []
    for mode, where in (("merge", ""), ("scd2", " WHERE valid_to IS NULL")):
        bench.reset("test")
        bench.run("TRUNCATE ops.tombstone")
        contract = build.contract(document(Variant("merge" if mode == "merge" else "scd2", tombstone="hard")))
        for key in (NEXT, DAY):
            load(bench.conn, contract, key, rows[key], "1")
        present.append(bench.run(f"SELECT id, grade FROM test.items{where}"))
    assert present[0] == present[1] == [(1, "B")]
