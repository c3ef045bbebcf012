"""What the gate runs, shown: the statements are those that run, and Postgres takes them as they are printed."""

from __future__ import annotations

from typing import Any

import pytest
from psycopg2.sql import SQL, Identifier, Literal

from penstock.core.errors import StageMissing
from penstock.core.gate.explain import explain, sql_text
from penstock.core.slice import day_slice
from tests.core.load_modes.reference import Row, Variant
from tests.core.load_modes.tables import VARIANTS, document, staged

DAY = "2026-01-01"
COLUMNS = "order_id bigint, code text, amount numeric(8,2), sold_at timestamptz"


@pytest.mark.parametrize(
    "value", ["it's", "back\\slash", "100% {}", 'say "so"', "Ü", 5, 1.5, True, None, ["a'", "b\\"]]
)
def test_text_is_what_postgres_reads(bench: Any, value: Any) -> None:
    """Names and literals printed without a connection mean what they mean with one."""
    statement = SQL("SELECT {} AS {}").format(
        Literal(value),
        Identifier(
            'od"d',
        ),
    )
    with bench.conn, bench.conn.cursor() as cur:
        cur.execute(sql_text(statement))
        assert cur.fetchone() == (value,)
        assert cur.description[0].name == 'od"d'


def test_without_a_warehouse_the_statements_are_shown(build: Any) -> None:
    """Cast, scan and split are printed, each rule beside its part, and what GX judges itself."""
    beyond = build.expectation("kl", "expect_column_kl_divergence_to_be_less_than", threshold=1)
    contract = build.contract(build.ORDERS, build.add_quality(beyond, "amount"))
    text = explain(contract, day_slice(DAY), None, analyze=False)
    for expected in (
        "-- cast, where a source gives text",
        "-- scan",
        "-- code_format: rows that break it",
        "-- split",
        "'code_format'",
        "kl: expect_column_kl_divergence_to_be_less_than",
    ):
        assert expected in text


def test_a_staged_slice_is_analyzed(bench: Any, build: Any) -> None:
    """The statements name the slice's stage, the scan as printed runs, and Postgres' plan of it is added."""
    contract = build.contract(build.ORDERS)
    with bench.conn, bench.conn.cursor() as cur, pytest.raises(StageMissing, match="nothing to analyze"):
        explain(contract, day_slice(DAY), cur, analyze=True)
    stage = bench.extract(contract, DAY, bench.fill("orders", COLUMNS, [(1, "A100", 1, f"{DAY} 12:00Z")]))
    with bench.conn, bench.conn.cursor() as cur:
        text = explain(contract, day_slice(DAY), cur, analyze=True)
        scan = text[text.index("SELECT\n") : text.index(";", text.index("SELECT\n"))]
        cur.execute(scan)
        assert cur.fetchone()[0] == 1
    assert stage.name in text
    assert "Execution Time" in text
    assert "-- cast" not in text
    bench.judge(contract, stage)
    bench.publish(contract, stage)
    with bench.conn, bench.conn.cursor() as cur:
        assert '"test"."orders"' in explain(contract, day_slice(DAY), cur, analyze=True)


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_every_load_mode_is_explained(bench: Any, build: Any, variant: Variant) -> None:
    """The scan as printed runs, and says that a row that only tells of a deletion may lack the rest."""
    contract = build.contract(document(variant))
    staged(bench.conn, contract, DAY, [Row(1, "A", f"{DAY} 07:00"), Row(2, "?", f"{DAY} 07:00")], "shown")
    with bench.conn, bench.conn.cursor() as cur:
        text = explain(contract, day_slice(DAY), cur, analyze=True)
        scan = text[text.index("SELECT\n") : text.index(";", text.index("SELECT\n"))]
        cur.execute(scan)
        assert cur.fetchone()[0] == 1  # the other row is aside
    assert "Execution Time" in text
    assert ('"gone" IS TRUE' in text) is (variant.tombstone == "hard")
