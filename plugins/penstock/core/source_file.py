"""Stage a slice from a file that was landed in the lake: CSV, JSON, or another kind (`record_files`), packed or not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extensions import cursor as Cursor  # noqa: N812

from penstock.core.compression import Compression, compression_of, unpacked
from penstock.core.contract.model import SLICE_FIELD, Column, Contract, SchemaPolicy
from penstock.core.csv_dialect import HEAD_BYTES, told_dialect
from penstock.core.drift import Drift, Extracted, decide, with_evolved
from penstock.core.errors import SourceError
from penstock.core.json_array import items
from penstock.core.lake import LakePath, landed_files, read_file, text_of
from penstock.core.landing import Aside, Stream, escaped
from penstock.core.proof import stage_proved
from penstock.core.record_files import READERS, RecordFormat
from penstock.core.slice import Slice
from penstock.core.stage import Stage, copy_into, create_text_stage, default_to_slice, record_stage
from penstock.core.text_lines import (
    AUTO,
    CsvFile,
    CsvFormat,
    Target,
    as_utf8,
    csv_rows,
    fields_of,
    json_records,
    json_rows,
    open_csvs,
    proved_rows,
)

FileKind = Literal["csv", "jsonl", "json", "parquet", "avro", "excel", "xml", "fixed", "log"]
KINDS: Final[Mapping[str, FileKind]] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".parquet": "parquet",
    ".avro": "avro",
    ".xlsx": "excel",
    ".xml": "xml",
    ".log": "log",
}
"""The kind of a file by the end of its name."""
_TEXTS: Final = frozenset(("csv", "jsonl", "json", "fixed", "log"))

MAX_JSON_BYTES: Final = 1 << 28
"""The largest JSON document of which a contract is drafted: that reads it as a whole. Slices have no such limit."""


@dataclass(frozen=True, slots=True)
class FileFormat:
    """How a file is to be read.

    Attributes:
        kind: `csv` with a header, `jsonl` (an object in each line), `json` (an array of objects), or another of
            `record_files.READERS`.
        csv: How a CSV is written.
        records: For `json`: the way to the array through the names of objects, `data.items`; empty for the document.
        other: How a file of another kind is read.
        compression: How the file is packed; empty where it is not.
        member: Of a ZIP: which members.
        wide: UTF-16 or UTF-32, where a file of text is one without a byte order mark; empty otherwise.
    """

    kind: FileKind
    csv: CsvFormat = field(default_factory=CsvFormat)
    records: str = ""
    other: RecordFormat = field(default_factory=RecordFormat)
    compression: Compression = ""
    member: str = "*"
    wide: str = ""

    def blocks(self, packed: Iterable[bytes]) -> Iterator[bytes]:
        """Yield a file's bytes, unpacked; a text's as UTF-8 where it is written in UTF-16 or UTF-32.

        Raises:
            SourceError: They are packed otherwise, torn, locked, or a bomb.
        """
        found = unpacked(packed, self.compression, self.member)
        return as_utf8(found, self.wide) if self.kind in _TEXTS else found


def file_kind(path: str) -> FileKind:
    """Return the kind of a file by its name, whether it is packed or not.

    Raises:
        ValueError: The name does not tell.
    """
    name, _ = compression_of(path.rsplit("/", 1)[-1].partition("?")[0].lower())
    for end, kind in KINDS.items():
        if name.endswith(end):
            return kind
    raise ValueError(f"{path!r} ends in none of {', '.join(KINDS)}: say `format`")


def document_records(blocks: Iterable[bytes], path: str) -> Iterator[tuple[bytes, Any]]:
    """Yield the records of a JSON document, each without a line of its own; None for what is no object, with its text.

    Raises:
        SourceError: It is not JSON, or has no array where it is looked for.
    """
    for item in items(blocks, path):
        if isinstance(item, dict):
            yield b"", item
        else:
            yield (text_of(item) or "null").encode("utf-8", "surrogatepass"), None


def _target(contract: Contract, drift: Drift, sent: Iterable[str] | None) -> Target:
    """Return where the fields go; `sent` are those of a header, in their order, and None where it is not known yet."""
    columns = [column for column in drift.extend(contract).columns if column.source_name != SLICE_FIELD]
    if sent is not None:
        order = {name: position for position, name in enumerate(sent)}
        columns = sorted(
            (column for column in columns if column.source_name in order), key=lambda c: order[c.source_name]
        )
    names = tuple(column.name for column in columns)
    fields = tuple(column.source_name for column in columns)
    return Target(names, fields, frozenset(drift.watched), Aside(names))


def _copy(cur: Cursor, stage: Stage, target: Target, pieces: Iterator[bytes], delimiter: str) -> int:
    """Copy the rows, then those that went aside; return the number of both.

    Raises:
        SourceError: Postgres counted other rows than were read: nothing is staged.
    """
    statement = copy_into(stage, target.columns, binary=False, delimiter=delimiter)
    stream = Stream(pieces)
    try:
        cur.copy_expert(statement, stream)
    except psycopg2.Error:
        if stream.error is not None:  # the driver has only its words
            raise stream.error from None
        raise
    if cur.rowcount != target.rows:
        raise SourceError(f"{target.rows:,} rows were read and {cur.rowcount:,} staged.")
    target.aside.copy(cur, stage)
    return target.rows + target.aside.rows


def _opened(folder: LakePath, form: FileFormat) -> Iterator[Iterator[bytes]]:
    """Yield the bytes of each landed file, unpacked."""
    for name in landed_files(folder):
        yield form.blocks(read_file(folder, name))


def _copy_as_is(cur: Cursor, stage: Stage, file: CsvFile, target: Target, proved: Sequence[Column]) -> int:
    """Copy a file whose blocks can be taken as they are; return its rows.

    Raises:
        NotProved: A block cannot be, or a column is not proved.
        SourceError: Postgres counted other rows than were read: nothing is staged.
    """
    stream = Stream(proved_rows(file, target, proved))
    try:
        cur.copy_expert(copy_into(stage, target.columns, binary=False, delimiter=file.form.delimiter), stream)
    except psycopg2.Error:
        if stream.error is not None:  # the driver has only its words
            raise stream.error from None
        raise
    if cur.rowcount != target.rows:
        raise SourceError(f"{target.rows:,} rows were read and {cur.rowcount:,} staged.")
    return target.rows


def _stage_csv(
    cur: Cursor, contract: Contract, slice_: Slice, stage: Stage, folder: LakePath, form: FileFormat
) -> tuple[Extracted, dict[str, Any]]:
    form, told = _told(contract, folder, form)
    file = open_csvs(_opened(folder, form), form.csv)
    drift = decide(contract, dict.fromkeys(file.header), stage)
    contract = drift.extend(contract)
    target = _target(contract, Drift(watched=drift.watched), file.header)

    def again() -> Target:
        nonlocal file, target
        file = open_csvs(_opened(folder, form), form.csv)
        target = _target(contract, Drift(watched=drift.watched), file.header)
        return target

    if not drift.watched and list(target.fields) == list(file.header):
        sent = [contract.column(name) for name in target.columns]
        rows = stage_proved(
            cur, stage, contract, slice_, sent, lambda proved: _copy_as_is(cur, stage, file, again(), proved)
        )
        if rows is not None:
            return Extracted(rows, drift, told=_in_words(told)), _kept(target, told)
    again()
    create_text_stage(cur, stage, contract, slice_)
    try:
        rows = _copy(cur, stage, target, csv_rows(file, target), form.csv.delimiter)
    finally:
        target.aside.close()
    default_to_slice(cur, stage, contract, None)
    return Extracted(rows, drift, told=_in_words(told)), _kept(target, told)


def _told(contract: Contract, folder: LakePath, form: FileFormat) -> tuple[FileFormat, dict[str, Any]]:
    """Fill in what is to be told of a CSV from the first of the files; return also what was."""
    if form.csv.is_told:
        return form, {}
    parts: list[bytes] = []
    for block in next(_opened(folder, form)):
        parts.append(block)
        if sum(map(len, parts)) >= HEAD_BYTES:
            break
    sent = [column for column in contract.columns if column.source_name != SLICE_FIELD]
    found = told_dialect(b"".join(parts), sent, form.csv)
    told = {
        name: getattr(found, name)
        for name in ("delimiter", "encoding", "header")
        if getattr(form.csv, name) in (AUTO, None)
    }
    return replace(form, csv=found), told


def _in_words(told: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in told.items())


def _kept(target: Target, told: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is kept with the rows of a CSV."""
    return ({"blank_lines": target.blank} if target.blank else {}) | ({"told": dict(told)} if told else {})


def _stage_records(
    cur: Cursor, contract: Contract, slice_: Slice, stage: Stage, folder: LakePath, form: FileFormat
) -> tuple[Extracted, dict[str, Any]]:
    def records() -> Iterator[tuple[bytes, Any]]:
        for blocks in _opened(folder, form):
            if form.kind in READERS:
                yield from READERS[form.kind](blocks, contract, form.other)
            elif form.kind == "json":
                yield from document_records(blocks, form.records)
            else:
                yield from json_records(blocks)

    policy = contract.schema_policy
    drift = Drift()
    if policy in (SchemaPolicy.EVOLVE, SchemaPolicy.QUARANTINE):  # what is unknown must be known before the rows
        fields = fields_of(records())
        drift = decide(contract, dict.fromkeys(fields), stage) if fields else drift
    contract = drift.extend(contract)
    target = _target(contract, Drift(watched=drift.watched), None)
    create_text_stage(cur, stage, contract, slice_)
    try:
        rows = _copy(cur, stage, target, json_rows(records(), target), ",")
    finally:
        target.aside.close()
    default_to_slice(cur, stage, contract, None)
    if policy in (SchemaPolicy.DISCARD, SchemaPolicy.FREEZE) and target.seen:
        drift = decide(contract, dict.fromkeys(map(escaped, target.seen)), stage)
    return Extracted(rows, drift), {}


def stage_file(
    warehouse: Connection,
    contract: Contract,
    slice_: Slice,
    stage: Stage,
    folder: LakePath,
    form: FileFormat,
    detail: Mapping[str, Any],
) -> Extracted:
    """Stage all rows of a landed file as text; commits.

    Args:
        warehouse: Connection to the warehouse.
        contract: The contract.
        slice_: The slice.
        stage: The run's stage; what an earlier attempt left in it is replaced.
        folder: The attempt's folder in the lake, with the files and their manifest; those of one slice are of one form.
        form: How the file is to be read.
        detail: What to keep with the stage and in the ledger.

    Raises:
        SourceError: The file is not what was landed, has no header, or is no array of JSON.
        SchemaMismatch: Its fields do not fit the contract.
    """
    with warehouse, warehouse.cursor() as cur:
        contract = with_evolved(cur, contract)
        try:
            if form.kind == "csv":
                found, more = _stage_csv(cur, contract, slice_, stage, folder, form)
            else:
                found, more = _stage_records(cur, contract, slice_, stage, folder, form)
        except psycopg2.DataError as error:  # not one row: the stream as such, which should not happen
            raise SourceError(f"Postgres does not take the file: {' '.join(str(error).split())}") from error
        record_stage(cur, stage, contract, extracted=found.rows, detail={**detail, **more, **found.drift.detail()})
    return found
