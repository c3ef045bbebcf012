"""What a property says becomes a column and rules, or is refused with the reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from penstock.core.contract import Rule, load_contract
from penstock.core.contract.model import Mask
from penstock.core.errors import ContractError

BETWEEN = "expect_column_values_to_be_between"
LENGTHS = "expect_column_value_lengths_to_be_between"


def put(name: str = "amount", **fields: Any) -> Callable[[Any], None]:
    """Edit: give the column these fields and no quality."""

    def edit(document: Any) -> None:
        item = next(p for p in document["schema"][0]["properties"] if p["name"] == name)
        item.pop("quality", None)
        item.update(fields)

    return edit


def custom(**properties: Any) -> list[dict[str, Any]]:
    """Custom properties of a column."""
    return [{"property": name, "value": value} for name, value in properties.items()]


def typed(logical: str, physical: str, **options: Any) -> Callable[[Any], None]:
    """Edit: make the amount a column of this type with these options."""
    return put(logicalType=logical, physicalType=physical, logicalTypeOptions=options)


def test_a_column_carries_what_is_known_of_its_values(build: Any) -> None:
    """Mask, unit, time zone and format stand in the column; without them it has none."""
    contract = build.contract(
        build.ORDERS,
        put("code", customProperties=custom(mask="hash")),
        put("amount", customProperties=custom(unit="kWh")),
        put("sold_at", logicalTypeOptions={"defaultTimezone": "Europe/Berlin", "format": "dd/MM/yyyy HH:mm"}),
    )
    assert contract.column("code").mask is Mask.HASH
    assert contract.column("amount").unit == "kWh"
    sold_at = contract.column("sold_at")
    assert (sold_at.timezone, sold_at.format) == ("Europe/Berlin", "dd/MM/yyyy HH:mm")
    plain = contract.column("order_id")
    assert (plain.mask, plain.unit, plain.timezone, plain.format) == (None, None, None, None)


IMPLIED = {
    "enum of texts": (
        put("code", enum=[{"value": "A"}, {"value": "B", "description": "B."}]),
        Rule("code.enum", "expect_column_values_to_be_in_set", {"column": "code", "value_set": ["A", "B"]}),
    ),
    "enum of numbers": (
        put(enum=[{"value": 1}, {"value": 2}]),
        Rule("amount.enum", "expect_column_values_to_be_in_set", {"column": "amount", "value_set": [1, 2]}),
    ),
    "minLength": (
        put("code", logicalTypeOptions={"minLength": 2}),
        Rule("code.minLength", LENGTHS, {"column": "code", "min_value": 2}),
    ),
    "maxLength": (
        put("code", logicalTypeOptions={"maxLength": 2}),
        Rule("code.maxLength", LENGTHS, {"column": "code", "max_value": 2}),
    ),
    "pattern": (
        put("code", logicalTypeOptions={"pattern": "^A"}),
        Rule("code.pattern", "expect_column_values_to_match_regex", {"column": "code", "regex": "^A"}),
    ),
    "minimum": (
        put(logicalTypeOptions={"minimum": 0}),
        Rule("amount.minimum", BETWEEN, {"column": "amount", "min_value": 0}),
    ),
    "maximum": (
        put(logicalTypeOptions={"maximum": 9.5}),
        Rule("amount.maximum", BETWEEN, {"column": "amount", "max_value": 9.5}),
    ),
    "exclusiveMinimum": (
        put(logicalTypeOptions={"exclusiveMinimum": 0}),
        Rule("amount.exclusiveMinimum", BETWEEN, {"column": "amount", "min_value": 0, "strict_min": True}),
    ),
    "exclusiveMaximum of a day": (
        typed("date", "date", exclusiveMaximum="2030-01-01"),
        Rule("amount.exclusiveMaximum", BETWEEN, {"column": "amount", "max_value": "2030-01-01", "strict_max": True}),
    ),
}


@pytest.mark.parametrize("name", list(IMPLIED))
def test_options_and_enums_imply_rules(build: Any, name: str) -> None:
    """Each option that can be judged becomes the rule `<column>.<option>`."""
    edit, rule = IMPLIED[name]
    assert rule in build.contract(build.ORDERS, edit).rules


REFUSED = {
    "unknown mask": (put("code", customProperties=custom(mask="hide")), "'hide' is not one of redact, hash, partial"),
    "unit of a text": (put("code", customProperties=custom(unit="kWh")), "only numbers have a unit, and this is text"),
    "unit that is a number": (put(customProperties=custom(unit="1000")), "'1000' is not a unit"),
    "unit that is no text": (put(customProperties=custom(unit=5)), "5 is not a unit"),
    "zone unknown": (
        put("sold_at", logicalTypeOptions={"defaultTimezone": "Mars/Base"}),
        "'Mars/Base' is not",
    ),
    "zone abbreviated": (put("sold_at", logicalTypeOptions={"defaultTimezone": "EST"}), "'EST' is not a time zone"),
    "zone of a plain timestamp": (
        typed("timestamp", "timestamp", defaultTimezone="Europe/Berlin"),
        "belongs to a timestamp with time zone, and this is timestamp without",
    ),
    "zone of a day": (typed("timestamp", "date", defaultTimezone="UTC"), "belongs to a timestamp with time zone"),
    "timezone of a day": (typed("timestamp", "date", timezone=True), "timezone: contradicts the physicalType"),
    "timezone against the type": (
        put("sold_at", logicalTypeOptions={"timezone": False}),
        "timezone: contradicts the physicalType",
    ),
    "format ambiguous": (typed("date", "date", format="dd/MM/yy"), "'yy' is not supported"),
    "format without a day": (typed("date", "date", format="HH:mm"), "tells no day, and this is date"),
    "format of a time with a day": (typed("time", "time", format="yyyy-MM-dd HH:mm"), "tells a day, and this is time"),
    "format with lost time": (typed("date", "date", format="yyyy-MM-dd HH:mm"), "a date would lose"),
    "format with lost offset": (
        typed("timestamp", "timestamp", format="yyyy-MM-dd HH:mm XXX"),
        "tells an offset from UTC, which timestamp without time zone would lose",
    ),
    "format of a text": (
        put("code", logicalTypeOptions={"format": "email"}),
        "format: says nothing",
    ),
    "format of an integer": (typed("integer", "bigint", format="i64"), "format: says nothing"),
    "multipleOf": (put(logicalTypeOptions={"multipleOf": 5}), "multipleOf: no expectation judges it"),
    "items": (typed("array", "integer[]", maxItems=5), "maxItems: no expectation looks into a nested value"),
    "bound of another kind": (
        typed("date", "date", minimum="soon"),
        "rule amount.minimum: min_value must be a number, or an ISO day or time",
    ),
    "slice as a number": (put(physicalName="$slice"), r"physicalName: \$slice is one of date, .*, not numeric\(8,2\)"),
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_what_cannot_be_kept_is_refused(build: Any, name: str) -> None:
    """The one mistake in an otherwise sound contract is named with its field."""
    edit, said = REFUSED[name]
    document = build.edited(build.ORDERS, edit)
    with pytest.raises(ContractError, match=rf"schema\.properties\[\w+\].*{said}") as caught:
        load_contract(build.write(document))
    assert len(caught.value.problems) == 1


def test_a_column_may_hold_the_slice(build: Any) -> None:
    """`physicalName: $slice` is taken for a day, a moment or a text."""
    for logical, physical in (("date", "date"), ("timestamp", "timestamptz"), ("string", "text")):
        contract = build.contract(build.ORDERS, put(logicalType=logical, physicalType=physical, physicalName="$slice"))
        assert contract.column("amount").source_name == "$slice"
