"""What is asked of a database: a table or a query, a window, and the slice's parameters."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.errors import SchemaMismatch
from penstock.core.slice import day_slice
from penstock.core.stage import Stage
from penstock.core.wanted import Wanted, parts_of_query

DAY = day_slice("2026-01-05")
STAGE = Stage("s", "test/people", DAY.key, "run")
KNOWN = ["slice_key", "slice_start"]


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"table": "a", "query": "b"},
        {"query": "b", "lookback": timedelta(1)},
        {"table": "a", "lookback": -timedelta(1)},
    ],
)
def test_what_makes_no_sense_is_refused(arguments: dict[str, Any]) -> None:
    """Neither or both of table and query, and a lookback without a window, are refused when a DAG file is read."""
    with pytest.raises(ValueError, match=r"either a table or a query|lookback"):
        Wanted(**arguments)


def test_a_lookback_moves_the_beginning_of_the_window_only(build: Any) -> None:
    """The slice begins earlier and ends where it did; without a lookback it is the slice."""
    contract = build.contract(build.PEOPLE)
    assert Wanted("t").window(contract, DAY, STAGE) is DAY
    window = Wanted("t", lookback=timedelta(hours=6)).window(contract, DAY, STAGE)
    assert (window.key, DAY.start - window.start, window.end) == (DAY.key, timedelta(hours=6), DAY.end)


def test_a_lookback_needs_a_load_that_can_bear_it(build: Any) -> None:
    """Where a slice's rows replace its partition, those of earlier slices must not be among them."""
    with pytest.raises(SchemaMismatch, match=r"\[test/people 2026-01-05\].*replace_partition.*Next: .*merge"):
        Wanted("t", lookback=timedelta(1)).window(build.contract(build.ORDERS), DAY, STAGE)


def test_only_what_can_be_asked_for_again_is_accounted_for() -> None:
    """A query, and a table with a lookback, give no figures that a later count of the slice could be held against."""
    wanted = [Wanted("t"), Wanted(query="SELECT 1"), Wanted("t", lookback=timedelta(1))]
    assert [each.accountable for each in wanted] == [True, False, False]
    assert [each.name for each in wanted] == ["t", "query", "t"]


@given(st.lists(st.one_of(st.text(st.characters(exclude_characters="%")), st.sampled_from([*KNOWN, "%"]))))
def test_a_query_is_taken_apart_and_put_together(pieces: list[str]) -> None:
    """Text stays text, `%%` is a percent sign, and each parameter is found where it stands."""
    written = {"%": "%%", **{name: f"%({name})s" for name in KNOWN}}
    query = "".join(written.get(piece, piece) for piece in pieces)
    read = "".join(f"<{name}>" if name else text for text, name in parts_of_query(query, KNOWN))
    assert read == "".join(f"<{piece}>" if piece in KNOWN else piece for piece in pieces)


@pytest.mark.parametrize(("query", "error"), [("a %(b)s", KeyError), ("LIKE 'a%'", ValueError), ("5 % 3", ValueError)])
def test_what_stands_for_no_parameter_is_refused(query: str, error: type[Exception]) -> None:
    """Another name, and a percent sign that is not written twice, are no guesses to make."""
    with pytest.raises(error):
        list(parts_of_query(query, KNOWN))
