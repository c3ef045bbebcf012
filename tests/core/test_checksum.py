"""The checksum: the same wherever the same rows are, another where they are not."""

from __future__ import annotations

from typing import Any

import psycopg2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg2.sql import SQL, Identifier

from penstock.core.checksum import checksum_columns, comparable, note_checksum, source_checksum, table_checksum

DAY = "2026-01-01"
COLUMNS = "order_id bigint, code text, amount numeric(8,2), sold_at timestamptz"
rows = st.lists(
    st.tuples(st.integers(-5, 5), st.sampled_from(["A100", "B2", "ü"]), st.just(1), st.just(f"{DAY} 12:00+00")),
    max_size=8,
)


def total(bench: Any, contract: Any, table: str = "src.orders") -> str:
    """The checksum over a table's rows."""
    return str(bench.one(SQL("SELECT {} FROM {}").format(table_checksum(contract), Identifier(*table.split(".")))))


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(one=rows, other=rows)
def test_equal_for_equal_rows_in_any_order_only(bench: Any, build: Any, one: Any, other: Any) -> None:
    """Two sets of rows have one checksum where their keys are the same, however often and in whatever order."""
    contract = build.contract(build.ORDERS)
    totals = []
    for found in (one, list(reversed(one)), other):
        bench.fill("orders", COLUMNS, found)
        totals.append(total(bench, contract))
    assert totals[0] == totals[1]
    assert (totals[0] == totals[2]) is (sorted(row[0] for row in one) == sorted(row[0] for row in other))


def test_over_key_and_cursor_or_all_that_the_source_sends(build: Any) -> None:
    """Key and cursor tell a version of a row; without them every column does, but never what the source lacks."""

    def no_key(document: Any) -> None:
        properties = document["schema"][0]["properties"]
        del properties[0]["primaryKey"]
        properties.append({"name": "day", "physicalName": "$slice", "logicalType": "date"})

    names = [
        [column.name for column in checksum_columns(build.contract(*document))]
        for document in ((build.PEOPLE,), (build.ORDERS,), (build.ORDERS, no_key))
    ]
    assert names == [["person_id", "changed_at"], ["order_id"], ["order_id", "code", "amount", "sold_at"]]


def test_the_documented_formula(bench: Any, build: Any) -> None:
    """The sum of the first 64 bits of the MD5 of key and cursor, after eight digits that tell names and types."""
    contract = build.contract(build.PEOPLE)
    bench.run("CREATE TABLE src.people (person_id integer, city text, changed_at timestamptz)")
    bench.run(f"INSERT INTO src.people VALUES (1, 'Ulm', '{DAY} 00:00+00'), (2, 'Rom', '{DAY} 01:00+00')")
    expected = bench.one(
        "SELECT left(encode(sha256('person_id integer, changed_at timestamp with time zone'), 'hex'), 8) || ':' ||"
        " sum(('x' || left(md5(convert_to(ROW(person_id, changed_at)::text, 'UTF8')), 16))::bit(64)::bigint)"
        " FROM src.people"
    )
    assert total(bench, contract, "src.people") == expected


def test_types_that_differ_are_not_compared(bench: Any, build: Any) -> None:
    """A narrower type at the source gives the table's checksum; a column that travels as text gives one of its own."""
    contract = build.contract(build.ORDERS)
    found = []
    for type_, cast in (("smallint", "bigint"), ("text", "text")):
        bench.fill("orders", COLUMNS.replace("bigint", type_), [(7, "A100", 1, f"{DAY} 12:00+00")])
        read = {"order_id": (SQL(f"order_id::{cast}"), cast)}
        found.append(str(bench.one(SQL("SELECT {} FROM src.orders").format(source_checksum(contract, read)))))
    bench.fill("orders", COLUMNS, [(7, "A100", 1, f"{DAY} 12:00+00")])
    mine = total(bench, contract)
    assert found[0] == mine
    assert comparable(found[0], mine)
    assert not comparable(found[1], mine)
    assert not comparable(None, mine)


def test_the_encoding_of_a_database_does_not_matter(bench: Any, build: Any) -> None:
    """A key with an umlaut sums up alike in databases of different encodings."""

    def by_code(document: Any) -> None:
        del document["schema"][0]["properties"][0]["primaryKey"]
        document["schema"][0]["properties"][1]["primaryKey"] = True

    statement = SQL("SELECT {} FROM (SELECT 'Z\u00fcrich'::text AS code) AS t").format(
        table_checksum(build.contract(build.ORDERS, by_code))
    )
    options = "ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' LOCALE_PROVIDER libc TEMPLATE template0"
    bench.conn.autocommit = True
    with bench.conn.cursor() as cur:
        cur.execute(f"CREATE DATABASE checksum_in_latin1 {options}")
        other = psycopg2.connect(bench.dsn.rpartition("/")[0] + "/checksum_in_latin1")
        try:
            with other, other.cursor() as latin:
                latin.execute("SHOW server_encoding")
                assert latin.fetchall() == [("LATIN1",)]
                latin.execute(statement)
                assert latin.fetchall() == [(bench.one(statement),)]
        finally:
            other.close()
            bench.conn.autocommit = True
            cur.execute("DROP DATABASE checksum_in_latin1")


def test_the_ledger_keeps_it_where_the_contract_asks(bench: Any, build: Any) -> None:
    """`reconcile: checksum` notes source's and partition's checksum with a load, equal where every row was loaded."""
    source = bench.fill("orders", COLUMNS, [(n, "A100", n, f"{DAY} 12:00+00") for n in range(5)])
    for value in ("count", "checksum"):
        bench.load(build.contract(build.ORDERS, build.set_custom("reconcile", value)), DAY, source)
    counted, summed = (detail for (detail,) in bench.run("SELECT detail FROM ops.slice_ledger ORDER BY id"))
    assert counted == {"source": "src.orders", "source_rows": 5}
    assert summed["table_checksum"] == summed["source_checksum"] == total(bench, build.contract(build.ORDERS))
    with bench.conn, bench.conn.cursor() as cur:
        assert note_checksum(cur, build.contract(build.PEOPLE, build.set_custom("reconcile", "checksum")), None) == {}
