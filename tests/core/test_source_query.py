"""A mart's query becomes a stage like any other source."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from penstock.core.errors import SchemaMismatch

DAY = "2026-01-01"
ROW = "SELECT 1::bigint AS order_id, 'A100' AS code, 1::numeric(8,2) AS amount, %(slice_start)s AS sold_at"


def test_the_slice_is_bound_by_the_driver(bench: Any, build: Any) -> None:
    """Key, start and end are values, not text in the query, and %% is a percent sign."""
    contract = build.contract(build.ORDERS)
    stage = bench.query(
        contract,
        DAY,
        "SELECT 1::bigint AS order_id, %(slice_key)s || '%%' AS code,"
        " extract(epoch FROM %(slice_end)s - %(slice_start)s)::numeric(8,2) AS amount, %(slice_start)s AS sold_at",
    )
    rows = bench.run(f"SELECT code, amount, sold_at::text FROM staging.{stage.name}")
    assert rows == [("2026-01-01%", 86400, "2026-01-01 00:00:00+00")]


@pytest.mark.parametrize("end", ["", ";", " ;\n", "\n-- the end"])
def test_a_query_may_end_as_people_end_queries(bench: Any, build: Any, end: str) -> None:
    """A closing semicolon or a comment on the last line do no harm."""
    contract = build.contract(build.ORDERS)
    stage = bench.query(contract, DAY, ROW + end)
    assert bench.one(f"SELECT count(*) FROM staging.{stage.name}") == 1


def test_columns_are_taken_by_name(bench: Any, build: Any) -> None:
    """Their order in the query does not matter, and further columns are left out."""
    contract = build.contract(build.ORDERS)
    stage = bench.query(
        contract,
        DAY,
        "SELECT 'x' AS extra, %(slice_start)s AS sold_at, 2::numeric(8,2) AS amount, 'A100' AS code,"
        " 1::bigint AS order_id",
    )
    assert bench.run(f"SELECT order_id, code, amount FROM staging.{stage.name}") == [(1, "A100", 2)]


def test_what_could_be_lost_is_cast_by_the_gate(bench: Any, build: Any) -> None:
    """A number of unbounded scale is not rounded on its way: it fits to the last digit or goes to quarantine."""
    contract = build.contract(build.ORDERS)
    stage = bench.query(
        contract,
        DAY,
        "SELECT n::bigint AS order_id, 'A100' AS code, n / 4.0 AS amount, %(slice_start)s AS sold_at"
        " FROM generate_series(1, 2) AS n UNION ALL SELECT 3, 'A100', 1 / 3.0, %(slice_start)s",
    )
    bench.judge(contract, stage)
    bench.publish(contract, stage)
    assert bench.run("SELECT order_id, amount FROM test.orders ORDER BY 1") == [
        (1, Decimal("0.25")),
        (2, Decimal("0.5")),
    ]
    assert bench.run("SELECT rules FROM ops.quarantine") == [(["amount.cast"],)]


def test_a_mart_reads_what_is_published(bench: Any, build: Any) -> None:
    """A mart over a dataset passes the same gate and publish, and repeated it gives the same rows."""
    orders = build.contract(build.ORDERS)
    rows = [(n, "A100", n, f"{DAY} 12:00+00") for n in range(1, 4)]
    columns = "order_id bigint, code text, amount numeric(8,2), sold_at timestamptz"
    bench.load(orders, DAY, bench.fill("orders", columns, rows))

    def as_mart(document: Any) -> None:
        document["schema"][0]["name"] = "totals"

    totals = build.contract(build.ORDERS, as_mart)
    sql = (
        "SELECT count(*) AS order_id, 'A100' AS code, sum(amount) AS amount, %(slice_start)s AS sold_at"
        " FROM test.orders WHERE sold_at >= %(slice_start)s AND sold_at < %(slice_end)s"
    )
    for _ in range(2):
        stage = bench.query(totals, DAY, sql)
        bench.judge(totals, stage)
        assert bench.publish(totals, stage).loaded == 1
        assert bench.run("SELECT order_id, amount FROM test.totals") == [(3, 6)]


def test_the_bundled_mart_can_be_bound(bench: Any) -> None:
    """The SQL that ships with the project names only what the slice offers."""
    from penstock.core.slice import day_slice

    for path in sorted(Path("include/sql").rglob("*.sql")):
        with bench.conn.cursor() as cur:
            assert b"%(" not in cur.mogrify(path.read_text(encoding="utf-8"), day_slice(DAY).parameters)


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELECT 1 AS order_id", "gives no column code, amount, sold_at"),
        ("SELECT * FROM nowhere.at_all", 'cannot be run: relation "nowhere.at_all" does not exist'),
        ("SELEC 1", "cannot be run: syntax error"),
        (ROW + ", 2 AS code", 'cannot be run: column "code" specified more than once'),
        (ROW + " WHERE %(day)s", r"cannot be bound \('day'\); known are slice_key, slice_start, slice_end"),
        (ROW + " WHERE 'a' LIKE 'C%'", "cannot be bound.*write a literal % as %%"),
        (ROW + " WHERE 'a' LIKE '%x'", "cannot be bound.*write a literal % as %%"),
    ],
)
def test_a_query_that_does_not_fit_is_named(bench: Any, build: Any, sql: str, said: str) -> None:
    """What is wrong with the query is said with dataset and slice, and nothing is staged."""
    contract = build.contract(build.ORDERS)
    with pytest.raises(SchemaMismatch, match=rf"(?s)\[test/orders 2026-01-01\].*{said}.*clear `extract`"):
        bench.query(contract, DAY, sql)
    assert bench.staged_tables() == []


def test_a_query_that_fails_on_its_rows_stages_nothing(bench: Any, build: Any) -> None:
    """An error of the data is the database's own, and leaves no half-filled stage."""
    contract = build.contract(build.ORDERS)
    with pytest.raises(psycopg2.errors.DivisionByZero):
        bench.query(
            contract,
            DAY,
            ROW.replace("1::numeric(8,2)", "(1 / (1 - n))::numeric(8,2)") + " FROM generate_series(0, 1) AS n",
        )
    assert bench.staged_tables() == []
    assert bench.run("SELECT FROM ops.stage") == []


def test_a_naive_column_needs_a_zone(bench: Any, build: Any) -> None:
    """A `timestamp` where the contract wants a moment is refused, with what to write instead."""
    contract = build.contract(build.ORDERS)
    sql = (
        "SELECT 1::bigint AS order_id, 'A100' AS code, 1::numeric(8,2) AS amount, %(slice_start)s::timestamp AS sold_at"
    )
    with pytest.raises(SchemaMismatch, match=r"sold_at says no offset.*AT TIME ZONE"):
        bench.query(contract, "2026-01-01", sql)


def test_a_column_may_hold_the_slice(bench: Any, build: Any) -> None:
    """`$slice` is filled in; the query need not give it."""

    def by_slice(document: Any) -> None:
        document["schema"][0]["properties"][3]["physicalName"] = "$slice"

    contract = build.contract(build.ORDERS, by_slice)
    stage = bench.query(
        contract, "2026-01-01", "SELECT 1::bigint AS order_id, 'A100' AS code, 1::numeric(8,2) AS amount"
    )
    bench.judge(contract, stage)
    assert bench.publish(contract, stage).loaded == 1
    assert bench.one("SELECT sold_at::text FROM test.orders") == "2026-01-01 00:00:00+00"
