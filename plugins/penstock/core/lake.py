"""The lake: what a source sent, kept as it came, so that a slice can be staged again without the source.

Layout: `<lake>/<dataset>/<slice>/<attempt>/part-00001.parquet …` and, written last, `manifest.json`. An attempt without
a manifest is not there. Every value is kept as text exactly as the source wrote it; a nested value as its JSON.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any, Final, Protocol

from penstock.core.errors import SourceError

MANIFEST: Final = "manifest.json"
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
    return json.dumps(value, ensure_ascii=False)


def _text(value: Any) -> str | None:
    """Return a JSON value as text; numbers arrive as the text they were written in (see `decode`)."""
    return value if value is None or isinstance(value, str) else _json(value)


def decode(body: bytes) -> Any:
    """Decode JSON without letting a number pass through a float.

    Raises:
        SourceError: The body is not JSON.
    """
    try:
        return json.loads(body, parse_float=Number, parse_int=Number, parse_constant=Number)
    except (ValueError, RecursionError) as error:
        start = body[:80].decode("utf-8", "replace")
        raise SourceError(f"The answer is not JSON; it begins with {start!r}.") from error


@dataclass
class LakeWriter:
    """Writes the parts of one attempt, then its manifest.

    Attributes:
        folder: The attempt's folder.
        source: What to name as the source in the manifest.
    """

    folder: LakePath
    source: str
    _parts: list[dict[str, Any]] = field(default_factory=list)
    _fields: dict[str, None] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Rows written so far."""
        return sum(part["rows"] for part in self._parts)

    @property
    def fields(self) -> list[str]:
        """Names of all fields seen so far, in the order of their first appearance."""
        return list(self._fields)

    def write(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Write one part; an empty one is left out.

        Raises:
            SourceError: A text is not Unicode (it holds half of a surrogate pair).
        """
        if not records:
            return
        import pyarrow
        import pyarrow.parquet

        names = list(dict.fromkeys(name for record in records for name in record))
        self._fields.update(dict.fromkeys(names))
        try:
            table = pyarrow.table(
                {
                    name: pyarrow.array([_text(record.get(name)) for record in records], pyarrow.string())
                    for name in names or [""]  # a row without any field is a row too
                }
            )
        except UnicodeEncodeError as error:
            raise SourceError(f"The source sent text that is not Unicode: {error}.") from error
        buffer = io.BytesIO()
        pyarrow.parquet.write_table(table, buffer, compression="zstd")
        body = buffer.getvalue()
        if not self._parts:
            self.folder.mkdir(parents=True, exist_ok=True)
        name = f"part-{len(self._parts) + 1:05d}.parquet"
        with (self.folder / name).open("wb") as out:
            out.write(body)
        digest = hashlib.sha256(body).hexdigest()
        self._parts.append({"file": name, "rows": len(records), "bytes": len(body), "sha256": digest})

    def close(self) -> dict[str, Any]:
        """Write the manifest and return it; from now on the attempt is there."""
        manifest = {
            "format": _FORMAT,
            "source": self.source,
            "rows": self.rows,
            "fields": self.fields,
            "parts": self._parts,
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / MANIFEST).open("w") as out:
            json.dump(manifest, out, indent=1)
        return manifest


def _read(folder: LakePath, name: str) -> bytes:
    try:
        with (folder / name).open("rb") as file:
            return bytes(file.read())
    except FileNotFoundError as error:
        raise SourceError(f"{folder}/{name} is missing from the lake.") from error


def _parts(folder: LakePath) -> list[dict[str, Any]]:
    try:
        return list(json.loads(_read(folder, MANIFEST))["parts"])
    except (ValueError, KeyError, TypeError) as error:
        raise SourceError(f"{folder}/{MANIFEST} is not a whole manifest.") from error


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

    for part in _parts(folder):
        body = _read(folder, part["file"])
        if hashlib.sha256(body).hexdigest() != part["sha256"]:
            raise SourceError(f"{folder}/{part['file']} is not the file that was landed.")
        table = pyarrow.parquet.read_table(pyarrow.BufferReader(body))
        empty = pyarrow.nulls(table.num_rows, pyarrow.string())
        yield pyarrow.table(
            {name: table.column(field_) if field_ in table.column_names else empty for name, field_ in columns.items()}
        )
