"""One small table in every load mode, and what the tests do with it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st
from psycopg2.extensions import connection as Connection  # noqa: N812

from penstock.core.contract import Contract
from penstock.core.gate.judge import judge
from penstock.core.ledger import Outcome
from penstock.core.publish import publish
from penstock.core.slice import day_slice
from penstock.core.source_query import stage_query
from penstock.core.stage import Stage, stage_of
from tests.core.load_modes.reference import MODES, Row, Variant, Went

EXAMPLES = int(os.environ.get("PENSTOCK_TEST_EXAMPLES", "1"))
"""How many times more random programs are run than in the suite: `PENSTOCK_TEST_EXAMPLES=50` takes half an hour."""

DAYS = ("2026-01-01", "2026-01-02", "2026-01-03")
HOURS = ("00:00", "07:00", "23:00")

PLAIN = [Variant(mode) for mode in MODES]
"""Each mode with key and cursor."""

VARIANTS = [
    *PLAIN,
    *(Variant(mode, tombstone="hard") for mode in MODES),
    *(Variant(mode, tombstone="soft") for mode in MODES),
    *(Variant(mode, cursor=False) for mode in MODES if mode not in ("merge", "scd2")),
    *(Variant(mode, key=False, cursor=False) for mode in MODES if mode not in ("merge", "scd2")),
]
"""Each mode with all that changes what it does."""


def document(variant: Variant, table: str = "items") -> dict[str, Any]:
    """The contract's document."""
    columns: list[dict[str, Any]] = [
        {"name": "id", "logicalType": "integer", "physicalType": "bigint", "primaryKey": variant.key},
        {
            "name": "grade",
            "logicalType": "string",
            "required": True,
            "quality": [
                {
                    "name": "grade_known",
                    "type": "custom",
                    "engine": "greatExpectations",
                    "implementation": {"type": "expect_column_values_to_match_regex", "kwargs": {"regex": "^[A-Z]$"}},
                }
            ],
        },
        {"name": "at", "logicalType": "timestamp", "physicalType": "timestamptz", "required": True},
        {"name": "gone", "logicalType": "boolean", "physicalType": "boolean"},
    ]
    if variant.mode in ("append", "snapshot"):
        columns.append({"name": "day", "logicalType": "date", "physicalName": "$slice", "required": True})
    custom = {"loadMode": variant.mode, "quarantineBudget": "100%"}
    if variant.mode == "replace_partition":
        custom["partitionBy"] = "at"
    if variant.cursor:
        custom["cursor"] = "at"
    if variant.tombstone:
        custom |= {"tombstone": "gone", "deletes": variant.tombstone}
    return {
        "apiVersion": "v3.2.0",
        "kind": "DataContract",
        "id": f"test-{table}",
        "version": "1.0.0",
        "status": "active",
        "domain": "test",
        "schema": [
            {
                "name": table,
                "customProperties": [{"property": name, "value": value} for name, value in custom.items()],
                "properties": columns,
            }
        ],
    }


def _value(value: object, type_: str) -> str:
    return f"NULL::{type_}" if value is None else f"'{value}'::{type_}"


def select(rows: Iterable[Row]) -> str:
    """A query that gives these rows."""
    parts = [
        f"SELECT {_value(row.id, 'bigint')} AS id, {_value(row.grade, 'text')} AS grade,"
        f" {_value(row.at, 'timestamptz')} AS at, {_value(row.gone, 'boolean')} AS gone"
        for row in rows
    ]
    nothing = "SELECT NULL::bigint AS id, NULL::text AS grade, NULL::timestamptz AS at, NULL::boolean AS gone LIMIT 0"
    return "\nUNION ALL ".join(parts) or nothing


def staged_sql(conn: Connection, contract: Contract, key: str, sql: str, run_id: str, *, publishes: bool) -> Stage:
    """Stage what a query gives for a slice, judge it and, if asked to, publish it."""
    slice_ = day_slice(key)
    stage = stage_of(contract.dataset, slice_, run_id)
    stage_query(conn, contract, slice_, stage, sql)
    judge(conn, contract, slice_, stage)
    if publishes:
        publish(conn, contract, slice_, stage)
    return stage


def staged(conn: Connection, contract: Contract, key: str, rows: Iterable[Row], run_id: str) -> Stage:
    """Stage rows for a slice and judge them."""
    return staged_sql(conn, contract, key, select(rows), run_id, publishes=False)


def load(conn: Connection, contract: Contract, key: str, rows: Iterable[Row], run_id: str) -> Outcome:
    """The whole flow of one slice."""
    stage = staged(conn, contract, key, rows, run_id)
    return publish(conn, contract, day_slice(key), stage)


def said(moment: datetime | None) -> str | None:
    """A moment as the rows of the tests write it."""
    return None if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}"


def went(outcome: Outcome) -> Went:
    """An outcome without what only a refused slice has."""
    assert outcome.withheld == 0
    return Went(outcome.extracted, outcome.loaded, outcome.quarantined, outcome.deduplicated, outcome.filtered)


def seen(bench: Any, variant: Variant, table: str = "test.items") -> Counter[tuple[object, ...]]:
    """What the table holds, as `Reference.table` tells it."""
    if bench.one("SELECT to_regclass(%s) IS NULL", (table,)):
        return Counter()
    if variant.mode == "scd2":
        rows = bench.run(f"SELECT id, grade, at, gone, valid_from, valid_to FROM {table}")
        return Counter(
            (i, grade, said(at), gone, said(since), said(until)) for i, grade, at, gone, since, until in rows
        )
    if not variant.partitioned:
        return Counter(
            (i, g, said(at), gone) for i, g, at, gone in bench.run(f"SELECT id, grade, at, gone FROM {table}")
        )
    day = "day" if variant.mode in ("append", "snapshot") else "(at AT TIME ZONE 'UTC')::date"
    rows = bench.run(f"SELECT id, grade, at, gone, {day}::text FROM {table}")
    return Counter((i, grade, said(at), gone, key) for i, grade, at, gone, key in rows)


def aside(bench: Any, dataset: str = "test/items") -> Counter[tuple[str, Row]]:
    """What is in the quarantine, as `Reference.quarantine` tells it."""
    found = bench.run(
        "SELECT slice_key, payload ->> 'id', payload ->> 'grade', left(payload ->> 'at', 16), payload ->> 'gone'"
        " FROM ops.quarantine WHERE dataset = %s AND state = 'open'",
        (dataset,),
    )
    flags = {"true": True, "false": False, "t": True, "f": False, None: None}
    return Counter((key, Row(i and int(i), grade, at, flags[gone])) for key, i, grade, at, gone in found)


# --- random rows -------------------------------------------------------------------------------------------------


def rows_of(days: tuple[str, ...] = DAYS, *, ids: int = 4, most: int = 8) -> st.SearchStrategy[list[Row]]:
    """Rows of few keys and moments, so that they meet; one in some breaks the contract."""
    moments = st.sampled_from([f"{day} {hour}" for day in days for hour in HOURS])
    keys = st.sampled_from([*range(1, ids + 1)] * 3 + [None])
    grades = st.sampled_from(["A", "B", "C"] * 3 + ["?", None])
    return st.lists(st.builds(Row, keys, grades, moments, st.sampled_from([None, False, False, True])), max_size=most)
