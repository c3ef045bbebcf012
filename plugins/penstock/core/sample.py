"""The first rows of a file, and how the file is to be read where its name does not tell."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice, product
from typing import Any, Final

from penstock.core.csv_dialect import DELIMITERS, HEAD_BYTES, encoding_of
from penstock.core.errors import SourceError
from penstock.core.lake import decode
from penstock.core.source_file import MAX_JSON_BYTES, FileFormat, FileKind, document_records, file_kind
from penstock.core.text_lines import CsvFormat, csv_values, fields_of, json_records, open_csv

_HEAD_ROWS: Final = 1000
_BINARY_MARK: Final = b"\0"
_DEEPEST_ARRAY: Final = 3


@dataclass(frozen=True, slots=True)
class Sample:
    """Rows of a source.

    Attributes:
        fields: Names of the fields, in order.
        rows: Values in the order of the fields; text from a CSV, what JSON decodes to from JSON, None for nothing.
        whole: Whether these are all rows of the source.
        skipped: Lines, or records, among them that are no rows.
        typed: Whether the source tells a number from its text.
    """

    fields: tuple[str, ...]
    rows: list[list[Any]]
    whole: bool
    skipped: int = 0
    typed: bool = False


def sample_file(blocks: Iterable[bytes], path: str, rows: int) -> tuple[Sample, FileFormat]:
    """Read the first rows of a file; of a JSON document, all of it is read.

    Args:
        blocks: The file's bytes; no more of them are asked for than needed.
        path: Its path or URL, whose end may tell the kind.
        rows: The most rows to return.

    Raises:
        SourceError: It is not a text file, or holds no field.
    """
    source = iter(blocks)
    head = _head(source)
    if _BINARY_MARK in head[:_HEAD_ROWS]:
        raise SourceError(
            f"{path} is not a text file in UTF-8 or another extension of ASCII.",
            next_step="draft from a CSV or JSON that is not packed, or write contract and DAG by hand: docs/files.md.",
        )
    whole_file = chain([head], source)
    kind = _kind(path, head)
    if kind not in ("csv", "jsonl", "json"):
        raise SourceError(
            f"{path} is {kind}, of which no draft is made.", next_step="write contract and DAG by hand: docs/files.md."
        )
    if kind == "csv":
        form = FileFormat("csv", csv_format(head))
        file = open_csv(whole_file, form.csv)
        return _sample(csv_values(file), rows, file.header), form
    if kind == "jsonl":
        found = (record for _, record in json_records(whole_file))
        return _sample_records(found, rows), FileFormat("jsonl")
    body = b"".join(_up_to_limit(whole_file))
    form = FileFormat("json", records=_array_in(decode(body)))
    return _sample_records((record for _, record in document_records([body], form.records)), rows), form


def _up_to_limit(blocks: Iterable[bytes]) -> Iterator[bytes]:
    size = 0
    for block in blocks:
        yield block
        size += len(block)
        if size > MAX_JSON_BYTES:  # `document_records` says what to do about it
            return


def _head(blocks: Iterator[bytes]) -> bytes:
    parts: list[bytes] = []
    while sum(map(len, parts)) < HEAD_BYTES and (block := next(blocks, None)) is not None:
        parts.append(block)
    return b"".join(parts)


def _kind(path: str, head: bytes) -> FileKind:
    try:
        return file_kind(path)
    except ValueError:
        start = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if start.startswith(b"["):
        return "json"
    if not start.startswith(b"{"):
        return "csv"
    _, first = next(iter(json_records([start.partition(b"\n")[0]])))
    return "json" if first is None or b"\n" not in start.strip() else "jsonl"


def _array_in(document: Any) -> str:
    """Return the way to the first array of objects; empty where the document is one, or has none."""
    level: list[tuple[str, Any]] = [("", document)]
    for _ in range(_DEEPEST_ARRAY):
        for way, found in level:
            if isinstance(found, list) and (not found or isinstance(found[0], dict)):
                return way
        level = [
            (f"{way}.{name}".lstrip("."), item)
            for way, found in level
            if isinstance(found, Mapping)
            for name, item in found.items()
            if "." not in name
        ]
    return ""


def csv_format(head: bytes) -> CsvFormat:
    """Tell how a CSV is written from its first lines: by what gives the most fields, then the most whole rows."""
    text = head[: head.rfind(b"\n") + 1] or head
    best, most = CsvFormat(encoding=encoding_of(text)), (0, 0)
    for delimiter, newlines in product(DELIMITERS, (False, True)):
        form = CsvFormat(delimiter, best.encoding, newlines)
        try:
            file = open_csv([text], form)
            good = sum(values is not None for values in islice(csv_values(file), _HEAD_ROWS))
        except SourceError:
            continue
        if (len(file.header), good) > most:
            best, most = form, (len(file.header), good)
    return best


def _sample_records(records: Iterable[Any], rows: int) -> Sample:
    found = list(islice(records, rows + 1))
    fields = fields_of((b"", record) for record in found[:rows])
    lines = (None if record is None else [record.get(name) for name in fields] for record in found)
    return _sample(lines, rows, fields, typed=True)


def _sample(lines: Iterable[list[Any] | None], rows: int, fields: Iterable[str], *, typed: bool = False) -> Sample:
    found = list(islice(lines, rows + 1))
    good = [values for values in found[:rows] if values is not None]
    names = tuple(fields)
    if not names:
        raise SourceError("The source holds no record with a field.", next_step="take one that does for the draft.")
    return Sample(names, good, len(found) <= rows, len(found[:rows]) - len(good), typed)
