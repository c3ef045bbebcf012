"""The table of a contract: made once, as the contract says, and never altered behind anybody's back."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg2
import pytest
from psycopg2.sql import Identifier

from penstock.core.contract.ddl import create_statements, ensure_table, has_table_key, misfits, table_name
from penstock.core.contract.shape import read_shape
from penstock.core.errors import SchemaMismatch
from penstock.core.stage import column_types


def ensure(bench: Any, contract: Any) -> None:
    """Make the table in a transaction of its own."""
    with bench.conn, bench.conn.cursor() as cur:
        ensure_table(cur, contract)


def describe(document: Any) -> None:
    """Edit: give table and column descriptions that would break pasted SQL."""
    table = document["schema"][0]
    table["description"] = "The shop's \"orders\" \\ 100%s {} 'é'"
    table["properties"][1]["description"] = "It's a %(code)s; --"


@pytest.mark.parametrize("base", ["ORDERS", "PEOPLE"])
def test_the_table_has_the_contracts_columns(bench: Any, build: Any, base: str) -> None:
    """Names, types, order and NOT NULL are the contract's, for both load modes."""
    contract = build.contract(getattr(build, base))
    ensure(bench, contract)
    with bench.conn, bench.conn.cursor() as cur:
        assert list(column_types(cur, table_name(contract)).items()) == [(c.name, c.type) for c in contract.columns]
    required = bench.run(
        "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND attnotnull ORDER BY attnum",
        (contract.dataset.replace("/", "."),),
    )
    assert required == [(column.name,) for column in contract.columns if column.required]


def test_a_replaced_table_is_partitioned_and_a_merged_one_is_not(bench: Any, build: Any) -> None:
    """`replace_partition` makes a partitioned table on the stated column; `merge` a plain one with its key."""
    orders, people = build.contract(build.ORDERS), build.contract(build.PEOPLE)
    for contract in (orders, people):
        ensure(bench, contract)
    assert bench.one("SELECT pg_get_partkeydef('test.orders'::regclass)") == "RANGE (sold_at)"
    assert bench.one("SELECT relkind::text FROM pg_class WHERE oid = 'test.people'::regclass") == "r"
    assert (
        bench.one("SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'people_pkey'")
        == "PRIMARY KEY (person_id)"
    )
    assert (has_table_key(orders), has_table_key(people)) == (False, True)


def test_descriptions_are_comments_whatever_they_say(bench: Any, build: Any) -> None:
    """Quotes, percent signs, braces and backslashes of a description arrive in the catalogue unharmed."""
    contract = build.contract(build.ORDERS, describe)
    ensure(bench, contract)
    assert bench.one("SELECT obj_description('test.orders'::regclass)") == contract.description
    assert bench.one("SELECT col_description('test.orders'::regclass, 2)") == contract.column("code").description


def test_a_unit_is_in_the_comment(bench: Any, build: Any) -> None:
    """Whoever reads the table sees what its numbers count, with or without a description."""

    def with_units(document: Any) -> None:
        unit = [{"property": "unit", "value": "kWh"}]
        for item, text in zip(document["schema"][0]["properties"][::2], ("Meter.", None), strict=True):
            item.update({"customProperties": unit} | ({"description": text} if text else {}))

    ensure(bench, build.contract(build.ORDERS, with_units))
    comments = [bench.one("SELECT col_description('test.orders'::regclass, %s)", (n,)) for n in (1, 2, 3)]
    assert comments == ["Meter. Unit: kWh", None, "Unit: kWh"]


def test_names_that_are_keywords_are_quoted(bench: Any, build: Any) -> None:
    """A column or table called `order`, `user` or `select` is a name like any other."""

    def rename(document: Any) -> None:
        document["schema"][0]["name"] = "order"
        document["schema"][0]["properties"][1]["name"] = "select"
        document["schema"][0]["properties"][2]["name"] = "user"

    contract = build.contract(build.ORDERS, rename)
    columns = 'order_id bigint, "select" text, "user" numeric(8,2), sold_at timestamptz'
    source = bench.fill("orders", columns, [(1, "A100", 1, "2026-01-01"), (2, "no", 1, "2026-01-01")])
    assert bench.load(contract, "2026-01-01", source).loaded == 1
    assert bench.run('SELECT "select", "user" FROM test."order"') == [("A100", 1)]


def test_an_existing_table_is_left_as_it_is(bench: Any, build: Any) -> None:
    """A second call, also with the columns in another order, changes nothing and is no error."""
    contract = build.contract(build.ORDERS)
    bench.run("CREATE SCHEMA test")
    bench.run(
        "CREATE TABLE test.orders (sold_at timestamptz, amount numeric(8,2), code text, order_id bigint)"
        " PARTITION BY RANGE (sold_at)"
    )
    before = bench.one("SELECT xmin::text FROM pg_class WHERE oid = 'test.orders'::regclass")
    ensure(bench, contract)
    assert bench.one("SELECT xmin::text FROM pg_class WHERE oid = 'test.orders'::regclass") == before


def test_first_slices_at_once_make_one_table(bench: Any, build: Any) -> None:
    """Six first publishes at the same moment all find the table."""
    contract = build.contract(build.ORDERS)

    def first(_: int) -> None:
        connection = psycopg2.connect(bench.dsn)
        try:
            with connection, connection.cursor() as cur:
                ensure_table(cur, contract)
        finally:
            connection.close()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(first, range(6)))
    assert bench.one("SELECT count(*) FROM pg_tables WHERE schemaname = 'test'") == 1


def test_first_slices_of_a_domains_datasets_at_once_make_one_schema(bench: Any, build: Any) -> None:
    """Several datasets of one new domain are published for the first time at the same moment."""
    contracts = [
        build.contract(build.ORDERS, lambda document, n=n: document["schema"][0].update(name=f"orders_{n}"))
        for n in range(6)
    ]
    together = threading.Barrier(len(contracts))

    def first(contract: Any) -> None:
        connection = psycopg2.connect(bench.dsn)
        try:
            with connection, connection.cursor() as cur:
                together.wait()
                ensure_table(cur, contract)
                cur.execute("SELECT pg_sleep(0.05)")
        finally:
            connection.close()

    with ThreadPoolExecutor(len(contracts)) as pool:
        list(pool.map(first, contracts))
    assert bench.one("SELECT count(*) FROM pg_tables WHERE schemaname = 'test'") == len(contracts)


def test_another_table_is_refused_with_every_difference(bench: Any, build: Any) -> None:
    """What is missing, what is too many and what has another type is named, with what to do next."""
    contract = build.contract(build.ORDERS)
    bench.run(
        "CREATE SCHEMA test; CREATE TABLE test.orders (order_id bigint, code integer, extra text, sold_at timestamptz)"
    )
    with pytest.raises(SchemaMismatch) as caught:
        ensure(bench, contract)
    for part in (
        "amount is missing",
        "extra is not in the contract",
        "code is integer, not text",
        "penstock plan test/orders",
    ):
        assert part in str(caught.value)


def shape(bench: Any) -> Any:
    """The shape of test.orders."""
    with bench.conn, bench.conn.cursor() as cur:
        return read_shape(cur, Identifier("test", "orders"))


MISFITS = {
    "another key": (lambda d: d["schema"][0]["properties"][3].update(primaryKey=True), r"its primary key is \("),
    "another way to load": (
        lambda d: d["schema"][0].update(
            customProperties=[{"property": "loadMode", "value": "merge"}, {"property": "cursor", "value": "sold_at"}]
        ),
        "it is partitioned by sold_at, not None",
    ),
    "NULL allowed": (lambda d: d["schema"][0]["properties"][1].pop("required"), "code may not be NULL in the table"),
}


@pytest.mark.parametrize("name", list(MISFITS))
def test_what_publish_would_stumble_over_is_told_before(bench: Any, build: Any, name: str) -> None:
    """Key, partitioning and NOT NULL are compared too, and the next step is the plan."""
    edit, said = MISFITS[name]
    ensure(bench, build.contract(build.ORDERS))
    with pytest.raises(SchemaMismatch, match=rf"{said}.*penstock plan test/orders"):
        ensure(bench, build.contract(build.ORDERS, edit))


def test_what_does_not_matter_to_publish_is_no_misfit(bench: Any, build: Any) -> None:
    """A stricter contract, or another comment, still fits the table."""
    ensure(bench, build.contract(build.ORDERS))
    stricter = build.contract(build.ORDERS, lambda d: d["schema"][0]["properties"][2].update(required=True), describe)
    assert misfits(stricter, shape(bench)) == []


def test_statements_can_be_shown(bench: Any, build: Any) -> None:
    """The statements are plain SQL: schema first, then the table, then one comment per description."""
    contract = build.contract(build.ORDERS, describe)
    with bench.conn.cursor() as cur:
        texts = [statement.as_string(cur) for statement in create_statements(contract)]
    assert [text.split()[:2] for text in texts] == [
        ["CREATE", "SCHEMA"],
        ["CREATE", "TABLE"],
        ["COMMENT", "ON"],
        ["COMMENT", "ON"],
    ]
