"""Deletions are remembered by slice, and act on every version that is not newer."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.core.load_modes.tombstones import remembers
from tests.core.load_modes.reference import MODES, Mode, Row, Variant
from tests.core.load_modes.tables import DAYS, VARIANTS, document, load

DAY, NEXT, THIRD = DAYS


def test_what_was_deleted_does_not_come_back_with_an_older_version(bench: Any, build: Any) -> None:
    """The version before the deletion, loaded late, stays out; one after it is let in."""
    contract = build.contract(document(Variant("merge", tombstone="hard")))
    load(bench.conn, contract, NEXT, [Row(1, "B", f"{NEXT} 07:00", True)], "1")
    late = load(bench.conn, contract, DAY, [Row(1, "A", f"{DAY} 07:00", False)], "2")
    assert (late.loaded, late.deduplicated) == (0, 1)
    assert bench.run("SELECT FROM test.items") == []
    load(bench.conn, contract, THIRD, [Row(1, "C", f"{THIRD} 07:00", False)], "3")
    load(bench.conn, contract, DAY, [Row(1, "A", f"{DAY} 07:00", False)], "4")
    assert bench.run("SELECT grade FROM test.items") == [("C",)]


@pytest.mark.parametrize("mode", ["merge", "scd2"])
def test_a_deletion_that_two_slices_tell_of_is_not_forgotten_with_one(bench: Any, build: Any, mode: str) -> None:
    """Where slices tell the same, one that is loaded again without a deletion does not undo the other's."""
    contract = build.contract(document(Variant("merge" if mode == "merge" else "scd2", tombstone="hard")))
    for key in (DAY, NEXT):
        load(bench.conn, contract, key, [Row(1, "B", f"{DAY} 07:00", True)], "1")
    load(bench.conn, contract, DAY, [], "2")
    load(bench.conn, contract, THIRD, [Row(1, "B", f"{DAY} 07:00", False)], "3")
    assert bench.run("SELECT FROM test.items") == []


@pytest.mark.parametrize("deletes", ["hard", "soft"])
@pytest.mark.parametrize("mode", MODES)
def test_the_ledger_tells_what_deletions_did(bench: Any, build: Any, mode: Mode, deletes: Any) -> None:
    """Hard: a mark is `filtered` and its key leaves the table. Soft: the row stays, with its flag, as any version."""
    contract = build.contract(document(Variant(mode, tombstone=deletes)))
    rows = [Row(1, "A", f"{DAY} 07:00", False), Row(2, "A", f"{DAY} 07:00", False)]
    load(bench.conn, contract, DAY, rows, "1")
    outcome = load(bench.conn, contract, DAY, [*rows, Row(1, "B", f"{DAY} 23:00", True)], "2")
    ids = [id_ for (id_,) in bench.run("SELECT id FROM test.items ORDER BY 1")]
    if deletes == "soft":
        assert ids == ([1, 1, 2] if mode == "scd2" else [1, 2])
        assert bench.run("SELECT grade FROM test.items WHERE gone") == [("B",)]
        assert outcome.filtered == 0
    else:
        assert ids == ([1, 2] if mode == "scd2" else [2])
        assert outcome.filtered == 1
        detail = bench.one("SELECT detail FROM ops.slice_current")
        # Of append and merge the row was in the table; the others' table is made of what came.
        assert detail.get("deleted", 0) == (1 if mode in ("append", "merge") else 0)
        assert detail.get("kept", 0) == 0


@pytest.mark.parametrize("mode", MODES)
def test_a_row_that_only_says_that_a_key_is_gone_may_lack_the_rest(bench: Any, build: Any, mode: Mode) -> None:
    """A required column may be NULL in a mark, not in a row; key and moment must be there all the same."""
    contract = build.contract(document(Variant(mode, tombstone="hard")))
    rows = [
        Row(1, None, f"{DAY} 07:00", True),
        Row(2, None, f"{DAY} 07:00", False),
        Row(None, None, f"{DAY} 07:00", True),
    ]
    outcome = load(bench.conn, contract, DAY, rows, "1")
    assert (outcome.loaded, outcome.quarantined, outcome.filtered) == (0, 2, 1)


def test_memory_needs_a_key_and_a_moment(build: Any) -> None:
    """Without them a mark cannot be held against versions: it is taken out of its slice and forgotten."""
    for variant in VARIANTS:
        expected = variant.tombstone == "hard" and variant.key and variant.cursor
        assert remembers(build.contract(document(variant))) is expected
