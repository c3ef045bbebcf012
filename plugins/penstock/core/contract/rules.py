"""Turn ODCS `quality` items and `relationships` into rules.

Three kinds of quality are read: `type: custom` with `engine: greatExpectations`, whose `implementation` holds an
expectation's type and kwargs; the standard's library of metrics; and `type: sql`. `type: text` is prose for people.

A metric with `mustBe: 0` is a rule about rows: those that it counts go to quarantine. Any other threshold is a rule
about the slice: the metric, in rows or in percent of them, is held against it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from penstock.core.contract.model import Rule, Severity
from penstock.core.gate.thresholds import METRICS, OPERATORS, UNITS, stated

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
    elif kind == "sql":
        expectation, kwargs = _sql(item, column)
    else:
        expectation, kwargs = _library(item, column)
    kwargs = dict(kwargs)
    if column is not None and expectation.startswith("expect_column_"):
        kwargs.setdefault("column", column)
    id_ = item.get("name") or _metric_id(item, kwargs) or _rule_id(expectation, kwargs)
    return Rule(id_, expectation, kwargs, _severity(item))


def _severity(item: Mapping[str, Any]) -> Severity:
    value = str(item.get("severity", Severity.CRITICAL)).lower()
    try:
        return Severity({"error": "critical"}.get(value, value))
    except ValueError:
        raise ValueError(f"severity {value!r} is not one of {', '.join(Severity)}") from None


def _metric_id(item: Mapping[str, Any], kwargs: Mapping[str, Any]) -> str | None:
    """Name a rule that is a metric held against a threshold after the metric."""
    if "metric" not in kwargs:
        return None
    return f"{kwargs['column']}.{item['metric']}" if "column" in kwargs else str(item["metric"])


def _rule_id(expectation: str, kwargs: Mapping[str, Any]) -> str:
    short = expectation.removeprefix("expect_")
    for prefix in ("penstock_", "column_values_to_", "column_value_", "column_", "table_", "to_"):
        short = short.removeprefix(prefix)
    return f"{kwargs['column']}.{short}" if "column" in kwargs else short


def _custom(item: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    engine, body = item["engine"], item["implementation"]
    if str(engine).lower() not in _ENGINES:
        raise ValueError(f"engine {engine!r} is not supported; use greatExpectations")
    if not isinstance(body, Mapping) or not isinstance(body.get("type"), str):
        raise ValueError("implementation needs `type` (the expectation) and `kwargs`")
    return body["type"], body.get("kwargs", {})


def _sql(item: Mapping[str, Any], column: str | None) -> tuple[str, dict[str, Any]]:
    """Return the rule of an SQL query; in it `{object}` is the slice and `{property}` the column."""
    kwargs = {"query": item["query"], **_thresholds(item)}
    return "penstock_query", kwargs if column is None else kwargs | {"column": column}


def _thresholds(item: Mapping[str, Any]) -> dict[str, Any]:
    found = stated(item)
    if not found:
        raise ValueError(f"needs an operator: one of {', '.join(OPERATORS)}")
    return found


def _library(item: Mapping[str, Any], column: str | None) -> tuple[str, dict[str, Any]]:
    metric = str(item.get("metric"))
    if metric not in METRICS:
        raise ValueError(f"metric {metric!r} is not supported; known are {', '.join(METRICS)}")
    thresholds, unit = _thresholds(item), item.get("unit", "rows")
    if unit not in UNITS:
        raise ValueError(f"unit {unit!r} is not supported; known are {', '.join(UNITS)}")
    if metric == "rowCount":
        return _row_count(thresholds, unit)
    target = _target(item, metric, column)
    if thresholds == {"mustBe": 0}:
        return _row_level(item, metric, target)
    arguments = {_ARGUMENTS[name]: value for name, value in item.get("arguments", {}).items() if name in _ARGUMENTS}
    return "penstock_metric", {"metric": metric, **target, **arguments, "unit": unit, **thresholds}


_ARGUMENTS: Final = {"missingValues": "missing_values", "validValues": "valid_values", "pattern": "pattern"}


def _target(item: Mapping[str, Any], metric: str, column: str | None) -> dict[str, Any]:
    """Return the column, or the columns, that a metric is about."""
    names = item.get("arguments", {}).get("properties", [])
    if metric == "duplicateValues" and names and column is None:
        return {"column_list": names} if len(names) > 1 else {"column": names[0]}
    if column is None:
        raise ValueError(f"metric {metric!r} belongs in a property's quality")
    return {"column": column}


def _row_level(item: Mapping[str, Any], metric: str, target: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the rule that no row may be one of those that the metric counts."""
    arguments = item.get("arguments", {})
    if metric == "nullValues":
        return "expect_column_values_to_not_be_null", target
    if metric == "duplicateValues":
        compound = "column_list" in target
        return f"expect_{'compound_columns' if compound else 'column_values'}_to_be_unique", target
    if metric == "missingValues":
        if "missingValues" not in arguments:
            raise ValueError("missingValues needs `arguments` with `missingValues`")
        return "penstock_values_not_missing", target | {"missing_values": arguments["missingValues"]}
    if "validValues" in arguments:
        return "expect_column_values_to_be_in_set", target | {"value_set": arguments["validValues"]}
    if "pattern" in arguments:
        return "expect_column_values_to_match_regex", target | {"regex": arguments["pattern"]}
    raise ValueError("invalidValues needs `arguments` with `validValues` or `pattern`")


_BOUNDS: Final = {
    "mustBeGreaterOrEqualTo": ("min_value", 0),
    "mustBeGreaterThan": ("min_value", 1),
    "mustBeLessOrEqualTo": ("max_value", 0),
    "mustBeLessThan": ("max_value", -1),
}


def _row_count(thresholds: Mapping[str, Any], unit: str) -> tuple[str, dict[str, Any]]:
    """Return the rule about the number of rows, as one of Great Expectations' own where it has one."""
    if unit != "rows":
        raise ValueError("rowCount is counted in rows, not in percent")
    names = thresholds.keys()
    if names == {"mustBe"}:
        return "expect_table_row_count_to_equal", {"value": thresholds["mustBe"]}
    if names == {"mustBeBetween"}:
        low, high = thresholds["mustBeBetween"]
        return "expect_table_row_count_to_be_between", {"min_value": low, "max_value": high}
    if names <= _BOUNDS.keys() and all(isinstance(bound, int) for bound in thresholds.values()):
        bounds = {_BOUNDS[name][0]: bound + _BOUNDS[name][1] for name, bound in thresholds.items()}
        if len(bounds) == len(thresholds):
            return "expect_table_row_count_to_be_between", bounds
    return "penstock_metric", {"metric": "rowCount", **thresholds}


_SHORT: Final = re.compile(r"(?:(?P<domain>[a-z][a-z0-9_]*)\.)?(?P<table>[a-z][a-z0-9_]*)\.(?P<column>[a-z][a-z0-9_]*)")


def parse_relationships(element: Mapping[str, Any], column: str | None, domain: str) -> list[Rule]:
    """Return the rules of a property's, or the table's, `relationships`: each value stands in another dataset.

    Args:
        element: The property or the table.
        column: The property's name, or None for the table.
        domain: The contract's domain, in which `table.column` is looked for; `domain.table.column` names another.

    Raises:
        ValueError: A relationship cannot be read.
    """
    return [_relationship(item, column, domain) for item in element.get("relationships", ())]


def _relationship(item: Mapping[str, Any], column: str | None, domain: str) -> Rule:
    one = isinstance(item["to"], str)
    targets = [_SHORT.fullmatch(name) for name in ([item["to"]] if one else item["to"])]
    if None in targets or len({(t["domain"], t["table"]) for t in targets if t}) > 1:
        raise ValueError(f"`to` must be table.column or domain.table.column, of one table; not {item['to']!r}")
    first = next(target for target in targets if target)
    to = [target["column"] for target in targets if target]
    dataset = f"{first['domain'] or domain}/{first['table']}"
    names = [column] if column is not None else [_own(name) for name in _listed(item.get("from"))]
    where: dict[str, Any] = {"column": names[0], "to": to[0]} if len(names) == 1 else {"column_list": names, "to": to}
    custom = {part["property"]: part["value"] for part in item.get("customProperties", ())}
    unknown = custom.keys() - {"severity", "name"}
    if unknown:
        raise ValueError(f"customProperties {', '.join(sorted(unknown))}: known are name and severity")
    id_ = str(custom.get("name", f"{'_'.join(names)}.in_{first['table']}"))
    return Rule(id_, "penstock_values_exist_in", {**where, "dataset": dataset}, _severity(custom))


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or ())


def _own(name: str) -> str:
    return name.rsplit(".", maxsplit=1)[-1]
