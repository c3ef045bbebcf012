r"""Records of files that are neither CSV nor JSON: Parquet, Avro, Excel, XML, fixed width, logs.

Each kind yields pairs of a line and a record, as `text_lines.json_records` does: the record's values by field, None for
a line that is none. A value that is no text becomes the text that the gate reads as the same value (see `row_text`).
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any, Final

from penstock.core.compression import FREE_BYTES, MAX_RATIO, spooled
from penstock.core.contract.model import Contract
from penstock.core.errors import PenstockError, SourceError
from penstock.core.landing import escaped
from penstock.core.row_text import text_of
from penstock.core.text_lines import blocks_of_lines

Record = tuple[bytes, "dict[str, Any] | None"]
_BATCH_ROWS: Final = 5000
_FIELD_SEPARATOR: Final = "."


@dataclass(frozen=True, slots=True)
class RecordFormat:
    """How a file of records is read.

    Attributes:
        sheet: Of an Excel file: the sheet's name; empty for the first.
        record: Of XML: the name of the elements that are records, without a namespace.
        widths: Of fixed width: where each field begins and ends, in characters from 0, by field.
        pattern: Of a log: `common`, `combined`, or a regular expression whose named groups are the fields.
        encoding: Of fixed width and logs.
    """

    sheet: str = ""
    record: str = ""
    widths: Mapping[str, tuple[int, int]] | None = None
    pattern: str = "combined"
    encoding: str = "utf-8"


def _types(contract: Contract) -> dict[str, str]:
    return {column.source_name: column.type for column in contract.columns}


def _as_texts(values: Iterable[tuple[str, Any]], types: Mapping[str, str]) -> dict[str, Any]:
    """Return values as texts; what is nested stays, for it becomes JSON."""
    return {
        name: value if value is None or isinstance(value, str) else text_of(value, types.get(name, "text"))
        for name, value in values
    }


def _unreadable(kind: str, error: Exception) -> SourceError:
    return SourceError(
        f"The file is not {kind}, or torn: {' '.join(str(error).split())[:200]}.",
        next_step="fetch it again, or correct `format` in the DAG.",
    )


# --- Parquet and Avro ----------------------------------------------------------------------------------------------


def parquet_records(blocks: Iterable[bytes], contract: Contract, _: RecordFormat) -> Iterator[Record]:
    """Yield the rows of a Parquet file.

    Raises:
        SourceError: It is none, or torn.
    """
    import pyarrow
    from pyarrow import parquet

    types = _types(contract)
    with spooled(blocks) as file:
        try:
            for batch in parquet.ParquetFile(file).iter_batches(_BATCH_ROWS):
                names = batch.schema.names
                _refuse_repeated(names)
                columns = [_values(column) for column in batch.columns]
                for row in zip(*columns, strict=True):
                    yield b"", _as_texts(zip(names, row, strict=True), types)
        except (pyarrow.ArrowException, OSError) as error:
            raise _unreadable("Parquet", error) from error


def _values(column: Any) -> list[Any]:
    """Return a column's values; a time in nanoseconds, of which Python has none, as its text."""
    import pyarrow

    if pyarrow.types.is_timestamp(column.type) or pyarrow.types.is_time(column.type):
        zone = getattr(column.type, "tz", None)
        texts = column.cast(pyarrow.timestamp(column.type.unit) if zone else column.type).cast(pyarrow.string())
        return [None if text is None else text + "+00:00" * bool(zone) for text in texts.to_pylist()]
    return list(column.to_pylist())


def _refuse_repeated(names: Sequence[str]) -> None:
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise SourceError(
            f"The file names the field {twice!r} twice.", next_step="ask its sender for names of their own."
        )


def avro_records(blocks: Iterable[bytes], contract: Contract, _: RecordFormat) -> Iterator[Record]:
    """Yield the records of an Avro file, in its own schema.

    Raises:
        SourceError: It is none, or torn.
    """
    import fastavro

    types = _types(contract)
    with spooled(blocks) as file, _read_as("Avro"):
        for record in fastavro.reader(file):
            yield b"", _as_texts(_fields_of(record), types)


def _fields_of(record: Any) -> Iterable[tuple[str, Any]]:
    if not isinstance(record, dict):
        raise SourceError("The Avro file holds no records.", next_step="correct `format` in the DAG.")
    return record.items()


@contextmanager
def _read_as(kind: str) -> Iterator[None]:
    """Say what kind of file it is not, whatever a library raises that comes upon a torn one."""
    try:
        yield
    except (PenstockError, GeneratorExit):
        raise
    except Exception as error:
        raise _unreadable(kind, error) from error


# --- Excel -------------------------------------------------------------------------------------------------------


def excel_records(blocks: Iterable[bytes], contract: Contract, form: RecordFormat) -> Iterator[Record]:
    """Yield the rows of a sheet below its first row, which names the fields; formulas count by their last result.

    Raises:
        SourceError: It is no `.xlsx`, a bomb, has no such sheet, or its first row names a field twice.
    """
    import openpyxl

    types = _types(contract)
    with spooled(blocks) as file, _read_as("Excel (.xlsx)"):
        _refuse_zip_bomb(file)
        rows = _sheet(openpyxl.load_workbook(file, read_only=True, data_only=True, keep_links=False), form.sheet)
        names = _names_of(next(rows, ()))
        for number, row in enumerate(rows, 2):
            _refuse_longer(row, names, number)
            if any(value is not None for value in row):
                yield b"", _as_texts(zip(names, [*row, *[None] * len(names)], strict=False), types)


def _sheet(book: Any, name: str) -> Iterator[Sequence[Any]]:
    if name and name not in book.sheetnames:
        raise SourceError(
            f"There is no sheet {name!r}, only {', '.join(book.sheetnames)}.", next_step="correct `sheet` in the DAG."
        )
    rows: Iterator[Sequence[Any]] = (book[name] if name else book.worksheets[0]).iter_rows(values_only=True)
    return rows


def _names_of(row: Sequence[Any]) -> list[str]:
    names = ["" if name is None else escaped(str(name).strip()) for name in row]
    while names and not names[-1]:
        names.pop()
    if not names or "" in names:
        raise SourceError("The sheet's first row does not name all fields.", next_step="ask its sender for names.")
    _refuse_repeated(names)
    return names


def _refuse_longer(row: Sequence[Any], names: Sequence[str], number: int) -> None:
    if any(value is not None for value in row[len(names) :]):
        raise SourceError(f"Row {number} of the sheet has more values than its first row has names.")


def _refuse_zip_bomb(file: IO[bytes]) -> None:
    try:
        with zipfile.ZipFile(file) as archive:
            packed = sum(member.compress_size for member in archive.infolist())
            size = sum(member.file_size for member in archive.infolist())
    except zipfile.BadZipFile as error:
        raise _unreadable("Excel (.xlsx)", error) from error
    if size > FREE_BYTES and size > MAX_RATIO * packed:
        raise SourceError(f"The file unpacks to more than {MAX_RATIO} times its size: a bomb?")
    file.seek(0)


# --- XML -----------------------------------------------------------------------------------------------------------


def xml_records(blocks: Iterable[bytes], _: Contract, form: RecordFormat) -> Iterator[Record]:
    """Yield the elements of a name: children and `@attributes` by name, deeper ones with dots; repeated ones as a list.

    Entities are not resolved, nothing is fetched.

    Raises:
        SourceError: It is no XML, declares entities, or no `record` is stated.
    """
    from lxml import etree

    if not form.record:
        raise SourceError("XML needs the name of its records.", next_step="state `record` in the DAG.")
    parser = etree.XMLPullParser(
        events=("start", "end"), resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False
    )
    depth = 0  # within a record
    try:
        for block in blocks:
            parser.feed(block)
            for event, element in parser.read_events():
                is_record = isinstance(element.tag, str) and etree.QName(element).localname == form.record
                if event == "start":
                    _refuse_entities(element)
                    depth += is_record
                elif is_record:
                    depth -= 1
                    if depth == 0:
                        yield b"", _leaves(element)
                if event == "end" and depth == 0:
                    element.clear()
                    while (before := element.getprevious()) is not None and element.getparent() is not None:
                        element.getparent().remove(before)
        parser.close()
    except etree.XMLSyntaxError as error:
        raise _unreadable("XML", error) from error


def _refuse_entities(element: Any) -> None:
    """Refuse a document that declares entities, at its root."""
    if element.getparent() is None and (dtd := element.getroottree().docinfo.internalDTD) is not None:
        names = [entity.name for entity in dtd.iterentities()]
        if names:
            raise SourceError(
                f"The XML declares entities ({', '.join(names[:3])}), which are not read.", next_step="ask its sender."
            )


def _leaves(element: Any, prefix: str = "") -> dict[str, Any]:
    from lxml import etree

    found: dict[str, Any] = {f"{prefix}@{etree.QName(name).localname}": value for name, value in element.attrib.items()}
    children = [child for child in element if isinstance(child.tag, str)]
    for child in children:
        name = prefix + etree.QName(child).localname
        if len(child):
            parts = _leaves(child, name + _FIELD_SEPARATOR)
        else:
            parts = {name: child.text} | _leaves(child, name + _FIELD_SEPARATOR)
        for key, value in parts.items():
            if key not in found:
                found[key] = value
            elif isinstance(found[key], list):
                found[key].append(value)
            else:
                found[key] = [found[key], value]
    if not children and not prefix:
        found["#text"] = element.text
    return found


# --- lines -------------------------------------------------------------------------------------------------------


def _lines(blocks: Iterable[bytes]) -> Iterator[bytes]:
    for lines in blocks_of_lines(blocks):
        yield from filter(None, lines)


def fixed_records(blocks: Iterable[bytes], _: Contract, form: RecordFormat) -> Iterator[Record]:
    """Yield the lines of a file of fixed width, cut; blanks at the ends are dropped, and nothing else is NULL.

    A line that ends before a field begins is no record.

    Raises:
        SourceError: No `widths` are stated.
    """
    if not form.widths:
        raise SourceError("Fixed width needs to know the fields.", next_step="state `widths` in the DAG.")
    least = max(start for start, _ in form.widths.values())
    for line in _lines(blocks):
        text = line.decode(form.encoding, "surrogateescape")
        if len(text) <= least:
            yield line, None
            continue
        yield line, {name: text[start:end].strip() or None for name, (start, end) in form.widths.items()}


_QUOTED: Final = r'(?:[^"\\]|\\.)*'
_COMMON: Final = (
    r"(?P<host>\S+) (?P<ident>\S+) (?P<user>.+?) \[(?P<time>[^\]]+)\]"
    rf' "(?P<request>{_QUOTED})" (?P<status>\d{{3}}) (?P<bytes>\d+|-)'
)
LOGS: Final = {
    "common": _COMMON,
    "combined": rf'{_COMMON} "(?P<referer>{_QUOTED})" "(?P<user_agent>{_QUOTED})"',
}
"""Named patterns. Source: Apache HTTP Server, "Log Files", Common and Combined Log Format; nginx writes the latter."""
_MONTHS: Final = {
    name: f"{number:02}"
    for number, name in enumerate("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(), 1)  # noqa: SIM905
}
_CLF_TIME: Final = re.compile(r"(\d\d)/([A-Z][a-z]{2})/(\d{4}):(\d\d:\d\d:\d\d) ([+-]\d{4})")


def log_records(blocks: Iterable[bytes], _: Contract, form: RecordFormat) -> Iterator[Record]:
    """Yield the lines of a log, by a named pattern or a regular expression; a line that does not match is no record.

    In the named ones `-` is NULL, `time` is in ISO 8601, and `method`, `path` and `protocol` are parts of `request`.

    Raises:
        SourceError: The pattern is no regular expression with named groups.
    """
    try:
        pattern = re.compile(LOGS.get(form.pattern, form.pattern))
    except re.error as error:
        raise SourceError(f"`pattern` is no regular expression: {error}.", next_step="correct the DAG.") from error
    if not pattern.groupindex:
        raise SourceError("`pattern` names no groups, and so no fields.", next_step="write `(?P<field>…)` in the DAG.")
    named = form.pattern in LOGS
    for line in _lines(blocks):
        match = pattern.fullmatch(line.decode(form.encoding, "surrogateescape"))
        yield line, None if match is None else _of_web_server(match.groupdict()) if named else match.groupdict()


def _of_web_server(fields: dict[str, str | None]) -> dict[str, Any]:
    found: dict[str, Any] = {name: None if value == "-" else value for name, value in fields.items()}
    if time := _CLF_TIME.fullmatch(found["time"] or ""):
        day, month, year, clock, offset = time.groups()
        found["time"] = f"{year}-{_MONTHS.get(month, month)}-{day}T{clock}{offset[:3]}:{offset[3:]}"
    parts = (found["request"] or "").split(" ")
    is_request = len(parts) == len(("method", "path", "protocol"))
    found.update(zip(("method", "path", "protocol"), parts if is_request else [None] * 3, strict=True))
    return found


Reader = Callable[[Iterable[bytes], Contract, RecordFormat], Iterator[Record]]
READERS: Final[Mapping[str, Reader]] = {
    "parquet": parquet_records,
    "avro": avro_records,
    "excel": excel_records,
    "xml": xml_records,
    "fixed": fixed_records,
    "log": log_records,
}
"""By kind of file, what reads its records."""
