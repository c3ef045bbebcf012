"""Packed files are unpacked to what they were; what is torn, locked or a bomb is told, in bounded memory."""

from __future__ import annotations

import bz2
import gzip
import io
import zipfile
from collections.abc import Iterator

import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.core import compression
from penstock.core.compression import Compression, compression_of, named_compression, unpacked
from penstock.core.errors import SourceError, SourceUnavailable


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """An archive."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, body in members.items():
            archive.writestr(name, body)
    return out.getvalue()


PACK = {
    "gzip": gzip.compress,
    "bz2": bz2.compress,
    "zstd": lambda body: pyarrow.compress(body, "zstd", asbytes=True),
    "zip": lambda body: zipped({"a.csv": body}),
    "": lambda body: body,
}


def cut(body: bytes, size: int = 7) -> Iterator[bytes]:
    """A body in small blocks."""
    return (body[start : start + size] for start in range(0, len(body), size))


@pytest.mark.parametrize("kind", list(PACK))
@settings(deadline=None, max_examples=40)
@given(body=st.binary(max_size=2000), size=st.integers(1, 100))
def test_what_was_packed_comes_back(kind: Compression, body: bytes, size: int) -> None:
    """Whatever the bytes, and however they are cut; a ZIP's member ends with its line."""
    found = b"".join(unpacked(cut(PACK[kind](body), size), kind))
    assert found == body + b"\n" * (kind == "zip" and body[-1:] != b"\n" and body != b"")


def test_parts_of_a_gzip_are_one_file() -> None:
    """As `cat a.gz b.gz` makes them."""
    assert b"".join(unpacked(cut(gzip.compress(b"one\n") + gzip.compress(b"two\n")), "gzip")) == b"one\ntwo\n"


def test_members_are_picked_by_name_and_read_in_order() -> None:
    """Each begins a new line; a name that leads elsewhere is only a name, for nothing is written by it."""
    body = zipped({"../../etc/x.csv": b"3", "b.csv": b"2", "a.csv": b"1\n", "readme.txt": b"no"})
    assert b"".join(unpacked([body], "zip", "*.csv")) == b"3\n1\n2\n"


def locked() -> bytes:
    """An archive whose member says that it is encrypted."""
    body = bytearray(zipped({"a": b"x"}))
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        body[body.index(mark) + at] |= 1
    return bytes(body)


HOSTILE: dict[str, tuple[bytes, Compression, str]] = {
    "a torn gzip": (gzip.compress(b"x" * 10_000)[:-20], "gzip", "cannot be unpacked as gzip"),
    "a torn zstd": (PACK["zstd"](bytes(range(256)) * 400)[:-20], "zstd", "cannot be unpacked as zstd"),
    "a torn bz2": (bz2.compress(b"x" * 10_000)[:-9], "bz2", "cannot be unpacked as bz2"),
    "a torn zip": (zipped({"a": b"x" * 10_000})[:-30], "zip", "cannot be unpacked as zip"),
    "no gzip": (b"a,b\n1,2\n", "gzip", "cannot be unpacked as gzip"),
    "no zip": (b"a,b\n1,2\n", "zip", "cannot be unpacked as zip"),
    "an HTML page": (b"<html>not found</html>", "zstd", "cannot be unpacked as zstd"),
    "nothing": (b"", "zip", "cannot be unpacked as zip"),
    "a locked zip": (locked(), "zip", "cannot be unpacked as zip: .*password"),
    "a zip without members": (zipped({}), "zip", "no member"),
    "a zip with other members": (zipped({"a.txt": b""}), "zip", r"no member that match '\*.csv'; it holds a.txt"),
}


@pytest.mark.parametrize("name", list(HOSTILE))
def test_what_cannot_be_unpacked_is_told(name: str) -> None:
    """With the kind that it should be, and the next step."""
    body, kind, said = HOSTILE[name]
    with pytest.raises(SourceError, match=said) as caught:
        b"".join(unpacked([body], kind, "*.csv" if "other" in name else "*"))
    assert "Next: " in str(caught.value)


@pytest.mark.parametrize("kind", ["gzip", "zstd", "bz2", "zip"])
def test_a_bomb_is_stopped_early(kind: Compression, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a bounded number of bytes, none of which is kept."""
    monkeypatch.setattr(compression, "FREE_BYTES", 1 << 22)
    packed = PACK[kind](bytes(1 << 26))
    sizes: list[int] = []
    with pytest.raises(SourceError, match="a bomb"):
        sizes.extend(map(len, unpacked([packed], kind)))
    assert sum(sizes) <= max(1 << 23, 251 * len(packed))


def test_a_zip_of_too_many_members_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names alone can fill memory."""
    monkeypatch.setattr(compression, "MAX_MEMBERS", 3)
    with pytest.raises(SourceError, match="4 members"):
        list(unpacked([zipped({str(number): b"" for number in range(4)})], "zip"))


def test_an_error_of_the_source_is_its_own() -> None:
    """A connection that breaks while a file is unpacked is worth a retry, and no torn file."""

    def breaking() -> Iterator[bytes]:
        yield gzip.compress(b"x" * 100_000)[:50]
        raise SourceUnavailable("gone", next_step="wait")

    for kind in ("gzip", "zip"):
        with pytest.raises(SourceUnavailable):
            list(unpacked(breaking(), kind))  # type: ignore[arg-type]


def test_names() -> None:
    """The end of a name tells; `none` says that it lies."""
    assert [compression_of(name) for name in ("a.csv.GZ", "a.csv")] == [("a.csv", "gzip"), ("a.csv", "")]
    assert (named_compression("none"), named_compression("zip")) == ("", "zip")
    with pytest.raises(ValueError, match="'rar' is none of none, gzip"):
        named_compression("rar")
