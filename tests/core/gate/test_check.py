"""What is found wrong with a rule before anything runs."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.core.contract.model import Rule
from penstock.core.errors import ContractError
from penstock.core.gate.check import REFUSED, known_to_gx, problems_of
from penstock.core.gate.covered import COMMON_KWARGS, COVERED, OWN_PREFIX
from penstock.core.gate.expectations import compile_rule

TYPES = {
    "a": "integer",
    "b": "integer",
    "x": "text",
    "ok": "boolean",
    "d": "date",
    "t": "timestamp without time zone",
    "z": "timestamp with time zone",
}
BETWEEN = "expect_column_values_to_be_between"
OF_TYPE, COMMON = "expect_column_values_to_be_of_type", "expect_column_most_common_value_to_be_in_set"
PAIR = {"column_A": "a", "column_B": "b"}
A_KNOWN = {"type": "nullity", "column": {"name": "a"}, "is_null": False}


def found(expectation: str, **kwargs: Any) -> str:
    """The problems of a rule, as one text."""
    return "; ".join(problems_of(Rule("r", expectation, kwargs), TYPES))


@pytest.mark.parametrize(
    ("expectation", "kwargs", "problem"),
    [
        ("expect_unicorns", {}, "Great Expectations has no expectation 'expect_unicorns'"),
        ("expect_column_values_to_be_increasing", {"column": "a"}, "does not judge"),
        ("expect_table_column_count_to_equal", {"value": 3}, "the contract itself says which columns"),
        (BETWEEN, {"column": "nope", "min_value": 1}, "there is no column 'nope'"),
        ("expect_column_median_to_be_between", {"column": "nope", "min_value": 1}, "there is no column 'nope'"),
        (BETWEEN, {"column": "a"}, "needs min_value or max_value"),
        (BETWEEN, {"min_value": 1}, "needs column"),
        (BETWEEN, {"column": "a", "min_value": 1, "minimum": 1}, "takes no 'minimum'"),
        (BETWEEN, {"column": "a", "min_value": "low"}, "min_value must be a number, or an ISO day or time"),
        (BETWEEN, {"column": "a", "min_value": {"$PARAMETER": "x"}}, "min_value must be a number"),
        (BETWEEN, {"column": "a", "min_value": True}, "min_value must be a number"),
        (BETWEEN, {"column": "a", "min_value": float("inf")}, "min_value must be a number"),
        (BETWEEN, {"column": "a", "max_value": 2**53 + 1}, "is no longer exact"),
        (BETWEEN, {"column": "a", "min_value": 2, "max_value": 1}, "min_value 2 is above max_value 1"),
        (BETWEEN, {"column": "a", "min_value": 1, "strict_min": "yes"}, "strict_min must be true or false"),
        (BETWEEN, {"column": "a", "min_value": 1, "mostly": 95}, "mostly must be a share from 0 to 1"),
        (BETWEEN, {"column": "a", "min_value": "2010-09-20"}, "its bounds are numbers"),
        (BETWEEN, {"column": "x", "min_value": 1}, "judges numbers, dates and timestamps; x is text"),
        (BETWEEN, {"column": "ok", "min_value": 1}, "ok is boolean"),
        (BETWEEN, {"column": "d", "min_value": 1}, "its bounds are ISO days or times"),
        (BETWEEN, {"column": "d", "min_value": "2010-09-31"}, "min_value must be a number, or an ISO day"),
        (BETWEEN, {"column": "d", "min_value": "2010-09-20T10:00"}, "its bounds are days"),
        (BETWEEN, {"column": "t", "min_value": "2010-09-20T10:00Z"}, "times without an offset"),
        (BETWEEN, {"column": "z", "min_value": "2010-09-20T10:00"}, "times with an offset"),
        (BETWEEN, {"column": "t", "min_value": "2010-09-20", "max_value": "2010-09-20 10:00"}, "both be days"),
        (BETWEEN, {"column": "d", "min_value": "2010-09-21", "max_value": "2010-09-20"}, "is above max_value"),
        (BETWEEN, {"column": "a", "min_value": 1, "row_condition": "b > 1"}, "needs `condition_parser: great_ex"),
        ("expect_column_value_lengths_to_be_between", {"column": "x", "min_value": 1.5}, "a whole number"),
        ("expect_column_value_lengths_to_be_between", {"column": "a", "min_value": 1}, "judges text; a is integer"),
        ("expect_column_values_to_match_regex", {"column": "a", "regex": "x"}, "judges text; a is integer"),
        ("expect_column_values_to_match_regex", {"column": "x", "regex": 5}, "regex must be text"),
        ("expect_column_values_to_match_regex_list", {"column": "x", "regex_list": []}, "needs regex_list"),
        ("expect_column_values_to_match_regex_list", {"column": "x", "regex_list": "x"}, "a list of texts"),
        (
            "expect_column_values_to_match_regex_list",
            {"column": "x", "regex_list": ["x"], "match_on": "some"},
            "match_on must be any or all",
        ),
        ("expect_column_values_to_be_in_set", {"column": "x", "value_set": []}, "needs value_set"),
        ("expect_column_values_to_be_in_set", {"column": "x", "value_set": [None]}, "value_set must be a list"),
        ("expect_column_values_to_be_in_set", {"column": "x", "value_set": "abc"}, "value_set must be a list"),
        ("expect_compound_columns_to_be_unique", {"column_list": ["a"]}, "at least two columns"),
        (
            "expect_compound_columns_to_be_unique",
            {"column_list": ["a", "b"], "ignore_row_if": "neither"},
            "ignore_row_if must be one of all_values_are_missing",
        ),
        (
            "expect_column_pair_values_to_be_equal",
            {"column_A": "a", "column_B": "b", "ignore_row_if": "never"},
            "ignore_row_if must be one of both_values_are_missing",
        ),
        ("expect_multicolumn_sum_to_equal", {"column_list": ["a", "x"], "sum_total": 1}, "judges numbers; x is text"),
        ("expect_table_row_count_to_equal", {"value": 1.5}, "a whole number"),
        ("expect_table_row_count_to_equal", {"value": 1, "mostly": 0.5}, "takes no 'mostly'"),
        ("expect_column_mean_to_be_between", {"column": "d", "min_value": 1}, "judges numbers; d is date"),
        ("expect_column_stdev_to_be_between", {"column": "a", "min_value": "2010-09-20"}, "must be a number, not"),
        (BETWEEN, {"column": "a", "min_value": 1, "row_condition": {"type": "nullity"}}, "row_condition needs `column"),
        (
            BETWEEN,
            {
                "column": "a",
                "min_value": 1,
                "row_condition": {"type": "nullity", "column": {"name": "no"}, "is_null": True},
            },
            "row_condition: there is no column 'no'",
        ),
        (OF_TYPE, {"column": "a", "type_": "TEXT"}, "a is INTEGER by the contract"),
        (COMMON, {"column": "a", "value_set": ["1"]}, "a is integer: it cannot be '1'"),
        (COMMON, {"column": "d", "value_set": ["x"]}, "judges text, whole numbers and booleans; d is date"),
        ("expect_column_distinct_values_to_be_in_set", {"column": "x", "value_set": ["a", None]}, "holds null"),
        ("expect_column_pair_values_to_be_in_set", PAIR | {"value_pairs_set": [[1]]}, "a list of pairs"),
        (
            "expect_column_quantile_values_to_be_between",
            {"column": "a", "quantile_ranges": {"quantiles": [0.5], "value_ranges": []}},
            "as many quantiles",
        ),
        ("expect_column_values_to_match_strftime_format", {"column": "x", "strftime_format": "%A"}, "%A is not one of"),
        ("expect_column_values_to_be_dateutil_parseable", {"column": "x"}, "give the column a date type"),
        ("expect_query_results_to_match_comparison", {}, "second data source"),
        ("unexpected_rows_expectation", {"unexpected_rows_query": "SELECT {x}"}, "has {x}; known are {batch}"),
        ("penstock_column_is_fresh", {"column": "t", "within": "soon"}, "a length of time such as"),
        ("penstock_column_is_fresh", {"column": "a", "within": "6 hours"}, "judges dates and timestamps; a is"),
        ("penstock_values_exist_in", {"column": "a", "dataset": "x/y", "to": ["b", "c"]}, "as many columns"),
        ("penstock_metric", {"metric": "nullValues", "mustBe": 1}, "nullValues needs column"),
        ("penstock_metric", {"metric": "missingValues", "column": "a", "mustBe": 1}, "needs missing_values"),
        ("penstock_metric", {"metric": "nullValues", "column": "a"}, "needs mustBe or"),
        ("penstock_metric", {"metric": "rowCount", "mustBeBetween": [2, 1]}, "the smaller number comes first"),
        ("penstock_query", {"query": "SELECT 1 FROM {x}", "mustBe": 1}, "query has {x}; known are {object}"),
    ],
)
def test_problem_is_named(expectation: str, kwargs: dict[str, Any], problem: str) -> None:
    """What GX would refuse, raise on or misread is refused with the contract, in words."""
    assert problem in found(expectation, **kwargs)


@pytest.mark.parametrize(
    ("expectation", "kwargs"),
    [
        (BETWEEN, {"column": "a", "min_value": 1, "max_value": 1.5, "strict_max": True, "mostly": 1}),
        (BETWEEN, {"column": "z", "min_value": "2010-09-20 10:00:00.5+02:00", "max_value": "2010-09-21T00:00Z"}),
        (BETWEEN, {"column": "z", "min_value": "2010-09-20"}),
        (BETWEEN, {"column": "a", "min_value": 1, "row_condition": A_KNOWN}),
        ("expect_column_values_to_match_like_pattern", {"column": "x", "like_pattern": "a!%", "escape": "!"}),
        ("expect_column_values_to_be_in_set", {"column": "x", "value_set": ["a", None]}),
        ("expect_column_median_to_be_between", {"column": "a", "min_value": 1}),
    ],
)
def test_sound_rule_has_no_problems(expectation: str, kwargs: dict[str, Any]) -> None:
    """A rule that GX understands is let through, also one that only GX itself can judge."""
    assert found(expectation, **kwargs) == ""


@pytest.mark.parametrize("kwarg", [{"windows": []}])
def test_kwarg_beyond_the_plan_leaves_the_rule_to_gx(kwarg: dict[str, Any]) -> None:
    """A kwarg that changes what is judged, and that the plan does not know, is never ignored."""
    assert compile_rule(Rule("r", BETWEEN, {"column": "a", "min_value": 1, **kwarg})) is None


def test_every_kwarg_of_the_registry_is_one_of_great_expectations() -> None:
    """What the registry calls a kwarg, GX takes; and GX has no kwarg that a contract may not state."""
    from great_expectations.expectations.registry import get_expectation_impl

    theirs = {key: entry for key, entry in COVERED.items() if not key.startswith(OWN_PREFIX)}
    ours = {key: {*entry.needs, *entry.takes} | COMMON_KWARGS for key, entry in theirs.items()}
    fields = {key: set(get_expectation_impl(key).__fields__) for key in theirs}
    internal = {"id", "rendered_content", "severity", "batch_id", "library_metadata"}
    for key, entry in theirs.items():
        typed = entry.note is not None and "types" in entry.note  # GX takes a `mostly` there and does nothing with it
        assert ours[key] - fields[key] == (
            set() if entry.about_rows or (typed and "mostly" in fields[key]) else {"mostly"}
        )
        unknown = fields[key] - ours[key] - internal - {"row_condition", "condition_parser", "windows"}
        more = {"escape"} if "like_pattern" in key else {"allow_relative_error"} if "quantile" in key else set()
        assert unknown == more, key
        assert ("row_condition" in fields[key]) is entry.conditional or typed, key


def test_what_great_expectations_cannot_judge_in_sql_is_refused_or_compiled() -> None:
    """No expectation that the installed GX has no SQL for is let through to it."""
    from great_expectations.exceptions import ExpectationNotFoundError
    from great_expectations.expectations.registry import _registered_metrics, get_expectation_impl

    def is_in_sql(expectation: str) -> bool:
        try:
            metric = getattr(get_expectation_impl(expectation), "map_metric", None)
        except ExpectationNotFoundError:
            return False
        providers = _registered_metrics.get(f"{metric}.condition", {}).get("providers", {})
        return not isinstance(metric, str) or "SqlAlchemyExecutionEngine" in providers

    without = {expectation for expectation in known_to_gx() if not is_in_sql(expectation)}
    assert without
    assert without - REFUSED.keys() - COVERED.keys() == set()
    assert REFUSED.keys() - known_to_gx() == set()
    assert REFUSED.keys() & COVERED.keys() == set()


def test_refused_bounds_are_refused_or_misread_by_great_expectations() -> None:
    """The checks of kwargs are not stricter than they must be: GX refuses these too, or changes their meaning."""
    from penstock.core.contract.suite import compile_expectation

    for expectation, kwargs in (
        (BETWEEN, {"column": "a", "min_value": "low"}),
        (BETWEEN, {"column": "a", "min_value": 1, "mostly": 95}),
        ("expect_column_mean_to_be_between", {"column": "a", "min_value": 1, "mostly": 1}),
        ("expect_compound_columns_to_be_unique", {"column_list": ["a"]}),
        ("expect_column_pair_values_to_be_equal", {"column_A": "a", "column_B": "b", "ignore_row_if": "never"}),
    ):
        with pytest.raises(ContractError, match="rule r: "):
            compile_expectation(Rule("r", expectation, kwargs))
    cut = compile_expectation(Rule("r", "expect_column_value_lengths_to_be_between", {"column": "x", "min_value": 1.5}))
    assert cut.min_value == 1
