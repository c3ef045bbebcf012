"""A slice of a source table: the right rows, in the contract's types where they fit and as text where they may not."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import psycopg2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.core.errors import SchemaMismatch
from penstock.core.slice import day_slice
from penstock.core.source_table import stage_table, widens
from penstock.core.stage import column_types

DAY = "2026-01-01"
NOON = f"{DAY} 12:00+00"
COLUMNS = "order_id bigint, code text, amount numeric(8,2), sold_at timestamptz"

WIDENS = [
    ("bigint", "bigint", True),
    ("smallint", "integer", True),
    ("integer", "bigint", True),
    ("bigint", "integer", False),
    ("integer", "numeric", True),
    ("integer", "numeric(12,2)", False),
    ("numeric(8,2)", "numeric", True),
    ("numeric(8,2)", "numeric(10,3)", True),
    ("numeric(8,2)", "numeric(8,3)", False),
    ("numeric(8,2)", "numeric(10,1)", False),
    ("numeric", "numeric(8,2)", False),
    ("character varying(3)", "text", True),
    ("character varying(3)", "character varying(5)", True),
    ("character varying(5)", "character varying(3)", False),
    ("text", "character varying(3)", False),
    ("text", "character varying", True),
    ("real", "double precision", True),
    ("double precision", "real", False),
    ("double precision", "numeric", False),
    ("json", "text", True),
    ("text", "integer", False),
    ("date", "timestamp with time zone", False),
    ("timestamp(3) with time zone", "timestamp with time zone", False),
    ("integer[]", "integer[]", True),
    ("integer[]", "bigint[]", False),
]


@pytest.mark.parametrize(("source", "target", "expected"), WIDENS)
def test_widens(source: str, target: str, *, expected: bool) -> None:
    """Only where every value of the source's type is exactly a value of the target's is a column cast unseen."""
    assert widens(source, target) is expected


moments = st.datetimes().map(lambda moment: moment.replace(year=2026, month=1, day=1 + moment.day % 3))


@settings(deadline=None, max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(found=st.lists(moments, max_size=20))
def test_every_moment_is_in_one_slice(bench: Any, build: Any, found: list[Any]) -> None:
    """Three days hold every row of the source once, whatever its moment; midnight belongs to the day it starts."""
    contract = build.contract(build.ORDERS)
    edges = [f"2026-01-0{day} {time}+00" for day in (1, 2, 3) for time in ("00:00", "23:59:59.999999")]
    rows = [(n, "A100", 1, f"{m}+00" if not isinstance(m, str) else m) for n, m in enumerate([*found, *edges])]
    source = bench.fill("orders", COLUMNS, rows)
    bench.run("DELETE FROM ops.stage")
    taken = []
    for day in (1, 2, 3):
        stage = bench.extract(contract, f"2026-01-0{day}", source)
        taken += bench.run(f"SELECT order_id, sold_at::date::text FROM staging.{stage.name}")
        assert {moment for _, moment in taken[-2:]} == {f"2026-01-0{day}"}
    assert sorted(number for number, _ in taken) == list(range(len(rows)))


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/New_York"])
@pytest.mark.parametrize("pg_type", ["timestamptz", "timestamp", "date"])
def test_a_day_is_a_utc_day_whatever_the_source_thinks(bench: Any, build: Any, zone: str, pg_type: str) -> None:
    """The time zone of the source's sessions moves no row to another day, for any kind of slice column."""

    def in_utc(document: Any) -> None:
        document["schema"][0]["properties"][3]["logicalTypeOptions"] = {"defaultTimezone": "UTC"}

    contract = build.contract(build.ORDERS, in_utc)
    rows = [(n, "A100", 1, f"{day} 00:00") for n, day in enumerate(["2025-12-31", DAY, "2026-01-02"])]
    bench.run("SET TIME ZONE 'UTC'")
    bench.fill("orders", f"order_id bigint, code text, amount numeric(8,2), sold_at {pg_type}", rows)
    source = psycopg2.connect(bench.dsn, options=f"-c timezone={zone}")
    stage = bench.stage(contract, DAY)
    stage_table(source, bench.conn, contract, day_slice(DAY), stage, "src.orders")
    source.close()
    bench.judge(contract, stage)
    bench.publish(contract, stage)
    assert bench.run("SELECT order_id, sold_at::text FROM test.orders") == [(1, "2026-01-01 00:00:00+00")]


def test_columns_that_fit_are_staged_in_the_contracts_type(bench: Any, build: Any) -> None:
    """What widens without loss is typed in the stage; the rest is text, and then the rows are numbered."""
    contract = build.contract(build.ORDERS)
    narrow = "order_id smallint, code varchar(9), amount numeric(4,1), sold_at timestamptz"
    stages = [
        bench.extract(contract, DAY, bench.fill("orders", columns, [(1, "A100", 1, NOON)]))
        for columns in (narrow, narrow.replace("smallint", "text"))
    ]
    with bench.conn, bench.conn.cursor() as cur:
        typed, mixed = (column_types(cur, stage.table) for stage in stages)
    assert typed == {column.name: column.type for column in contract.columns}
    assert (mixed["order_id"], mixed["amount"], mixed["_row"]) == ("text", "numeric(8,2)", "bigint")


def test_columns_that_the_contract_does_not_name_stay_behind(bench: Any, build: Any) -> None:
    """A source with more columns, in another order, gives the contract's columns in the contract's order."""
    contract = build.contract(build.ORDERS)
    source = bench.fill(
        "orders",
        "secret text, sold_at timestamptz, amount numeric(8,2), code text, order_id bigint",
        [("s", NOON, 1, "A100", 1)],
    )
    stage = bench.extract(contract, DAY, source)
    assert bench.run(f"SELECT order_id, code, amount FROM staging.{stage.name}") == [(1, "A100", 1)]
    assert bench.run("SELECT extracted, detail FROM ops.stage") == [
        (1, {"source": "src.orders", "source_rows": 1, "left_out": ["secret"]})
    ]


def test_names_with_quotes_capitals_and_percent_are_safe(bench: Any, build: Any) -> None:
    """Whatever a source calls its tables and columns, and whatever its values hold, they are data and never SQL."""
    table, column = "We\"ird%s'T{0}; drop", 'Co"de%%(x)s {}'
    values = ["'; DROP TABLE src.x; --", 'a"b', "%s%%", "{}{0}", "back\\slash\n\\.\n", "A100"]

    def rename(document: Any) -> None:
        code = document["schema"][0]["properties"][1]
        code.update(physicalName=column, quality=[build.expectation("odd", "expect_column_values_to_not_be_in_set",
                                                                    value_set=["it's %s \\ \"{}\""])])  # fmt: skip

    contract = build.contract(build.ORDERS, rename)
    quoted = '"' + table.replace('"', '""') + '"'
    bench.run(
        f'CREATE TABLE src.{quoted} (order_id bigint, "{column.replace(chr(34), chr(34) * 2)}" text,'
        " amount numeric(8,2), sold_at timestamptz)"
    )
    bad = 'it\'s %s \\ "{}"'
    for number, value in enumerate([*values, bad]):
        bench.run(f"INSERT INTO src.{quoted.replace('%', '%%')} VALUES (%s, %s, 1, %s)", (number, value, NOON))
    bench.load(contract, DAY, f"src.{table}")
    assert [code for (code,) in bench.run("SELECT code FROM test.orders ORDER BY order_id")] == values
    assert bench.run("SELECT payload->>'code', rules FROM ops.quarantine") == [(bad, ["odd"])]


def test_a_second_extract_replaces_the_first(bench: Any, build: Any) -> None:
    """A repeated extract of one run leaves only what it read itself."""
    contract = build.contract(build.ORDERS)
    source = bench.fill("orders", COLUMNS, [(1, "A100", 1, NOON), (2, "A100", 1, NOON)])
    bench.extract(contract, DAY, source, run_id="same")
    bench.judge(contract, bench.stage(contract, DAY, "same"))
    bench.fill("orders", COLUMNS, [(3, "A100", 1, NOON)])
    stage = bench.extract(contract, DAY, source, run_id="same")
    assert bench.run(f"SELECT order_id FROM staging.{stage.name}") == [(3,)]
    assert bench.staged_tables() == [stage.name]
    assert bench.run("SELECT state, extracted FROM ops.stage") == [("staged", 1)]


@pytest.mark.parametrize(
    ("columns", "table", "said"),
    [
        (COLUMNS, "src.nowhere", "no table src.nowhere"),
        ("order_id bigint, sold_at timestamptz", "src.orders", "it sends no field code"),
        (COLUMNS.replace("timestamptz", "text"), "src.orders", "sold_at is text; slices are cut by"),
    ],
)
def test_a_source_that_does_not_fit_is_named(bench: Any, build: Any, columns: str, table: str, said: str) -> None:
    """A missing table, missing columns, or no column to cut slices by: said with the names, and nothing is staged."""
    contract = build.contract(build.ORDERS)
    bench.fill("orders", columns, [])
    with pytest.raises(SchemaMismatch, match=rf"\[test/orders 2026-01-01\].*{said}.*clear `extract`"):
        bench.extract(contract, DAY, table)
    assert bench.staged_tables() == []
    assert bench.run("SELECT FROM ops.stage") == []


def test_a_naive_column_needs_a_zone(bench: Any, build: Any) -> None:
    """A `timestamp` where the contract wants a moment is refused, until the contract says where it is local."""
    source = bench.fill("orders", COLUMNS.replace("timestamptz", "timestamp"), [(1, "A100", 1, f"{DAY} 01:00")])
    with pytest.raises(SchemaMismatch, match=r"sold_at says no offset.*defaultTimezone"):
        bench.extract(build.contract(build.ORDERS), DAY, source)

    def in_tokyo(document: Any) -> None:
        document["schema"][0]["properties"][3]["logicalTypeOptions"] = {"defaultTimezone": "Asia/Tokyo"}

    contract = build.contract(build.ORDERS, in_tokyo)
    assert bench.load(contract, DAY, source).extracted == 0  # in Tokyo it was the day before
    assert bench.load(contract, "2025-12-31", source).loaded == 1
    assert bench.one("SELECT sold_at::text FROM test.orders") == "2025-12-31 16:00:00+00"


@pytest.mark.parametrize(("pg_type", "value"), [("timestamptz", f"{DAY} 00:00:00+00"), ("date", DAY)])
def test_a_column_may_hold_the_slice(bench: Any, build: Any, pg_type: str, value: str) -> None:
    """With `$slice` as the slice column each slice takes the whole table as it is, and no column of it."""

    def by_slice(document: Any) -> None:
        document["schema"][0]["properties"][3].update(physicalName="$slice", physicalType=pg_type)

    contract = build.contract(build.ORDERS, by_slice)
    source = bench.fill("orders", "order_id bigint, code text, amount numeric(8,2)", [(1, "A100", 1), (2, "A100", 1)])
    assert bench.load(contract, DAY, source).loaded == 2
    assert bench.load(contract, "2026-01-02", source).loaded == 2
    assert bench.run("SELECT DISTINCT sold_at::text FROM test.orders ORDER BY 1")[0] == (value,)


def test_the_source_is_only_read(bench: Any, build: Any) -> None:
    """The session at the source is read-only: a view that would write is refused by the server."""
    contract = build.contract(build.ORDERS)
    bench.fill("log", "at timestamptz", [])
    bench.run(
        "CREATE FUNCTION src.note() RETURNS bigint LANGUAGE sql AS"
        " 'INSERT INTO src.log VALUES (now()); SELECT 1::bigint'"
    )
    bench.run(
        "CREATE VIEW src.orders AS SELECT src.note() AS order_id, 'A100' AS code, 1::numeric(8,2) AS amount,"
        f" '{NOON}'::timestamptz AS sold_at"
    )
    with pytest.raises(psycopg2.errors.ReadOnlySqlTransaction):
        bench.extract(contract, DAY, "src.orders")
    assert bench.one("SELECT count(*) FROM src.log") == 0


def test_what_the_source_had_is_recorded_in_the_snapshot_that_was_read(bench: Any, build: Any) -> None:
    """A row that is committed while the slice is read is neither staged, nor counted, nor in the checksum."""
    contract = build.contract(build.ORDERS, build.set_custom("reconcile", "checksum"))
    source = bench.fill("orders", COLUMNS, [(n, "A100", 1, NOON) for n in range(3)])
    bench.extract(contract, DAY, source, "calm")

    class Meddling(psycopg2.extensions.cursor):
        """After each statement that takes part in the snapshot, somebody else commits a row."""

        def execute(self, query: Any, values: Any = None) -> None:
            super().execute(query, values)
            if not str(query).startswith("SET"):
                bench.run(f"INSERT INTO {source} VALUES (4, 'A100', 1, '{NOON}')")

    stage = bench.stage(contract, DAY, "meddled")
    with (
        closing(psycopg2.connect(bench.dsn, cursor_factory=Meddling)) as session,
        closing(bench.connect()) as warehouse,
    ):
        stage_table(session, warehouse, contract, day_slice(DAY), stage, source, detail={"conn_id": "shop"})
    calm, meddled = bench.run("SELECT extracted, detail FROM ops.stage ORDER BY run_id")
    assert bench.one("SELECT count(*) FROM src.orders") > 3
    assert meddled == (3, calm[1] | {"conn_id": "shop"})
    assert calm[1]["source_rows"] == 3
