"""The first rows of a file, and how it is read."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from penstock.core.errors import SourceError
from penstock.core.sample import csv_format, sample_file
from penstock.core.source_file import FileFormat
from penstock.core.text_lines import CsvFormat


def lines(delimiter: str, *rows: tuple[str, ...], encoding: str = "utf-8") -> bytes:
    """A CSV's bytes."""
    return "".join(delimiter.join(row) + "\n" for row in rows).encode(encoding, "surrogateescape")


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_finds_the_delimiter(delimiter: str) -> None:
    """The delimiter is the one that gives the most fields, whatever stands within the values."""
    other = next(mark for mark in ",;" if mark != delimiter)
    body = lines(delimiter, ("id", "name", "price"), ("1", f"a{other} b", f"1{other}5"), ("2", "c", "2"))
    assert csv_format(body) == CsvFormat(delimiter)


def test_finds_the_encoding() -> None:
    """A file of which most lines with accents are not UTF-8 is one of Windows'; a single broken line makes it none."""
    rows = [("name", "n"), *(("Käse", str(number)) for number in range(10))]
    assert csv_format(lines(",", *rows, encoding="cp1252")).encoding == "cp1252"
    assert csv_format(lines(",", *rows)).encoding == "utf-8"
    assert csv_format(lines(",", *rows) + b"K\xe4se,11\n").encoding == "utf-8"


def test_finds_values_that_run_over_line_ends() -> None:
    """Quoted line ends are seen by the rows they give; stray quotes do not make a file one of those."""
    rows = ["id,note"] + [f'{number},"one\ntwo"' for number in range(20)]
    assert csv_format("\n".join(rows).encode()).newlines_in_values
    stray = ["id,note"] + [f"{number},fine" for number in range(20)]
    stray[5], stray[15] = '5,"open', '15,"open'
    assert not csv_format("\n".join(stray).encode()).newlines_in_values


def test_reads_no_more_than_it_needs() -> None:
    """Of a large file only the first blocks are fetched; the sample is not all of it then."""
    fetched = []

    def blocks() -> Iterator[bytes]:
        yield b"id,name\n"
        for number in range(10_000):
            fetched.append(number)
            yield f"{number},{'x' * 1000}\n".encode()

    sample, _ = sample_file(blocks(), "a.csv", 20)
    assert (len(sample.rows), sample.whole) == (20, False)
    assert len(fetched) < 1500
    sample, _ = sample_file([b"id,name\n1,a\n"], "a.csv", 20)
    assert sample.whole


def test_counts_what_is_no_row() -> None:
    """Lines of another shape are passed over and counted; nothing and the empty string stay apart."""
    sample, _ = sample_file([b'id,name\n1,""\n2\n3,\n\n'], "a.csv", 100)
    assert sample.rows == [["1", ""], ["3", None]]
    assert sample.skipped == 1


def test_json_lines() -> None:
    """Fields of all records, in the order of their first appearance; a line that is no object is counted."""
    sample, form = sample_file([b'{"a": 1}\nnot json\n{"b": "x", "a": null}\n'], "x.ndjson", 100)
    assert form == FileFormat("jsonl")
    assert sample.fields == ("a", "b")
    assert sample.rows == [["1", None], [None, "x"]]
    assert (sample.typed, sample.skipped) == (True, 1)


@pytest.mark.parametrize(
    ("document", "way"),
    [
        ([{"id": 1}], ""),
        ({"data": [{"id": 1}]}, "data"),
        ({"tags": ["a"], "data": {"items": [{"id": 1}]}}, "data.items"),
    ],
)
def test_json_document(document: object, way: str) -> None:
    """The first array of objects is found, at the top or within."""
    sample, form = sample_file([json.dumps(document).encode()], "x.json", 100)
    assert form == FileFormat("json", records=way)
    assert sample.rows == [["1"]]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"a,b\n1,2\n", "csv"),
        (b'{"a": 1}\n{"a": 2}\n', "jsonl"),
        (b'\xef\xbb\xbf [{"a": 1}]', "json"),
        (b'{"rows": [{"a": 1}]}', "json"),
        (b'{\n"rows": [{"a": 1}]}', "json"),
    ],
)
def test_first_bytes_tell_the_kind(body: bytes, kind: str) -> None:
    """Where the name tells nothing, the first bytes do."""
    sample, form = sample_file([body], "https://example.org/export", 10)
    assert form.kind == kind
    assert sample.rows[0][0] == "1"


@pytest.mark.parametrize(
    ("body", "path", "said"),
    [
        (b"\x1f\x8b\x08\x00\x00", "a.csv", "not a text file"),
        ("id,name\n1,2\n".encode("utf-16"), "a.csv", "not a text file"),
        (b"", "a.csv", "no header"),
        (b"", "a.jsonl", "no record with a field"),
        (b"[]", "a.json", "no record with a field"),
        (b'{"a": {"b": 1}}', "a.json", "no array"),
        (b"<a/>", "a.xml", "is xml, of which no draft is made"),
    ],
)
def test_what_cannot_be_read_is_said(body: bytes, path: str, said: str) -> None:
    """A file that is none of the kinds is refused with the reason."""
    with pytest.raises(SourceError, match=said):
        sample_file([body], path, 10)
