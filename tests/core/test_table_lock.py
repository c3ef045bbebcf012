"""Locks of published tables."""

from __future__ import annotations

import time
from typing import Any

import psycopg2.errors
import pytest
from psycopg2.sql import Identifier

from penstock.core import table_lock
from penstock.core.table_lock import lock_for_change


def test_the_lock_is_waited_for_in_short_tries(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between tries nothing is waited for, so that readers that queued get through; what was done before stays."""
    monkeypatch.setattr(table_lock, "LOCK_TIMEOUT_SECONDS", 0.05)
    monkeypatch.setattr(table_lock, "LOCK_PAUSES_SECONDS", (0.05, 0.05))
    bench.run("CREATE SCHEMA IF NOT EXISTS test; CREATE TABLE test.one (n integer)")
    reader = bench.connect()
    with reader, reader.cursor() as reads:
        reads.execute("SELECT FROM test.one")
        started = time.monotonic()
        with bench.conn, bench.conn.cursor() as cur:
            with pytest.raises(psycopg2.errors.LockNotAvailable):
                lock_for_change(cur, Identifier("test", "one"))
            bench.conn.rollback()
        assert 0.2 < time.monotonic() - started < 5
    with bench.conn, bench.conn.cursor() as cur:
        cur.execute("INSERT INTO test.one VALUES (1)")
        lock_for_change(cur, Identifier("test", "one"))
    assert bench.one("SELECT n FROM test.one") == 1
