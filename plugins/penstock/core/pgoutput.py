"""Decode what Postgres' output plugin `pgoutput` sends of a table's changes.

Source: Postgres manual, "Logical Replication Message Formats", protocol version 1, values as text.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from penstock.core.errors import SchemaMismatch

_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_SKIPPED: Final = frozenset(b"OYM")
"""Origin, type and message: nothing of a row."""
_ANEW: Final = "give the DAG another `slot`, so that it begins with the whole table, and clear `extract`."


@dataclass(frozen=True, slots=True)
class Change:
    """What became of a row.

    Attributes:
        lsn: Where the change stands in the source's log; of two changes of one row the later has the greater.
        committed_at: When its transaction was committed.
        values: Text by column after the change, None for NULL; of a deleted row, its key.
        deleted: Whether the row is gone.
    """

    lsn: int
    committed_at: datetime
    values: Mapping[str, str | None]
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class Commit:
    """The end of a transaction.

    Attributes:
        end: Position after it: replication that begins there does not send it again.
    """

    end: int


@dataclass(frozen=True, slots=True)
class _Relation:
    name: str
    columns: tuple[str, ...]
    identity: frozenset[str]


class _Message:
    """The bytes of a message, read from the front."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0

    def number(self, form: str) -> int:
        """Read a number, in the letters of `struct`."""
        (found,) = struct.unpack_from(f">{form}", self._body, self._at)
        self._at += struct.calcsize(form)
        return int(found)

    def letter(self) -> str:
        """Read one byte."""
        return chr(self.number("B"))

    def text(self) -> str:
        """Read a text that ends with NUL."""
        end = self._body.index(b"\0", self._at)
        found = self._body[self._at : end]
        self._at = end + 1
        return found.decode()

    def bytes(self, length: int) -> bytes:
        """Read so many bytes."""
        found = self._body[self._at : self._at + length]
        self._at += length
        return found

    def more(self) -> bool:
        """Tell whether anything is left."""
        return self._at < len(self._body)


@dataclass
class Decoder:
    """Reads the messages of one replication, in order, for what they say of one table.

    Attributes:
        table: `schema.table`.
        key: The columns of its key, as the contract has it.
    """

    table: str
    key: frozenset[str]
    _relations: dict[int, _Relation] = field(default_factory=dict)
    _committed_at: datetime = _EPOCH

    def read(self, body: bytes, lsn: int) -> Iterator[Change | Commit]:
        """Yield what a message says.

        Args:
            body: The message.
            lsn: Where it stands in the log.

        Raises:
            SchemaMismatch: It says less of a row than can be loaded: a table was emptied by TRUNCATE, or a long value
                that did not change was not sent.
            ValueError: It is no message of the protocol's version 1.
        """
        message = _Message(body)
        kind = message.letter()
        if kind == "B":
            message.number("q")
            self._committed_at = _EPOCH + timedelta(microseconds=message.number("q"))
        elif kind == "C":
            message.number("b")
            message.number("q")
            yield Commit(message.number("q"))
        elif kind == "R":
            self._remember(message)
        elif kind in "IUD":
            yield from self._row(kind, message, lsn)
        elif kind == "T":
            self._refuse_truncate(message)
        elif ord(kind) not in _SKIPPED:
            raise ValueError(f"a message begins with {kind!r}, which version 1 of pgoutput does not know")

    def _remember(self, message: _Message) -> None:
        number, schema, name = message.number("I"), message.text(), message.text()
        message.letter()  # the kind of replica identity: each column says whether it is of it
        columns, identity = [], set()
        for _ in range(message.number("h")):
            is_key, column = message.number("b"), message.text()
            message.number("I")
            message.number("i")
            columns.append(column)
            if is_key:
                identity.add(column)
        self._relations[number] = _Relation(f"{schema or 'pg_catalog'}.{name}", tuple(columns), frozenset(identity))

    def _row(self, kind: str, message: _Message, lsn: int) -> Iterator[Change]:
        relation = self._relations[message.number("I")]
        if relation.name != self.table:
            return
        tuples: dict[str, dict[str, str | None]] = {}
        while message.more():
            letter = message.letter()
            tuples[letter] = dict(_values(message, relation))
        old = tuples.get("O") or tuples.get("K") or {}
        gone = {name: value for name, value in old.items() if name in self.key and name in relation.identity}
        if kind == "D":
            if len(gone) < len(self.key):
                raise self._says_less(relation, f"Of a deleted row of {relation.name} the key was not sent.")
            yield Change(lsn, self._committed_at, gone, deleted=True)
            return
        new, before = tuples["N"], tuples.get("O", {})
        lacking = [name for name in relation.columns if name not in new and name not in before]
        if lacking:
            text = (
                f"Of an updated row of {relation.name} the long value of {', '.join(lacking)} did not change, and was"
            )
            raise self._says_less(relation, f"{text} not sent.")
        values = {name: new[name] if name in new else before[name] for name in relation.columns}
        if any(values[name] != value for name, value in gone.items()):
            yield Change(lsn, self._committed_at, gone, deleted=True)
        yield Change(lsn, self._committed_at, values)

    def _says_less(self, relation: _Relation, problem: str) -> SchemaMismatch:
        return SchemaMismatch(
            problem,
            next_step=f"ALTER TABLE {relation.name} REPLICA IDENTITY FULL at the source, {_ANEW}",
        )

    def _refuse_truncate(self, message: _Message) -> None:
        number = message.number("I")
        message.number("b")
        if self.table not in {self._relations[message.number("I")].name for _ in range(number)}:
            return
        raise SchemaMismatch(
            f"{self.table} was emptied by TRUNCATE, of which the log names no rows.",
            next_step=f"empty the warehouse's table if that is meant, {_ANEW}",
        )


def _values(message: _Message, relation: _Relation) -> Iterator[tuple[str, str | None]]:
    """Yield column and text of a row; a long value that was not sent is left out."""
    for position in range(message.number("h")):
        letter, name = message.letter(), relation.columns[position]
        if letter == "n":
            yield name, None
        elif letter == "t":
            yield name, message.bytes(message.number("i")).decode()
        elif letter != "u":
            raise ValueError(f"a value of {relation.name} comes as {letter!r}, which was not asked for")
