"""What is wrong with a rule, found when the contract is read and without importing Great Expectations.

Refused is what GX would refuse, raise on, or read as something else than was written (a fraction where it counts
whole numbers, a time without an offset beside a timestamptz).
"""

from __future__ import annotations

import importlib.util
import math
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from penstock.core.gate.covered import COMMON_KWARGS, COVERED, Covered, Judges

if TYPE_CHECKING:
    from penstock.core.contract.model import Rule

_LEFT_TO_GX: Final = frozenset(("row_condition", "condition_parser", "windows"))
_NOT_IN_SQL: Final = frozenset(
    (
        "expect_column_bootstrapped_ks_test_p_value_to_be_greater_than",
        "expect_column_chisquare_test_p_value_to_be_greater_than",
        "expect_column_pair_cramers_phi_value_to_be_less_than",
        "expect_column_parameterized_distribution_ks_test_p_value_to_be_greater_than",
        "expect_column_values_to_be_dateutil_parseable",
        "expect_column_values_to_be_decreasing",
        "expect_column_values_to_be_increasing",
        "expect_column_values_to_be_json_parseable",
        "expect_column_values_to_match_json_schema",
        "expect_column_values_to_match_strftime_format",
        "expect_multicolumn_values_to_be_unique",
    )
)
_PARSER: Final = "great_expectations"  # of those for a condition in text, the one that speaks SQL
_EXACT: Final = 2**53  # GX holds numbers as floats, exact up to here
_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d")
_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(?P<offset>Z|[+-]\d\d(:?\d\d)?)?")
_IGNORE: Final = {
    "column_A": ("both_values_are_missing", "either_value_is_missing", "neither"),
    "column_list": ("all_values_are_missing", "any_value_is_missing", "never"),
}
_TYPES: Final = {
    Judges.TEXT: re.compile(r"text|character.*"),
    Judges.NUMBERS: re.compile(r"smallint|integer|bigint|real|double precision|numeric.*"),
    Judges.ORDERED: re.compile(r"smallint|integer|bigint|real|double precision|numeric.*|date|timestamp.*"),
    Judges.ANY: re.compile(r".*"),
}


@cache
def known_to_gx() -> frozenset[str]:
    """Return the expectation types that the installed GX ships, found without importing it."""
    spec = importlib.util.find_spec("great_expectations")
    if spec is None or not spec.submodule_search_locations:
        return frozenset(COVERED)
    core = Path(spec.submodule_search_locations[0], "expectations", "core")
    return frozenset(path.stem for path in core.glob("expect_*.py")) | {"unexpected_rows_expectation"}


def column_names(rule: Rule) -> list[str]:
    """Return the columns that a rule names in GX's own kwargs, each once."""
    single = [rule.kwargs[key] for key in ("column", "column_A", "column_B") if key in rule.kwargs]
    several = rule.kwargs.get("column_list", ())
    names = [*single, *(several if isinstance(several, list | tuple) else ())]
    return list(dict.fromkeys(name for name in names if isinstance(name, str)))


def problems_of(rule: Rule, types: Mapping[str, str]) -> list[str]:
    """Return what is wrong with a rule's type or kwargs, in words; empty where nothing is.

    Args:
        rule: The rule.
        types: Canonical type of each column of the contract.
    """
    problems = [f"there is no column {name!r}" for name in column_names(rule) if name not in types]
    if isinstance(rule.kwargs.get("row_condition"), str) and rule.kwargs.get("condition_parser") != _PARSER:
        problems.append(f"row_condition as text needs `condition_parser: {_PARSER}`; else state it as a mapping")
    covered = COVERED.get(rule.expectation)
    if covered is not None:
        found = [*_shape(rule, covered), *_values(rule, covered)]
        # Types are looked at only where the kwargs are sound.
        return [*problems, *(found or _fit(rule, covered, types))]
    if rule.expectation not in known_to_gx():
        problems.append(f"Great Expectations has no expectation {rule.expectation!r}")
    elif rule.expectation in _NOT_IN_SQL:
        problems.append(f"Great Expectations does not judge {rule.expectation} in a database")
    elif rule.expectation.startswith(("expect_table_column", "expect_column_to_exist")):
        problems.append(f"{rule.expectation} is not needed: the contract itself says which columns there are")
    return problems


def _shape(rule: Rule, covered: Covered) -> Iterator[str]:
    """Find kwargs that are missing, and kwargs that the expectation does not know."""
    for key in covered.needs:
        if rule.kwargs.get(key) in (None, []):
            yield f"{rule.expectation} needs {key}"
    if covered.one_of and all(rule.kwargs.get(key) is None for key in covered.one_of):
        yield f"{rule.expectation} needs {' or '.join(covered.one_of)}"
    allowed = COMMON_KWARGS | _LEFT_TO_GX | set(covered.needs) | set(covered.takes)
    if "like_pattern" in rule.expectation:
        allowed = allowed | {"escape"}
    if not covered.about_rows:
        allowed = allowed - {"mostly"}
    for key in sorted(rule.kwargs.keys() - allowed):
        yield f"{rule.expectation} takes no {key!r}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_list_of(kind: Any, value: Any, least: int = 0) -> bool:
    return isinstance(value, list | tuple) and len(value) >= least and all(isinstance(item, kind) for item in value)


_KINDS: Final[Mapping[str, tuple[Callable[[Any], bool], str]]] = {
    **dict.fromkeys(
        ("column", "column_A", "column_B", "regex", "like_pattern"), (lambda value: isinstance(value, str), "text")
    ),
    **dict.fromkeys(("strict_min", "strict_max", "or_equal"), (lambda value: isinstance(value, bool), "true or false")),
    **dict.fromkeys(("regex_list", "like_pattern_list"), (lambda value: _is_list_of(str, value), "a list of texts")),
    "column_list": (lambda value: _is_list_of(str, value, least=2), "a list of at least two columns"),
    "value_set": (
        lambda value: _is_list_of(str | int | float | None, value) and any(item is not None for item in value),
        "a list of texts, numbers or booleans",
    ),
    "match_on": (lambda value: value in ("any", "all"), "any or all"),
    "mostly": (lambda value: _is_number(value) and 0 <= value <= 1, "a share from 0 to 1"),
}


def _values(rule: Rule, covered: Covered) -> Iterator[str]:
    """Find values of the wrong kind."""
    for key, (is_right, kind) in _KINDS.items():
        value = rule.kwargs.get(key)
        if key in rule.kwargs and not is_right(value):
            yield f"{key} must be {kind}, not {value!r}"
    for key, choices in _IGNORE.items():
        chosen = rule.kwargs.get("ignore_row_if", choices[0])
        if key in rule.kwargs and chosen not in choices:
            yield f"ignore_row_if must be one of {', '.join(choices)}, not {chosen!r}"
    yield from _numbers(rule.kwargs, covered)


def _numbers(kwargs: Mapping[str, Any], covered: Covered) -> Iterator[str]:
    for key in ("min_value", "max_value", "value", "sum_total"):
        value = kwargs.get(key)
        if value is None or (covered.judges is Judges.ORDERED and _is_time(value)):
            continue
        if not _is_number(value):
            times = ", or an ISO day or time" if covered.judges is Judges.ORDERED else ""
            yield f"{key} must be a number{times}, not {value!r}"
        elif covered.whole and value != int(value):
            yield f"{key} must be a whole number, not {value!r}"
        elif isinstance(value, int) and abs(value) > _EXACT:
            yield f"{key} is beyond ±2^53, where Great Expectations is no longer exact"


def _is_time(value: Any) -> bool:
    if not isinstance(value, str) or not (_DAY.fullmatch(value) or _MOMENT.fullmatch(value)):
        return False
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True


def _fit(rule: Rule, covered: Covered, types: Mapping[str, str]) -> Iterator[str]:
    """Find columns that the expectation cannot judge, and bounds that cannot be compared with them or each other."""
    kinds = {name: types[name] for name in column_names(rule) if name in types}
    for name, type_ in kinds.items():
        if not _TYPES[covered.judges].fullmatch(type_):
            yield f"{rule.expectation} judges {covered.judges.value}; {name} is {type_}"
            return
    bounds = [rule.kwargs[key] for key in ("min_value", "max_value") if rule.kwargs.get(key) is not None]
    misfits = [
        f"{name} is {type_}: {wanted}, not {bound!r}"
        for name, type_ in kinds.items()
        for bound in bounds
        if covered.judges is Judges.ORDERED and (wanted := _wants(type_, bound))
    ]
    yield from misfits
    if misfits or len(bounds) < len(("min_value", "max_value")):
        return
    low, high = bounds
    if isinstance(low, str) and bool(_DAY.fullmatch(low)) != bool(_DAY.fullmatch(high)):
        yield "min_value and max_value must both be days or both be times"
    elif _moment(low) > _moment(high):
        yield f"min_value {low!r} is above max_value {high!r}"


def _moment(bound: Any) -> Any:
    return datetime.fromisoformat(bound) if isinstance(bound, str) else bound


def _wants(type_: str, bound: Any) -> str | None:
    """Say what bound a column of a type needs; None where this one will do."""
    if not type_.startswith(("date", "timestamp")):
        return "its bounds are numbers" if isinstance(bound, str) else None
    if not isinstance(bound, str):
        return "its bounds are ISO days or times"
    if _DAY.fullmatch(bound):
        return None
    moment = _MOMENT.fullmatch(bound)
    if type_ == "date":
        return "its bounds are days"
    if type_.startswith("timestamp with time zone"):
        return None if moment and moment["offset"] else "its bounds are days, or times with an offset such as Z"
    return None if moment and not moment["offset"] else "its bounds are days, or times without an offset"
