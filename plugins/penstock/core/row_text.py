r"""Rows that a database driver gives, as the text that COPY reads, chunk by chunk and column by column.

A number travels in plain digits that no float has touched unless the source's own type is one; a time in ISO 8601;
bytes as `\x…` where the contract wants bytes, as hexadecimal digits where it wants a UUID, else as the UTF-8 that they
are. A row with a text that Postgres cannot hold goes aside.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import singledispatch
from typing import Any, Final

from penstock.core.arrow_text import text_array, whole_array
from penstock.core.contract.model import Column
from penstock.core.landing import UNKNOWN_FIELDS, Aside, holdable
from penstock.core.proof import NotProved, unproved

MAX_CHUNK_ROWS: Final = 10_000
MAX_CHUNK_BYTES: Final = 1 << 23
_UUID_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Sent:
    """The columns of each row that a source sends, in order.

    Attributes:
        types: By column of the stage, the contract's type.
        watched: Fields that follow them, which the contract does not name and no row may fill.
    """

    types: Mapping[str, str]
    watched: Sequence[str] = ()


def text_of(value: object, pg_type: str) -> str:
    """Return the text of a value, not None, as the gate reads it for a type of the contract."""
    if isinstance(value, str):
        return value
    if isinstance(value, (bytes, bytearray, memoryview)):
        return _text_of_bytes(bytes(value), pg_type)
    return _plain(value)


@singledispatch
def _plain(value: object) -> str:
    """Return the text of what is neither text nor bytes; of a float, the shortest that gives the same float again."""
    return str(value)


@_plain.register
def _(value: bool) -> str:
    return "true" if value else "false"


@_plain.register
def _(value: datetime) -> str:
    return value.isoformat(sep=" ")


@_plain.register
def _(value: date | time) -> str:
    return value.isoformat()


@_plain.register
def _(value: timedelta) -> str:
    """Return hours, minutes and seconds, as a time of day and as an interval are written."""
    seconds, fraction = divmod(abs(value) // timedelta(microseconds=1), 1_000_000)
    sign = "-" if value < timedelta() else ""
    decimals = f".{fraction:06}" if fraction else ""
    return f"{sign}{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{decimals}"


@_plain.register
def _(value: dict | list) -> str:  # type: ignore[type-arg]
    return json.dumps(value, ensure_ascii=False, default=str)


def _text_of_bytes(value: bytes, pg_type: str) -> str:
    if pg_type == "bytea":
        return f"\\x{value.hex()}"
    if pg_type == "uuid" and len(value) == _UUID_BYTES:
        return value.hex()
    return value.decode("utf-8", "surrogateescape")


def chunks(rows: Iterable[Sequence[Any]], wide: Sequence[int]) -> Iterator[list[Sequence[Any]]]:
    """Yield rows in groups that fit into memory.

    Args:
        rows: The rows, as the source gives them.
        wide: Positions of the values that may be long texts or bytes.
    """
    chunk: list[Sequence[Any]] = []
    size = 0
    for row in rows:
        chunk.append(row)
        for position in wide:
            value = row[position]
            if isinstance(value, (str, bytes)):
                size += len(value)
        if len(chunk) >= MAX_CHUNK_ROWS or size >= MAX_CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def csv_of(rows: Sequence[Sequence[Any]], sent: Sent, aside: Aside, proof: Sequence[Column] = ()) -> bytes:
    """Return rows as COPY's CSV, without those that are put aside: NULL is the unquoted nothing, all else is quoted.

    Args:
        rows: The rows, as the source gives them.
        sent: The columns of each row.
        aside: Takes the rows that cannot be staged as they came.
        proof: Columns of which each text must be sure to be a value; then no row goes aside.

    Raises:
        NotProved: One is not, or a row would have to go aside.
    """
    import pyarrow
    from pyarrow import csv

    values = list(zip(*rows, strict=True))
    watched = values[len(sent.types) :]
    odd = {number for column in watched for number, value in enumerate(column) if value is not None}
    arrays: list[Any] = []
    for column, pg_type in zip(values, sent.types.values(), strict=False):
        array, unholdable = _array(column, pg_type)
        arrays.append(array)
        odd |= unholdable
    if proof and odd:
        raise NotProved
    if broken := unproved(proof, _texts(arrays, sent, proof)):
        raise NotProved(broken)
    if odd:
        for number in sorted(odd):
            _put_aside(rows[number], sent, aside)
        kept = [row for number, row in enumerate(rows) if number not in odd]
        return csv_of(kept, sent, aside) if kept else b""
    buffer = io.BytesIO()
    table = pyarrow.Table.from_arrays(arrays, names=list(sent.types))
    csv.write_csv(table, buffer, csv.WriteOptions(include_header=False, quoting_style="all_valid"))
    return buffer.getvalue()


def _texts(arrays: Sequence[Any], sent: Sent, columns: Sequence[Column]) -> Any:
    """Return columns, numbers among them, as a table of texts."""
    import pyarrow

    by_name = dict(zip(sent.types, arrays, strict=True))
    return pyarrow.table({column.name: by_name[column.name].cast("string") for column in columns})


def _array(values: Sequence[Any], pg_type: str) -> tuple[Any, set[int]]:
    """Return a column as an array, and which of its values Postgres cannot hold; then the array is not to be used."""
    from pyarrow import compute

    kinds = set(map(type, values))
    if kinds == {int}:
        with suppress(OverflowError):  # beyond 64 bits
            return whole_array(values), set()
    kinds.discard(type(None))
    texts = values if kinds <= {str} else [None if value is None else text_of(value, pg_type) for value in values]
    try:
        array = text_array(texts)
    except UnicodeEncodeError:  # half of a surrogate pair, or a byte that is not UTF-8
        return None, {number for number, text in enumerate(texts) if text is not None and not holdable(text)}
    nul = compute.match_substring(array, "\0")
    if not compute.any(nul).as_py():
        return array, set()
    return array, set(compute.indices_nonzero(compute.fill_null(nul, False)).to_pylist())


def _put_aside(row: Sequence[Any], sent: Sent, aside: Aside) -> None:
    named = zip(sent.types.items(), row, strict=False)
    texts = {name: None if value is None else text_of(value, type_) for (name, type_), value in named}
    extra = {
        name: text_of(value, "text")
        for name, value in zip(sent.watched, row[len(sent.types) :], strict=True)
        if value is not None
    }
    aside.add(texts, [UNKNOWN_FIELDS] if extra else [], (), extra)
