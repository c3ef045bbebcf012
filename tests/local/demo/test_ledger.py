"""What the demo reads from the ledger."""

from contextlib import closing

import psycopg2
import pytest

from penstock.core.ops import ensure_ops
from penstock.local.demo.ledger import open_ledger
from penstock.local.errors import DemoError

INSERT = """
INSERT INTO ops.slice_ledger (dataset, slice_key, attempt, status, run_id, load_mode, extracted, loaded, quarantined,
    deduplicated, filtered, withheld, extract_seconds, validate_seconds, publish_seconds, contract_version,
    contract_hash)
VALUES (%s, %s, %s, %s, 'run', 'merge', %s, %s, %s, %s, 0, %s, 0.5, 0.25, 0.25, '1', 'h')
"""
ROWS = [
    ("commerce/customers", "2010-09-20", 1, "published", 10, 8, 1, 1, 0),
    ("commerce/customers", "2010-09-20", 2, "published", 12, 12, 0, 0, 0),
    ("commerce/customers", "2010-09-21", 1, "published", 5, 5, 0, 0, 0),
    ("commerce/order_lines", "2010-09-20", 1, "refused", 7, 0, 7, 0, 0),
    ("commerce/order_lines", "2010-09-30", 1, "published", 7, 7, 0, 0, 0),
]
KEYS = ["2010-09-20", "2010-09-21"]


def test_nothing_is_published_before_the_first_slice(warehouse: str) -> None:
    """A warehouse without a ledger is an empty one."""
    with open_ledger(warehouse) as ledger:
        assert not any(ledger.published(KEYS).values())
        assert ledger.totals(KEYS) == []


def test_the_latest_published_attempts_count(warehouse: str) -> None:
    """Refused attempts, earlier attempts and slices out of range are left out of progress and sums."""
    with closing(psycopg2.connect(warehouse)) as connection:
        ensure_ops(connection)
        with connection, connection.cursor() as cursor:
            cursor.executemany(INSERT, ROWS)
    with open_ledger(warehouse) as ledger:
        published = ledger.published(KEYS)
        assert published["commerce/customers"] == set(KEYS)
        assert published["commerce/order_lines"] == set()
        (totals,) = ledger.totals(KEYS)
    assert (totals.slices, totals.extracted, totals.loaded, totals.quarantined) == (2, 17, 17, 0)
    assert totals.seconds == pytest.approx(2.0)


def test_a_warehouse_that_is_away_is_reported() -> None:
    """The error says that it is the warehouse."""
    with pytest.raises(DemoError, match="warehouse cannot be reached"):
        open_ledger("postgresql://127.0.0.1:9/none")
