"""The messages of pgoutput, byte by byte; what a real server sends is in `test_source_changes`."""

from __future__ import annotations

import struct
from datetime import UTC, datetime

import pytest

from penstock.core.errors import SchemaMismatch
from penstock.core.pgoutput import Change, Commit, Decoder

BEGIN = b"B" + struct.pack(">qqi", 100, 86_400_000_000, 7)
COMMITTED_AT = datetime(2000, 1, 2, tzinfo=UTC)


def relation(*columns: tuple[str, bool]) -> bytes:
    """A relation `public.t`, with the columns that are of its identity."""
    body = b"R" + struct.pack(">I", 1) + b"public\0t\0d" + struct.pack(">h", len(columns))
    return body + b"".join(struct.pack(">b", key) + name.encode() + b"\0" + bytes(8) for name, key in columns)


def values(*texts: str | None) -> bytes:
    """A row; `u` stands for a value that was not sent."""
    body = struct.pack(">h", len(texts))
    for text in texts:
        if text is None:
            body += b"n"
        elif text == "u":
            body += b"u"
        else:
            body += b"t" + struct.pack(">i", len(text.encode())) + text.encode()
    return body


def decoded(*messages: bytes, key: str = "id") -> list[Change | Commit]:
    """What messages say, after the beginning of a transaction."""
    decoder = Decoder("public.t", frozenset({key}))
    return [found for body in (BEGIN, *messages) for found in decoder.read(body, 42)]


TABLE = relation(("id", True), ("t", False))
ROW = b"\0\0\0\1"


def change(deleted: bool = False, **found: str | None) -> Change:
    """A change of the table."""
    return Change(42, COMMITTED_AT, found, deleted)


def test_rows_and_the_end() -> None:
    """An insert, an update, a delete, and the position after the transaction."""
    messages = [
        TABLE,
        b"I" + ROW + b"N" + values("1", "é"),
        b"U" + ROW + b"N" + values("1", None),
        b"D" + ROW + b"K" + values("1", None),
        b"C" + struct.pack(">bqqq", 0, 100, 120, 0),
    ]
    assert decoded(*messages) == [change(id="1", t="é"), change(id="1", t=None), change(True, id="1"), Commit(120)]


def test_a_key_that_changes_deletes_the_old_one() -> None:
    """The row leaves its old key and stands under the new one."""
    found = decoded(TABLE, b"U" + ROW + b"K" + values("1", None) + b"N" + values("2", "x"))
    assert found == [change(True, id="1"), change(id="2", t="x")]


def test_a_full_identity_fills_in_what_was_not_sent() -> None:
    """The value before is the value now; an update of another column deletes nothing."""
    full = relation(("id", True), ("t", True))
    found = decoded(full, b"U" + ROW + b"O" + values("1", "long") + b"N" + values("1", "u"))
    assert found == [change(id="1", t="long")]


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        ([TABLE, b"U" + ROW + b"N" + values("1", "u")], "the long value of t"),
        ([relation(("id", False), ("t", True)), b"D" + ROW + b"K" + values(None, "x")], "the key was not sent"),
        ([TABLE, b"T" + struct.pack(">IbI", 1, 0, 1)], "emptied by TRUNCATE"),
    ],
)
def test_what_says_too_little_is_an_error(messages: list[bytes], said: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(SchemaMismatch, match=said):
        decoded(*messages)


def test_other_tables_are_passed_over() -> None:
    """Their rows, keys and TRUNCATEs are none of ours."""
    other = TABLE.replace(b"\0t\0d", b"\0o\0d", 1)
    messages = [other, b"I" + ROW + b"N" + values("1", "x"), b"D" + ROW + b"K" + values(None, "x")]
    assert decoded(*messages, b"T" + struct.pack(">IbI", 1, 0, 1)) == []


def test_what_is_not_of_the_protocol_is_an_error() -> None:
    """Messages that tell of no rows are passed over; unknown ones, and binary values, are not."""
    assert decoded(b"O" + bytes(9), b"Y" + bytes(9)) == []
    with pytest.raises(ValueError, match="begins with 'S'"):
        decoded(b"S" + bytes(9))
    with pytest.raises(ValueError, match="comes as 'b'"):
        decoded(TABLE, b"I" + ROW + b"N" + struct.pack(">h", 2) + b"b")
