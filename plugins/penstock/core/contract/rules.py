"""Turn ODCS `quality` items into rules.

Two kinds are read: `type: custom` with `engine: greatExpectations`, whose `implementation` holds an expectation's
type and kwargs; and the standard's library rules, which are mapped to expectations. `type: text` is prose for people.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from penstock.core.contract.model import Rule, Severity

_ENGINES: Final = frozenset(("greatexpectations", "great-expectations", "great_expectations", "gx"))


def parse_rule(item: Mapping[str, Any], column: str | None) -> Rule | None:
    """Return the rule of one quality item, or None for prose.

    Args:
        item: The item, already valid by the standard's schema.
        column: The property the item stands in, or None where it concerns the table.

    Raises:
        ValueError: The item cannot be turned into an expectation.
    """
    kind = item.get("type", "library")
    if kind == "text":
        return None
    if kind == "custom":
        expectation, kwargs = _custom(item)
    elif kind == "library":
        expectation, kwargs = _library(item, column)
    else:
        raise ValueError(f"type {kind!r} is not supported; use `custom` with engine greatExpectations")
    kwargs = dict(kwargs)
    if column is not None and expectation.startswith("expect_column_"):
        kwargs.setdefault("column", column)
    return Rule(item.get("name") or _rule_id(expectation, kwargs), expectation, kwargs, _severity(item))


def _severity(item: Mapping[str, Any]) -> Severity:
    value = str(item.get("severity", Severity.CRITICAL)).lower()
    try:
        return Severity({"error": "critical"}.get(value, value))
    except ValueError:
        raise ValueError(f"severity {value!r} is not one of {', '.join(Severity)}") from None


def _rule_id(expectation: str, kwargs: Mapping[str, Any]) -> str:
    short = expectation.removeprefix("expect_")
    for prefix in ("column_values_to_", "column_value_", "column_", "table_", "to_"):
        short = short.removeprefix(prefix)
    return f"{kwargs['column']}.{short}" if "column" in kwargs else short


def _custom(item: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    engine, body = item["engine"], item["implementation"]
    if str(engine).lower() not in _ENGINES:
        raise ValueError(f"engine {engine!r} is not supported; use greatExpectations")
    if not isinstance(body, Mapping) or not isinstance(body.get("type"), str):
        raise ValueError("implementation needs `type` (the expectation) and `kwargs`")
    return body["type"], body.get("kwargs", {})


def _must_be_zero(item: Mapping[str, Any]) -> None:
    if item.get("mustBe") != 0:
        raise ValueError(f"metric {item['metric']!r} is supported with `mustBe: 0` only")


def _needs_column(item: Mapping[str, Any], column: str | None) -> str:
    if column is None:
        raise ValueError(f"metric {item['metric']!r} belongs in a property's quality")
    return column


def _null_values(item: Mapping[str, Any], column: str | None) -> tuple[str, dict[str, Any]]:
    _must_be_zero(item)
    return "expect_column_values_to_not_be_null", {"column": _needs_column(item, column)}


def _duplicate_values(item: Mapping[str, Any], column: str | None) -> tuple[str, dict[str, Any]]:
    _must_be_zero(item)
    names = item.get("arguments", {}).get("properties", [])
    if names and column is None:
        return "expect_compound_columns_to_be_unique", {"column_list": names}
    return "expect_column_values_to_be_unique", {"column": _needs_column(item, column)}


def _invalid_values(item: Mapping[str, Any], column: str | None) -> tuple[str, dict[str, Any]]:
    _must_be_zero(item)
    arguments = item.get("arguments", {})
    target = {"column": _needs_column(item, column)}
    if "validValues" in arguments:
        return "expect_column_values_to_be_in_set", target | {"value_set": arguments["validValues"]}
    if "pattern" in arguments:
        return "expect_column_values_to_match_regex", target | {"regex": arguments["pattern"]}
    raise ValueError("invalidValues needs `arguments` with `validValues` or `pattern`")


def _row_count(item: Mapping[str, Any], column: str | None) -> tuple[str, dict[str, Any]]:  # noqa: ARG001
    if "mustBe" in item:
        return "expect_table_row_count_to_equal", {"value": item["mustBe"]}
    bounds: dict[str, Any] = {}
    if "mustBeBetween" in item:
        bounds["min_value"], bounds["max_value"] = item["mustBeBetween"]
    for operator, (bound, step) in {
        "mustBeGreaterOrEqualTo": ("min_value", 0),
        "mustBeGreaterThan": ("min_value", 1),
        "mustBeLessOrEqualTo": ("max_value", 0),
        "mustBeLessThan": ("max_value", -1),
    }.items():
        if operator in item:
            bounds[bound] = item[operator] + step
    if not bounds:
        raise ValueError("rowCount needs an operator such as mustBeGreaterThan")
    return "expect_table_row_count_to_be_between", bounds


_LIBRARY: Final[Mapping[str, Callable[[Mapping[str, Any], str | None], tuple[str, dict[str, Any]]]]] = {
    "nullValues": _null_values,
    "duplicateValues": _duplicate_values,
    "invalidValues": _invalid_values,
    "rowCount": _row_count,
}


def _library(item: Mapping[str, Any], column: str | None) -> tuple[str, dict[str, Any]]:
    metric = str(item.get("metric"))
    if metric not in _LIBRARY:
        raise ValueError(f"metric {metric!r} is not supported; known are {', '.join(_LIBRARY)}")
    return _LIBRARY[metric](item, column)
