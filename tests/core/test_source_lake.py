"""What was landed is staged as it was landed: text, NULL and the empty string, row for row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.core.errors import SchemaMismatch, SourceError
from penstock.core.source_lake import check_fields, stage_lake, unknown_fields

DAY = "2026-01-01"
texts = st.none() | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=6)
nasty = st.sampled_from(
    ["", '"', '""', "\\N", "\\.", "a\n\\.\nb", "\r\n", ",", "NULL", " x ", "%s", "é", "\u2028", "'"]
)
records = st.lists(
    st.fixed_dictionaries({}, optional={"order_id": texts, "code": texts | nasty, "amount": texts, "sold_at": texts}),
    max_size=12,
)


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(found=records, part_rows=st.integers(1, 5))
def test_every_text_reaches_the_stage(
    bench: Any, build: Any, tmp_path_factory: pytest.TempPathFactory, found: list[dict[str, Any]], part_rows: int
) -> None:
    """Quotes, line ends, backslashes, nothing and the empty string arrive as they were sent, in order, none lost."""
    contract = build.contract(build.ORDERS)
    stage = bench.land(contract, DAY, found, tmp_path_factory.mktemp("lake"), part_rows)
    staged = bench.run(f"SELECT order_id, code, amount, sold_at FROM staging.{stage.name} ORDER BY _row")
    assert staged == [tuple(row.get(name) for name in ("order_id", "code", "amount", "sold_at")) for row in found]
    assert bench.run("SELECT extracted FROM ops.stage WHERE name = %s", (stage.name,)) == [(len(found),)]


def test_fields_are_found_by_their_name_at_the_source(bench: Any, build: Any, tmp_path: Path) -> None:
    """`physicalName` names the field, also where two columns are made of one field."""

    def rename(document: Any) -> None:
        properties = document["schema"][0]["properties"]
        properties[1]["physicalName"] = "Code %s"
        properties.append({"name": "copy", "logicalType": "string", "physicalName": "Code %s"})

    contract = build.contract(build.ORDERS, rename)
    record = {"order_id": "1", "Code %s": "A100", "amount": "1", "sold_at": f"{DAY}T12:00:00Z", "extra": "x"}
    stage = bench.land(contract, DAY, [record], tmp_path)
    bench.judge(contract, stage)
    assert bench.publish(contract, stage).loaded == 1
    assert bench.run("SELECT code, copy FROM test.orders") == [("A100", "A100")]


def test_unknown_fields_follow_the_schema_policy(bench: Any, build: Any) -> None:
    """`discard` lists them, `freeze` refuses the slice and names them."""
    fields = ["order_id", "colour", "code", "size"]
    contract = build.contract(build.ORDERS)
    stage = bench.stage(contract, DAY)
    assert unknown_fields(contract, fields) == ["colour", "size"]
    assert check_fields(contract, fields, stage) == ["colour", "size"]
    frozen = build.contract(build.ORDERS, build.set_custom("schemaPolicy", "freeze"))
    assert check_fields(frozen, ["order_id"], stage) == []
    with pytest.raises(SchemaMismatch, match=r"\[test/orders 2026-01-01\].*colour, size.*Next: "):
        check_fields(frozen, fields, stage)


def test_a_lake_that_was_tampered_with_stages_nothing(bench: Any, build: Any, tmp_path: Path) -> None:
    """A part that is not what the manifest says fails the extract, also after other parts were read."""
    contract = build.contract(build.ORDERS)
    stage = bench.land(contract, DAY, [{"code": "a"}, {"code": "b"}], tmp_path, part_rows=1)
    bench.run("DELETE FROM ops.stage")
    folder = tmp_path / stage.name
    (folder / "part-00002.parquet").write_bytes((folder / "part-00001.parquet").read_bytes())
    before = bench.one(f"SELECT count(*) FROM staging.{stage.name}")
    with pytest.raises(SourceError, match="part-00002"):
        stage_lake(bench.conn, contract, stage, folder, {})
    assert bench.run("SELECT FROM ops.stage") == []
    assert bench.one(f"SELECT count(*) FROM staging.{stage.name}") == before


def test_what_is_known_of_the_source_goes_into_the_ledger(bench: Any, build: Any, tmp_path: Path) -> None:
    """The detail given at staging is kept with the attempt, for whoever looks for the files later."""
    contract = build.contract(build.ORDERS)
    stage = bench.land(contract, DAY, [], tmp_path)
    bench.judge(contract, stage)
    bench.publish(contract, stage)
    assert bench.run("SELECT detail FROM ops.slice_ledger") == [({"source": "test"},)]


@pytest.mark.parametrize(("text", "problem"), [("a\x00b", "NUL character"), ("a\ud800b", "not Unicode")])
def test_text_that_postgres_cannot_hold_is_told(
    bench: Any, build: Any, tmp_path: Path, text: str, problem: str
) -> None:
    """A NUL or half a surrogate pair is an error in words, and nothing is staged."""
    contract = build.contract(build.ORDERS)
    record = {"order_id": "1", "code": text, "amount": "1", "sold_at": f"{DAY}T12:00:00Z"}
    with pytest.raises(SourceError, match=problem):
        bench.land(contract, DAY, [record], tmp_path)
    assert bench.run("SELECT count(*) FROM ops.stage") == [(0,)]
