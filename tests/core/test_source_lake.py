"""What was landed is staged as it was landed: text, NULL and the empty string, row for row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.core.errors import SourceError
from penstock.core.source_lake import stage_lake

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
    found = [*found, dict.fromkeys(("order_id", "code", "amount", "sold_at"), "1")]  # no required field is missing
    stage = bench.land(contract, DAY, found, tmp_path_factory.mktemp("lake"), part_rows)
    staged = bench.run(
        f"SELECT order_id::text, code, amount::text, sold_at::text FROM staging.{stage.name} ORDER BY _row"
    )
    assert staged == [tuple(row.get(name) for name in ("order_id", "code", "amount", "sold_at")) for row in found]
    assert bench.run("SELECT extracted FROM ops.stage WHERE name = %s", (stage.name,)) == [(len(found),)]


cells = st.sampled_from([None, "1", "-3", "1.50", "1e5", "A100", "x", "", "NaN", "a\0b", "\ud800", "2026-01-05"])
moments = st.sampled_from([f"{DAY}T12:00:00Z", f"{DAY} 12:00:00+01", f"{DAY}T12:00:00.5", "now"])


@settings(deadline=None, max_examples=30, suppress_health_check=list(HealthCheck))
@given(rows=st.lists(st.tuples(st.integers(1, 5).map(str), cells, cells, moments), max_size=6))
def test_rows_are_the_same_whether_they_are_proved_or_looked_at(
    bench: Any, build: Any, tmp_path_factory: pytest.TempPathFactory, rows: list[Any]
) -> None:
    """Table and quarantine are the same; only the way there is shorter."""
    records = [dict(zip(("order_id", "code", "amount", "sold_at"), row, strict=True)) for row in rows]
    found = []
    for known in (True, False):
        bench.reset("test")
        bench.run("TRUNCATE ops.quarantine")
        contract = build.contract(build.ORDERS, build.set_custom("quarantineBudget", "100%"))
        with pytest.MonkeyPatch.context() as patch:
            if not known:
                patch.setattr("penstock.core.proof.pattern_of", lambda _: None)
            stage = bench.land(contract, DAY, records, tmp_path_factory.mktemp("lake"), 2)
        bench.judge(contract, stage)
        bench.publish(contract, stage)
        table = bench.run("SELECT * FROM test.orders ORDER BY 1, 2, 3, 4")
        found.append((table, bench.run("SELECT rules, payload FROM ops.quarantine ORDER BY 1, 2")))
    assert found[0] == found[1]


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


def test_a_lake_that_was_tampered_with_stages_nothing(bench: Any, build: Any, tmp_path: Path) -> None:
    """A part that is not what the manifest says fails the extract, also after other parts were read."""
    contract = build.contract(build.ORDERS)
    record = {"order_id": "1", "code": "a", "amount": "1", "sold_at": f"{DAY}T12:00:00Z"}
    stage = bench.land(contract, DAY, [record, record | {"code": "b"}], tmp_path, part_rows=1)
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


def test_text_that_postgres_cannot_hold_takes_no_good_row_with_it(bench: Any, build: Any, tmp_path: Path) -> None:
    """A NUL and half a surrogate pair: those rows go to quarantine with their texts escaped, the others are loaded."""
    contract = build.contract(build.ORDERS)
    codes = ["A100", "A\x00b", "A200", "\ud800", "A300", None]
    records = [
        {"order_id": str(number), "code": code, "amount": "1", "sold_at": f"{DAY}T12:00:00Z"}
        for number, code in enumerate(codes)
    ]
    stage = bench.land(contract, DAY, records, tmp_path, part_rows=3)
    bench.judge(contract, stage)
    outcome = bench.publish(contract, stage)
    assert (outcome.extracted, outcome.loaded, outcome.quarantined) == (6, 3, 3)
    assert bench.run("SELECT code FROM test.orders ORDER BY 1") == [("A100",), ("A200",), ("A300",)]
    assert bench.run("SELECT payload->>'code', rules FROM ops.quarantine ORDER BY payload->>'order_id'") == [
        ("A\\u0000b", ["code.encoding"]),
        ("\\ud800", ["code.encoding"]),
        (None, ["code.required"]),
    ]


def test_a_field_name_that_postgres_cannot_hold_is_escaped(bench: Any, build: Any, tmp_path: Path) -> None:
    """An unknown field with a NUL in its name is named with it escaped."""
    contract = build.contract(build.ORDERS)
    record = {"order_id": "1", "code": "A100", "amount": "1", "sold_at": f"{DAY}T12:00:00Z", "x\0": "y"}
    bench.land(contract, DAY, [record], tmp_path)
    assert bench.one("SELECT detail->'left_out' FROM ops.stage") == ["x\\u0000"]


def test_a_column_may_hold_the_slice(bench: Any, build: Any, tmp_path: Path) -> None:
    """`$slice` is the slice's first instant, and no field of the source."""

    def by_slice(document: Any) -> None:
        document["schema"][0]["properties"][3]["physicalName"] = "$slice"

    contract = build.contract(build.ORDERS, by_slice)
    stage = bench.land(contract, DAY, [{"order_id": "1", "code": "A100", "amount": "1"}], tmp_path)
    bench.judge(contract, stage)
    assert bench.publish(contract, stage).loaded == 1
    assert bench.one("SELECT sold_at::text FROM test.orders") == f"{DAY} 00:00:00+00"
