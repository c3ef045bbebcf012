"""The gate over a stage: a verdict per rule, the split of the rows, and the refusal of a slice."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from penstock.core.errors import ContractError, SliceRefused, StageMissing
from penstock.core.gate.judge import judge, refuse
from penstock.core.slice import day_slice
from penstock.project import ROOT

DAY = "2026-01-01"
NOON = f"{DAY} 12:00+00"
COLUMNS = "order_id bigint, code text, amount numeric(8,2), sold_at timestamptz"
ROW_COUNT = "expect_table_row_count_to_be_between"


def mixed(good: int, bad: int) -> list[tuple[Any, ...]]:
    """Rows of which the last ones break `code_format`."""
    return [(number, "A100" if number <= good else "no", 1, NOON) for number in range(1, good + bad + 1)]


def ledger(bench: Any) -> list[tuple[Any, ...]]:
    """The ledger as counts, in order."""
    found: list[tuple[Any, ...]] = bench.run(
        "SELECT status, extracted, loaded, quarantined, deduplicated, filtered, withheld"
        " FROM ops.slice_ledger ORDER BY id"
    )
    return found


def test_a_quarantined_row_names_all_rules_it_broke(bench: Any, build: Any) -> None:
    """A typed row in quarantine carries every critical rule it broke and its values, to the last digit."""
    contract = build.contract(build.ORDERS)
    rows = [
        (1, "no", "-0.10", NOON),
        (2, None, "1000.01", NOON),
        (3, "A100", "5.00", NOON),
        (3, "A100", None, NOON),
        (None, "A100", "1", NOON),
    ]
    outcome = bench.load(contract, DAY, bench.fill("orders", COLUMNS, rows))
    found = {(payload["order_id"], payload["amount"]): (rules, payload) for rules, payload in bench.run(
        "SELECT rules, payload FROM ops.quarantine"
    )}  # fmt: skip
    assert {key: sorted(rules) for key, (rules, _) in found.items()} == {
        ("1", "-0.10"): ["amount_range", "code_format"],
        ("2", "1000.01"): ["amount_range", "code.required"],
        ("3", "5.00"): ["primary_key"],
        ("3", None): ["primary_key"],
        (None, "1.00"): ["order_id.required"],
    }
    assert bench.one("SELECT payload::text FROM ops.quarantine WHERE payload->>'order_id' = '1'") == (
        '{"code": "no", "amount": "-0.10", "sold_at": "2026-01-01 12:00:00+00", "order_id": "1"}'
    )
    assert (outcome.extracted, outcome.loaded, outcome.quarantined) == (5, 0, 5)


def test_a_row_of_another_slice_is_quarantined(bench: Any, build: Any) -> None:
    """A row that a query gives for the wrong day cannot reach a partition it does not belong to."""
    contract = build.contract(build.ORDERS)
    stage = bench.query(
        contract,
        DAY,
        "SELECT n::bigint AS order_id, 'A100' AS code, 1::numeric(8,2) AS amount,"
        " %(slice_start)s + n * interval '12 hours' AS sold_at FROM generate_series(-1, 2) AS n",
    )
    gated = bench.judge(contract, stage)
    bench.publish(contract, stage)
    assert gated.quarantined == 2
    assert bench.run("SELECT DISTINCT rules FROM ops.quarantine") == [(["sold_at.in_slice"],)]


def test_text_rows_keep_their_payload_as_received(bench: Any, build: Any, tmp_path: Path) -> None:
    """A row from the lake that breaks a rule keeps every text as the source wrote it, also what would have cast."""
    contract = build.contract(build.ORDERS)
    record = {"order_id": " 007 ", "code": "no", "amount": "-1.50", "sold_at": "2026-01-01T13:00:00+01:00"}
    stage = bench.land(contract, DAY, [record, {**record, "code": "A100", "amount": "0010.50"}], tmp_path)
    bench.judge(contract, stage)
    bench.publish(contract, stage)
    assert bench.run("SELECT rules, payload FROM ops.quarantine ORDER BY cardinality(rules)") == [
        (["primary_key"], {**record, "code": "A100", "amount": "0010.50"}),
        (["primary_key", "code_format", "amount_range"], record),
    ]


def test_warnings_count_and_move_nothing(bench: Any, build: Any) -> None:
    """A rule of severity warning or info is judged and recorded; its rows are loaded and the slice passes."""
    contract = build.contract(
        build.ORDERS,
        build.add_quality(
            build.expectation("cheap", "expect_column_values_to_be_between", "warning", max_value=5), "amount"
        ),
        build.add_quality(build.expectation("many", ROW_COUNT, "info", min_value=100)),
    )
    outcome = bench.load(contract, DAY, bench.fill("orders", COLUMNS, [(1, "A100", 9, NOON), (2, "A100", 1, NOON)]))
    assert (outcome.loaded, outcome.quarantined) == (2, 0)
    assert bench.run(
        "SELECT rule, severity, success, considered, unexpected, observed"
        " FROM ops.rule_result WHERE NOT success ORDER BY 1"
    ) == [("cheap", "warning", False, 2, 1, None), ("many", "info", False, None, None, "2")]


def test_every_rule_has_its_result_once(bench: Any, build: Any) -> None:
    """Judged several times, a run has one result per rule, those kept as well as those broken."""
    contract = build.contract(build.ORDERS)
    stage = bench.extract(contract, DAY, bench.fill("orders", COLUMNS, mixed(3, 1)))
    for _ in range(3):
        bench.judge(contract, stage)
    recorded = bench.run("SELECT rule FROM ops.rule_result ORDER BY 1")
    assert recorded == sorted((name,) for name in [*(rule.id for rule in contract.rules), "sold_at.in_slice"])


@pytest.mark.parametrize(
    ("budget", "allowed", "said"),
    [
        ("20%", 2, "the budget allows 20.00% of the rows"),
        (2, 2, "the budget allows 2 rows"),
        ({"share": "50%", "count": 2}, 2, "the budget allows 50.00% of the rows and 2 rows"),
        ({"share": "20%", "count": 9}, 2, "the budget allows 20.00% of the rows and 9 rows"),
        (0, 0, "the budget allows 0 rows"),
    ],
)
def test_the_budget_decides(bench: Any, build: Any, budget: Any, allowed: int, said: str) -> None:
    """Up to the budget, share or count, bad rows are set aside; one more and the slice is refused, with the counts."""
    contract = build.contract(build.ORDERS, build.set_custom("quarantineBudget", budget))
    within = bench.extract(contract, DAY, bench.fill("orders", COLUMNS, mixed(10 - allowed, allowed)))
    assert bench.judge(contract, within).refusals == []
    beyond = bench.extract(contract, DAY, bench.fill("orders", COLUMNS, mixed(9 - allowed, allowed + 1)))
    gated = bench.judge(contract, beyond)
    (refusal,) = gated.refusals
    assert f"{allowed + 1} of 10 rows" in refusal
    assert said in refusal
    assert f"code_format: {allowed + 1} of 10 rows" in refusal


def test_a_refused_slice_names_everything_and_changes_nothing(bench: Any, build: Any) -> None:
    """Refused for its budget, a slice leaves the published rows alone, balances its ledger, and passes once allowed."""
    contract = build.contract(build.ORDERS, build.set_custom("quarantineBudget", "10%"))
    source = bench.fill("orders", COLUMNS, mixed(9, 1))
    bench.load(contract, DAY, source)
    before = bench.checksum("test.orders"), bench.quarantine("test/orders")
    bench.fill("orders", COLUMNS, mixed(6, 4))
    stage = bench.extract(contract, DAY, source)
    gated = bench.judge(contract, stage)
    with pytest.raises(SliceRefused) as caught:
        refuse(gated, stage, "include/contracts/test/orders.yaml")
    for fact in ("test/orders", DAY, "code_format: 4 of 10 rows", "4 of 10 rows", "include/contracts/test/orders.yaml"):
        assert fact in str(caught.value)
    assert not caught.value.retryable
    with pytest.raises(StageMissing):
        bench.publish(contract, stage)
    assert (bench.checksum("test.orders"), bench.quarantine("test/orders")) == before
    assert ledger(bench) == [("published", 10, 9, 1, 0, 0, 0), ("refused", 10, 0, 4, 0, 0, 6)]

    generous = build.contract(build.ORDERS, build.set_custom("quarantineBudget", "40%"))
    assert bench.judge(generous, stage).refusals == []
    assert bench.publish(generous, stage).loaded == 6
    assert ledger(bench)[2:] == [("published", 10, 6, 4, 0, 0, 0)]
    assert bench.one("SELECT count(*) FROM test.orders") == 6


def test_a_critical_rule_about_the_whole_slice_refuses_it(bench: Any, build: Any) -> None:
    """The refusal names the rule and what was observed; the rows published before stay, the others are withheld."""
    contract = build.contract(
        build.ORDERS, build.add_quality(build.expectation("enough", ROW_COUNT, min_value=3, max_value=5))
    )
    source = bench.fill("orders", COLUMNS, mixed(4, 0))
    bench.load(contract, DAY, source)
    before = bench.checksum("test.orders")
    bench.fill("orders", COLUMNS, mixed(2, 0))
    stage = bench.extract(contract, DAY, source)
    with pytest.raises(SliceRefused, match=r"\[test/orders 2026-01-01\].*enough: observed 2 \(critical\)"):
        refuse(bench.judge(contract, stage), stage, "orders.yaml")
    assert bench.checksum("test.orders") == before
    assert ledger(bench)[1:] == [("refused", 2, 0, 0, 0, 0, 2)]


def test_a_stated_mostly_that_is_missed_refuses_the_slice(bench: Any, build: Any) -> None:
    """A critical row rule with `mostly` sets bad rows aside while the share holds, and refuses the slice below it."""
    rule = build.expectation("mostly_cheap", "expect_column_values_to_be_between", max_value=5, mostly=0.75)
    contract = build.contract(build.ORDERS, build.add_quality(rule, "amount"))

    def priced(dear: int) -> list[tuple[Any, ...]]:
        return [(number, "A100", 9 if number < dear else 1, NOON) for number in range(4)]

    stage = bench.extract(contract, DAY, bench.fill("orders", COLUMNS, priced(1)))
    gated = bench.judge(contract, stage)
    assert (gated.refusals, gated.quarantined) == ([], 1)
    stage = bench.extract(contract, DAY, bench.fill("orders", COLUMNS, priced(2)))
    assert bench.judge(contract, stage).refusals == ["mostly_cheap: 2 of 4 rows (critical)"]


@pytest.mark.parametrize("landed", [False, True], ids=["typed", "text"])
def test_judging_again_gives_the_same(bench: Any, build: Any, tmp_path: Path, *, landed: bool) -> None:
    """The second verdict equals the first, for what was moved aside is put back first."""
    contract = build.contract(build.ORDERS)
    if landed:
        records = [
            {"order_id": str(row[0]), "code": row[1], "amount": "x" if row[0] == 9 else "1", "sold_at": NOON}
            for row in mixed(6, 4)
        ]
        stage = bench.land(contract, DAY, records, tmp_path)
    else:
        stage = bench.extract(contract, DAY, bench.fill("orders", COLUMNS, mixed(6, 4)))
    first = bench.judge(contract, stage)
    for _ in range(2):
        assert bench.judge(contract, stage) == first
    assert bench.publish(contract, stage).quarantined == first.quarantined == 4


def test_a_stage_that_lost_rows_is_not_judged(bench: Any, build: Any) -> None:
    """Rows that were extracted and are no longer there cannot disappear from the account."""
    contract = build.contract(build.ORDERS)
    stage = bench.extract(contract, DAY, bench.fill("orders", COLUMNS, mixed(3, 0)))
    bench.run(f"DELETE FROM staging.{stage.name} WHERE order_id = 1")
    with pytest.raises(StageMissing, match="holds 2 rows where the extract counted 3"):
        bench.judge(contract, stage)


def test_nothing_staged_is_nothing_to_judge(bench: Any, build: Any) -> None:
    """Without a stage, the gate says which task to clear."""
    contract = build.contract(build.ORDERS)
    with pytest.raises(StageMissing, match=r"has no staged rows.*clear the task `extract`"):
        bench.judge(contract, bench.stage(contract, DAY))


def test_a_stage_for_other_columns_is_not_judged(bench: Any, build: Any) -> None:
    """A contract whose columns changed since the extract asks for a new extract, not for a puzzling SQL error."""
    contract = build.contract(build.ORDERS)
    stage = bench.extract(contract, DAY, bench.fill("orders", COLUMNS, mixed(3, 0)))

    def widen(document: Any) -> None:
        document["schema"][0]["properties"][2]["physicalType"] = "numeric(10,2)"

    def drop(document: Any) -> None:
        del document["schema"][0]["properties"][2]

    for edit in (widen, drop):
        with pytest.raises(StageMissing, match="other columns"):
            bench.judge(build.contract(build.ORDERS, edit), stage)


def test_a_rule_that_postgres_cannot_apply_is_the_contracts_fault(bench: Any, build: Any) -> None:
    """The error names the rule, and the rows wait in the stage as they were."""
    contract = build.contract(
        build.ORDERS,
        build.add_quality(build.expectation("odd", "expect_column_values_to_match_regex", regex="("), "code"),
    )
    stage = bench.extract(contract, DAY, bench.fill("orders", COLUMNS, mixed(3, 0)))
    with pytest.raises(ContractError, match=r"rule odd: .*regular expression"):
        bench.judge(contract, stage)
    assert bench.one(f"SELECT count(*) FROM staging.{stage.name}") == 3


def test_rules_beyond_the_plan_need_a_judge(bench: Any, build: Any) -> None:
    """A rule that the plan does not cover is never passed over in silence."""
    contract = build.contract(
        build.ORDERS,
        build.add_quality(
            build.expectation("parsed", "expect_column_kl_divergence_to_be_less_than", threshold=1), "code"
        ),
    )
    stage = bench.extract(contract, DAY, bench.fill("orders", COLUMNS, mixed(3, 0)))
    with pytest.raises(ValueError, match="nobody judges parsed"):
        judge(bench.conn, contract, day_slice(DAY), stage)


def test_the_hot_path_imports_no_great_expectations(bench: Any, build: Any) -> None:
    """A slice whose rules are all compiled is staged, judged and published without anything heavy being imported."""
    rules = [
        build.expectation("median", "expect_column_median_to_be_between", min_value=0, column="amount"),
        build.expectation("far", "expect_column_values_to_not_be_outliers", "info", column="amount"),
        build.expectation(
            "some", "unexpected_rows_expectation", unexpected_rows_query="SELECT * FROM {batch} WHERE 1=2"
        ),
    ]
    build.contract(build.ORDERS, *(build.add_quality(rule) for rule in rules))
    bench.fill("orders", COLUMNS, mixed(3, 1))
    program = f"""
import sys, psycopg2
from pathlib import Path
from penstock.core.contract import load_contract
from penstock.core.gate.judge import judge
from penstock.core.publish import publish
from penstock.core.slice import day_slice
from penstock.core.source_table import stage_table
from penstock.core.stage import open_session, stage_of
contract, day = load_contract(Path({str(build.folder / "test" / "orders.yaml")!r})), day_slice({DAY!r})
source, conn = psycopg2.connect({bench.dsn!r}), psycopg2.connect({bench.dsn!r})
open_session(conn)
stage = stage_of(contract.dataset, day, "run")
stage_table(source, conn, contract, day, stage, "src.orders")
gated = judge(conn, contract, day, stage)
publish(conn, contract, day, stage)
heavy = ("great_expectations", "pandas", "pyarrow", "sqlalchemy", "scipy", "numpy", "airflow")
print(gated.passed, [name for name in heavy if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": str(ROOT / "plugins")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("3 []\n", "")
