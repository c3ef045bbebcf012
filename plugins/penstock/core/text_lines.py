"""The rows of a text file, line by line, in memory that does not grow with the file.

A physical line is a row. Lines that are good as they are go to COPY in whole blocks; each other line is looked at by
itself, and one that is no row, or holds what Postgres cannot, goes aside (see `landing`) and takes no other with it.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Final

from penstock.core.contract.model import Column
from penstock.core.errors import SourceError
from penstock.core.lake import DECODER, text_of
from penstock.core.landing import MALFORMED, SHAPE, UNKNOWN_FIELDS, Aside, csv_row, escaped, holdable
from penstock.core.proof import NotProved, unproved

MAX_LINE_BYTES: Final = 1 << 26
"""The longest line; a longer one is no row of a table, and would be held in memory."""

AUTO: Final = "auto"
"""What is to be told from the file itself."""

_BOM: Final = b"\xef\xbb\xbf"
_WIDE_BOMS: Final = {codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32"} | {
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_WIDE: Final = frozenset(f"utf-{bits}{end}" for bits in (16, 32) for end in ("", "-le", "-be"))


def is_wide(encoding: str) -> bool:
    """Tell whether an encoding writes ASCII in more than one byte, and is one that `as_utf8` reads."""
    try:
        return codecs.lookup(encoding).name in _WIDE
    except LookupError:
        return False


def as_utf8(blocks: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """Yield a text file as UTF-8 where it is UTF-16 or UTF-32, by its byte order mark or by name; else as it is.

    Half of a surrogate pair stays one, which is no UTF-8: its line goes aside.

    Raises:
        SourceError: The file ends amid a character, or holds what is none.
    """
    rest = iter(blocks)
    first = b""
    for block in rest:
        first += block
        if len(first) >= len(codecs.BOM_UTF32_LE):
            break
    marked = next((name for mark, name in _WIDE_BOMS.items() if first.startswith(mark)), None)
    name = marked or (encoding if is_wide(encoding) else None)
    if name is None:
        yield first
        yield from rest
        return
    decoder = codecs.getincrementaldecoder(name)("surrogatepass")
    try:
        for block in chain([first], rest):
            yield decoder.decode(block).encode("utf-8", "surrogatepass")
        yield decoder.decode(b"", final=True).encode("utf-8", "surrogatepass")
    except UnicodeError as error:
        raise SourceError(
            f"The file is no {name}: {error.reason if isinstance(error, UnicodeDecodeError) else error}.",
            next_step="see whether it is torn, or name its `encoding` in the DAG; then clear `extract`.",
        ) from error


def blocks_of_lines(blocks: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Cut blocks of a file into lists of whole lines, without their ends (LF or CRLF).

    Raises:
        SourceError: A line is longer than `MAX_LINE_BYTES`.
    """
    rest: list[bytes] = []
    held = 0
    for block in blocks:
        body, newline, tail = block.rpartition(b"\n")
        if newline:
            rest.append(body)
            yield _lines(b"".join(rest))
            rest, held = [], 0
        if tail:
            rest.append(tail)
            held += len(tail)
        if held > MAX_LINE_BYTES:
            raise SourceError(f"A line is longer than {MAX_LINE_BYTES >> 20} MiB; what is one row in one line?")
    if rest:
        yield _lines(b"".join(rest))


def _lines(body: bytes) -> list[bytes]:
    return body.replace(b"\r\n", b"\n").removesuffix(b"\r").split(b"\n")


def joined_records(blocks: Iterable[list[bytes]]) -> Iterator[list[bytes]]:
    """Join lines of a CSV whose quoted values run over line ends; a quote that nobody closes swallows what follows.

    Raises:
        SourceError: A record is longer than `MAX_LINE_BYTES`.
    """
    open_: list[bytes] = []
    size, quotes = 0, 0
    for lines in blocks:
        found: list[bytes] = []
        for line in lines:
            open_.append(line)
            size += len(line)
            quotes += line.count(b'"')
            if quotes % 2 == 0:
                found.append(b"\n".join(open_))
                open_, size, quotes = [], 0, 0
            elif size > MAX_LINE_BYTES:
                raise SourceError(f"A quoted value is longer than {MAX_LINE_BYTES >> 20} MiB: is a quote not closed?")
        yield found
    if open_:
        yield [b"\n".join(open_)]


@dataclass
class Target:
    """Where the fields of a file go.

    Attributes:
        columns: Columns in the order in which they are copied.
        fields: Field of each of them.
        watched: Fields that send a row aside where they hold something.
        aside: Takes the rows that cannot be staged as they came.
        rows: Rows that were copied so far, without those that went aside.
        blank: Lines that hold nothing, so far.
        seen: Fields that were met in the records so far, in JSON.
    """

    columns: tuple[str, ...]
    fields: tuple[str, ...]
    watched: frozenset[str]
    aside: Aside
    rows: int = 0
    blank: int = 0
    seen: dict[str, None] = field(default_factory=dict)


# --- CSV ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CsvFormat:
    """How a CSV file is written.

    Attributes:
        delimiter: One ASCII character; `auto`: to be told from the file.
        encoding: An encoding in which ASCII is ASCII; `auto`: to be told, as UTF-8 or Windows-1252.
        header: Whether the first line names the fields; None: to be told.
        names: Names of the fields, where no line does.
        newlines_in_values: Whether a quoted value may run over line ends; then a quote that is not closed swallows
            the lines that follow.
    """

    delimiter: str = ","
    encoding: str = "utf-8"
    newlines_in_values: bool = False
    header: bool | None = True
    names: tuple[str, ...] = ()

    @property
    def is_told(self) -> bool:
        """Whether nothing is left to be told from the file."""
        named = bool(self.names) if self.header is False else self.header is not None
        return named and AUTO not in (self.delimiter, self.encoding)

    def __post_init__(self) -> None:
        if self.delimiter == AUTO:
            pass
        elif len(self.delimiter) != 1 or not self.delimiter.isascii() or self.delimiter in '"\r\n\0':
            raise ValueError(f"the delimiter {self.delimiter!r} is not one ASCII character")
        if self.encoding == AUTO:
            return
        ascii_ = "".join(map(chr, range(128)))
        try:
            fits = ascii_.encode(self.encoding) == ascii_.encode("ascii")
        except (LookupError, UnicodeError):
            fits = False
        if not fits:
            raise ValueError(f"the encoding {self.encoding!r} is not known, or writes ASCII in another way")


@dataclass(frozen=True, slots=True)
class CsvFile:
    """The header of a CSV, and its further lines.

    Attributes:
        header: Names of the fields.
        blocks: The lines below the header.
        form: How it is written.
    """

    header: tuple[str, ...]
    blocks: Iterator[list[bytes]]
    form: CsvFormat


def open_csv(blocks: Iterable[bytes], form: CsvFormat) -> CsvFile:
    """Read the header of a CSV.

    Raises:
        SourceError: There is no header, it is not text, or it names a field twice.
    """
    lines = blocks_of_lines(blocks)
    pieces = joined_records(lines) if form.newlines_in_values else lines
    if form.names:
        return CsvFile(form.names, _without_bom(pieces), form)
    for first in pieces:
        head, *rest = first
        if head.startswith(_BOM):
            head = head[len(_BOM) :]
        values = _split(head, form)
        if not head.strip() or values is None:
            break
        names = tuple(escaped((value or "").strip()) for value in values)
        if len(set(names)) < len(names) or "" in names:
            raise SourceError(f"The header names a field twice, or not at all: {', '.join(names)}.")
        return CsvFile(names, _chain(rest, pieces), form)
    raise SourceError("The file has no header line with the names of its fields.")


def open_csvs(files: Iterable[Iterable[bytes]], form: CsvFormat) -> CsvFile:
    """Read the header of the first of several CSVs; the others, opened one after the other, must have the same.

    Raises:
        SourceError: There is no header, it is not text, or it names a field twice; or, later, another file has another.
    """
    rest = iter(files)
    first = open_csv(next(rest), form)

    def blocks() -> Iterator[list[bytes]]:
        yield from first.blocks
        for number, file in enumerate(rest, 2):
            other = open_csv(file, form)
            if other.header != first.header:
                raise SourceError(
                    f"File {number} of the slice has the fields {', '.join(other.header)}, the first one has"
                    f" {', '.join(first.header)}.",
                    next_step="give files of another header a dataset, or a DAG, of their own.",
                )
            yield from other.blocks

    return CsvFile(first.header, blocks(), form)


def _without_bom(pieces: Iterator[list[bytes]]) -> Iterator[list[bytes]]:
    for number, lines in enumerate(pieces):
        yield [lines[0].removeprefix(_BOM), *lines[1:]] if number == 0 else lines


def _chain(first: list[bytes], rest: Iterator[list[bytes]]) -> Iterator[list[bytes]]:
    if first:
        yield first
    yield from rest


def csv_values(file: CsvFile) -> Iterator[list[str | None] | None]:
    """Yield the values of each line that is not blank, None for the unquoted nothing; None for one that is no row."""
    for lines in file.blocks:
        for line in filter(None, lines):
            values = _split(line, file.form)
            yield values if values is not None and len(values) == len(file.header) else None


_QUOTED: Final = '"((?:[^"]|"")*)"'


def _split(line: bytes, form: CsvFormat) -> list[str | None] | None:
    """Return the values of a line, None for an unquoted nothing; None if its quotes are not those of a CSV.

    Bytes that cannot be decoded become surrogates, see `landing.escaped`.
    """
    text = line.decode(form.encoding, "surrogateescape")
    if '"' not in text:
        return [value or None for value in text.split(form.delimiter)]
    values: list[str | None] = []
    pattern = _value_pattern(form.delimiter)
    position = 0
    while True:
        match = pattern.match(text, position)
        if match is None:
            return None
        values.append(match[1].replace('""', '"') if match[1] is not None else match[2] or None)
        position = match.end()
        if position == len(text):
            return values
        position += 1  # the delimiter


_PATTERNS: dict[str, re.Pattern[str]] = {}


def _value_pattern(delimiter: str) -> re.Pattern[str]:
    if delimiter not in _PATTERNS:
        end = re.escape(delimiter)
        _PATTERNS[delimiter] = re.compile(rf'(?:{_QUOTED}|([^"{end}]*))(?=[{end}]|\Z)')
    return _PATTERNS[delimiter]


def csv_rows(file: CsvFile, target: Target) -> Iterator[bytes]:
    """Yield the rows of a CSV as COPY takes them, in the file's own delimiter; the others go aside."""
    positions = [file.header.index(name) for name in target.fields]
    watched = {name: file.header.index(name) for name in file.header if name in target.watched}
    as_they_are = positions == list(range(len(file.header))) and len(positions) > 1
    for lines in file.blocks:
        if as_they_are and not watched and (body := _good_block(lines, file)) is not None:
            target.rows += len(lines) - lines.count(b"")
            target.blank += lines.count(b"")
            yield body
            continue
        out: list[str] = []
        for line in lines:
            values = _row(line, file, target)
            if values is None:
                continue
            row = [values[position] for position in positions]
            extra = {name: values[position] for name, position in watched.items() if values[position] is not None}
            if extra or not all(value is None or holdable(value) for value in row):
                rules = [UNKNOWN_FIELDS] if extra else []
                target.aside.add(dict(zip(target.columns, row, strict=True)), rules, (), extra)
            else:
                out.append(csv_row(row, file.form.delimiter))
        target.rows += len(out)
        if out:
            yield "".join(out).encode("utf-8")


def proved_rows(file: CsvFile, target: Target, columns: Sequence[Column]) -> Iterator[bytes]:
    """Yield the rows of a CSV as they are, as long as each text of some columns is sure to be a value.

    Args:
        file: The file, whose fields are those of the target.
        target: Where they go; its counts are kept.
        columns: The columns of the contract that must be proved.

    Raises:
        NotProved: One is not, or a block of lines cannot be taken as it is.
    """
    for lines in file.blocks:
        body = _good_block(lines, file)
        if body is None:
            raise NotProved
        _prove(body, file, target, columns)
        blank = lines.count(b"")
        target.rows += len(lines) - blank
        target.blank += blank
        yield body


def _prove(body: bytes, file: CsvFile, target: Target, columns: Sequence[Column]) -> None:
    import pyarrow
    from pyarrow import csv

    if not body:
        return
    names = [column.name for column in columns]
    try:
        texts = csv.read_csv(
            pyarrow.BufferReader(body),
            csv.ReadOptions(column_names=target.columns, use_threads=False, block_size=len(body)),
            csv.ParseOptions(delimiter=file.form.delimiter, quote_char=False, double_quote=False),
            csv.ConvertOptions(
                column_types=dict.fromkeys(names, pyarrow.string()),
                null_values=[""],
                strings_can_be_null=True,
                include_columns=names,
            ),
        )
    except pyarrow.ArrowInvalid as error:
        raise NotProved from error
    if broken := unproved(columns, texts):
        raise NotProved(broken)


def _good_block(lines: list[bytes], file: CsvFile) -> bytes | None:
    """Return a block that COPY can take as it is; None if any line has quotes, odd bytes or another shape."""
    body = b"\n".join(filter(None, lines))
    if b'"' in body or b"\0" in body or b"\r" in body:
        return None
    delimiter, wanted = file.form.delimiter.encode(), len(file.header) - 1
    if any(line.count(delimiter) != wanted for line in lines if line):
        return None
    try:
        text = body.decode(file.form.encoding)
    except UnicodeDecodeError:
        return None
    return text.encode("utf-8") + b"\n" if text else b""


def _row(line: bytes, file: CsvFile, target: Target) -> list[str | None] | None:
    """Return the values of one line; None if it is no row, which is then kept aside or, where blank, counted."""
    if not line:
        target.blank += 1
        return None
    values = _split(line, file.form)
    if values is None:
        target.aside.add_line(line, MALFORMED, problem="its quotes are not closed, or stand within a value")
        return None
    if len(values) != len(file.header):
        target.aside.add_line(line, SHAPE, fields=len(values), wanted=len(file.header))
        return None
    return values


# --- JSON --------------------------------------------------------------------------------------------------------


def json_records(blocks: Iterable[bytes]) -> Iterator[tuple[bytes, Any]]:
    """Yield each line of a JSON Lines file with what it decodes to; None where it is no object, or names a key twice.

    Numbers stay the text that they were written in; bytes that are not UTF-8 become surrogates.
    """
    for lines in blocks_of_lines(blocks):
        for line in lines:
            body = line.removeprefix(_BOM)
            if body.strip():
                yield body, _object(body)


def _object(line: bytes) -> Any:
    try:
        found = DECODER.decode(line.decode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def fields_of(records: Iterable[tuple[bytes, Any]]) -> list[str]:
    """Return the names of all fields of the records, in the order of their first appearance."""
    seen: dict[str, None] = {}
    for _, record in records:
        if record is not None and not record.keys() <= seen.keys():
            seen.update(dict.fromkeys(record))
    return list(dict.fromkeys(map(escaped, seen)))


def json_rows(records: Iterable[tuple[bytes, Any]], target: Target, batch: int = 1000) -> Iterator[bytes]:
    """Yield the rows of records as COPY takes them; the others, and lines that are no record, go aside."""
    out: list[str] = []
    for line, record in records:
        row = _json_row(line, record, target)
        if row is not None:
            out.append(row)
        if len(out) == batch:
            target.rows += batch
            yield "".join(out).encode("utf-8")
            out = []
    target.rows += len(out)
    if out:
        yield "".join(out).encode("utf-8")


def _json_row(line: bytes, record: Mapping[str, Any] | None, target: Target) -> str | None:
    if record is None:
        target.aside.add_line(line, MALFORMED, problem="it is not one record, or names a field twice")
        return None
    if not record.keys() <= target.seen.keys():
        target.seen.update(dict.fromkeys(record))
    try:
        row = [text_of(record.get(name)) for name in target.fields]
    except RecursionError:
        target.aside.add_line(line, MALFORMED, problem="it is nested too deeply")
        return None
    extra: dict[str, str | None] = {}
    if target.watched and not target.watched.isdisjoint(map(escaped, record)):
        extra = {
            name: text_of(value)
            for name, value in record.items()
            if value is not None and escaped(name) in target.watched
        }
    if extra or not all(value is None or holdable(value) for value in row):
        values = dict(zip(target.columns, row, strict=True))
        target.aside.add(values, [UNKNOWN_FIELDS] if extra else [], (), extra)
        return None
    return csv_row(row)
