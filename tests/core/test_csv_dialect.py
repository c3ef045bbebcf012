"""How a CSV is written is told by what its contract asks for; what cannot be told stays as people expect it."""

from __future__ import annotations

import csv
import io
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.contract.model import Column
from penstock.core.csv_dialect import told_dialect
from penstock.core.text_lines import AUTO, CsvFormat, csv_values, open_csv

ASKED = CsvFormat(AUTO, AUTO, header=None)
VALUES = (["1", "A100", "1.50", "2026-01-05T12:00:00Z"], ["2", "Ä;1,2|3\t4", "", "2026-01-05T13:00:00Z"])
NAMES = ("order_id", "code", "amount", "sold_at")


@pytest.fixture
def columns(build: Any) -> Any:
    """The columns of the orders: a bigint, a text, a numeric and a timestamptz."""
    return build.contract(build.ORDERS).columns


def written(delimiter: str, encoding: str, *, header: bool, order: Any = (0, 1, 2, 3)) -> bytes:
    """The values as a CSV."""
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator="\n")
    for line in ([NAMES] if header else []) + list(VALUES):
        writer.writerow([line[position] for position in order])
    return out.getvalue().encode(encoding)


@pytest.mark.parametrize(
    ("delimiter", "encoding", "header"), list(product(",;\t|", ("utf-8", "cp1252", "utf-8-sig"), (True, False)))
)
def test_a_file_is_read_as_it_was_written(columns: Any, delimiter: str, encoding: str, header: bool) -> None:
    """Whatever delimiter, encoding and header: the values come back."""
    body = written(delimiter, encoding, header=header)
    form = told_dialect(body, columns, ASKED)
    assert (form.delimiter, form.header) == (delimiter, header)
    file = open_csv([body], form)
    assert file.header == NAMES
    assert [[value or "" for value in row or ()] for row in csv_values(file)] == [list(line) for line in VALUES]
    assert form.is_told


@given(order=st.permutations(range(4)), delimiter=st.sampled_from(",;\t|"))
def test_a_header_may_name_the_fields_in_any_order(order: list[int], delimiter: str) -> None:
    """The names are the contract's; a text full of other delimiters does not deceive."""
    columns = [Column(name, name, "text") for name in NAMES]
    form = told_dialect(written(delimiter, "utf-8", header=True, order=order), columns, ASKED)
    assert (form.delimiter, form.header) == (delimiter, True)


@pytest.mark.parametrize(
    "body",
    [
        b"id;kind;price;at\n1;A100;1.50;2026-01-05T12:00:00Z\n",
        b"a,b,c,d\n1,A100,1.50,2026-01-05T12:00:00Z\n",
        b"1,A100,1.50\n",
        b"one,A100,two,three\n",
        b",,,\n",
        b"",
        b"\n\n",
        b"\x00\x01\x02",
    ],
)
def test_what_cannot_be_told_is_taken_for_a_header(columns: Any, body: bytes) -> None:
    """Names that are not the contract's, too few values, texts where numbers should be: no row is made up."""
    form = told_dialect(body, columns, ASKED)
    assert form.header is True
    assert form.names == ()


def test_what_is_named_is_not_told_otherwise(columns: Any) -> None:
    """A delimiter, an encoding or a header that the DAG names stays."""
    body = written(";", "utf-8", header=True)
    named = CsvFormat(",", "cp1252", header=None)
    assert told_dialect(body, columns, named).delimiter == ","
    assert told_dialect(body, columns, named).encoding == "cp1252"
    without = told_dialect(written("|", "utf-8", header=False), columns, CsvFormat(AUTO, header=False))
    assert (without.delimiter, without.header, without.names) == ("|", False, NAMES)
