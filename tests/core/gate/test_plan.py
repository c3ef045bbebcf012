"""The gate plan: what the rules of a contract become, and how a scan's figures become verdicts."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from psycopg2.sql import SQL, Identifier

from penstock.core.contract import Rule, Severity
from penstock.core.gate.plan import (
    TableRule,
    Verdict,
    any_broken,
    compile_plan,
    reasons,
    row_verdict,
    slice_bounds,
    table_verdict,
)
from penstock.core.gate.row_tests import TableTest
from penstock.core.slice import day_slice

DAY = day_slice("2026-01-01")
TABLE = Identifier("src", "orders")
COLUMNS = "order_id bigint, code text, amount numeric(8,2), sold_at timestamptz"


def rule(severity: Severity = Severity.CRITICAL, **kwargs: Any) -> Rule:
    """A rule about rows."""
    return Rule("r", "expect_column_values_to_not_be_null", {"column": "c", **kwargs}, severity)


def test_rules_are_sorted_by_what_they_are_about(build: Any) -> None:
    """Row rules, rules about the slice and rules that only GX can judge; a row belongs to its slice besides."""
    contract = build.contract(
        build.ORDERS,
        build.add_quality(build.expectation("some", "expect_table_row_count_to_be_between", min_value=1)),
        build.add_quality(build.expectation("gx", "expect_column_kl_divergence_to_be_less_than", threshold=1), "code"),
    )
    plan = compile_plan(contract, DAY)
    assert [row.rule.id for row in plan.row_rules] == [
        "order_id.required",
        "code.required",
        "sold_at.required",
        "primary_key",
        "code_format",
        "amount_range",
        "sold_at.in_slice",
    ]
    assert [found.rule.id for found in plan.table_rules] == ["some"]
    assert [found.id for found in plan.gx_rules] == ["gx"]


def test_a_merged_slice_has_no_place_to_belong_to(build: Any) -> None:
    """Without a partition column there is no rule about the slice."""
    plan = compile_plan(build.contract(build.PEOPLE), DAY)
    assert not any(row.rule.id.endswith(".in_slice") for row in plan.row_rules)


def test_one_scan_finds_all_and_one_condition_finds_the_rows(bench: Any, build: Any) -> None:
    """The scan's one row gives a verdict per rule; the split's conditions find exactly the rows it counted."""
    contract = build.contract(build.ORDERS)
    rows = [
        (1, "A100", 1, "2026-01-01"),
        (2, "no", 2000, "2026-01-01"),
        (2, None, None, "2026-01-02"),
        (None, "B200", -1, "2025-12-31 23:59:59.999999"),
        (4, "B200", -1, "2026-01-01 23:59:59.999999"),
    ]
    bench.run("SET TIME ZONE 'UTC'")
    bench.fill("orders", COLUMNS, rows)
    plan = compile_plan(contract, DAY)
    (row,) = bench.run(plan.scan(TABLE))
    verdicts = plan.read_scan(row)
    assert row[0] == len(rows)
    assert {v.rule.id: (v.unexpected, v.considered) for v in verdicts} == {
        "order_id.required": (1, 5),
        "code.required": (1, 5),
        "sold_at.required": (0, 5),
        "primary_key": (2, 4),
        "code_format": (1, 4),
        "amount_range": (3, 4),
        "sold_at.in_slice": (2, 5),
    }
    broken = plan.quarantining(verdicts)
    assert "sold_at.required" not in [found.rule.id for found in broken]
    query = SQL("SELECT code, {} FROM {} WHERE {} ORDER BY sold_at").format(
        reasons(broken, TABLE), TABLE, any_broken(broken, TABLE)
    )
    assert bench.run(query) == [
        ("B200", ["order_id.required", "amount_range", "sold_at.in_slice"]),
        ("no", ["primary_key", "code_format", "amount_range"]),
        ("B200", ["amount_range"]),
        (None, ["code.required", "primary_key", "sold_at.in_slice"]),
    ]


def test_what_is_proved_unique_is_not_counted(bench: Any, build: Any) -> None:
    """Told that the key is unique, the plan gives the same verdicts without looking for duplicates."""
    contract = build.contract(build.ORDERS)
    bench.fill("orders", COLUMNS, [(n, "A100", 1, "2026-01-01") for n in range(5)])
    plan = compile_plan(contract, DAY)
    assert plan.judges_unique(["order_id"])
    assert not plan.judges_unique(["code"])
    proved = plan.with_unique(["order_id"])
    assert not proved.judges_unique(["order_id"])
    assert proved.read_scan(bench.run(proved.scan(TABLE))[0]) == plan.read_scan(bench.run(plan.scan(TABLE))[0])


def test_only_critical_rules_move_rows(build: Any) -> None:
    """A broken warning is no reason to leave."""
    contract = build.contract(
        build.ORDERS, build.add_quality(build.expectation("w", "expect_column_values_to_be_unique", "warning"), "code")
    )
    plan = compile_plan(contract, DAY)
    verdicts = [Verdict(row.rule, success=False, considered=9, unexpected=1) for row in plan.row_rules]
    assert "w" not in [row.rule.id for row in plan.quarantining(verdicts)]
    assert len(plan.quarantining(verdicts)) == len(plan.row_rules) - 1


@pytest.mark.parametrize(
    ("found", "unexpected", "considered", "success", "refuses"),
    [
        (rule(), 0, 10, True, False),
        (rule(), 1, 10, False, False),
        (rule(), 0, 0, True, False),
        (rule(mostly=0.9), 1, 10, True, False),
        (rule(mostly=0.9), 2, 10, False, True),
        (rule(Severity.WARNING, mostly=0.9), 2, 10, False, False),
        (rule(mostly=0), 10, 10, True, False),
    ],
)
def test_row_verdicts(found: Rule, unexpected: int, considered: int, *, success: bool, refuses: bool) -> None:
    """Success is a share as GX counts it; a critical rule refuses by itself only where it states a `mostly`."""
    verdict = row_verdict(found, unexpected, considered)
    assert (verdict.success, verdict.refuses) == (success, refuses)


@pytest.mark.parametrize(
    ("observed", "bounds", "success"),
    [
        (5, {"low": 5, "high": 5}, True),
        (5, {"low": 5, "strict_low": True}, False),
        (5, {"high": 5, "strict_high": True}, False),
        (4, {"low": 5}, False),
        (6, {"high": 5}, False),
        (None, {"low": 0}, False),
        (math.nan, {"low": 0}, False),
        (Decimal("NaN"), {"low": 0}, False),
        (Decimal("0.1"), {"low": 0.1, "high": 0.1}, True),
        (date(2026, 1, 1), {"low": "2026-01-01", "high": "2026-01-01"}, True),
        (date(2026, 1, 2), {"high": "2026-01-01"}, False),
        (datetime(2026, 1, 1, 23, 0, tzinfo=UTC), {"high": "2026-01-01"}, True),
        (datetime(2026, 1, 2, 0, 0, tzinfo=UTC), {"high": "2026-01-01"}, False),
        (datetime(2026, 1, 1, 23, 0, tzinfo=UTC), {"high": "2026-01-01T23:00:00Z"}, True),
        (datetime(2026, 1, 1, 23, 0, tzinfo=UTC), {"high": "2026-01-01T23:30:00+01:00"}, False),
    ],
)
def test_table_verdicts(observed: Any, bounds: Any, *, success: bool) -> None:
    """A value within its bounds, in its own type; without a value a rule about the slice is broken, and refuses."""
    verdict = table_verdict(TableRule(rule(), TableTest(lambda table: table, **bounds)), observed)
    assert (verdict.success, verdict.refuses) == (success, not success)


def test_verdicts_can_be_read() -> None:
    """The text that logs and refusals quote."""
    assert str(Verdict(rule(), success=False, considered=12000, unexpected=1234)) == "r: 1,234 of 12,000 rows"
    assert str(Verdict(rule(), success=False, observed="7")) == "r: observed 7"


@pytest.mark.parametrize("pg_type", ["date", "timestamp", "timestamptz"])
def test_bounds_mean_the_same_in_every_type(bench: Any, pg_type: str) -> None:
    """As date, timestamp or timestamptz in UTC, the bounds are the midnights of the slice."""
    low, high = slice_bounds(DAY)
    bench.run("SET TIME ZONE 'UTC'")
    assert bench.run(f"SELECT %s::{pg_type} = '2026-01-01', %s::{pg_type} = '2026-01-02'", (low, high)) == [
        (True, True)
    ]
