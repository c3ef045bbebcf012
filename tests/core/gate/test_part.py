"""The gate over rows that join a published slice."""

from typing import Any

from psycopg2.sql import Identifier

from penstock.core.gate.part import part_of
from penstock.core.gate.plan import compile_plan
from penstock.core.slice import day_slice

COLUMNS = "order_id bigint, code text, amount numeric(8,2), sold_at timestamptz"
NOON = "2026-01-01T12:00:00Z"
STAGE, PUBLISHED = Identifier("src", "joining"), Identifier("src", "published")


def judged(bench: Any, contract: Any, published: Identifier | None) -> dict[str, int | None]:
    """Unexpected rows by rule."""
    names = [column.name for column in contract.columns]
    plan = part_of(compile_plan(contract, day_slice("2026-01-01")), STAGE, published, names)
    (row,) = bench.run(plan.scan(STAGE))
    return {verdict.rule.id: verdict.unexpected for verdict in plan.read_scan(row)}


def fill(bench: Any, table: str, numbers: list[int | None]) -> None:
    """A table of orders that break no rule but, perhaps, the key's."""
    bench.fill(table, COLUMNS, [(number, "A100", "1", NOON) for number in numbers])


def test_what_is_unique_must_be_free(bench: Any, build: Any) -> None:
    """A row whose key is published breaks `<rule>.taken`; equal keys among the joining rows break the rule itself."""
    fill(bench, "published", [1, 2, None])
    fill(bench, "joining", [2, 3, 3, None])
    found = judged(bench, build.contract(build.ORDERS), PUBLISHED)
    assert (found["primary_key.taken"], found["primary_key"]) == (1, 2)


def test_rules_about_the_whole_slice_are_left_out(bench: Any, build: Any) -> None:
    """Row rules stay, the number of rows is not asked; without the published rows nothing is looked up in them."""
    fill(bench, "joining", [1])
    rule = build.expectation("enough", "expect_table_row_count_to_be_between", min_value=3)
    found = judged(bench, build.contract(build.ORDERS, build.add_quality(rule)), None)
    assert "enough" not in found
    assert "code_format" in found
    assert "primary_key.taken" not in found


def test_a_condition_holds_for_published_rows_too(bench: Any, build: Any) -> None:
    """Where a key must be unique only among some rows, a published row outside of them takes no key."""
    bench.fill("published", COLUMNS, [(1, "A100", "1", NOON), (2, "B100", "1", NOON)])
    bench.fill("joining", COLUMNS, [(n, code, "1", NOON) for n in (1, 2) for code in ("A100", "B100")])
    rule = build.expectation(
        "some", "expect_column_values_to_be_unique", row_condition='col("code")=="A100"',
        condition_parser="great_expectations", column="order_id",
    )  # fmt: skip
    found = judged(bench, build.contract(build.ORDERS, build.add_quality(rule)), PUBLISHED)
    assert (found["some.taken"], found["some"]) == (1, 0)


def test_a_row_is_held_against_the_published_ones(bench: Any, build: Any) -> None:
    """A z-score is that within the whole slice: alone, or among its like, an outlier would be none."""
    bench.fill("published", COLUMNS, [(n, "A100", "1", NOON) for n in range(50)])
    bench.fill("joining", COLUMNS, [(100, "A100", "900", NOON), (101, "A100", "1", NOON)])
    rule = build.expectation(
        "plain", "expect_column_value_z_scores_to_be_less_than", threshold=3, double_sided=True, column="amount"
    )
    contract = build.contract(build.ORDERS, build.add_quality(rule))
    assert judged(bench, contract, PUBLISHED)["plain"] == 1
    assert judged(bench, contract, None)["plain"] == 0
