"""The demo's source database is filled once, from the bundled file, in one transaction."""

import csv
import lzma
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from include.sources import shop
from penstock.local.postgres import EmbeddedPostgres

COUNTS = {"invoice_line": 145_631, "customer_change": 6_258}


@pytest.fixture
def empty_dsn(pg: EmbeddedPostgres) -> Iterator[str]:
    """The DSN of an empty database that only this test uses."""
    dsn = pg.create_database()
    yield dsn
    pg.drop_database(dsn.rsplit("/", 1)[1])


@pytest.fixture(scope="module")
def shop_dsn(pg: EmbeddedPostgres) -> Iterator[str]:
    """The DSN of a filled shop that tests only read."""
    dsn = pg.create_database()
    shop.fill_shop(dsn)
    yield dsn
    pg.drop_database(dsn.rsplit("/", 1)[1])


def query(dsn: str, statement: str) -> list[tuple[Any, ...]]:
    """Run one statement, commit, and return its rows, times in UTC."""
    with closing(psycopg2.connect(dsn)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("set timezone = 'UTC'")
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []


def bundled() -> list[dict[str, str]]:
    """The rows of the bundled file, by column name."""
    with lzma.open(shop.INVOICE_LINES, "rt", encoding="utf-8", newline="") as text:
        return list(csv.DictReader(text))


def test_invoice_lines_equal_the_file(shop_dsn: str) -> None:
    """Each line of the file is in the table under its position, every value equal, empty texts null."""
    columns = "invoice, stock_code, description, quantity, invoiced_at, unit_price, customer_id, country"
    expected = [
        (
            position,
            line["invoice"],
            line["stock_code"],
            line["description"] or None,
            int(line["quantity"]),
            line["invoiced_at"],
            Decimal(line["unit_price"]),
            int(line["customer_id"]) if line["customer_id"] else None,
            line["country"],
        )
        for position, line in enumerate(bundled(), start=1)
    ]
    found = query(shop_dsn, f"select line_id, {columns} from public.invoice_line order by line_id")
    assert [(*row[:5], row[5].strftime("%Y-%m-%dT%H:%M:%SZ"), *row[6:]) for row in found] == expected


def test_lines_per_day_equal_a_recount_of_the_file(shop_dsn: str) -> None:
    """The UTC days that a slice selects hold as many lines as the file states for these dates."""
    per_day = query(shop_dsn, "select invoiced_at::date::text, count(*) from public.invoice_line group by 1")
    assert dict(per_day) == Counter(line["invoiced_at"][:10] for line in bundled())


def test_customer_changes_are_the_first_lines_of_invoices(shop_dsn: str) -> None:
    """There is one change per invoice with a customer, numbered in the order in which invoices begin."""
    first: dict[tuple[str, str], tuple[str, str]] = {}
    for line in bundled():
        if line["customer_id"]:
            first.setdefault((line["invoice"], line["customer_id"]), (line["country"], line["invoiced_at"]))
    expected = [
        (change_id, int(customer), country, invoice, changed_at)
        for change_id, ((invoice, customer), (country, changed_at)) in enumerate(first.items(), start=1)
    ]
    found = query(
        shop_dsn,
        "select change_id, customer_id, country, invoice, changed_at from public.customer_change order by 1",
    )
    assert [(*row[:4], row[4].strftime("%Y-%m-%dT%H:%M:%SZ")) for row in found] == expected


def test_slices_are_found_by_index(shop_dsn: str) -> None:
    """Both tables are indexed on the column that slices are cut by."""
    indexes = query(shop_dsn, "select indexdef from pg_indexes where schemaname = 'public'")
    cut_by = [definition.rpartition("(")[2] for (definition,) in indexes]
    assert sorted(cut_by) == ["change_id)", "changed_at)", "invoiced_at)", "line_id)"]


def test_second_call_changes_nothing(empty_dsn: str) -> None:
    """A shop that was changed by hand is left as it is, and the call takes no time."""
    assert shop.fill_shop(empty_dsn) == COUNTS
    query(empty_dsn, "update public.invoice_line set quantity = 0 where line_id = 1")
    query(empty_dsn, "insert into public.invoice_line (invoice) values ('by hand')")
    versions = "select line_id, xmin::text, quantity from public.invoice_line order by line_id"
    before = query(empty_dsn, versions)
    started = time.monotonic()
    assert shop.fill_shop(empty_dsn) == {**COUNTS, "invoice_line": 145_632}
    assert time.monotonic() - started < 2
    assert query(empty_dsn, versions) == before
    assert before[-1][0] == 145_632


def test_a_failed_fill_leaves_nothing(empty_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fill that breaks half way leaves no table behind, and the next one succeeds."""
    broken = tmp_path / "broken.csv.xz"
    packed = lzma.compress(lzma.decompress(shop.INVOICE_LINES.read_bytes()).replace(b",1,", b",one,", 1), preset=0)
    broken.write_bytes(packed)
    with monkeypatch.context() as patch:
        patch.setattr(shop, "INVOICE_LINES", broken)
        with pytest.raises(psycopg2.Error, match="one"):
            shop.fill_shop(empty_dsn)
    assert query(empty_dsn, "select from pg_tables where schemaname = 'public'") == []
    assert shop.fill_shop(empty_dsn) == COUNTS


def test_two_fills_at_once_fill_once(empty_dsn: str) -> None:
    """Of two demos that start together, one fills the shop and the other finds it filled."""
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(shop.fill_shop, [empty_dsn, empty_dsn])) == [COUNTS, COUNTS]
