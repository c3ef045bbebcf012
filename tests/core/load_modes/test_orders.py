"""Any order of the slices, any number of times, gives one warehouse."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.core.load_modes.reference import MODES, Reference, Variant
from tests.core.load_modes.tables import DAYS, EXAMPLES, VARIANTS, aside, document, load, rows_of, seen

SETTINGS = settings(deadline=None, max_examples=2 * EXAMPLES, suppress_health_check=list(HealthCheck))
TOMBS = {mode: [v for v in VARIANTS if v.mode == mode and v.key and v.cursor] for mode in MODES}


def history(bench: Any) -> list[str]:
    """What is wrong with the validity of an scd2 table's versions, by the table and the tombstones alone."""
    return [
        name
        for name, query in {
            "two versions of a key are valid at once": "SELECT FROM test.items AS a JOIN test.items AS b USING (id)"
            " WHERE a.ctid <> b.ctid AND tstzrange(a.valid_from, a.valid_to) && tstzrange(b.valid_from, b.valid_to)",
            "a version is valid at no time": "SELECT FROM test.items WHERE valid_to <= valid_from",
            "a version is not valid from its moment": "SELECT FROM test.items WHERE valid_from <> at",
            "a version ends where neither the next begins nor the row was deleted": "SELECT FROM test.items AS a"
            " WHERE valid_to IS NOT NULL AND NOT EXISTS (SELECT FROM test.items AS b WHERE b.id = a.id"
            " AND b.valid_from = a.valid_to) AND NOT EXISTS (SELECT FROM ops.tombstone WHERE key = ARRAY[a.id::text]"
            " AND moment::timestamptz = a.valid_to)",
            "two versions of a key are the current one": "SELECT FROM test.items WHERE valid_to IS NULL"
            " GROUP BY id HAVING count(*) > 1",
        }.items()
        if bench.run(query)
    ]


@pytest.mark.parametrize("mode", MODES)
def test_every_order_gives_one_table(bench: Any, build: Any, mode: str) -> None:
    """All six orders of three slices, with a slice loaded twice, give the table and quarantine of the first order."""

    @SETTINGS
    @given(variant=st.sampled_from(TOMBS[mode]), data=st.data())
    def check(variant: Variant, data: st.DataObject) -> None:
        contract = build.contract(document(variant))
        rows = {key: data.draw(rows_of((key,), ids=3)) for key in DAYS}
        reference = Reference(variant)
        for key in DAYS:
            reference.load(key, rows[key])
        for number, order in enumerate(permutations(DAYS)):
            bench.reset("test")
            bench.run("TRUNCATE ops.tombstone")
            for turn, key in enumerate([*order, data.draw(st.sampled_from(DAYS))]):
                load(bench.conn, contract, key, rows[key], f"run-{number}-{turn}")
            assert seen(bench, variant) == reference.table()
            assert aside(bench) == reference.quarantine()
            assert mode != "scd2" or history(bench) == []

    check()
