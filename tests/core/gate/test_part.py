"""The gate over rows that join a published slice."""

from typing import Any

from psycopg2.sql import Identifier

from penstock.core.gate.part import part_of
from penstock.core.gate.plan import compile_plan
from penstock.core.slice import day_slice

STAGE, PUBLISHED = Identifier("src", "joining"), Identifier("src", "published")


def judged(bench: Any, contract: Any, published: Identifier | None) -> dict[str, int | None]:
    """Unexpected rows by rule."""
    plan = part_of(compile_plan(contract, day_slice("2026-01-01")), STAGE, published)
    (row,) = bench.run(plan.scan(STAGE))
    return {verdict.rule.id: verdict.unexpected for verdict in plan.read_scan(row)}


def fill(bench: Any, table: str, numbers: list[int | None]) -> None:
    """A table of orders that break no rule but, perhaps, the key's."""
    columns = "order_id bigint, code text, amount numeric(8,2), sold_at timestamptz"
    bench.fill(table, columns, [(number, "A100", "1", "2026-01-01T12:00:00Z") for number in numbers])


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
