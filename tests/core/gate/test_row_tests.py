"""The forms of compiled rules: what they count is what they move, also among some of the rows only."""

from __future__ import annotations

from typing import Any

import pytest
from psycopg2.sql import SQL, Identifier

from penstock.core.gate.row_tests import Duplicate, Predicate, RowTest, Selected, TableTest, filled, filled_rows

TABLE = Identifier("src", "t")
ROWS = [(1, "a"), (1, "b"), (2, "a"), (3, None), (None, "a")]
ONE = SQL("(n = 1)")
TESTS: dict[str, tuple[RowTest, int, int, int]] = {
    "predicate": (Predicate(SQL("x = 'a'"), filled_rows("x"), considers=filled("x")), 3, 1, 2),
    "duplicate": (Duplicate(("x",), filled_rows("x"), filled("x")), 3, 0, 2),
    "selected": (
        Selected(lambda t: SQL("SELECT ctid FROM {} WHERE x = (SELECT min(x) FROM {})").format(t, t),
                 filled_rows("x"), filled("x")), 3, 1, 2),
}  # fmt: skip


@pytest.fixture
def table(bench: Any) -> Any:
    """Five rows, two of which have n = 1."""
    bench.fill("t", "n integer, x text", ROWS)
    return bench


@pytest.mark.parametrize("name", TESTS)
def test_what_is_counted_is_what_breaks(table: Any, name: str) -> None:
    """For each form: the count equals the rows found, of all rows and of those under a condition."""
    test, in_all, in_part, considered = TESTS[name]
    for held, expected in ((test, in_all), (test.among(ONE), in_part)):
        count = table.one(SQL("SELECT {} FROM {} LIMIT 1").format(held.count(TABLE), TABLE))
        rows = table.run(SQL("SELECT 1 FROM {} WHERE {}").format(TABLE, held.breaks(TABLE)))
        assert (count, len(rows)) == (expected, expected)
    assert table.one(SQL("SELECT {} FROM {}").format(test.among(ONE).considered, TABLE)) == considered


@pytest.mark.parametrize("template", ["count(*)", "(SELECT count(*) FROM {table})", "max(n)"])
def test_a_slice_is_observed_among_some_rows(table: Any, template: str) -> None:
    """An aggregate and a query of its own both come to one value, of the rows under the condition."""
    test = TableTest(lambda t: SQL(template).format(table=t))
    assert table.run(SQL("SELECT {} FROM {}").format(test.among(ONE).observed(TABLE), TABLE))[0] == (
        1 if "max" in template else 2,
    )
    assert table.one(SQL("SELECT {} FROM {} LIMIT 1").format(test.among(SQL("false")).observed(TABLE), TABLE)) in (
        0,
        None,
    )
