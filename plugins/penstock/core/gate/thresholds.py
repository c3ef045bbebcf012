"""The operators of the Open Data Contract Standard: what a number must be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

_TESTS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "mustBe": lambda value, bound: value == bound,
    "mustNotBe": lambda value, bound: value != bound,
    "mustBeGreaterThan": lambda value, bound: value > bound,
    "mustBeGreaterOrEqualTo": lambda value, bound: value >= bound,
    "mustBeLessThan": lambda value, bound: value < bound,
    "mustBeLessOrEqualTo": lambda value, bound: value <= bound,
    "mustBeBetween": lambda value, bounds: bounds[0] <= value <= bounds[1],
    "mustNotBeBetween": lambda value, bounds: not bounds[0] <= value <= bounds[1],
}
OPERATORS: Final = tuple(_TESTS)
"""All operators; of several that are stated, all must hold."""
METRICS: Final = ("nullValues", "missingValues", "invalidValues", "duplicateValues", "rowCount")
"""The standard's library of metrics."""
UNITS: Final = ("rows", "percent")
"""What a metric is counted in."""
PAIRS: Final = ("mustBeBetween", "mustNotBeBetween")
"""Operators that take two bounds."""


def stated(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return the operators that an item states, with their bounds."""
    return {name: item[name] for name in OPERATORS if name in item}


def keeps(value: Any, thresholds: Mapping[str, Any]) -> bool:
    """Tell whether a number, or a truth value, keeps all thresholds."""
    return all(_TESTS[name](value, bound) for name, bound in thresholds.items())
