"""The standard's eight operators."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from penstock.core.gate.thresholds import OPERATORS, keeps, stated


@pytest.mark.parametrize(
    ("operator", "bound", "kept", "broken"),
    [
        ("mustBe", 5, [5, Decimal("5.0")], [4, 6]),
        ("mustNotBe", 5, [4, 6], [5]),
        ("mustBeGreaterThan", 5, [6, Decimal("5.1")], [5, 4]),
        ("mustBeGreaterOrEqualTo", 5, [5, 6], [4]),
        ("mustBeLessThan", 5, [4], [5, 6]),
        ("mustBeLessOrEqualTo", 5, [5, 4], [6]),
        ("mustBeBetween", [2, 4], [2, 3, 4], [1, 5]),
        ("mustNotBeBetween", [2, 4], [1, 5], [2, 3, 4]),
    ],
)
def test_operators(operator: str, bound: Any, kept: list[Any], broken: list[Any]) -> None:
    """Each says what the standard's table says of it, at the edges too."""
    assert operator in OPERATORS
    assert all(keeps(value, {operator: bound}) for value in kept)
    assert not any(keeps(value, {operator: bound}) for value in broken)


def test_all_that_are_stated_must_hold() -> None:
    """Two operators make a range; what is no operator is left out."""
    item = {"metric": "rowCount", "mustBeGreaterThan": 1, "mustBeLessThan": 4}
    assert stated(item) == {"mustBeGreaterThan": 1, "mustBeLessThan": 4}
    assert [value for value in range(6) if keeps(value, stated(item))] == [2, 3]
