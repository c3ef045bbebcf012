"""Verdicts are kept for trends, and Great Expectations reads them as its own."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.core.results import Validation, as_validation, read_validations

DAYS = ["2026-01-01", "2026-01-02"]


@pytest.fixture
def validations(bench: Any, build: Any) -> list[Validation]:
    """Two judged slices, newest first: half of the codes and one date are wrong."""
    rule = build.expectation("enough", "expect_table_row_count_to_be_between", min_value=1)
    contract = build.contract(build.ORDERS, build.add_quality(rule))
    columns = "order_id bigint, code text, amount numeric(8,2), sold_at timestamptz"
    for day in DAYS:
        rows = [(n, "bad" if n % 2 else "A100", None if n < 2 else "1", f"{day}T12:00:00Z") for n in range(10)]
        bench.load(contract, day, bench.fill("orders", columns, rows), run_id=f"run of {day}")
    with bench.conn, bench.conn.cursor() as cur:
        assert len(read_validations(cur, "test/orders", 1)) == 1
        return read_validations(cur, "test/orders", 10)


def test_the_latest_validations_are_read(validations: list[Validation]) -> None:
    """Newest first, each with its slice, run, contract version and every rule."""
    assert [(v.slice_key, v.run_id, v.contract_version) for v in validations] == [
        (day, f"run of {day}", "1.0.0") for day in reversed(DAYS)
    ]
    found = {result.rule: result for result in validations[0].results}
    assert found.keys() >= {"code_format", "primary_key", "enough", "sold_at.in_slice"}
    assert (found["code_format"].unexpected, found["code_format"].considered, found["code_format"].judged) == (
        5,
        10,
        10,
    )
    assert validations[0].success is False


def test_great_expectations_reads_them(validations: list[Validation]) -> None:
    """Its own schema loads the JSON, and gives the same JSON back for what it knows."""
    from great_expectations.core.expectation_validation_result import expectationSuiteValidationResultSchema

    written = as_validation(validations[0])
    read = expectationSuiteValidationResultSchema.load(written).to_json_dict()
    assert (read["success"], read["suite_name"]) == (False, "test.orders")
    assert read["statistics"] == written["statistics"]
    ours, theirs = (
        {r["expectation_config"]["meta"]["penstock_rule"]: r for r in d["results"]} for d in (written, read)
    )
    assert ours.keys() == theirs.keys()
    for rule, result in theirs.items():
        assert (result["success"], result["result"]) == (ours[rule]["success"], ours[rule]["result"])


def test_shares_are_what_great_expectations_calls_them(validations: list[Validation]) -> None:
    """`unexpected_percent` is of the considered rows, `unexpected_percent_total` of all; missing rows are the rest."""
    results = {
        r["expectation_config"]["meta"]["penstock_rule"]: r["result"] for r in as_validation(validations[0])["results"]
    }
    assert results["code_format"]["unexpected_percent"] == 50.0
    assert results["amount_range"]["missing_count"] == 2
    assert results["amount_range"]["unexpected_percent_total"] == 0.0
    assert results["code_format"]["partial_unexpected_list"] == ["bad"]
    assert results["enough"] == {"observed_value": "10"}


def test_a_rule_of_penstocks_own_is_named(validations: list[Validation]) -> None:
    """What Great Expectations does not know is shown as custom SQL, described by the rule's name."""
    (config,) = [
        result["expectation_config"]
        for result in as_validation(validations[0])["results"]
        if result["expectation_config"]["meta"]["penstock_rule"] == "sold_at.in_slice"
    ]
    assert (config["type"], config["description"]) == ("unexpected_rows_expectation", "sold_at.in_slice")
