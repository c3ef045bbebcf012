"""The platform's own tables are made once, by whoever comes first."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg2
import psycopg2.errors
import pytest

from penstock.core.ops import VERSION, ensure_ops

TABLES = ["quarantine", "rule_result", "schema_version", "slice_current", "slice_ledger", "stage"]


def relations(dsn: str) -> list[str]:
    """Tables and views of the schema `ops`."""
    connection = psycopg2.connect(dsn)
    try:
        with connection.cursor() as cur:
            cur.execute(
                "SELECT relname FROM pg_class"
                " WHERE relnamespace = to_regnamespace('ops') AND relkind IN ('r', 'v') ORDER BY 1"
            )
            return [name for (name,) in cur.fetchall()]
    finally:
        connection.close()


def ensure(dsn: str) -> None:
    """Make them over a connection of its own."""
    connection = psycopg2.connect(dsn)
    try:
        ensure_ops(connection)
    finally:
        connection.close()


def test_tasks_that_start_together_do_not_collide(warehouse: str) -> None:
    """Eight tasks that find an empty warehouse at once all go on, and everything is there, in one version."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ensure, [warehouse] * 8))
    assert relations(warehouse) == TABLES


def test_a_second_call_changes_nothing(bench: Any) -> None:
    """What is in the ledger stays there, and one version is recorded."""
    bench.run("INSERT INTO ops.rule_result (dataset, slice_key, run_id, rule, expectation, severity, success)"
              " VALUES ('a/b', 'k', 'r', 'x', 'y', 'info', true)")  # fmt: skip
    ensure_ops(bench.conn)
    assert bench.one("SELECT count(*) FROM ops.rule_result") == 1
    assert bench.run("SELECT version FROM ops.schema_version") == [(VERSION,)]


def test_an_older_version_is_brought_up(bench: Any) -> None:
    """A warehouse that an older Penstock made gets what is missing."""
    bench.run("DELETE FROM ops.schema_version; DROP TABLE ops.rule_result")
    ensure_ops(bench.conn)
    assert relations(bench.dsn) == TABLES


@pytest.mark.parametrize(
    "values",
    [
        "'a/b', '2026-01-01', 'r', '{}', '{}', 'f', 1",
        "'a/b', '2026-01-01', 'r', NULL, '{}', 'f', 1",
        "'a/b', '2026-01-01', 'r', '{x}', NULL, 'f', 1",
    ],
    ids=["no rule", "no rules", "no payload"],
)
def test_the_quarantine_takes_no_row_without_reason_or_payload(bench: Any, values: str) -> None:
    """The table itself holds the claim that each row names the rules it broke and keeps what was received."""
    columns = "dataset, slice_key, run_id, rules, payload, fingerprint, occurrence"
    with pytest.raises((psycopg2.errors.CheckViolation, psycopg2.errors.NotNullViolation)):
        bench.run(f"INSERT INTO ops.quarantine ({columns}) VALUES ({values})")
