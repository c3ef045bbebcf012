"""Columns are what pyarrow itself would make of the values, and pandas is not loaded for them."""

from __future__ import annotations

import subprocess
import sys

import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.arrow_text import bytes_array, text_array, whole_array


@given(values=st.lists(st.none() | st.text()))
def test_texts(values: list[str | None]) -> None:
    """Any text, and NULL."""
    assert text_array(values).equals(pyarrow.array(values, pyarrow.string()))


@given(values=st.lists(st.none() | st.binary()))
def test_bytes(values: list[bytes | None]) -> None:
    """Any bytes, and NULL."""
    assert bytes_array(values).equals(pyarrow.array(values, pyarrow.binary()))


@given(values=st.lists(st.integers(-(2**63), 2**63 - 1)))
def test_whole_numbers(values: list[int]) -> None:
    """Of 64 bits."""
    assert whole_array(values).equals(pyarrow.array(values, pyarrow.int64()))


def test_what_no_column_can_hold_is_an_error() -> None:
    """Half of a surrogate pair, and a number of more bits."""
    with pytest.raises(UnicodeEncodeError):
        text_array(["\ud800"])
    with pytest.raises(OverflowError):
        whole_array([2**63])


def test_pandas_is_not_loaded() -> None:
    """Neither to make columns, nor to write and read parts of the lake."""
    text = (
        "import sys, pathlib, tempfile\n"
        "from penstock.core.arrow_text import bytes_array, text_array, whole_array\n"
        "from penstock.core.lake import LakeWriter, read_parts\n"
        "text_array(['a', None]), bytes_array([b'a', None]), whole_array([1])\n"
        "folder = pathlib.Path(tempfile.mkdtemp())\n"
        "writer = LakeWriter(folder, 'test')\n"
        "writer.write([{'id': '1', 'name': chr(0xd800)}, {'id': '2', 'name': None}])\n"
        "writer.close()\n"
        "assert [part.num_rows for part in read_parts(folder, {'id': 'id'})] == [2]\n"
        "assert 'pandas' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", text], check=True)
