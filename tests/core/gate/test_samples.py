"""A few of the values that broke a rule are kept with its verdict, masked."""

from typing import Any

DAY, NOON = "2026-01-01", "2026-01-01T12:00:00Z"


def samples(bench: Any) -> dict[str, list[dict[str, Any]]]:
    """Samples by rule, of rules that have any."""
    return dict(bench.run("SELECT rule, samples FROM ops.rule_result WHERE samples <> '[]' ORDER BY rule"))


def judge(bench: Any, build: Any, rows: list[tuple[Any, ...]], *edits: Any) -> None:
    """Judge rows of a source table."""
    columns = "order_id bigint, code text, amount numeric(8,2), sold_at timestamptz"
    contract = build.contract(build.ORDERS, *edits)
    bench.judge(contract, bench.extract(contract, DAY, bench.fill("orders", columns, rows)))


def test_different_values_of_a_broken_rule_are_kept(bench: Any, build: Any) -> None:
    """Of a critical rule from the rows set aside, of a warning from those that passed; of a kept rule, none."""
    warning = build.expectation("cheap", "expect_column_values_to_be_between", "warning", max_value=10)
    rows = [(n, "bad" if n < 3 else "A100", "11" if n == 5 else "1", NOON) for n in range(6)]
    judge(bench, build, rows, build.add_quality(warning, "amount"))
    assert samples(bench) == {"code_format": [{"code": "bad"}], "cheap": [{"amount": "11.00"}]}


def test_samples_are_few_and_masked(bench: Any, build: Any) -> None:
    """At most twenty values are kept, and of a masked column none can be read."""
    mask = {"property": "mask", "value": "redact"}
    rows = [(n, f"secret{n}", "1", NOON) for n in range(50)]
    judge(bench, build, rows, lambda d: d["schema"][0]["properties"][1].update(customProperties=[mask]))
    (found,) = samples(bench).values()
    assert len(found) == 20
    assert {sample["code"] for sample in found} == {"•••"}


def test_values_that_do_not_cast_are_counted_by_rule(bench: Any, build: Any, tmp_path: Any) -> None:
    """Each rule that rows broke before they could be judged has a verdict with their number."""
    contract = build.contract(build.ORDERS)
    record = {"order_id": "1", "code": "A100", "amount": "x", "sold_at": NOON}
    bench.judge(contract, bench.land(contract, DAY, [record, {**record, "order_id": "?"}], tmp_path))
    rows = bench.run("SELECT rule, unexpected, judged FROM ops.rule_result WHERE rule LIKE '%%.cast' ORDER BY rule", ())
    assert rows == [("amount.cast", 2, 2), ("order_id.cast", 1, 2)]
