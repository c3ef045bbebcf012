"""Read the properties of a contract: columns, and the rules that `required`, `unique`, `enum` and options imply."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final
from zoneinfo import ZoneInfo

from penstock.core.contract.model import SLICE_FIELD, Column, Mask, Rule
from penstock.core.contract.moments import moment_format
from penstock.core.contract.types import canonical_type, type_of_logical
from penstock.core.contract.yaml_file import Report

NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")
"""What domains, tables and columns may be called."""

_PROPERTIES: Final = ("mask", "unit", "renamedFrom")
_UNIT: Final = re.compile(r"[^\W\d_](?:.{0,18}\S)?|%|‰|°[A-Z]?")
_NUMBER: Final = re.compile(r"(smallint|integer|bigint|real|double precision|numeric)\b.*")
_MOMENT: Final = re.compile(r"(date|time).*")
_WITH_ZONE: Final = re.compile(r"timestamp with time zone(\[\])?")
_SLICE_TYPES: Final = ("date", "timestamp without time zone", "timestamp with time zone", "text")
_ABOUT_ZONES: Final = ("timezone", "defaultTimezone")
_BETWEEN: Final = "expect_column_values_to_be_between"
_LENGTHS: Final = "expect_column_value_lengths_to_be_between"
_IMPLIED: Final[Mapping[str, Callable[[Any], tuple[str, dict[str, Any]]]]] = {
    "minLength": lambda value: (_LENGTHS, {"min_value": value}),
    "maxLength": lambda value: (_LENGTHS, {"max_value": value}),
    "pattern": lambda value: ("expect_column_values_to_match_regex", {"regex": value}),
    "minimum": lambda value: (_BETWEEN, {"min_value": value}),
    "maximum": lambda value: (_BETWEEN, {"max_value": value}),
    "exclusiveMinimum": lambda value: (_BETWEEN, {"min_value": value, "strict_min": True}),
    "exclusiveMaximum": lambda value: (_BETWEEN, {"max_value": value, "strict_max": True}),
}
_REFUSED: Final = {
    "multipleOf": "no expectation judges it; state an `unexpected_rows_expectation` in `quality`",
    "format": "says nothing that can be judged here; state `pattern`, or the physicalType",
    **dict.fromkeys(
        ("maxItems", "minItems", "uniqueItems", "maxProperties", "minProperties", "required"),
        "no expectation looks into a nested value; state an `unexpected_rows_expectation` in `quality`",
    ),
}


def custom_properties(element: Mapping[str, Any], known: Sequence[str], where: str, report: Report) -> dict[str, Any]:
    """Return an element's custom properties; what is not understood is never passed over in silence."""
    found: dict[str, Any] = {}
    for item in element.get("customProperties", ()):
        name = item["property"]
        if name not in known:
            report.add(f"{where}.customProperties.{name}", f"is none of {', '.join(known)}")
        elif name in found:
            report.add(f"{where}.customProperties.{name}", "stands twice")
        found[name] = item["value"]
    return found


def read_column(item: Mapping[str, Any], report: Report) -> Column | None:
    """Return the column of a property; None, and a problem in the report, where its type is not known."""
    name = item["name"]
    where = f"schema.properties[{name}]"
    if not NAME.fullmatch(name):
        report.add(where, f"the name must match {NAME.pattern}")
    custom = custom_properties(item, _PROPERTIES, where, report)
    try:
        declared = item.get("physicalType")
        pg_type = canonical_type(declared) if declared else type_of_logical(item.get("logicalType", "string"))
    except ValueError as error:
        report.add(where, str(error))
        return None
    options = item.get("logicalTypeOptions", {})
    if item.get("physicalName") == SLICE_FIELD and pg_type not in _SLICE_TYPES:
        report.add(f"{where}.physicalName", f"{SLICE_FIELD} is one of {', '.join(_SLICE_TYPES)}, not {pg_type}")
    return Column(
        name=name,
        source_name=item.get("physicalName", name),
        type=pg_type,
        required=bool(item.get("required") or item.get("primaryKey")),
        description=item.get("description"),
        mask=_mask(custom.get("mask"), where, report),
        unit=_unit(custom.get("unit"), pg_type, where, report),
        timezone=_timezone(options, pg_type, where, report),
        format=_format(options, pg_type, where, report),
        renamed_from=_renamed_from(custom.get("renamedFrom"), name, where, report),
    )


def _renamed_from(value: Any, name: str, where: str, report: Report) -> str | None:
    if value is None or (isinstance(value, str) and NAME.fullmatch(value) and value != name):
        return value
    report.add(f"{where}.customProperties.renamedFrom", f"{value!r} is not another name of a column")
    return None


def _mask(value: Any, where: str, report: Report) -> Mask | None:
    if value is None or value in list(Mask):
        return None if value is None else Mask(value)
    report.add(f"{where}.customProperties.mask", f"{value!r} is not one of {', '.join(Mask)}")
    return None


def _unit(value: Any, pg_type: str, where: str, report: Report) -> str | None:
    place = f"{where}.customProperties.unit"
    if value is None:
        return None
    if not isinstance(value, str) or not _UNIT.fullmatch(value):
        report.add(place, f"{value!r} is not a unit such as kWh, m², % or EUR: it begins with a letter or is a sign")
    elif not _NUMBER.fullmatch(pg_type):
        report.add(place, f"only numbers have a unit, and this is {pg_type}")
    else:
        return value
    return None


def _timezone(options: Mapping[str, Any], pg_type: str, where: str, report: Report) -> str | None:
    place = f"{where}.logicalTypeOptions"
    with_zone = bool(_WITH_ZONE.fullmatch(pg_type))
    if "timezone" in options and bool(options["timezone"]) is not ("with time zone" in pg_type):
        report.add(f"{place}.timezone", f"contradicts the physicalType, which is {pg_type}")
    zone = options.get("defaultTimezone")
    if zone is None:
        return None
    if not with_zone:
        report.add(f"{place}.defaultTimezone", f"belongs to a timestamp with time zone, and this is {pg_type}")
    elif not _is_zone(zone):
        report.add(f"{place}.defaultTimezone", f"{zone!r} is not a time zone of the IANA database, e.g. Europe/Berlin")
    else:
        return str(zone)
    return None


def _is_zone(name: Any) -> bool:
    """Tell whether a name is one of the IANA database; abbreviations such as EST are left out: they have no rules."""
    if not isinstance(name, str) or not (name == "UTC" or "/" in name) or name.startswith(("posix/", "right/")):
        return False
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return False
    return True


def _format(options: Mapping[str, Any], pg_type: str, where: str, report: Report) -> str | None:
    pattern = options.get("format")
    place = f"{where}.logicalTypeOptions.format"
    if pattern is None or not _MOMENT.fullmatch(pg_type):
        return None  # of other types it is refused with the other options
    try:
        found = moment_format(str(pattern))
    except ValueError as error:
        report.add(place, str(error))
        return None
    is_time, offset_kept = pg_type.startswith("time "), "with time zone" in pg_type
    if found.has_date is is_time:
        report.add(place, f"{pattern!r} {'tells a day' if is_time else 'tells no day'}, and this is {pg_type}")
    elif found.has_time and pg_type.startswith("date"):
        report.add(place, f"{pattern!r} tells a time of day, which a date would lose")
    elif is_time and not found.has_time:
        report.add(place, f"{pattern!r} tells no time of day")
    elif found.has_offset and not offset_kept:
        report.add(place, f"{pattern!r} tells an offset from UTC, which {pg_type} would lose")
    else:
        return str(pattern)
    return None


def implied_rules(columns: Sequence[Column], properties: Sequence[Mapping[str, Any]], report: Report) -> Iterator[Rule]:
    """Yield the rules that the properties imply, named `<column>.<field>`."""
    types = {column.name: column.type for column in columns}
    for column in columns:
        if column.required:
            yield Rule(f"{column.name}.required", "expect_column_values_to_not_be_null", {"column": column.name})
    for item in properties:
        name = item["name"]
        if item.get("unique"):
            yield Rule(f"{name}.unique", "expect_column_values_to_be_unique", {"column": name})
        if item.get("enum"):
            values = [entry["value"] for entry in item["enum"]]
            yield Rule(f"{name}.enum", "expect_column_values_to_be_in_set", {"column": name, "value_set": values})
        yield from _option_rules(name, types.get(name, ""), item.get("logicalTypeOptions", {}), report)


def _option_rules(name: str, pg_type: str, options: Mapping[str, Any], report: Report) -> Iterator[Rule]:
    for option, value in options.items():
        if option in _IMPLIED:
            expectation, kwargs = _IMPLIED[option](value)
            yield Rule(f"{name}.{option}", expectation, {"column": name, **kwargs})
        elif option not in _ABOUT_ZONES and not (option == "format" and _MOMENT.fullmatch(pg_type)):
            reason = _REFUSED.get(option, f"is not an option of {pg_type}")
            report.add(f"schema.properties[{name}].logicalTypeOptions.{option}", reason)
