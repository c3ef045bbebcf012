"""`row_condition` in both of its forms is read as Great Expectations reads it, or refused in words."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.core.gate.conditions import Compared, Group, Nullity, columns_of, read_condition


def above(column: str, bound: Any, operator: str = ">") -> dict[str, Any]:
    """A comparison as YAML states it."""
    return {"type": "comparison", "column": {"name": column}, "operator": operator, "parameter": bound}


@pytest.mark.parametrize(
    ("stated", "read"),
    [
        ('col("a") > 5', Compared("a", ">", 5)),
        (' col("a b") <= -2.5e3 ', Compared("a b", "<=", -2500.0)),
        ("col(\"x\") == 'paid'", Compared("x", "==", "paid")),
        ('col("x") != "it is"', Compared("x", "!=", "it is")),
        ('col("d") >= date("2026-01-01")', Compared("d", ">=", "2026-01-01")),
        ('col("x").notNull()', Nullity("x", is_null=False)),
        (above("a", 1), Compared("a", ">", 1)),
        (above("a", [1, 2.5], "IN"), Compared("a", "IN", (1, 2.5))),
        ({"type": "nullity", "column": {"name": "a"}, "is_null": True}, Nullity("a", is_null=True)),
        (
            {"type": "or", "conditions": [above("a", 1), {"type": "and", "conditions": [above("b", 2)]}]},
            Group("or", (Compared("a", ">", 1), Group("and", (Compared("b", ">", 2),)))),
        ),
    ],
)
def test_conditions_are_read(stated: Any, read: Any) -> None:
    """Text and mapping come to the same few forms."""
    assert read_condition(stated) == read


@pytest.mark.parametrize("text", ['col("a") > 5', 'col("a").notnull()', "col(\"x\") == 'a b'", 'col("n") < 1e3'])
def test_text_is_read_as_great_expectations_reads_it(text: str) -> None:
    """Column, operator and value are those of GX's own parser."""
    from great_expectations.expectations.expectation import _convert_string_to_condition

    theirs, ours = _convert_string_to_condition(text), read_condition(text)
    assert columns_of(ours) == [theirs.column.name]
    if isinstance(ours, Compared):
        assert (ours.operator, ours.value) == (str(theirs.operator), theirs.parameter)


@pytest.mark.parametrize(
    "stated",
    [
        'col("a") > 5 and col("b") < 3',  # of which GX would read the first half and ignore the other
        "a > 5",
        5,
        {"type": "pass_through", "pass_through_filter": "a > 5"},
        {"type": "comparison", "column": {"name": "a"}, "operator": "~", "parameter": 1},
        above("a", None),
        above("a", [1, "x"], "IN"),
        above("a", "x", "IN"),
        {"type": "comparison", "column": 5, "operator": ">", "parameter": 1},
        {"type": "and", "conditions": []},
        {"type": "and", "conditions": [{"type": "or", "conditions": [above("a", 1)]}]},
    ],
)
def test_what_would_be_misread_is_refused(stated: Any) -> None:
    """Nothing of a condition is ignored."""
    with pytest.raises(ValueError, match="row_condition"):
        read_condition(stated)
