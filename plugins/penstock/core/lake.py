"""The lake: what a source sent, kept as it came, so that a slice can be staged again without the source.

Layout: `<lake>/<dataset>/<slice>/<attempt>/part-00001.parquet …` and, written last, `manifest.json`. An attempt without
a manifest is not there. Every value is kept as text exactly as the source wrote it; a nested value as its JSON. A file
is kept byte by byte, as `raw` in the attempt's folder.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import InitVar, dataclass, field
from itertools import chain
from typing import IO, Any, Final, Protocol

from penstock.core.arrow_text import bytes_array, text_array
from penstock.core.errors import SourceError
from penstock.core.landing import escaped, holdable

MANIFEST: Final = "manifest.json"
RAW: Final = "raw"
_BLOCK_BYTES: Final = 1 << 20
_FORMAT: Final = 1


class LakePath(Protocol):
    """What the lake needs of a path; `pathlib.Path` and Airflow's `ObjectStoragePath` both have it."""

    def __truediv__(self, key: str) -> LakePath: ...
    def open(self, mode: str = "r") -> IO[Any]:
        """Open the file."""
        ...

    def mkdir(self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        """Make the folder."""
        ...

    def unlink(self, missing_ok: bool = False) -> None:
        """Remove the file."""
        ...


class Number(str):
    """A JSON number, as its source wrote it."""

    __slots__ = ()


def _json(value: Any) -> str:
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{_json(key)}:{_json(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_json, value)) + "]"
    text = json.dumps(value, ensure_ascii=False)
    return text if holdable(text) else json.dumps(value)


def text_of(value: Any) -> str | None:
    """Return a JSON value as text; numbers arrive as the text they were written in (see `decode`)."""
    return value if value is None or isinstance(value, str) else _json(value)


class RepeatedKey(ValueError):
    """An object names a key twice, and JSON does not say which value holds (RFC 8259, section 4)."""


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object; the `object_pairs_hook` of every decoder, so that no value is lost in silence.

    Raises:
        RepeatedKey: A key stands twice.
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise RepeatedKey(f"an object names {twice!a} twice")
    return found


DECODER: Final = json.JSONDecoder(
    parse_float=Number, parse_int=Number, parse_constant=Number, object_pairs_hook=unique_keys
)
"""Decodes JSON without letting a number pass through a float."""


_FLAT_DECODER: Final = json.JSONDecoder(
    parse_float=str, parse_int=str, parse_constant=str, object_pairs_hook=unique_keys
)
"""In half the time: numbers become the texts that they are, which are told from other texts no more."""
_MOST_WRAPPERS: Final = 8


def _is_flat(document: Any, containers: int) -> bool:
    """Tell whether a document is a list of records without lists or objects in them, in an object or by itself.

    Args:
        document: The document.
        containers: How many signs in its text may begin a list or an object. There may be others in texts, but never
            fewer.
    """
    values = list(document.values()) if type(document) is dict else [document]
    lists = [value for value in values if type(value) is list]
    if not all(type(record) is dict for found in lists for record in found):
        return False
    wrappers = (type(document) is dict) + sum(type(value) in (dict, list) for value in values)
    return containers == wrappers + sum(map(len, lists))


def decode(body: bytes) -> Any:
    """Decode JSON without letting a number pass through a float.

    A number within a record's nested value is a `Number`, for it is written as one again.

    Raises:
        SourceError: The body is not JSON, or an object in it names a key twice.
    """
    try:
        text = body.decode(json.detect_encoding(body), "surrogatepass")
        if text.count(":{") + text.count(": {") <= _MOST_WRAPPERS:
            found = _FLAT_DECODER.decode(text)
            if _is_flat(found, text.count("{") + text.count("[")):
                return found
        return DECODER.decode(text)
    except RepeatedKey as error:
        raise SourceError(f"In the answer {error}, and JSON does not say which value holds.") from error
    except (ValueError, RecursionError) as error:
        start = body[:80].decode("utf-8", "replace")
        raise SourceError(f"The answer is not JSON; it begins with {start!r}.") from error


def _columns(records: Sequence[Mapping[str, Any]]) -> dict[str, Sequence[Any]]:
    """Return the values of each field; a field that a record lacks is None."""
    shapes = set(map(tuple, records))
    if len(shapes) == 1:  # as of most pages: all records have the same fields in the same order
        (names,) = shapes
        return dict(zip(names, zip(*(record.values() for record in records), strict=True), strict=True))
    return {name: [record.get(name) for record in records] for name in dict.fromkeys(chain.from_iterable(records))}


def _texts(values: Sequence[Any]) -> Sequence[str | None]:
    return values if _TEXTS.issuperset(map(type, values)) else list(map(text_of, values))


_TEXTS: Final = frozenset((str, Number, type(None)))


def _array(texts: Sequence[str | None]) -> Any:
    """Return a column of a part: text or, where one of them is not Unicode, bytes (see `landed_text`)."""
    try:
        return text_array(texts)
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can write
        return bytes_array([None if text is None else text.encode("utf-8", "surrogatepass") for text in texts])


def landed_text(value: str | bytes | None) -> str | None:
    """Return a value of a part as the source wrote it."""
    return value.decode("utf-8", "surrogatepass") if isinstance(value, bytes) else value


@dataclass
class LakeWriter:
    """Writes the parts of one attempt, then its manifest.

    Attributes:
        folder: The attempt's folder.
        source: What to name as the source in the manifest.
        mark: Goes into the names of parts, so that two tries that write to one folder overwrite nothing.
        parts: What the manifest says of each part so far; given where an attempt is gone on with.
        seen: Names of the fields so far, likewise.
    """

    folder: LakePath
    source: str
    mark: str = ""
    parts: list[dict[str, Any]] = field(default_factory=list)
    seen: InitVar[Sequence[str]] = ()
    _fields: dict[str, None] = field(init=False)

    def __post_init__(self, seen: Sequence[str]) -> None:
        self._fields = dict.fromkeys(seen)

    @staticmethod
    def part_name(number: int, mark: str = "") -> str:
        """Return the name of a part, which are counted from 1."""
        return f"part-{number:05d}{mark}.parquet"

    @property
    def rows(self) -> int:
        """Rows written so far."""
        return sum(part["rows"] for part in self.parts)

    @property
    def fields(self) -> list[str]:
        """Names of all fields seen so far, in the order of their first appearance."""
        return list(self._fields)

    def write(self, records: Sequence[Mapping[str, Any]], detail: Mapping[str, Any] | None = None) -> None:
        """Write one part; an empty one is left out.

        Args:
            records: The rows.
            detail: What the manifest is to say of the part beside its size.
        """
        if not records:
            return
        import pyarrow
        import pyarrow.parquet

        columns = {escaped(name): values for name, values in _columns(records).items()}
        self._fields.update(dict.fromkeys(columns))
        columns = columns or {"": [None] * len(records)}  # a row without any field is a row too
        table = pyarrow.table({name: _array(_texts(values)) for name, values in columns.items()})
        buffer = io.BytesIO()
        pyarrow.parquet.write_table(table, buffer, compression="zstd", use_dictionary=False, write_statistics=False)
        self._add(buffer.getvalue(), len(records), detail or {})

    def take(self, folder: LakePath, part: Mapping[str, Any]) -> None:
        """Write a part of another attempt as it is.

        Args:
            folder: That attempt's folder.
            part: What its manifest says of the part.

        Raises:
            SourceError: The part is not what it says.
        """
        import pyarrow
        import pyarrow.parquet

        body = _read_part(folder, part)
        names = pyarrow.parquet.read_schema(pyarrow.BufferReader(body)).names
        self._fields.update(dict.fromkeys(name for name in names if name))
        own = ("file", "rows", "bytes", "sha256")
        self._add(body, part["rows"], {name: value for name, value in part.items() if name not in own})

    def _add(self, body: bytes, rows: int, detail: Mapping[str, Any]) -> None:
        if not self.parts:
            self.folder.mkdir(parents=True, exist_ok=True)
        name = self.part_name(len(self.parts) + 1, self.mark)
        with (self.folder / name).open("wb") as out:
            out.write(body)
        digest = hashlib.sha256(body).hexdigest()
        self.parts.append({"file": name, "rows": rows, "bytes": len(body), "sha256": digest, **detail})

    def close(self, detail: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Write the manifest and return it; from now on the attempt is there.

        Args:
            detail: What it is to say beside what was written.
        """
        manifest = {
            "format": _FORMAT,
            "source": self.source,
            "rows": self.rows,
            "fields": self.fields,
            "parts": self.parts,
            **(detail or {}),
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / MANIFEST).open("w") as out:
            json.dump(manifest, out, indent=1)
        return manifest


def land_file(folder: LakePath, source: str, blocks: Iterable[bytes]) -> dict[str, Any]:
    """Keep a file as it comes, then write its manifest and return it.

    Args:
        folder: The attempt's folder.
        source: What to name as the source in the manifest.
        blocks: The file's bytes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    manifest = {"format": _FORMAT, "source": source, "file": RAW, **_keep(folder / RAW, blocks)}
    with (folder / MANIFEST).open("w") as out:
        json.dump(manifest, out, indent=1)
    return manifest


def _keep(path: LakePath, blocks: Iterable[bytes]) -> dict[str, Any]:
    digest, size = hashlib.sha256(), 0
    with path.open("wb") as out:
        for block in blocks:
            out.write(block)
            digest.update(block)
            size += len(block)
    return {"bytes": size, "sha256": digest.hexdigest()}


def land_files(
    folder: LakePath, source: str, files: Iterable[tuple[Mapping[str, Any], Iterable[bytes]]]
) -> list[dict[str, Any]]:
    """Keep several files as they come, then write their manifest; return what it says of each.

    Args:
        folder: The attempt's folder.
        source: What to name as the source in the manifest.
        files: What to keep of each in the manifest, its `path` among it, and its bytes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kept = [
        {**told, "file": name, **_keep(folder / name, blocks)}
        for name, (told, blocks) in ((f"{RAW}-{number:05d}", found) for number, found in enumerate(files, 1))
    ]
    with (folder / MANIFEST).open("w") as out:
        json.dump({"format": _FORMAT, "source": source, "files": kept}, out, indent=1)
    return kept


def landed_files(folder: LakePath) -> list[str]:
    """Return the names under which files were kept in a folder.

    Raises:
        SourceError: There is no whole manifest.
    """
    manifest = read_manifest(folder)
    return [str(file["file"]) for file in manifest["files"]] if "files" in manifest else [RAW]


def read_file(folder: LakePath, name: str = RAW) -> Iterator[bytes]:
    """Read a landed file block by block.

    Raises:
        SourceError: There is no whole manifest, or at the end of the file: it is not the one that was landed.
    """
    manifest = read_manifest(folder)
    told = {file["file"]: file["sha256"] for file in manifest.get("files", ())} or {RAW: manifest.get("sha256")}
    wanted, digest = told.get(name), hashlib.sha256()
    try:
        with (folder / name).open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
                yield block
    except FileNotFoundError as error:
        raise SourceError(f"{folder}/{name} is missing from the lake.") from error
    if digest.hexdigest() != wanted:
        raise SourceError(f"{folder}/{name} is not the file that was landed.")


def _read(folder: LakePath, name: str) -> bytes:
    try:
        with (folder / name).open("rb") as file:
            return bytes(file.read())
    except FileNotFoundError as error:
        raise SourceError(f"{folder}/{name} is missing from the lake.") from error


def read_manifest(folder: LakePath) -> dict[str, Any]:
    """Return the manifest of an attempt.

    Raises:
        SourceError: There is none, or it is not whole.
    """
    try:
        return dict(json.loads(_read(folder, MANIFEST)))
    except (ValueError, TypeError) as error:
        raise SourceError(f"{folder}/{MANIFEST} is not a whole manifest.") from error


def _from_manifest(folder: LakePath, key: str) -> Any:
    try:
        return read_manifest(folder)[key]
    except KeyError as error:
        raise SourceError(f"{folder}/{MANIFEST} is not a whole manifest.") from error


def _read_part(folder: LakePath, part: Mapping[str, Any]) -> bytes:
    body = _read(folder, part["file"])
    if hashlib.sha256(body).hexdigest() != part["sha256"]:
        raise SourceError(f"{folder}/{part['file']} is not the file that was landed.")
    return body


def landed_fields(folder: LakePath) -> list[str]:
    """Return the names of all fields that an attempt's records have.

    Raises:
        SourceError: There is no whole manifest.
    """
    return list(_from_manifest(folder, "fields"))


def read_parts(folder: LakePath, columns: Mapping[str, str]) -> Iterator[Any]:
    """Read an attempt part by part, each as an Arrow table of text columns.

    Args:
        folder: The attempt's folder.
        columns: The field by wanted name; a field that a part lacks is NULL in it.

    Raises:
        SourceError: There is no whole manifest, or a part is not what it says.
    """
    import pyarrow
    import pyarrow.parquet

    for part in _from_manifest(folder, "parts"):
        body = _read_part(folder, part)
        table = pyarrow.parquet.ParquetFile(pyarrow.BufferReader(body)).read()
        empty = pyarrow.nulls(table.num_rows, pyarrow.string())
        yield pyarrow.table(  # a column that is not Unicode is binary, see `landed_text`
            {name: table.column(field_) if field_ in table.column_names else empty for name, field_ in columns.items()}
        )
