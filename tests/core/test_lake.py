"""The lake keeps what a source sent as it was sent, and gives back nothing that was changed."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.core.errors import SourceError
from penstock.core.lake import DECODER, MANIFEST, LakeWriter, decode, read_parts, text_of

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


def landed(folder: Path, *parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Write the parts and the manifest; return the manifest."""
    writer = LakeWriter(folder, "test")
    for part in parts:
        writer.write(part)
    return writer.close()


def read(folder: Path, *fields: str) -> list[dict[str, Any]]:
    """All rows of these fields."""
    return [row for part in read_parts(folder, {name: name for name in fields}) for row in part.to_pylist()]


@settings(deadline=None, max_examples=15)
@given(parts=st.lists(st.lists(st.dictionaries(st.sampled_from("abc"), TEXT | st.none())), max_size=3))
def test_text_survives(parts: list[list[dict[str, Any]]], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Every text of every part comes back as it was, in order; a field that a row lacks is NULL."""
    folder = tmp_path_factory.mktemp("lake") / "attempt"
    manifest = landed(folder, *parts)
    rows = [row for part in parts for row in part]
    assert read(folder, "a", "b", "c") == [{name: row.get(name) for name in "abc"} for row in rows]
    assert manifest["rows"] == len(rows)


def test_numbers_are_kept_as_they_were_written(tmp_path: Path) -> None:
    """No number passes through a float: trailing zeros, exponents, long fractions and NaN stay as they were."""
    written = ["0.10", "1e3", "-0", "123456789012345678901234567890.123456789", "NaN"]
    landed(tmp_path, [{"n": number} for number in decode(f"[{','.join(written)}]".encode())])
    assert [row["n"] for row in read(tmp_path, "n")] == written


def test_a_nested_value_is_kept_as_its_json(tmp_path: Path) -> None:
    """Objects and lists become JSON text in which numbers are still numbers, with every digit."""
    body = '{"v": {"a": [1.50, null, true, "é\\"x"], "b": {"c": 1e2}}, "w": true, "x": []}'
    landed(tmp_path, [decode(body.encode())])
    (row,) = read(tmp_path, "v", "w", "x")
    assert row == {"v": '{"a":[1.50,null,true,"é\\"x"],"b":{"c":1e2}}', "w": "true", "x": "[]"}
    assert json.loads(row["v"]) == json.loads(body)["v"]


def test_a_body_that_is_not_json_is_the_sources_fault() -> None:
    """The error shows how the body begins, without choking on bytes or on nesting without end."""
    with pytest.raises(SourceError, match="<html"):
        decode(b"<html>\xff")
    with pytest.raises(SourceError):
        decode(b"[" * 100_000)


def test_a_key_that_stands_twice_is_the_sources_fault() -> None:
    """No value is lost in silence: at any depth, the error names the key, and nothing of a value."""
    for body in (b'{"a": 1, "b": 2, "a": 3}', b'[{"x": {"a": "secret", "a": null}}]'):
        with pytest.raises(SourceError, match="an object names 'a' twice") as caught:
            decode(body)
        assert "secret" not in str(caught.value)


def test_an_attempt_is_there_once_its_manifest_is(tmp_path: Path) -> None:
    """Parts without a manifest, or with half of one, are no attempt."""
    writer = LakeWriter(tmp_path, "test")
    writer.write([{"a": "1"}])
    with pytest.raises(SourceError, match=MANIFEST):
        read(tmp_path, "a")
    writer.close()
    assert read(tmp_path, "a") == [{"a": "1"}]
    manifest = tmp_path / MANIFEST
    manifest.write_text(manifest.read_text()[:-20])
    with pytest.raises(SourceError, match="not a whole manifest"):
        read(tmp_path, "a")


def test_a_part_that_was_changed_or_lost_is_found(tmp_path: Path) -> None:
    """The manifest's digest and the list of its parts are checked before anything is read from them."""
    landed(tmp_path, [{"a": "1"}], [{"a": "2"}])
    part = tmp_path / "part-00002.parquet"
    part.write_bytes(part.read_bytes().replace(b"2", b"3"))
    with pytest.raises(SourceError, match="part-00002"):
        read(tmp_path, "a")
    part.unlink()
    with pytest.raises(SourceError, match=r"part-00002.* missing"):
        read(tmp_path, "a")


def test_an_empty_attempt_is_an_attempt(tmp_path: Path) -> None:
    """A source that sent no row is recorded as such, and an empty page makes no part."""
    manifest = landed(tmp_path / "deep" / "down", [])
    assert (manifest["rows"], manifest["parts"], manifest["fields"]) == (0, [], [])
    assert read(tmp_path / "deep" / "down", "a") == []


def test_the_writer_counts_rows_and_names_fields_in_order(tmp_path: Path) -> None:
    """Fields are named in the order in which they first appeared, over all parts."""
    writer = LakeWriter(tmp_path, "test")
    writer.write([{"b": "1"}, {"a": "2", "b": "3"}])
    writer.write([{"c": "4"}])
    assert (writer.rows, writer.fields) == (3, ["b", "a", "c"])


_scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
_nested = st.recursive(
    _scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
)
_records = st.lists(st.dictionaries(st.text(max_size=3), _scalars | _nested, max_size=4), max_size=4)


@given(
    document=_records
    | st.fixed_dictionaries({"data": _records}, optional={"meta": _nested, "ids": st.lists(_scalars, max_size=3)})
    | _nested,
    spaced=st.booleans(),
)
def test_a_document_is_decoded_the_same_however_quickly(document: Any, spaced: bool) -> None:
    """Each value of each record, nested or not, is written as the exact decoder has it."""
    text = json.dumps(document, separators=None if spaced else (",", ":"))
    found, exact = decode(text.encode()), DECODER.decode(text)
    assert found == exact
    for name in ("data", "meta"):
        if isinstance(exact, dict) and isinstance(exact.get(name), list):
            found, exact = found[name], exact[name]
    if isinstance(exact, list):
        for mine, theirs in zip(found, exact, strict=True):
            if isinstance(theirs, dict):
                assert list(map(text_of, mine.values())) == list(map(text_of, theirs.values()))
