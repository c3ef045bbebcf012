"""Rules that the plan does not cover, judged in Great Expectations proper."""

from __future__ import annotations

import logging
import os
import shutil
import time
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from psycopg2.extensions import parse_dsn
from psycopg2.sql import Identifier

from penstock.core.contract import Contract, Rule, Severity
from penstock.core.errors import ContractError, PenstockError, SliceRefused, SourceUnavailable
from penstock.core.gate import gx
from penstock.core.gate.expectations import compile_rule
from penstock.core.gate.gx import judge_with_gx
from penstock.core.gate.judge import Gated, judge, refuse
from penstock.core.slice import day_slice
from penstock.core.stage import Stage
from penstock.project import EXPECTATIONS

DAY = "2010-09-20"
COLUMNS = "order_id bigint, code text, amount numeric(8,2), sold_at timestamptz"
ROWS = [
    (1, "A001", 10, "2010-09-20 08:00Z"),
    (2, "A002", 20, "2010-09-20 09:00Z"),
    (3, "B003", 30, "2010-09-20 10:00Z"),
    (4, "bad", 40, "2010-09-20 11:00Z"),
]
MEDIAN = "expect_column_median_to_be_between"
CODES = "expect_column_distinct_values_to_be_in_set"
BETWEEN = "expect_column_values_to_be_between"
KL = "expect_column_kl_divergence_to_be_less_than"
LIKE = "expect_column_values_to_match_like_pattern"
SKEWED = {"values": [10, 20, 30, 40], "weights": [0.97, 0.01, 0.01, 0.01]}
EVEN = {"values": [10, 20, 30, 40], "weights": [0.25, 0.25, 0.25, 0.25]}


def above(column: str, bound: float) -> dict[str, Any]:
    """A `row_condition` as YAML states it."""
    return {"type": "comparison", "column": {"name": column}, "operator": ">", "parameter": bound}


def with_gx(bench: Any, contract: Contract, stage: Stage) -> Gated:
    """Judge a stage as the operator does."""
    beyond_plan = partial(judge_with_gx, bench.dsn)
    return judge(bench.conn, contract, day_slice(DAY), stage, dag_id="d", beyond_plan=beyond_plan)


def staged(bench: Any, build: Any, *items: Any) -> tuple[Contract, Stage]:
    """Four orders under a contract with these further rules on the amount."""
    contract = build.contract(build.ORDERS, *(build.add_quality(item, "amount") for item in items))
    table = bench.fill("orders", COLUMNS, ROWS)
    return contract, bench.extract(contract, DAY, table)


def results(bench: Any) -> dict[str, list[Any]]:
    """What is recorded, by rule."""
    rows = bench.run("SELECT rule, severity, success, considered, unexpected, observed FROM ops.rule_result")
    return {rule: rest for rule, *rest in rows}


def test_rules_beyond_the_plan_are_judged_and_recorded(bench: Any, build: Any) -> None:
    """Beside the rules of the plan, GX's own verdicts stand in `ops.rule_result`; warnings do not refuse."""
    contract, stage = staged(
        bench,
        build,
        build.expectation("even", KL, partition_object=EVEN, threshold=0.1),
        build.expectation("few", LIKE, "warning", column="code", like_pattern="A!%", escape="!", mostly=0.9),
        build.expectation("skewed", KL, "info", partition_object=SKEWED, threshold=0.1),
    )
    assert all(compile_rule(rule) is None for rule in contract.rules if rule.id in ("even", "few", "skewed"))
    gated = with_gx(bench, contract, stage)
    assert gated.refusals == []
    assert (gated.extracted, gated.quarantined) == (4, 1), "the plan's own rules still split the rows"
    found = results(bench)
    assert found["even"][:4] == ["critical", True, None, None]
    assert found["few"] == ["warning", False, 4, 4, None]
    assert found["skewed"][:4] == ["info", False, None, None]
    assert found["code_format"] == ["critical", False, 4, 1, None]


def test_failing_critical_rule_about_the_slice_refuses_it(bench: Any, build: Any) -> None:
    """A critical rule about the slice that fails in GX refuses it."""
    contract, stage = staged(bench, build, build.expectation("beyond", KL, partition_object=SKEWED, threshold=0.1))
    gated = with_gx(bench, contract, stage)
    assert [reason for reason in gated.refusals if reason.startswith("beyond: ")] != []
    assert results(bench)["beyond"][:2] == ["critical", False]
    assert bench.run("SELECT status, withheld FROM ops.slice_ledger") == [("refused", 3)]
    with pytest.raises(SliceRefused, match="beyond: "):
        refuse(gated, stage, "the contract")


def test_rows_that_only_gx_finds_are_split_off(bench: Any, build: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A critical rule about rows that GX judges sends those that break it to quarantine, with all rules they broke."""
    like = {"column": "code", "like_pattern": "A!_%", "escape": "!"}
    contract, stage = staged(bench, build, build.expectation("beyond", LIKE, **like))
    bench.run(f"UPDATE staging.\"{stage.name}\" SET code = 'A_1' WHERE order_id = 1")
    gated = with_gx(bench, contract, stage)
    assert (gated.refusals, gated.quarantined) == ([], 4)
    reasons = bench.run(f'SELECT order_id, _rules FROM staging."{stage.name}__bad" ORDER BY 1')
    assert reasons == [(1, ["code_format"]), (2, ["beyond"]), (3, ["beyond"]), (4, ["code_format", "beyond"])]
    assert with_gx(bench, contract, stage) == gated, "judged again, it comes out alike"
    assert bench.one("SELECT samples FROM ops.rule_result WHERE rule = 'beyond'") != []
    monkeypatch.setattr(gx, "MOST_ROWS", 2)
    refused = with_gx(bench, contract, stage)
    assert refused.refusals == ["beyond: 3 of 4 rows (critical)"], "more rows than are held in memory refuse the slice"


def test_mostly_of_a_rule_that_only_gx_judges(bench: Any, build: Any) -> None:
    """As with the plan's own rules, a share that is missed refuses the slice; one that is kept splits rows."""
    like = {"column": "code", "like_pattern": "A!%", "escape": "!"}
    for mostly, refusals in ((0.5, ["beyond: 4 of 4 rows (critical)"]), (0, [])):
        contract, stage = staged(bench, build, build.expectation("beyond", LIKE, mostly=mostly, **like))
        assert with_gx(bench, contract, stage).refusals == refusals


def test_own_expectations_of_the_project(bench: Any, build: Any, tmp_path: Path) -> None:
    """A class in `expectations` beside the contracts is a type of expectation, and splits rows as GX finds them."""
    (tmp_path / "expectations").mkdir()
    shutil.copy(EXPECTATIONS / "trimmed.py", tmp_path / "expectations" / "trimmed.py")
    rule = build.expectation("trimmed", "expect_column_values_to_be_trimmed")
    contract = build.contract(build.ORDERS, build.add_quality(rule, "code"))
    rows = [(1, "A001", 10, "2010-09-20 08:00Z"), (2, " A2", 20, "2010-09-20 09:00Z")]
    stage = bench.extract(contract, DAY, bench.fill("orders", COLUMNS, rows))
    beyond_plan = partial(judge_with_gx, bench.dsn, custom=tmp_path / "expectations")
    gated = judge(bench.conn, contract, day_slice(DAY), stage, dag_id="d", beyond_plan=beyond_plan)
    assert (gated.refusals, gated.quarantined) == ([], 1)
    assert bench.run(f'SELECT order_id, _rules FROM staging."{stage.name}__bad"') == [(2, ["code_format", "trimmed"])]


def test_rule_that_raises_in_gx_is_an_error_of_the_contract(bench: Any, build: Any) -> None:
    """What is raised inside GX comes out naming the rule, and nothing is decided about the slice."""
    contract, stage = staged(
        bench,
        build,
        build.expectation("sound", KL, partition_object=EVEN, threshold=5),
        build.expectation("misspelt", KL, partition_object=5),
    )
    with pytest.raises(ContractError, match="rule misspelt: partition_object"):
        with_gx(bench, contract, stage)
    rules = [
        Rule("sound", MEDIAN, {"column": "amount", "min_value": 0}),
        Rule("broken", BETWEEN, {"column": "amount", "min_value": 0, "row_condition": above("nowhere", 1)}),
    ]
    with pytest.raises(ContractError, match=r"rule broken: Great Expectations cannot judge it: .*nowhere") as caught:
        judge_with_gx(bench.dsn, stage.table, rules)
    assert len(caught.value.problems) == 1
    assert results(bench) == {}
    assert bench.one("SELECT state FROM ops.stage") == "staged"


def test_verdicts_keep_the_order_of_the_rules(bench: Any) -> None:
    """There is one verdict per rule, in their order, with what GX counted; of no rows GX counts none."""
    bench.fill("few", "code text", [("x",), (None,), ("it's 100%",)])
    bench.fill("none", "code text", [])
    rules = [
        Rule("codes", CODES, {"column": "code", "value_set": ["x"]}),
        Rule("set", "expect_column_values_to_be_in_set", {"column": "code", "value_set": ["x"]}, Severity.WARNING),
        Rule("rows", "expect_table_row_count_to_equal", {"value": 3}),
        Rule("odd", "unexpected_rows_expectation", {"unexpected_rows_query": "SELECT * FROM {batch} WHERE code = 'x'"}),
    ]
    verdicts = judge_with_gx(bench.dsn, Identifier("src", "few"), rules)
    assert [verdict.rule for verdict in verdicts] == rules
    assert [(v.success, v.considered, v.unexpected, v.observed, v.refuses) for v in verdicts] == [
        (False, None, None, "1 unexpected", True),
        (False, 2, 1, None, False),
        (True, None, None, "3", False),
        (False, None, None, "1", True),
    ]
    empty = judge_with_gx(bench.dsn, Identifier("src", "none"), rules[1:2])
    assert [(v.success, v.considered, v.unexpected) for v in empty] == [(True, 0, 0)]


@pytest.mark.parametrize("kwargs", [{}, {"catch_exceptions": False}, {"catch_exceptions": True}])
def test_error_inside_gx_names_the_rule_whatever_the_rule_says(bench: Any, kwargs: dict[str, Any]) -> None:
    """Whether an expectation catches its exceptions or not, what comes out is an error of the contract."""
    bench.fill("few", "code text", [("x",)])
    rule = Rule("odd", MEDIAN, {"column": "code", "min_value": 1, **kwargs})
    with pytest.raises(ContractError, match="rule odd: Great Expectations cannot judge it"):
        judge_with_gx(bench.dsn, Identifier("src", "few"), [rule])


def test_result_format_of_a_rule_changes_nothing(bench: Any) -> None:
    """A rule's own `result_format` neither hides the counts nor fetches values."""
    bench.fill("few", "code text", [("x",), ("y",)])
    for result_format in ("BOOLEAN_ONLY", "COMPLETE"):
        rule = Rule(
            "set",
            "expect_column_values_to_be_in_set",
            {"column": "code", "value_set": ["x"], "result_format": result_format},
        )
        (verdict,) = judge_with_gx(bench.dsn, Identifier("src", "few"), [rule])
        assert (verdict.considered, verdict.unexpected) == (2, 1)


def test_times_are_judged_in_utc(bench: Any) -> None:
    """GX's session is in UTC whatever the database's own time zone is."""
    bench.run(
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET timezone = ''Asia/Tokyo''', current_database()); END $$"
    )
    bench.fill("late", "z timestamptz", [("2010-09-20 23:00Z",)])
    rule = Rule("r", "expect_column_max_to_be_between", {"column": "z", "max_value": "2010-09-20"})
    (verdict,) = judge_with_gx(bench.dsn, Identifier("src", "late"), [rule])
    assert (verdict.success, verdict.observed) == (True, "2010-09-20")


def test_nothing_is_left_behind(
    bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """No file, no output, no open connection, no lock is left of a run in GX."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    bench.fill("few", "code text", [("x",)])
    rule = Rule("codes", CODES, {"column": "code", "value_set": ["x"]})
    assert judge_with_gx(bench.dsn, Identifier("src", "few"), [rule])[0].success
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - hidden ones too
    assert capfd.readouterr() == ("", "")
    others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    deadline = time.monotonic() + 10
    while bench.one(others) and time.monotonic() < deadline:  # a server process ends a little after its connection
        time.sleep(0.05)
    assert bench.one(others) == 0


def test_password_is_never_told(bench: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Neither GX's debug log nor an error shows the password, right or wrong."""
    caplog.set_level(logging.DEBUG)
    parts = parse_dsn(bench.dsn)
    rule = Rule("codes", CODES, {"column": "code", "value_set": ["x"]})
    bench.fill("few", "code text", [("x",)])
    judge_with_gx(bench.dsn, Identifier("src", "few"), [rule])
    with pytest.raises(SourceUnavailable, match=r"could not read src\.missing") as missing:
        judge_with_gx(bench.dsn, Identifier("src", "missing"), [rule])
    wrong = "wr%ng $ecret@"
    dsn = f"host=127.0.0.1 port={parts['port']} user={parts['user']} dbname={parts['dbname']} password='{wrong}'"
    with pytest.raises(SourceUnavailable) as refused:
        judge_with_gx(dsn, Identifier("src", "few"), [rule])
    told = f"{caplog.text} {missing.value} {refused.value}"
    for secret in (parts["password"], wrong, quote(wrong, safe="")):
        assert secret not in told
    assert refused.value.__cause__ is None


@pytest.mark.parametrize("dsn", ["postgresql:///warehouse", "host=/var/run/postgresql dbname=warehouse"])
def test_socket_is_refused_in_words(dsn: str) -> None:
    """GX needs TCP, and a connection through a socket says so and what to do."""
    with pytest.raises(PenstockError, match=r"over TCP.*Next: give the warehouse's connection a host"):
        judge_with_gx(dsn, Identifier("src", "few"), [Rule("r", MEDIAN, {"column": "a", "min_value": 1})])


def test_driver_in_the_url_does_not_matter(bench: Any) -> None:
    """A SQLAlchemy URL, as Airflow's hooks give it, is taken like a libpq one."""
    bench.fill("few", "code text", [("x",)])
    rule = Rule("codes", CODES, {"column": "code", "value_set": ["x"]})
    url = bench.dsn.replace("postgresql://", "postgresql+psycopg2://")
    assert judge_with_gx(url, Identifier("src", "few"), [rule])[0].success
