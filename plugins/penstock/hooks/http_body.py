"""The body of an answer, unpacked within bounds: a small packed body may unpack to one without end."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from penstock.core.errors import SourceError, SourceUnavailable

if TYPE_CHECKING:
    import httpx

ENCODINGS: Final = ("gzip", "br")
"""The encodings that are asked for."""

_BLOCK: Final = 1 << 20
_LONGEST_SECONDS: Final = 600.0
_AGAIN: Final = "nothing at first: the task is retried; if it goes on, ask the source's owner."


def read_body(response: httpx.Response, most: int) -> bytes:
    """Read and unpack a body.

    Args:
        response: The answer, of which nothing was read.
        most: Bytes that it may have when unpacked; a block more is held at most.

    Raises:
        SourceError: It is larger, or packed in a way that was not asked for, or is not what it says it is.
        SourceUnavailable: It is not whole, or comes too slowly.
    """
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    unpack = _UNPACKERS.get(encoding)
    if unpack is None:
        raise SourceError(f"The answer is packed as {encoding[:40]!r}, which was not asked for.", next_step=_AGAIN)
    parts, size, began = [], 0, time.monotonic()
    for block in unpack(response.iter_raw()):
        size += len(block)
        if size > most:
            raise SourceError(f"The answer is larger than {most // 2**20} MiB; ask for smaller pages.")
        if time.monotonic() - began > _LONGEST_SECONDS:
            raise SourceUnavailable(f"The answer was not whole after {_LONGEST_SECONDS:.0f} s.", next_step=_AGAIN)
        parts.append(block)
    return b"".join(parts)


def _plain(blocks: Iterator[bytes]) -> Iterator[bytes]:
    yield from blocks


def _zlib(bits: int) -> Callable[[Iterator[bytes]], Iterator[bytes]]:
    def unpack(blocks: Iterator[bytes]) -> Iterator[bytes]:
        unpacker, came = zlib.decompressobj(bits), False
        try:
            for block in blocks:
                rest = block
                while rest and not unpacker.eof:
                    came = True
                    yield unpacker.decompress(rest, _BLOCK)
                    rest = unpacker.unconsumed_tail
        except zlib.error as error:
            raise SourceError(f"The answer is not packed as it says: {error}.", next_step=_AGAIN) from error
        if came and not unpacker.eof:
            raise SourceUnavailable("The packed answer breaks off.", next_step=_AGAIN)

    return unpack


def _brotli(blocks: Iterator[bytes]) -> Iterator[bytes]:
    import brotli

    unpacker: Any = brotli.Decompressor()
    came = False
    try:
        for block in blocks:
            came = True
            yield unpacker.process(block, output_buffer_limit=_BLOCK)
            while not unpacker.can_accept_more_data():
                yield unpacker.process(b"", output_buffer_limit=_BLOCK)
    except brotli.error as error:
        raise SourceError(f"The answer is not packed as it says: {error}.", next_step=_AGAIN) from error
    if came and not unpacker.is_finished():
        raise SourceUnavailable("The packed answer breaks off.", next_step=_AGAIN)


_UNPACKERS: Final[dict[str, Callable[[Iterator[bytes]], Iterator[bytes]]]] = {
    "": _plain,
    "identity": _plain,
    "gzip": _zlib(16 + zlib.MAX_WBITS),
    "x-gzip": _zlib(16 + zlib.MAX_WBITS),
    "deflate": _zlib(zlib.MAX_WBITS),
    "br": _brotli,
}
