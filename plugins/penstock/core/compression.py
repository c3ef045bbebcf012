"""Compressed files: unpacked as a stream, in bounded memory, and no further than an honest file would go.

Nothing is unpacked to a name that an archive says: the members of a ZIP are read, not extracted.
"""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from typing import IO, Any, Final, Literal

from penstock.core.errors import SourceError

Compression = Literal["", "gzip", "zstd", "bz2", "zip"]
ENDS: Final[dict[str, Compression]] = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2", ".zip": "zip"}
"""The compression of a file by the end of its name."""

MAX_RATIO: Final = 250
FREE_BYTES: Final = 1 << 26
"""A file may unpack to so many bytes whatever its ratio, and beyond them to `MAX_RATIO` times its size."""
MAX_MEMBERS: Final = 10_000
_BLOCK_BYTES: Final = 1 << 20
_SPOOL_BYTES: Final = 1 << 24


def compression_of(name: str) -> tuple[str, Compression]:
    """Return a file's name without the end that tells its compression, and the compression."""
    for end, found in ENDS.items():
        if name.lower().endswith(end):
            return name[: -len(end)], found
    return name, ""


def named_compression(name: str) -> Compression:
    """Return the compression of a name; `none` for none.

    Raises:
        ValueError: There is no such compression.
    """
    known: dict[str, Compression] = {"none": "", **{found: found for found in ENDS.values()}}
    if name not in known:
        raise ValueError(f"compression {name!r} is none of {', '.join(known)}")
    return known[name]


def unpacked(blocks: Iterable[bytes], compression: Compression, member: str = "*") -> Iterator[bytes]:
    """Yield a file's bytes, unpacked.

    Args:
        blocks: The file's bytes.
        compression: How they are packed; empty where they are not.
        member: Of a ZIP: which members, as a shell pattern that one at least must match; they are read in the order of
            their names, each beginning a new line.

    Raises:
        SourceError: They are packed otherwise, torn, locked, or a bomb.
    """
    if not compression:
        yield from blocks
    elif compression == "zip":
        with spooled(blocks) as file:
            yield from _members(file, member)
    else:
        yield from _stream(_Counted(blocks), compression)


def spooled(blocks: Iterable[bytes]) -> IO[bytes]:
    """Return a file that can be read at any place, on disk where it is large; the caller closes."""
    file: IO[bytes] = tempfile.SpooledTemporaryFile(_SPOOL_BYTES)  # noqa: SIM115 - the caller closes
    try:
        for block in blocks:
            file.write(block)
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file


class _Counted:
    """Blocks as a file that is read from the front; counts what was taken."""

    closed = False

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self._blocks = iter(blocks)
        self._rest = b""
        self.taken = 0
        self.error: BaseException | None = None

    def read(self, size: int = -1) -> bytes:
        while not self._rest:
            try:
                self._rest = next(self._blocks, b"")
            except BaseException as error:
                self.error = error
                raise
            if not self._rest:
                return b""
        size = len(self._rest) if size < 0 else size
        found, self._rest = self._rest[:size], self._rest[size:]
        self.taken += len(found)
        return found

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def writable(self) -> bool:
        return False

    def close(self) -> None:
        """Nothing to close."""


def _stream(source: _Counted, compression: Compression) -> Iterator[bytes]:
    import pyarrow

    made = 0
    try:
        stream: Any = pyarrow.CompressedInputStream(pyarrow.PythonFile(source, mode="r"), compression)
        while block := stream.read(_BLOCK_BYTES):
            made += len(block)
            _refuse_bomb(source.taken, made)
            yield block
    except (OSError, pyarrow.ArrowException) as error:
        if source.error is not None:
            raise source.error from None
        raise SourceError(
            f"The file cannot be unpacked as {compression}: {' '.join(str(error).split())}.",
            next_step="fetch it again, or correct its name or `compression` in the DAG.",
        ) from error


def _refuse_bomb(taken: int, made: int) -> None:
    if made > FREE_BYTES and made > MAX_RATIO * max(taken, 1):
        raise SourceError(
            f"The file unpacks to more than {MAX_RATIO} times its size ({made:,} bytes of {taken:,}): a bomb?",
            next_step="ask its sender; unpack it by hand if it is meant so.",
        )


def _members(file: IO[bytes], pattern: str) -> Iterator[bytes]:
    try:
        with zipfile.ZipFile(file) as archive:
            for member in _matching(archive, pattern):
                made, last = 0, b"\n"
                with archive.open(member) as body:
                    while block := body.read(_BLOCK_BYTES):
                        made += len(block)
                        _refuse_bomb(member.compress_size, made)
                        last = block[-1:]
                        yield block
                if last != b"\n":
                    yield b"\n"
    except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, RuntimeError, ValueError) as error:
        raise SourceError(
            f"The file cannot be unpacked as zip: {' '.join(str(error).split())}.",
            next_step="fetch it again; one with a password must be unpacked by hand.",
        ) from error


def _matching(archive: zipfile.ZipFile, pattern: str) -> list[zipfile.ZipInfo]:
    members = [member for member in archive.infolist() if not member.is_dir()]
    if len(members) > MAX_MEMBERS:
        raise SourceError(f"The archive has {len(members):,} members, more than {MAX_MEMBERS:,}.")
    found = sorted((m for m in members if fnmatchcase(m.filename, pattern)), key=lambda m: m.filename)
    names = [member.filename for member in found]
    if not found or len(set(names)) < len(names):
        said = "no member" if not found else "two members of one name"
        raise SourceError(
            f"The archive has {said} that match {pattern!r}; it holds {', '.join(m.filename for m in members[:5])}.",
            next_step="correct `member` in the DAG.",
        )
    return found
