"""Rows of a driver as COPY reads them: every value keeps what it says, and what Postgres cannot hold goes aside."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.core.landing import Aside
from penstock.core.row_text import MAX_CHUNK_BYTES, MAX_CHUNK_ROWS, Sent, chunks, csv_of, text_of

HALF = "\ud83d"
TEXTS: list[tuple[object, str, str]] = [
    ("as it is", "text", "as it is"),
    (True, "boolean", "true"),
    (False, "integer", "false"),
    (-(2**70), "numeric", "-1180591620717411303424"),
    (0.1, "double precision", "0.1"),
    (Decimal("0.10"), "numeric", "0.10"),
    (Decimal("1E+30"), "numeric", "1E+30"),
    (date(2026, 1, 31), "date", "2026-01-31"),
    (datetime(2026, 1, 31, 1, 2, 3, 4), "timestamp", "2026-01-31 01:02:03.000004"),  # noqa: DTZ001 - naive on purpose
    (datetime(2026, 1, 31, tzinfo=UTC), "text", "2026-01-31 00:00:00+00:00"),
    (datetime(2026, 1, 31, tzinfo=timezone(timedelta(hours=-5))), "text", "2026-01-31 00:00:00-05:00"),
    (time(1, 2, 3, 500000), "time", "01:02:03.500000"),
    (timedelta(hours=1, seconds=1, microseconds=5), "time", "01:00:01.000005"),
    (-timedelta(hours=838, minutes=59, seconds=59), "interval", "-838:59:59"),
    (b"\x00\xff", "bytea", r"\x00ff"),
    (memoryview(b"ab"), "bytea", r"\x6162"),
    (bytes(range(16)), "uuid", "000102030405060708090a0b0c0d0e0f"),
    (bytearray("é".encode()), "text", "é"),
    (b"caf\xe9", "text", "caf\udce9"),
    (UUID(int=1), "uuid", "00000000-0000-0000-0000-000000000001"),
    ({"a": [1, None, "é"]}, "jsonb", '{"a": [1, null, "é"]}'),
    ([1], "jsonb", "[1]"),
]


@pytest.mark.parametrize(("value", "pg_type", "text"), TEXTS)
def test_text_of(value: object, pg_type: str, text: str) -> None:
    """Each kind of value that drivers give has one text, which the gate reads as the same value."""
    assert text_of(value, pg_type) == text


values = st.one_of(
    st.none(), st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n")), st.integers(), st.floats()
)


@settings(deadline=None)
@given(st.lists(st.tuples(values, values), min_size=1))
def test_a_chunk_is_what_copy_reads(rows: list[tuple[Any, Any]]) -> None:
    """Whatever kinds of value stand in one column, each row is a line of its values' texts, NULL being unquoted."""
    aside = Aside(["a", "b"])
    body = csv_of(rows, Sent({"a": "text", "b": "text"}), aside).decode()
    expected = "".join(
        ",".join("" if value is None else '"' + text_of(value, "text").replace('"', '""') + '"' for value in row) + "\n"
        for row in rows
    )
    assert (body, aside.rows) == (expected, 0)


@pytest.mark.parametrize("odd", ["a\0b", HALF, b"caf\xe9"])
def test_a_row_that_postgres_cannot_hold_goes_aside(odd: str | bytes) -> None:
    """Its neighbours stay; a chunk of such rows only gives nothing."""
    aside = Aside(["n", "t"])
    sent = Sent({"n": "integer", "t": "text"})
    assert csv_of([(1, "x"), (2, odd), (3, None)], sent, aside) == b'"1","x"\n"3",\n'
    assert csv_of([(4, odd)], sent, aside) == b""
    assert aside.rows == 2


def test_a_row_that_fills_a_watched_field_goes_aside() -> None:
    """What the contract does not name is looked at and not sent on."""
    aside = Aside(["n"])
    assert csv_of([(1, None), (2, 5)], Sent({"n": "integer"}, ["new"]), aside) == b'"1"\n'
    assert aside.rows == 1


def test_a_number_that_no_machine_word_holds_stays_exact() -> None:
    """An integer beyond 64 bits is written out."""
    assert csv_of([(2**64,), (1,)], Sent({"n": "numeric"}), Aside(["n"])) == f'"{2**64}"\n"1"\n'.encode()


def test_chunks_are_bounded_by_rows_and_by_bytes() -> None:
    """Many short rows, and few long ones, make a chunk; what is not looked at does not count; nothing is lost."""
    short = list(chunks(((n,) for n in range(MAX_CHUNK_ROWS + 1)), ()))
    assert [len(chunk) for chunk in short] == [MAX_CHUNK_ROWS, 1]
    long = list(chunks(((1, "x" * (MAX_CHUNK_BYTES // 2)) for _ in range(5)), [1]))
    assert [len(chunk) for chunk in long] == [2, 2, 1]
    assert list(chunks([], ())) == []
