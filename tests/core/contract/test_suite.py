"""Contracts as Great Expectations suites."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from penstock.core.contract import Rule, Severity, load_contract
from penstock.core.contract.suite import RULE_META, compile_expectation, compile_suite
from penstock.core.errors import ContractError

BUNDLED = sorted((Path(__file__).parents[3] / "include" / "contracts").rglob("*.yaml"))


@pytest.mark.parametrize("path", BUNDLED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_bundled_contract_compiles(path: Path) -> None:
    """Each rule of a bundled contract becomes one expectation of its type, kwargs, severity and name."""
    contract = load_contract(path)
    suite = compile_suite(contract)
    assert suite.name == contract.dataset
    compiled = {expectation.meta[RULE_META]: expectation for expectation in suite.expectations}
    assert len(suite.expectations) == len(contract.rules)
    assert list(compiled) == [rule.id for rule in contract.rules]
    for rule in contract.rules:
        expectation = compiled[rule.id]
        assert expectation.expectation_type == rule.expectation
        assert expectation.severity.value == rule.severity
        assert {key: getattr(expectation, key) for key in rule.kwargs} == dict(rule.kwargs)


def test_there_are_bundled_contracts() -> None:
    """The test above looks at something."""
    assert len(BUNDLED) >= 4


def test_severities_are_carried(build: Any) -> None:
    """Critical, warning and info come through; critical is the default."""
    edits = [
        build.add_quality(
            build.expectation(f"amount_{severity}", "expect_column_values_to_be_null", severity), "amount"
        )
        for severity in ("critical", "warning", "info")
    ]
    suite = compile_suite(build.contract(build.ORDERS, *edits))
    found = {expectation.meta[RULE_META]: expectation.severity.value for expectation in suite.expectations}
    assert {found[f"amount_{severity}"] for severity in Severity} == set(Severity)
    assert [found[f"amount_{severity}"] for severity in Severity] == list(Severity)
    assert found["code_format"] == "critical"


def test_suite_says_which_contract_it_is_of(build: Any) -> None:
    """The suite names the version and the hash of the contract that it was compiled from."""
    contract = build.contract(build.PEOPLE)
    assert (
        compile_suite(contract).meta.items()
        >= {
            "contract_version": contract.version,
            "contract_hash": contract.hash,
        }.items()
    )


def test_own_meta_is_kept() -> None:
    """A rule's `meta` stands beside the name of the rule."""
    rule = Rule("r", "expect_table_row_count_to_equal", {"value": 1, "meta": {"ticket": "D-1"}})
    assert compile_expectation(rule).meta == {"ticket": "D-1", RULE_META: "r"}


@pytest.mark.parametrize(
    ("expectation", "kwargs", "problem"),
    [
        ("expect_unicorns", {}, "rule r: Great Expectations has no expectation 'expect_unicorns'"),
        ("expect_column_median_to_be_between", {"column": "a", "min_value": "x"}, "rule r: min_value "),
        ("expect_column_median_to_be_between", {"min_value": 1}, "rule r: column field required"),
    ],
)
def test_rule_that_great_expectations_does_not_take(expectation: str, kwargs: dict[str, Any], problem: str) -> None:
    """A rule that GX refuses is an error of the contract, which names rule and kwarg."""
    with pytest.raises(ContractError) as caught:
        compile_expectation(Rule("r", expectation, kwargs))
    assert any(line.startswith(problem) for line in caught.value.problems), caught.value.problems


def test_own_types_are_left_out(build: Any) -> None:
    """What Great Expectations has nothing for is judged, and is no part of its suite."""
    item = {"metric": "nullValues", "mustBeLessThan": 5}
    contract = build.contract(build.ORDERS, build.add_quality(item, "amount"))
    assert "amount.nullValues" in [rule.id for rule in contract.rules]
    compiled = [expectation.meta[RULE_META] for expectation in compile_suite(contract).expectations]
    assert compiled == [rule.id for rule in contract.rules if rule.id != "amount.nullValues"]
