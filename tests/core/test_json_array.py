"""Items come out of a document one by one, however it is cut into blocks, and a broken one is told."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core import json_array
from penstock.core.errors import SourceError
from penstock.core.json_array import items

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


def cut(body: bytes, size: int) -> list[bytes]:
    """The body in blocks of this size."""
    return [body[start : start + size] for start in range(0, len(body), size)]


def plain(value: Any) -> Any:
    """A value as the standard library decodes it when numbers stay text."""
    return json.loads(json.dumps(value), parse_int=str)


@given(st.lists(values, max_size=5), st.integers(1, 9), st.sampled_from([None, 1]))
def test_every_item_in_order(found: list[Any], size: int, indent: int | None) -> None:
    """Whatever the items are, wherever the blocks end, with or without white space."""
    body = json.dumps(found, indent=indent, ensure_ascii=False).encode("utf-8")
    assert list(items(cut(body, size))) == plain(found)


@given(st.lists(values, max_size=3), st.integers(1, 9), values)
def test_an_array_within_objects(found: list[Any], size: int, other: Any) -> None:
    """The way leads past other members, before and after."""
    body = json.dumps({"a": other, "data": {"x": other, "rows": found, "y": other}, "z": other}).encode("utf-8")
    assert list(items(cut(body, size), "data.rows")) == plain(found)


def test_numbers_stay_as_they_are_written() -> None:
    """No float on the way, whatever the digits; a byte-order mark is no character of the document."""
    digits = "12345678901234567890.1234567890123456789"
    assert list(items(cut(b"\xef\xbb\xbf [" + digits.encode() + b", 1e400, NaN]", 3))) == [digits, "1e400", "NaN"]


@pytest.mark.parametrize(
    ("body", "path", "said"),
    [
        (b"", "", "no array as a whole"),
        (b'{"a": [1]}', "", "no array as a whole"),
        (b'{"a": [1]}', "b", "no array at 'b'"),
        (b'{"a": 1}', "a", "no array at 'a'"),
        (b"[1]", "a", "no array at 'a'"),
        (b"oops", "", "not JSON, or is cut off, from 'oops' on"),
        (b"[1, 2", "", "cut off"),
        (b"[1, ]", "", "cut off"),
        (b"[1 2]", "", "cut off"),
        (b'[{"a": 1]', "", "cut off"),
        (b'{"a" 1, "b": []}', "b", "cut off"),
        (b"[" * 100_000, "", "cut off"),
        (b'[{"a": 1, "a": 2}]', "", "an object names 'a' twice"),
    ],
)
@pytest.mark.parametrize("size", [2, 1000])
def test_a_document_without_the_array_is_refused(body: bytes, path: str, said: str, size: int) -> None:
    """Not there, not an array, not JSON, or cut off: said in words."""
    with pytest.raises(SourceError, match=said):
        list(items(cut(body, size), path))


def test_an_item_that_never_ends_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is longer than a row can be is not held in memory."""
    monkeypatch.setattr(json_array, "MAX_ITEM_CHARACTERS", 100)
    read = 0

    def blocks() -> Any:
        nonlocal read
        yield b'["'
        while True:
            read += 1
            yield b"x" * 50

    with pytest.raises(SourceError, match="cut off"):
        list(items(blocks()))
    assert read < 10


def test_all_blocks_are_read() -> None:
    """What follows the array is read too, for whoever counts the bytes."""
    rest = iter([b'{"a": [1], ', b'"b": 2', b"}"])
    assert list(items(rest, "a")) == ["1"]
    assert next(rest, None) is None
