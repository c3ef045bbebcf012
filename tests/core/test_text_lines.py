"""Lines become rows; a line that is none is told, and takes no other with it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core import text_lines
from penstock.core.errors import SourceError
from penstock.core.landing import Aside
from penstock.core.text_lines import (
    CsvFormat,
    Target,
    blocks_of_lines,
    csv_rows,
    fields_of,
    json_records,
    json_rows,
    open_csv,
)

COLUMNS = ("a", "b", "c")


class Kept(Aside):
    """Rows aside, kept in a list for the test to see."""

    def __init__(self, columns: Sequence[str]) -> None:
        super().__init__(columns)
        self.found: list[tuple[Any, ...]] = []

    def add(self, values: Any, rules: Any, details: Any = (), extra: Any = None) -> None:
        """Keep a row."""
        self.found.append((dict(values), list(rules), [dict(item) for item in details], dict(extra or {})))
        super().add(values, rules, details, extra)


def read(body: bytes, columns: Sequence[str] = COLUMNS, watched: Sequence[str] = (), **form: Any) -> tuple[Any, Target]:
    """The rows that would be copied, as a reader of CSV sees them, and the target."""
    file = open_csv([body[i : i + 7] for i in range(0, len(body), 7)], CsvFormat(**form))
    target = Target(tuple(columns), tuple(columns), frozenset(watched), Kept(columns))
    text = b"".join(csv_rows(file, target)).decode("utf-8")
    rows = list(csv.reader(io.StringIO(text), delimiter=file.form.delimiter)) if text else []
    assert len(rows) == target.rows
    return rows, target


def aside(target: Target) -> list[tuple[Any, ...]]:
    """What went aside."""
    assert isinstance(target.aside, Kept)
    return target.aside.found


lines = st.lists(st.binary(max_size=5).map(lambda line: line.replace(b"\n", b"").replace(b"\r", b"")), max_size=9)


@given(lines, st.integers(1, 9), st.sampled_from([b"\n", b"\r\n"]), st.booleans())
def test_blocks_are_cut_at_line_ends(found: list[bytes], size: int, end: bytes, closed: bool) -> None:
    """However a file is read, with either line end, the last one closed or not, its lines are its lines."""
    body = end.join(found) + (end if closed and found and found[-1] else b"")
    blocks = [body[i : i + size] for i in range(0, len(body), size)]
    cut = [line for block in blocks_of_lines(blocks) for line in block]
    while found and not found[-1]:
        found = found[:-1]
    while cut and not cut[-1]:
        cut = cut[:-1]
    assert cut == found


def test_a_line_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is longer than a row can be is not held in memory."""
    monkeypatch.setattr(text_lines, "MAX_LINE_BYTES", 10)
    with pytest.raises(SourceError, match="A line is longer"):
        list(blocks_of_lines([b"123456", b"789012"]))
    with pytest.raises(SourceError, match="is a quote not closed"):
        list(text_lines.joined_records(iter([[b'"123456', b"789012"]])))


def test_plain_lines_are_rows() -> None:
    """Lines of the header's shape, blank ones left out and counted, a byte-order mark not part of a name."""
    rows, target = read(b"\xef\xbb\xbfa,b, c \n1,2,3\n\n4,,6\r\n")
    assert rows == [["1", "2", "3"], ["4", "", "6"]]
    assert (target.rows, target.blank, aside(target)) == (2, 1, [])


def test_quotes_separators_and_doubled_quotes() -> None:
    """Quoted values keep separators and quotes; a backslash is no escape."""
    rows, target = read(b'a,b,c\n"1,5","say ""x""","\\"\n')
    assert rows == [["1,5", 'say "x"', "\\"]]
    assert aside(target) == []


BROKEN = {
    b'1,"2,3': ("row.malformed", {"problem": "its quotes are not closed, or stand within a value"}),
    b'1,2"x",3': ("row.malformed", {"problem": "its quotes are not closed, or stand within a value"}),
    b'1,"2"x,3': ("row.malformed", {"problem": "its quotes are not closed, or stand within a value"}),
    b"1,2": ("row.shape", {"fields": 2, "wanted": 3}),
    b"1,2,3,4": ("row.shape", {"fields": 4, "wanted": 3}),
    b"   ": ("row.shape", {"fields": 1, "wanted": 3}),
}


@pytest.mark.parametrize("line", list(BROKEN))
def test_a_line_that_is_no_row_goes_aside_alone(line: bytes) -> None:
    """Its neighbours are rows; the line is kept, with the reason."""
    rule, detail = BROKEN[line]
    rows, target = read(b"a,b,c\n1,2,3\n" + line + b"\n4,5,6\n")
    assert rows == [["1", "2", "3"], ["4", "5", "6"]]
    assert aside(target) == [({}, [rule], [detail], {"$line": line.decode()})]


def test_bytes_that_postgres_cannot_hold_go_aside() -> None:
    """NUL, and bytes that are not of the encoding: the row goes aside with what came, in quotes or not."""
    rows, target = read(b'a,b,c\n1,x\0y,3\n2,\xff,"3"\n4,5,6\n')
    assert rows == [["4", "5", "6"]]
    assert [values for values, *_ in aside(target)] == [
        {"a": "1", "b": "x\0y", "c": "3"},
        {"a": "2", "b": "\udcff", "c": "3"},
    ]


def test_fields_are_taken_by_name_and_watched_ones_looked_at() -> None:
    """Unknown fields are left out; a watched one that holds something sends the row aside with it."""
    body = b"x,b,y,a\n1,2,,4\n5,6,7,8\n"
    assert read(body, ("a", "b"))[0] == [["4", "2"], ["8", "6"]]
    rows, target = read(body, ("a", "b"), watched=["y"])
    assert rows == [["4", "2"]]
    assert aside(target) == [({"a": "8", "b": "6"}, ["row.unknown_fields"], [], {"y": "7"})]


def test_delimiters_and_encodings() -> None:
    """A semicolon and Latin 1: commas are text, and letters arrive as UTF-8."""
    rows, _ = read("a;b;c\n1,5;é;x\n".encode("latin-1"), delimiter=";", encoding="latin-1")
    assert rows == [["1,5", "é", "x"]]
    for form in ({"delimiter": ",,"}, {"delimiter": '"'}, {"encoding": "utf-16"}, {"encoding": "klingon"}):
        with pytest.raises(ValueError, match=r"delimiter|encoding"):
            CsvFormat(**form)


def test_values_over_line_ends_only_if_asked_for() -> None:
    """Without the option a line end ends the row; with it, a quote that nobody closes takes the rest as one row."""
    body = b'a,b,c\n1,"x\ny",3\n4,5,6\n'
    rows, target = read(body)
    assert (rows, [rules for _, rules, *_ in aside(target)]) == (
        [["4", "5", "6"]],
        [["row.malformed"], ["row.malformed"]],
    )
    rows, target = read(body, newlines_in_values=True)
    assert (rows, aside(target)) == ([["1", "x\ny", "3"], ["4", "5", "6"]], [])
    rows, target = read(b'a,b,c\n1,2,3\n4,"5,6\n7,8,9\n', newlines_in_values=True)
    assert (rows, len(aside(target))) == ([["1", "2", "3"]], 1)


@pytest.mark.parametrize("body", [b"", b"\n", b"a,a\n1,2\n", b"a,\n1,2\n", b'a,"b\n', b"   \n"])
def test_a_file_without_a_header_is_refused(body: bytes) -> None:
    """No line, no names, or a name twice."""
    with pytest.raises(SourceError, match="header"):
        open_csv([body], CsvFormat())


values = st.none() | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00\n\r"), max_size=5)


@given(st.lists(st.tuples(values, values, values), max_size=9))
def test_what_a_writer_wrote_is_read_back(found: list[tuple[Any, ...]]) -> None:
    """Any row that Python's own writer writes on one line is read with the same values."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(found)
    rows, target = read(out.getvalue().encode("utf-8"))
    assert rows == [["" if value is None else value for value in row] for row in found]
    assert aside(target) == []


def read_json(body: bytes, columns: Sequence[str] = COLUMNS, watched: Sequence[str] = ()) -> tuple[Any, Target]:
    """The rows of JSON Lines that would be copied, and the target."""
    target = Target(tuple(columns), tuple(columns), frozenset(watched), Kept(columns))
    text = b"".join(json_rows(json_records([body]), target, batch=2)).decode("utf-8")
    rows = list(csv.reader(io.StringIO(text)))
    assert len(rows) == target.rows
    return rows, target


def test_json_lines_are_rows_with_their_texts() -> None:
    """Numbers as they were written, nested values as JSON, what is missing as NULL."""
    rows, target = read_json(b'{"a": 1.50, "b": [1, {"x": "\xc3\xa9"}]}\n\n{"b": true, "c": null}\n{"a": 1e400}\n')
    assert rows == [["1.50", '[1,{"x":"é"}]', ""], ["", "true", ""], ["1e400", "", ""]]
    assert aside(target) == []


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b'{"a": 1',
        b"[1]",
        b"1",
        b'"x"',
        b"null",
        b'{"a": 1}}',
        b"\xff",
        b"[" * 100_000,
        b'{"a": 1, "a": 2}',
        b'{"b": {"x": 1, "x": 1}}',
    ],
)
def test_a_line_that_is_no_object_goes_aside_alone(line: bytes) -> None:
    """Its neighbours are rows."""
    rows, target = read_json(b'{"a": 1}\n' + line + b'\n{"a": 2}\n')
    assert rows == [["1", "", ""], ["2", "", ""]]
    assert [(rules, details) for _, rules, details, _ in aside(target)] == [
        (["row.malformed"], [{"problem": "it is not one record, or names a field twice"}])
    ]


def test_json_texts_that_postgres_cannot_hold_go_aside() -> None:
    """NUL, half of a surrogate pair, bytes that are not UTF-8; within nested values they stay escaped."""
    rows, target = read_json(
        b'{"a": "x\\u0000"}\n{"a": "\\ud800"}\n{"a": "\xff"}\n{"a": ["\\u0000", "\\ud800"]}\n{"a": "\\ud83d\\ude00"}\n'
    )
    assert rows == [[json.dumps(["\0", "\ud800"]).replace(" ", ""), "", ""], ["😀", "", ""]]
    assert [values["a"] for values, *_ in aside(target)] == ["x\0", "\ud800", "\udcff"]


def test_fields_of_records_and_watched_ones() -> None:
    """All names that appear, in order; a watched field that holds something sends the row aside."""
    body = b'{"a": 1, "z": null}\n{"b": 2, "z": {"k": 1}}\nx\n'
    assert fields_of(json_records([body])) == ["a", "z", "b"]
    rows, target = read_json(body, watched=["z"])
    assert rows == [["1", "", ""]]
    assert aside(target)[0] == ({"a": None, "b": "2", "c": None}, ["row.unknown_fields"], [], {"z": '{"k":1}'})
    assert list(target.seen) == ["a", "z", "b"]
