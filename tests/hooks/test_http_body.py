"""Bodies are unpacked as they are packed, and never beyond their bound."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from collections.abc import Callable

import brotli
import httpx
import pytest

from penstock.core.errors import SourceError, SourceUnavailable
from penstock.hooks.http_body import read_body

TEXT = b'{"a": "' + b"some text, " * 5000 + b'"}'
PACKED: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    "identity": bytes,
    "gzip": gzip.compress,
    "GZIP ": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
}


def answer(encoding: str, body: bytes, block: int = 4096) -> httpx.Response:
    """An answer whose body comes in blocks."""
    headers = {"Content-Encoding": encoding} if encoding else {}
    return httpx.Response(200, headers=headers, content=(body[at : at + block] for at in range(0, len(body), block)))


@pytest.mark.parametrize("encoding", PACKED)
@pytest.mark.parametrize("block", [1, 7, 65536])
def test_unpacks(encoding: str, block: int) -> None:
    """Whatever the blocks in which it comes; and nothing is nothing."""
    assert read_body(answer(encoding, PACKED[encoding](TEXT), block), 1 << 20) == TEXT
    assert read_body(answer(encoding, b""), 10) == b""


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br"])
def test_a_bomb_is_stopped_in_little_memory(encoding: str) -> None:
    """200 MB out of a few KB: the error comes at the bound, whatever was still to come."""
    bomb = PACKED[encoding](bytes(200 << 20))
    assert len(bomb) < 300_000
    tracemalloc.start()
    with pytest.raises(SourceError, match="larger than 4 MiB"):
        read_body(answer(encoding, bomb, 1 << 20), 4 << 20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 30 << 20


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br"])
def test_a_body_that_breaks_off_is_worth_another_try(encoding: str) -> None:
    """Half of it never passes for the whole."""
    with pytest.raises(SourceUnavailable, match="breaks off"):
        read_body(answer(encoding, PACKED[encoding](TEXT)[:-9]), 1 << 20)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "gzip, br"])
def test_what_is_not_packed_as_it_says_is_told(encoding: str) -> None:
    """Also a packing that nobody asked for."""
    with pytest.raises(SourceError, match="packed as"):
        read_body(answer(encoding, TEXT), 1 << 20)
