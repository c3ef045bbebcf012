"""The unique index on the key: built once, proof in the gate, the partition's own index after publish."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg2.errors
import pytest
from psycopg2.sql import Identifier

from penstock.core.key_index import build_key_index, drop_key_index, find_key_index, prove_key

DAY = "2026-01-01"
COLUMNS = "order_id bigint, code text, amount numeric(8,2), sold_at timestamptz"
TABLE = Identifier("src", "rows")


def _orders(*ids: int | None) -> list[tuple[Any, ...]]:
    return [(number, "A100", 1, f"{DAY} 12:00+00") for number in ids]


def _fill(bench: Any, rows: Sequence[tuple[Any, ...]]) -> str:
    found: str = bench.fill("rows", COLUMNS, rows)
    return found


def _indexes(bench: Any, table: str) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = bench.run(
        "SELECT indexrelid, indisprimary FROM pg_index WHERE indrelid = %s::regclass AND indisunique", (table,)
    )
    return rows


def test_unique_key_is_proved_by_an_index_that_is_then_found(bench: Any) -> None:
    """The index stands after the proof, and is gone after the drop; a second drop is no error."""
    _fill(bench, _orders(1, 2, None, None))
    with bench.conn, bench.conn.cursor() as cur:
        assert find_key_index(cur, TABLE) is None
        assert prove_key(cur, TABLE, ["order_id"])
        index = find_key_index(cur, TABLE)
        assert index is not None
        assert index.strings[0] == "src"
        drop_key_index(cur, TABLE)
        drop_key_index(cur, TABLE)
        assert find_key_index(cur, TABLE) is None


def test_duplicates_prove_nothing_and_leave_the_transaction_usable(bench: Any) -> None:
    """After a failed proof there is no index, and the transaction's earlier work stands."""
    _fill(bench, _orders(1, 1))
    with bench.conn, bench.conn.cursor() as cur:
        cur.execute("CREATE TABLE src.earlier ()")
        assert not prove_key(cur, TABLE, ["order_id"])
        assert find_key_index(cur, TABLE) is None
    assert bench.one("SELECT to_regclass('src.earlier') IS NOT NULL")


def test_type_without_an_order_proves_nothing(bench: Any) -> None:
    """A json key cannot be indexed; the gate's own count then names the rule."""
    bench.fill("rows", "document json", [])
    with bench.conn, bench.conn.cursor() as cur:
        assert not prove_key(cur, TABLE, ["document"])


def test_build_raises_for_duplicates(bench: Any) -> None:
    """Where duplicates were to be gone already, one that is left is an error."""
    _fill(bench, _orders(1, 1))
    with pytest.raises(psycopg2.errors.UniqueViolation), bench.conn, bench.conn.cursor() as cur:
        build_key_index(cur, TABLE, ["order_id"])


def test_partition_carries_the_very_index_that_the_gate_built(bench: Any, build: Any) -> None:
    """Publish builds no second index on the key."""
    contract = build.contract(build.ORDERS)
    stage = bench.extract(contract, DAY, _fill(bench, _orders(1, 2, 3)))
    gated = bench.judge(contract, stage)
    (proof,) = _indexes(bench, f'staging."{stage.name}"')
    assert next(v for v in gated.verdicts if v.rule.id == "primary_key").unexpected == 0
    bench.publish(contract, stage)
    assert _indexes(bench, "test.orders_p20260101") == [proof]


def test_key_of_the_whole_table_becomes_its_primary_key(bench: Any, build: Any) -> None:
    """Where the key holds the partition column, the gate's index becomes part of the table's primary key."""
    contract = build.contract(build.ORDERS, _key_with_the_time)
    stage = bench.extract(contract, DAY, _fill(bench, _orders(1, 2, 3)))
    bench.judge(contract, stage)
    ((proof, _),) = _indexes(bench, f'staging."{stage.name}"')
    assert bench.publish(contract, stage).loaded == 3
    assert _indexes(bench, "test.orders_p20260101") == [(proof, True)]
    assert bench.one("SELECT count(*) FROM pg_inherits WHERE inhrelid = %s::oid", (proof,)) == 1


def _key_with_the_time(document: dict[str, Any]) -> None:
    for position, name in enumerate(("order_id", "sold_at"), start=1):
        column = next(item for item in document["schema"][0]["properties"] if item["name"] == name)
        column.update(primaryKey=True, primaryKeyPosition=position)


def test_judging_again_puts_broken_rows_back_beside_the_index(bench: Any, build: Any) -> None:
    """A stage that was judged sound by its key takes back what broke another rule, and is judged alike."""
    contract = build.contract(build.ORDERS)
    rows = [*_orders(1, 2), (3, "bad", 1, f"{DAY} 12:00+00")]
    stage = bench.extract(contract, DAY, _fill(bench, rows))
    first, second = bench.judge(contract, stage), bench.judge(contract, stage)
    assert first == second
    assert len(_indexes(bench, f'staging."{stage.name}"')) == 1
    assert bench.publish(contract, stage).loaded == 2


def test_duplicates_go_to_quarantine_however_often_they_are_judged(bench: Any, build: Any) -> None:
    """Rows with one key are counted and moved without an index; publish then builds it over what is left."""
    contract = build.contract(build.ORDERS)
    stage = bench.extract(contract, DAY, _fill(bench, _orders(1, 2, 2, 3)))
    for _ in range(3):
        gated = bench.judge(contract, stage)
        assert gated.quarantined == 2
        assert next(v for v in gated.verdicts if v.rule.id == "primary_key").unexpected == 2
    assert bench.publish(contract, stage).loaded == 2
    assert len(_indexes(bench, "test.orders_p20260101")) == 1


def test_judging_by_a_contract_with_another_key_proves_the_new_one(bench: Any, build: Any) -> None:
    """The index of an earlier verdict is not taken for the proof of another key."""
    rows = [(number, f"A10{number}", 1, f"{DAY} 12:00+00") for number in (1, 2)]
    stage = bench.extract(build.contract(build.ORDERS), DAY, _fill(bench, rows))
    bench.judge(build.contract(build.ORDERS), stage)
    contract = build.contract(build.ORDERS, _key_with_the_time)
    bench.judge(contract, stage)
    assert bench.publish(contract, stage).loaded == 2
    names = bench.run(
        "SELECT attname FROM pg_index JOIN pg_attribute ON attrelid = indexrelid"
        " WHERE indrelid = 'test.orders_p20260101'::regclass ORDER BY attnum"
    )
    assert names == [("order_id",), ("sold_at",)]
