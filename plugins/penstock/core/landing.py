r"""Rows that cannot be staged as they came: kept aside while a slice is copied, and staged with a note beside them.

Postgres' text holds no NUL, no half of a surrogate pair and no byte that is not UTF-8; a line may be no row at all.
Such a row is staged with what can be held (the rest is escaped) and a note in `stage.LANDING`, by which the gate
moves it to quarantine. In an escaped text a backslash is doubled, a byte is `\xff`, anything else `\u0000`.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from psycopg2.extensions import cursor as Cursor  # noqa: N812
from psycopg2.sql import SQL, Identifier

from penstock.core.stage import LANDING, ROW_NUMBER, Stage, column_types, copy_into

MALFORMED: Final = "row.malformed"
SHAPE: Final = "row.shape"
UNKNOWN_FIELDS: Final = "row.unknown_fields"
LINE: Final = "$line"
"""Name under which the text of a line that is no row is kept."""

_UNHOLDABLE: Final = re.compile("[\\x00\\ud800-\\udfff]")
_TO_ESCAPE: Final = re.compile("[\\\\\\x00\\ud800-\\udfff]")
_BYTES: Final = range(0xDC80, 0xDD00)  # what `surrogateescape` makes of a byte that cannot be decoded
_SPOOL_BYTES: Final = 1 << 22


def encoding_rule(column: str) -> str:
    """Return the rule that a text of a column breaks which Postgres cannot hold."""
    return f"{column}.encoding"


def holdable(text: str) -> bool:
    """Tell whether Postgres can hold a text."""
    return (text.isascii() and "\0" not in text) or _UNHOLDABLE.search(text) is None


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    if character == "\\":
        return "\\\\"
    code = ord(character)
    return f"\\x{code - 0xDC00:02x}" if code in _BYTES else f"\\u{code:04x}"


def escaped(text: str) -> str:
    """Return a text that Postgres can hold: as it is if it can be, else with every backslash doubled."""
    return text if holdable(text) else _TO_ESCAPE.sub(_escape, text)


def escaped_bytes(body: bytes) -> str:
    """Return bytes, supposed to be UTF-8, as a text that Postgres can hold."""
    return escaped(body.decode("utf-8", "surrogateescape"))


def csv_row(values: Sequence[str | None], delimiter: str = ",") -> str:
    """Return a row as COPY's CSV: NULL is the unquoted nothing, everything else is quoted."""
    return delimiter.join("" if value is None else '"' + value.replace('"', '""') + '"' for value in values) + "\n"


class Aside:
    """The rows of one slice that are staged with a note; on disk once they are many.

    Args:
        columns: The columns staged as text, in the order in which they are copied.
    """

    def __init__(self, columns: Sequence[str]) -> None:
        self.columns = tuple(columns)
        self.rows = 0
        self._file = tempfile.SpooledTemporaryFile(_SPOOL_BYTES)  # noqa: SIM115 - closed by `close`

    def add(
        self,
        values: Mapping[str, str | None],
        rules: Sequence[str],
        details: Sequence[Mapping[str, Any]] = (),
        extra: Mapping[str, str | None] | None = None,
    ) -> None:
        """Keep a row.

        A value that Postgres cannot hold is escaped, and the row breaks the rule `<column>.encoding` too.

        Args:
            values: Text by column; one that is left out is NULL.
            rules: The rules that it breaks.
            details: What more is known, for people.
            extra: Text by field that the contract does not name.
        """
        broken = [name for name, value in values.items() if value is not None and not holdable(value)]
        note = {
            "rules": [*rules, *(encoding_rule(name) for name in broken)],
            "details": list(details),
            "extra": {
                escaped(name): None if value is None else escaped(value) for name, value in (extra or {}).items()
            },
        }
        texts = [None if (value := values.get(name)) is None else escaped(value) for name in self.columns]
        self._file.write(csv_row([*texts, json.dumps(note)]).encode("utf-8"))
        self.rows += 1

    def add_line(self, line: bytes, rule: str, **detail: Any) -> None:
        """Keep a line that is no row."""
        self.add({}, [rule], [detail], {LINE: line.decode("utf-8", "surrogateescape")})

    def copy(self, cur: Cursor, stage: Stage) -> None:
        """Stage the rows, in the transaction that made the stage; makes the columns that they need."""
        if not self.rows:
            return
        if ROW_NUMBER not in column_types(cur, stage.table):
            cur.execute(
                SQL("ALTER TABLE {} ADD COLUMN {} bigint GENERATED ALWAYS AS IDENTITY").format(
                    stage.table, Identifier(ROW_NUMBER)
                )
            )
        cur.execute(SQL("ALTER TABLE {} ADD COLUMN {} jsonb").format(stage.table, Identifier(LANDING)))
        self._file.seek(0)
        cur.copy_expert(copy_into(stage, [*self.columns, LANDING], binary=False), self._file)

    def close(self) -> None:
        """Give up what is kept."""
        self._file.close()


class Stream:
    """A file for the driver to read from, over pieces that are made as they are asked for.

    Attributes:
        error: What went wrong in making them; the driver cancels the statement and keeps only its words.
    """

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""
        self.error: Exception | None = None

    def read(self, size: int = -1) -> bytes:
        """Return at most `size` bytes; empty at the end."""
        while not self._rest:
            try:
                piece = next(self._pieces, None)
            except Exception as error:
                self.error = error
                raise
            if piece is None:
                return b""
            self._rest = piece
        if size < 0 or len(self._rest) <= size:
            found, self._rest = self._rest, b""
        else:
            found, self._rest = self._rest[:size], self._rest[size:]
        return found

    def readline(self, size: int = -1) -> bytes:
        """Never called; the driver checks for it."""
        return self.read(size)
