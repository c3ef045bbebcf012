"""What a suite of 30 compiled rules costs, beside one hand-written SQL aggregate and beside Great Expectations.

    PYTHONPATH=plugins .venv/bin/python bench/gate.py            # prints the table, writes bench/gate-results.md
    PYTHONPATH=plugins .venv/bin/python bench/gate.py --check    # exit code 1 where a target is missed

All three judge the same table in the same embedded Postgres and take turns (A B C A B C …) after one round that does
not count. Seconds are medians; a ratio is the median of the ratios within each turn.

by hand
    One SELECT over the table with an aggregate for each rule, as somebody would write it who only wants the counts.
Penstock
    Compiling the plan from the rules, its scan, and the verdicts.
Great Expectations
    `batch.validate` of the same rules on the same table, counts only, after the import and a first run; the rules are
    warnings, so that it is not asked which rows break them.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import psycopg2
from psycopg2.sql import SQL, Identifier

from penstock.core.contract import Budget, Column, Contract, LoadMode, Rule, SchemaPolicy, Severity
from penstock.core.gate.plan import Verdict, compile_plan
from penstock.core.slice import day_slice
from penstock.core.stage import open_session
from penstock.local.postgres import EmbeddedPostgres

HERE: Final = Path(__file__).resolve().parent
MAX_BY_HAND: Final = 1.5
MAX_GX: Final = 0.5
TABLE: Final = Identifier("public", "payments")
FILL: Final = """
CREATE TABLE public.payments AS
SELECT n::bigint AS payment_id, (n % 50000)::integer AS account_id, (n % 977)::integer AS merchant_id,
       timestamptz '2026-01-01 00:00Z' + (n % 86400) * interval '1 second' AS recorded_at,
       date '2026-01-01' + (n % 3)::integer AS booked_on,
       ((n::bigint * 7919) % 9999999 / 100.0)::numeric(12,2) AS amount,
       ((n % 500) / 100.0)::numeric(10,4) AS fee, (ARRAY['EUR','GBP','USD','CHF','SEK'])[1 + n % 5] AS currency,
       CASE WHEN n % 1000 = 0 THEN 'bad' ELSE 'A' || lpad((n % 1000000)::text, 6, '0') END AS invoice,
       CASE WHEN n % 3 = 0 THEN NULL ELSE repeat('x', (n % 40)::integer) END AS note
FROM generate_series(1, {rows}) AS n
"""
TYPES: Final = {
    "payment_id": "bigint",
    "account_id": "integer",
    "merchant_id": "integer",
    "recorded_at": "timestamp with time zone",
    "booked_on": "date",
    "amount": "numeric(12,2)",
    "fee": "numeric(10,4)",
    "currency": "text",
    "invoice": "text",
    "note": "text",
}
_C: Final = "expect_column_"
CURRENCIES: Final = ["EUR", "GBP", "USD", "CHF", "SEK"]
RULES: Final[list[tuple[str, dict[str, Any], str]]] = [
    *((f"{_C}values_to_not_be_null", {"column": name}, f"count(*) - count({name})") for name in TYPES),
    (f"{_C}values_to_be_unique", {"column": "payment_id"}, "count(*) - count(DISTINCT payment_id)"),
    (
        f"{_C}values_to_be_between",
        {"column": "amount", "min_value": 0, "max_value": 90000},
        "count(*) FILTER (WHERE amount < 0 OR amount > 90000)",
    ),
    (f"{_C}values_to_be_between", {"column": "fee", "min_value": 0}, "count(*) FILTER (WHERE fee < 0)"),
    (
        f"{_C}values_to_be_between",
        {"column": "account_id", "min_value": 0, "max_value": 60000},
        "count(*) FILTER (WHERE account_id < 0 OR account_id > 60000)",
    ),
    (
        f"{_C}values_to_be_between",
        {"column": "booked_on", "min_value": "2026-01-01", "max_value": "2026-01-02"},
        "count(*) FILTER (WHERE booked_on < '2026-01-01' OR booked_on > '2026-01-02')",
    ),
    (
        f"{_C}values_to_be_in_set",
        {"column": "currency", "value_set": CURRENCIES},
        "count(*) FILTER (WHERE currency NOT IN ('EUR', 'GBP', 'USD', 'CHF', 'SEK'))",
    ),
    (
        f"{_C}values_to_not_be_in_set",
        {"column": "merchant_id", "value_set": [13, 666]},
        "count(*) FILTER (WHERE merchant_id IN (13, 666))",
    ),
    (
        f"{_C}values_to_match_regex",
        {"column": "invoice", "regex": "^[AC]?[0-9]{6}$"},
        "count(*) FILTER (WHERE invoice !~ '^[AC]?[0-9]{6}$')",
    ),
    (
        f"{_C}values_to_not_match_like_pattern",
        {"column": "note", "like_pattern": "%y%"},
        "count(*) FILTER (WHERE note LIKE '%y%')",
    ),
    (
        f"{_C}value_lengths_to_be_between",
        {"column": "note", "max_value": 38},
        "count(*) FILTER (WHERE length(note) > 38)",
    ),
    (
        f"{_C}value_lengths_to_equal",
        {"column": "currency", "value": 3},
        "count(*) FILTER (WHERE length(currency) <> 3)",
    ),
    (
        f"{_C}pair_values_a_to_be_greater_than_b",
        {"column_A": "amount", "column_B": "fee"},
        "count(*) FILTER (WHERE amount <= fee)",
    ),
    ("expect_table_row_count_to_be_between", {"min_value": 1}, "count(*)"),
    (f"{_C}min_to_be_between", {"column": "amount", "min_value": 0}, "min(amount)"),
    (f"{_C}max_to_be_between", {"column": "amount", "max_value": 100000}, "max(amount)"),
    (f"{_C}mean_to_be_between", {"column": "amount", "min_value": 0}, "avg(amount)"),
    (f"{_C}sum_to_be_between", {"column": "fee", "min_value": 0}, "sum(fee)"),
    (f"{_C}stdev_to_be_between", {"column": "merchant_id", "min_value": 0}, "stddev_samp(merchant_id)"),
    (f"{_C}max_to_be_between", {"column": "recorded_at", "max_value": "2026-01-01"}, "max(recorded_at)"),
    (f"{_C}unique_value_count_to_be_between", {"column": "merchant_id", "min_value": 1}, "count(DISTINCT merchant_id)"),
]


def contract() -> Contract:
    """The 30 rules as a contract."""
    return Contract(
        dataset="bench/payments",
        version="1",
        hash="",
        columns=tuple(Column(name, name, type_) for name, type_ in TYPES.items()),
        key=(),
        load_mode=LoadMode.MERGE,
        partition_by=None,
        cursor=None,
        schema_policy=SchemaPolicy.DISCARD,
        budget=Budget(),
        rules=tuple(
            Rule(f"r{number}", type_, kwargs, Severity.WARNING) for number, (type_, kwargs, _) in enumerate(RULES)
        ),
    )


def timed(run: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def measure(dsn: str, rows: int, repeat: int) -> dict[str, list[float]]:
    """Seconds of each way in each turn."""
    from penstock.core.gate.gx import judge_with_gx

    found = contract()
    conn = psycopg2.connect(dsn)
    open_session(conn)
    conn.autocommit = True
    with conn.cursor() as cur:
        cur.execute(FILL.format(rows=rows))
        cur.execute("VACUUM ANALYZE public.payments")

        def by_hand() -> tuple[Any, ...]:
            cur.execute(f"SELECT {', '.join(aggregate for _, _, aggregate in RULES)} FROM public.payments")
            return tuple(cur.fetchall()[0])

        def penstock() -> list[Verdict]:
            plan = compile_plan(found, day_slice("2026-01-01"))
            cur.execute(SQL("{}").format(plan.scan(TABLE)))
            return plan.read_scan(cur.fetchall()[0])

        def great_expectations() -> list[Verdict]:
            return judge_with_gx(dsn, TABLE, found.rules)

        ours = {verdict.rule.id: verdict.unexpected for verdict in penstock()}
        theirs = {verdict.rule.id: verdict.unexpected for verdict in great_expectations()}
        if ours != theirs or len(ours) != 30:
            raise SystemExit(f"they do not judge the 30 rules alike: {ours} {theirs}")
        by_hand()
        ways: dict[str, Callable[[], object]] = {
            "by hand": by_hand,
            "Penstock": penstock,
            "Great Expectations": great_expectations,
        }
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(repeat):
            for name, run in ways.items():
                seconds[name].append(timed(run))
    conn.close()
    return seconds


def ratio(seconds: dict[str, list[float]], other: str) -> float:
    """Median over the turns of Penstock's seconds to the other's."""
    return statistics.median(a / b for a, b in zip(seconds["Penstock"], seconds[other], strict=True))


def report(seconds: dict[str, list[float]], rows: int, when: datetime) -> str:
    """The results as a page."""
    lines = [
        f"# 30 rules over {rows:,} rows",
        "",
        f"*bench/gate.py, {when:%Y-%m-%d}, {platform.machine()}, {len(seconds['Penstock'])} turns; medians.*",
        "",
        "| way | seconds | Penstock to it | at most |",
        "| --- | --- | --- | --- |",
    ]
    limits = {"by hand": MAX_BY_HAND, "Great Expectations": MAX_GX}
    for name, taken in seconds.items():
        beside = f"{ratio(seconds, name):.2f} | {limits[name]}" if name in limits else "| "
        lines.append(f"| {name} | {statistics.median(taken):.2f} | {beside} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Measure, print, write; say by the exit code whether the targets are met."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--output", type=Path, default=HERE / "gate-results.md")
    options = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="penstock-bench-"))
    home.chmod(0o711)  # for root, the server runs as an ordinary user who must pass through
    server = EmbeddedPostgres(home / "postgres", durable=True, first_port=26432)
    try:
        server.start()
        seconds = measure(server.create_database(), options.rows, options.repeat)
    finally:
        server.remove()
        home.rmdir()
    text = report(seconds, options.rows, datetime.now(UTC))
    print(text)
    options.output.write_text(text, encoding="utf-8")
    met = ratio(seconds, "by hand") <= MAX_BY_HAND and ratio(seconds, "Great Expectations") <= MAX_GX
    return 0 if met or not options.check else 1


if __name__ == "__main__":
    sys.exit(main())
