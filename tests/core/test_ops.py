"""The platform's own tables are made once, by whoever comes first."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from typing import Any

import psycopg2
import psycopg2.errors
import pytest

from penstock.core.ops import MIGRATIONS, VERSION, ensure_ops

TABLES = [
    *("contract_version", "evolved_column", "finding", "quarantine", "rule_result", "schema_change", "schema_version"),
    *("slice_current", "slice_ledger", "slice_loaded", "source_file", "stage", "tombstone"),
]


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
    assert bench.one("SELECT max(version) FROM ops.schema_version") == VERSION


def test_an_older_version_is_brought_up(bench: Any) -> None:
    """A warehouse that the first Penstock made gets what is missing, and keeps its quarantined rows, open."""
    first = files("penstock.core").joinpath("ops_schema", MIGRATIONS[0]).read_text(encoding="utf-8")
    bench.run("DROP SCHEMA ops CASCADE; DROP SCHEMA staging CASCADE")
    bench.run(first.replace("%", "%%"))
    bench.run("INSERT INTO ops.schema_version VALUES (1)")
    bench.run(
        "INSERT INTO ops.quarantine (dataset, slice_key, run_id, rules, payload, fingerprint, occurrence)"
        " VALUES ('a/b', 'k', 'r', '{x}', '{}', 'f', 1)"
    )
    ensure_ops(bench.conn)
    assert relations(bench.dsn) == TABLES
    assert bench.run("SELECT state, mended FROM ops.quarantine") == [("open", None)]
    assert bench.run("SELECT version FROM ops.schema_version ORDER BY 1") == [(1,), (2,), (3,), (4,)]


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
