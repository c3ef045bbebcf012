"""What Postgres cannot hold is escaped without loss, and staged beside the rows that it can."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.landing import Aside, Stream, csv_row, encoding_rule, escaped, escaped_bytes, holdable
from penstock.core.stage import create_stage

DAY = "2026-01-01"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain \\ text é", "plain \\ text é"),
        ("a\0b", "a\\u0000b"),
        ("a\ud800b", "a\\ud800b"),
        ("C:\\x\0", "C:\\\\x\\u0000"),
    ],
)
def test_a_text_is_escaped_only_if_it_must_be(text: str, shown: str) -> None:
    """What can be held stays as it is, backslashes too; else they are doubled, so that nothing is lost."""
    assert escaped(text) == shown


def test_bytes_that_are_no_text_are_shown_as_bytes() -> None:
    """A byte that is not UTF-8 is written in hexadecimal."""
    assert escaped_bytes(b"caf\xe9 \xc3\xa9") == "caf\\xe9 é"


@given(st.text(st.characters(), max_size=20))
def test_every_text_can_be_held_once_it_is_escaped(text: str) -> None:
    """Whatever characters a text has, its escaped form can be held."""
    assert holdable(escaped(text))


@given(st.text(st.sampled_from("\0\ud800\\ux0d8"), max_size=8), st.text(st.sampled_from("\0\ud800\\ux0d8"), max_size=8))
def test_escaped_texts_stay_apart(one: str, other: str) -> None:
    """Two texts that must be escaped never look the same for it."""
    if not holdable(one) and not holdable(other):
        assert (escaped(one) == escaped(other)) is (one == other)


@given(st.lists(st.binary(max_size=9), max_size=9), st.integers(1, 7))
def test_a_stream_gives_every_byte_in_order(pieces: list[bytes], size: int) -> None:
    """Read in any size, the pieces come out as they went in, and the end is the end."""
    stream = Stream(iter(pieces))
    found = []
    while block := stream.read(size):
        assert len(block) <= size
        found.append(block)
    assert b"".join(found) == b"".join(pieces)


def test_rows_are_staged_with_their_notes(bench: Any, build: Any) -> None:
    """Rows aside stand in the stage with escaped values, and a note of rules, details and what the contract lacks."""
    contract = build.contract(build.ORDERS)
    stage = bench.stage(contract, DAY)
    columns = ["order_id", "code"]
    aside = Aside(columns)
    aside.add(
        {"order_id": "1", "code": "A\0"}, ["row.unknown_fields"], [{"column": "x"}], {"colour\0": "red", "n": None}
    )
    aside.add({"code": '"\n'}, [])
    aside.add_line(b'1,"A\xff', "row.malformed", problem="a quote")
    with bench.conn, bench.conn.cursor() as cur:
        create_stage(cur, stage, [("order_id", "text"), ("code", "text")], contract)
        aside.copy(cur, stage)
    aside.close()
    assert aside.rows == 3
    assert bench.run(f"SELECT order_id, code, _landing FROM staging.{stage.name} ORDER BY _row") == [
        (
            "1",
            "A\\u0000",
            {
                "rules": ["row.unknown_fields", encoding_rule("code")],
                "details": [{"column": "x"}],
                "extra": {"colour\\u0000": "red", "n": None},
            },
        ),
        (None, '"\n', {"rules": [], "details": [], "extra": {}}),
        (
            None,
            None,
            {"rules": ["row.malformed"], "details": [{"problem": "a quote"}], "extra": {"$line": '1,"A\\xff'}},
        ),
    ]


def test_without_such_rows_the_stage_is_as_it_was(bench: Any, build: Any) -> None:
    """The column for notes is there only where a row needs it."""
    contract = build.contract(build.ORDERS)
    stage = bench.stage(contract, DAY)
    with bench.conn, bench.conn.cursor() as cur:
        create_stage(cur, stage, [("order_id", "bigint")], contract)
        Aside(["order_id"]).copy(cur, stage)
    assert bench.run(
        "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0", (f"staging.{stage.name}",)
    ) == [("order_id",)]


def test_csv_tells_null_from_nothing() -> None:
    """NULL is unquoted, the empty string quoted, quotes are doubled."""
    assert csv_row([None, "", 'a"b', "x;y"], ";") == ';"";"a""b";"x;y"\n'
