"""What is wrong with a rule, found when the contract is read and without importing Great Expectations.

Refused is what GX would refuse, raise on, or read as something else than was written (a fraction where it counts
whole numbers, a time without an offset beside a timestamptz).
"""

from __future__ import annotations

import importlib.util
import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from penstock.core.gate.conditions import columns_of, read_condition
from penstock.core.gate.covered import (
    COMMON_KWARGS,
    CONDITION_KWARGS,
    COVERED,
    TYPES,
    Covered,
    Judges,
    gx_type,
    text_type,
)
from penstock.core.gate.placeholders import names_in
from penstock.core.gate.spans import read_span
from penstock.core.gate.strftime import read_strftime
from penstock.core.gate.thresholds import METRICS, OPERATORS, PAIRS, UNITS

if TYPE_CHECKING:
    from penstock.core.contract.model import Rule

_LEFT_TO_GX: Final = frozenset((*CONDITION_KWARGS, "windows"))
_NO_SQL: Final = "Great Expectations does not judge {} in a database"
_COLUMNS: Final = "{} is not needed: the contract itself says which columns there are"
_NO_ORDER: Final = f"{_NO_SQL}, and the rows of a table have no order"
REFUSED: Final[Mapping[str, str]] = {
    "expect_column_to_exist": _COLUMNS,
    "expect_table_column_count_to_be_between": _COLUMNS,
    "expect_table_column_count_to_equal": _COLUMNS,
    "expect_table_columns_to_match_ordered_list": _COLUMNS,
    "expect_table_columns_to_match_set": _COLUMNS,
    "expect_column_bootstrapped_ks_test_p_value_to_be_greater_than": _NO_SQL,
    "expect_column_chisquare_test_p_value_to_be_greater_than": _NO_SQL,
    "expect_column_pair_cramers_phi_value_to_be_less_than": _NO_SQL,
    "expect_column_parameterized_distribution_ks_test_p_value_to_be_greater_than": _NO_SQL,
    "expect_column_values_to_be_dateutil_parseable": (
        f"{_NO_SQL}, and what dateutil guesses no query can: give the column a date type, or use"
        " expect_column_values_to_match_strftime_format"
    ),
    "expect_column_values_to_be_decreasing": _NO_ORDER,
    "expect_column_values_to_be_increasing": _NO_ORDER,
    "expect_column_values_to_match_json_schema": f"{_NO_SQL}; unexpected_rows_expectation can ask for parts of a JSON",
    "expect_multicolumn_values_to_be_unique": (
        "{} is no longer in Great Expectations: use expect_select_column_values_to_be_unique_within_record or"
        " expect_compound_columns_to_be_unique"
    ),
    "expect_query_results_to_match_comparison": (
        "{} needs a second data source, which a contract cannot name: state a quality item of `type: sql`"
    ),
}
"""Why each expectation is refused that is neither compiled nor left to Great Expectations; `{}` is its type."""
_PARSER: Final = "great_expectations"  # of those for a condition in text, the one that speaks SQL
_EXACT: Final = 2**53  # GX holds numbers as floats, exact up to here
_DISTINCT: Final = "expect_column_distinct_values_to_"
_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d")
_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(?P<offset>Z|[+-]\d\d(:?\d\d)?)?")
_IGNORE: Final = {
    "column_A": ("both_values_are_missing", "either_value_is_missing", "neither"),
    "column_list": ("all_values_are_missing", "any_value_is_missing", "never"),
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


def problems_of(rule: Rule, types: Mapping[str, str], custom: Collection[str] = ()) -> list[str]:
    """Return what is wrong with a rule's type or kwargs, in words; empty where nothing is.

    Args:
        rule: The rule.
        types: Canonical type of each column of the contract.
        custom: Expectation types that the project adds.
    """
    problems = [f"there is no column {name!r}" for name in column_names(rule) if name not in types]
    problems += _condition_problems(rule, types)
    covered = COVERED.get(rule.expectation)
    if covered is not None:
        found = [*_shape(rule, covered), *_values(rule, covered)]
        # Types are looked at only where the kwargs are sound.
        return [*problems, *(found or _fit(rule, covered, types))]
    if rule.expectation in REFUSED:
        problems.append(REFUSED[rule.expectation].format(rule.expectation))
    elif rule.expectation not in known_to_gx() and rule.expectation not in custom:
        problems.append(f"Great Expectations has no expectation {rule.expectation!r}")
    return problems


def _condition_problems(rule: Rule, types: Mapping[str, str]) -> list[str]:
    """Find what is wrong with a `row_condition`."""
    stated = rule.kwargs.get("row_condition")
    if stated is None:
        return []
    if isinstance(stated, str) and rule.kwargs.get("condition_parser") != _PARSER:
        return [f"row_condition as text needs `condition_parser: {_PARSER}`; else state it as a mapping"]
    try:
        names = columns_of(read_condition(stated))
    except ValueError as error:
        return [str(error)]
    return [f"row_condition: there is no column {name!r}" for name in names if name not in types]


def _shape(rule: Rule, covered: Covered) -> Iterator[str]:
    """Find kwargs that are missing, and kwargs that the expectation does not know."""
    for key in covered.needs:
        if rule.kwargs.get(key) in (None, []):
            yield f"{rule.expectation} needs {key}"
    if covered.one_of and all(rule.kwargs.get(key) is None for key in covered.one_of):
        yield f"{rule.expectation} needs {' or '.join(covered.one_of)}"
    allowed = COMMON_KWARGS | set(covered.needs) | set(covered.takes)
    if covered.conditional:
        allowed = allowed | _LEFT_TO_GX
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


def _are_values(value: Any) -> bool:
    return _is_list_of(str | int | float | None, value) and any(item is not None for item in value)


def _are_pairs(value: Any) -> bool:
    pair = ("column_A", "column_B")
    return _is_list_of(list | tuple, value, least=1) and all(len(item) == len(pair) for item in value)


def _are_quantiles(value: Any) -> bool:
    if not isinstance(value, Mapping) or set(value) != {"quantiles", "value_ranges"}:
        return False
    shares, ranges = value["quantiles"], value["value_ranges"]
    return (
        _is_list_of(int | float, shares, least=1)
        and all(0 <= share <= 1 for share in shares)
        and _is_list_of(list | tuple, ranges)
        and len(ranges) == len(shares)
        and all(len(range_) == len("ab") and all(b is None or _is_number(b) for b in range_) for range_ in ranges)
    )


def _reads(read: Callable[[Any], Any]) -> Callable[[Any], bool]:
    def is_right(value: Any) -> bool:
        try:
            read(value)
        except ValueError:
            return False
        return True

    return is_right


_IS_TEXT: Final[tuple[Callable[[Any], bool], str]] = (lambda value: isinstance(value, str), "text")
_KINDS: Final[Mapping[str, tuple[Callable[[Any], bool], str]]] = {
    **dict.fromkeys(
        ("column", "column_A", "column_B", "regex", "like_pattern", "type_", "strftime_format", "pattern", "query"),
        _IS_TEXT,
    ),
    **dict.fromkeys(("unexpected_rows_query", "other_table_name", "dataset"), _IS_TEXT),
    **dict.fromkeys(
        ("strict_min", "strict_max", "or_equal", "double_sided", "ties_okay"),
        (lambda value: isinstance(value, bool), "true or false"),
    ),
    **dict.fromkeys(
        ("regex_list", "like_pattern_list", "type_list"), (lambda value: _is_list_of(str, value), "a list of texts")
    ),
    "column_list": (lambda value: _is_list_of(str, value, least=2), "a list of at least two columns"),
    **dict.fromkeys(("value_set", "valid_values"), (_are_values, "a list of texts, numbers or booleans")),
    "missing_values": (
        lambda value: _is_list_of(str | int | float | None, value, least=1),
        "a list of texts, numbers or null",
    ),
    "value_pairs_set": (_are_pairs, "a list of pairs"),
    "quantile_ranges": (_are_quantiles, "as many quantiles (0 to 1) as value_ranges, each two numbers or null"),
    "threshold": (_is_number, "a number"),
    "multiplier": (lambda value: _is_number(value) and value > 0, "a number above 0"),
    "method": (lambda value: value in ("iqr", "std"), "iqr or std"),
    "metric": (lambda value: value in METRICS, f"one of {', '.join(METRICS)}"),
    "unit": (lambda value: value in UNITS, f"one of {', '.join(UNITS)}"),
    "to": (lambda value: isinstance(value, str) or _is_list_of(str, value, least=1), "a column or a list of columns"),
    "within": (_reads(read_span), "a length of time such as '6 hours'"),
    "match_on": (lambda value: value in ("any", "all"), "any or all"),
    "mostly": (lambda value: _is_number(value) and 0 <= value <= 1, "a share from 0 to 1"),
}


def _values(rule: Rule, covered: Covered) -> Iterator[str]:
    """Find values of the wrong kind."""
    yield from _thresholds(rule.kwargs)
    yield from _particular(rule)
    for key, (is_right, kind) in _KINDS.items():
        value = rule.kwargs.get(key)
        if key in rule.kwargs and not is_right(value):
            yield f"{key} must be {kind}, not {value!r}"
    for key, choices in _IGNORE.items():
        chosen = rule.kwargs.get("ignore_row_if", choices[0])
        if key in rule.kwargs and chosen not in choices:
            yield f"ignore_row_if must be one of {', '.join(choices)}, not {chosen!r}"
    yield from _numbers(rule.kwargs, covered)


def _thresholds(kwargs: Mapping[str, Any]) -> Iterator[str]:
    for name in OPERATORS:
        bound = kwargs.get(name)
        if name not in kwargs:
            continue
        if name in PAIRS:
            if not (isinstance(bound, list | tuple) and len(bound) == len("ab") and all(map(_is_number, bound))):
                yield f"{name} must be two numbers, not {bound!r}"
            elif bound[0] > bound[1]:
                yield f"{name} {bound!r}: the smaller number comes first"
        elif not _is_number(bound) and not isinstance(bound, bool):
            yield f"{name} must be a number, not {bound!r}"


def _particular(rule: Rule) -> Iterator[str]:
    """Find what is wrong with kwargs in a way that only one type, or two, can have."""
    kwargs = rule.kwargs
    if isinstance(kwargs.get("strftime_format"), str):
        try:
            read_strftime(kwargs["strftime_format"])
        except ValueError as error:
            yield str(error)
    if rule.expectation.startswith(_DISTINCT) and None in (kwargs.get("value_set") or ()):
        yield "value_set holds null, which is no value that a column could have"
    if kwargs.get("allow_relative_error"):
        yield "allow_relative_error: Postgres computes quantiles exactly; leave it out"
    if rule.expectation == "penstock_values_exist_in":
        names, to = kwargs.get("column_list") or [kwargs.get("column")], kwargs.get("to")
        if len(names) != (1 if isinstance(to, str) else len(to or ())):
            yield f"to must name as many columns as the rule has, not {to!r}"
    if rule.expectation == "penstock_metric":
        yield from _metric(kwargs)
    yield from _placeholders(kwargs)


def _placeholders(kwargs: Mapping[str, Any]) -> Iterator[str]:
    """Find placeholders in a query that nothing stands for."""
    known = {"unexpected_rows_query": ["batch"], "query": ["object", "table"]}
    if "column" in kwargs:
        known["query"] += ["property", "column"]
    for key, names in known.items():
        if isinstance(kwargs.get(key), str):
            for name in names_in(kwargs[key]):
                if name not in names:
                    yield f"{key} has {{{name}}}; known are {', '.join('{' + each + '}' for each in names)}"


def _metric(kwargs: Mapping[str, Any]) -> Iterator[str]:
    metric = kwargs.get("metric")
    needs = {"missingValues": ("missing_values",), "invalidValues": ("valid_values", "pattern")}.get(str(metric), ())
    if metric != "rowCount" and not kwargs.get("column") and not kwargs.get("column_list"):
        yield f"{metric} needs column"
    if needs and not any(key in kwargs for key in needs):
        yield f"{metric} needs {' or '.join(needs)}"
    if metric == "rowCount" and kwargs.get("unit") == "percent":
        yield "rowCount is counted in rows, not in percent"


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
        if not TYPES[covered.judges].fullmatch(type_):
            yield f"{rule.expectation} judges {covered.judges.value}; {name} is {type_}"
            return
    yield from _values_fit(rule, covered, kinds)
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


def _values_fit(rule: Rule, covered: Covered, kinds: Mapping[str, str]) -> Iterator[str]:
    """Find types that a column has not, and values that a column compared in its own type cannot have."""
    allowed = rule.kwargs.get("type_", rule.kwargs.get("type_list"))
    for name, type_ in kinds.items():
        if allowed is not None:
            known = gx_type(type_)
            if known.casefold() not in {
                each.casefold() for each in ([allowed] if isinstance(allowed, str) else allowed)
            }:
                yield f"{name} is {known} by the contract, so that the rule could never hold"
        elif covered.judges is Judges.EXACT:
            wanted = str if text_type(type_) else bool if type_ == "boolean" else int
            for value in rule.kwargs["value_set"]:
                if value is not None and type(value) is not wanted:
                    yield f"{name} is {type_}: it cannot be {value!r}"


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
