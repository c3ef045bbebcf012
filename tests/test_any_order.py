"""The bundled fourteen days, loaded in different orders and over and over."""

from __future__ import annotations

import random
from collections.abc import Iterable
from contextlib import closing
from datetime import date, timedelta

import psycopg2
import pytest

from penstock.core.gate.judge import judge
from penstock.core.ops import ensure_ops
from penstock.core.publish import publish
from penstock.core.slice import day_slice
from penstock.core.source_query import stage_query
from penstock.core.source_table import stage_table
from penstock.core.stage import open_session, stage_of
from penstock.local.postgres import EmbeddedPostgres
from penstock.project import SQL, contract_of

DAYS = [(date(2010, 9, 20) + timedelta(days=number)).isoformat() for number in range(14)]
SOURCES = {"commerce/order_lines": "public.invoice_line", "commerce/customers": "public.customer_change"}
MART = "commerce/daily_revenue"
TABLES = ("commerce.order_lines", "commerce.customers", "commerce.daily_revenue")
SHUFFLED = random.Random(7).sample(DAYS, len(DAYS))  # noqa: S311 - an order, not a secret


def _load(shop: str, warehouse: str, days: Iterable[str]) -> dict[str, tuple[int, int]]:
    """Load the days in this order; return rows and order-independent checksum of each table."""
    query = (SQL / "commerce" / "daily_revenue.sql").read_text(encoding="utf-8")
    with closing(psycopg2.connect(warehouse)) as conn:
        open_session(conn)
        ensure_ops(conn)
        for number, day in enumerate(days):
            slice_ = day_slice(day)
            for dataset in (*SOURCES, MART):
                contract, stage = contract_of(dataset), stage_of(dataset, slice_, f"run {number}")
                if dataset == MART:
                    stage_query(conn, contract, slice_, stage, query)
                else:
                    with closing(psycopg2.connect(shop)) as source:
                        stage_table(source, conn, contract, slice_, stage, SOURCES[dataset])
                judge(conn, contract, slice_, stage)
                publish(conn, contract, slice_, stage)
        with conn, conn.cursor() as cur:
            cur.execute(
                "SELECT bool_and(extracted = loaded + quarantined + deduplicated + filtered) FROM ops.slice_ledger"
            )
            assert cur.fetchone() == (True,)
            found = {}
            for table in (*TABLES, "(SELECT dataset, slice_key, rules, payload FROM ops.quarantine)"):
                cur.execute(f"SELECT count(*), sum(hashtextextended(t::text, 0)::numeric)::text FROM {table} AS t")
                found[table] = cur.fetchone()
    return found


@pytest.fixture(scope="module")
def forwards(pg: EmbeddedPostgres, shop: str) -> dict[str, tuple[int, int]]:
    """What the fourteen days give when each is loaded once, in order."""
    return _load(shop, pg.create_database("forwards"), DAYS)


@pytest.mark.parametrize(
    "days",
    [DAYS[::-1], SHUFFLED, [day for day in SHUFFLED for _ in range(5)], SHUFFLED + DAYS],
    ids=["backwards", "shuffled", "five-times-each", "all-again-in-another-order"],
)
def test_any_order_gives_the_same_warehouse(
    forwards: dict[str, tuple[int, int]], shop: str, warehouse: str, days: list[str]
) -> None:
    """Whatever the order and however often, every table and the quarantine end up the same."""
    assert _load(shop, warehouse, days) == forwards


def test_the_days_hold_what_the_raw_file_holds(forwards: dict[str, tuple[int, int]]) -> None:
    """Of the 24,165 lines of the fourteen days, the 117 without a price are set aside and the rest is loaded."""
    rows = {table: count for table, (count, _) in forwards.items()}
    assert rows["commerce.order_lines"] == 24165 - 117
    assert rows["commerce.customers"] == 750
