"""What is read on from is what is published, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from penstock.core.contract.model import LoadMode
from penstock.core.errors import SchemaMismatch
from penstock.core.watermark import watermark_of

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def merged(build: Any) -> Any:
    """The orders, merged by the time of their last change."""
    contract = build.contract(build.ORDERS)
    return replace(contract, load_mode=LoadMode.MERGE, partition_by=None, cursor="sold_at")


def newest(bench: Any, contract: Any, column: str, *lookback: Any) -> Any:
    """The watermark, as text."""
    with bench.conn, bench.conn.cursor() as cur:
        return watermark_of(cur, contract, column, *lookback).text


def test_it_is_the_newest_published_row(bench: Any, merged: Any) -> None:
    """None before there is a table, and while it is empty; then the largest cursor, less the lookback."""
    assert newest(bench, merged, "sold_at") is None
    bench.conn.cursor().execute(
        "CREATE SCHEMA IF NOT EXISTS test; CREATE TABLE test.orders (order_id int, sold_at timestamptz)"
    )
    assert newest(bench, merged, "sold_at") is None
    bench.conn.cursor().execute(f"INSERT INTO test.orders VALUES (9, '{NOON}'), (10, '2025-12-31'), (11, NULL)")
    assert newest(bench, merged, "sold_at") == "2026-01-01T12:00:00+00:00"
    assert newest(bench, merged, "sold_at", timedelta(hours=6)) == "2026-01-01T06:00:00+00:00"
    assert newest(bench, merged, "order_id") == "11"
    assert newest(bench, merged, "order_id", 5) == "6"


@pytest.mark.parametrize("lookback", [5, timedelta(hours=1)])
def test_a_lookback_of_another_kind_is_refused(bench: Any, merged: Any, lookback: Any) -> None:
    """Hours before a number, or a number before a time."""
    bench.conn.cursor().execute(
        "CREATE SCHEMA IF NOT EXISTS test; CREATE TABLE test.orders (order_id int, sold_at timestamptz)"
    )
    bench.conn.cursor().execute(f"INSERT INTO test.orders VALUES (9, '{NOON}')")
    with pytest.raises(SchemaMismatch, match="of another kind"):
        newest(bench, merged, "sold_at" if lookback == 5 else "order_id", lookback)


def test_only_what_is_merged_has_one(bench: Any, build: Any, merged: Any) -> None:
    """Rows that come again would be doubled, or taken for the slice's own; a text does not grow."""
    for contract in (build.contract(build.ORDERS), replace(merged, load_mode=LoadMode.APPEND)):
        with pytest.raises(SchemaMismatch, match=r"\[test/orders\] .*does not merge them"):
            newest(bench, contract, "sold_at")
    with pytest.raises(SchemaMismatch, match="no column 'nothing'"):
        newest(bench, merged, "nothing")
    bench.conn.cursor().execute("CREATE SCHEMA IF NOT EXISTS test; CREATE TABLE test.orders AS SELECT text 'a' AS code")
    with pytest.raises(SchemaMismatch, match="neither a time nor a number"):
        newest(bench, merged, "code")
