"""Which expectations the gate's plan covers, and what each takes: Great Expectations' own, and Penstock's.

Kept apart from their SQL (`expectations`) so that a contract is checked without a database driver being imported.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from penstock.core.gate.thresholds import OPERATORS

COMMON_KWARGS: Final = frozenset(("mostly", "meta", "notes", "description", "result_format", "catch_exceptions"))
"""Kwargs that change nothing in what a rule asks of a row."""
CONDITION_KWARGS: Final = frozenset(("row_condition", "condition_parser"))
"""Kwargs that say which rows a rule looks at."""
OWN_PREFIX: Final = "penstock_"
"""What the types begin with that Great Expectations does not have."""


class Judges(Enum):
    """What kind of column an expectation can judge."""

    ANY = "any column"
    COMPARABLE = "columns whose type knows when two values are equal"
    TEXT = "text"
    NUMBERS = "numbers"
    ORDERED = "numbers, dates and timestamps"
    EXACT = "text, whole numbers and booleans"
    TIMES = "dates and timestamps"


@dataclass(frozen=True, slots=True)
class Covered:
    """What one covered expectation type takes.

    Attributes:
        needs: Kwargs that must be given.
        takes: Further kwargs that are understood; a rule with any other is left to GX.
        one_of: Kwargs of which at least one must be given, where the expectation bounds something.
        judges: What its columns must hold.
        whole: Whether its numbers must be whole; GX would cut off the rest.
        about_rows: Whether it judges rows one by one, so that `mostly` has a meaning.
        conditional: Whether it takes a `row_condition`.
        note: What there is to know beside what Great Expectations itself says of it, or None.
    """

    needs: tuple[str, ...]
    takes: tuple[str, ...] = ()
    one_of: tuple[str, ...] = ()
    judges: Judges = Judges.ANY
    whole: bool = False
    about_rows: bool = True
    conditional: bool = True
    note: str | None = None


TYPES: Final = {
    Judges.COMPARABLE: re.compile(r"(?!(?:json|xml)(?:\[\])?$).*"),
    Judges.TEXT: re.compile(r"text|character.*"),
    Judges.NUMBERS: re.compile(r"smallint|integer|bigint|real|double precision|numeric.*"),
    Judges.ORDERED: re.compile(r"smallint|integer|bigint|real|double precision|numeric.*|date|timestamp.*"),
    Judges.EXACT: re.compile(r"text|character.*|smallint|integer|bigint|boolean"),
    Judges.TIMES: re.compile(r"date|timestamp.*"),
    Judges.ANY: re.compile(r".*"),
}
"""The canonical types that columns of each kind may have."""


def text_type(type_: str) -> bool:
    """Tell whether a canonical type is one of text."""
    return TYPES[Judges.TEXT].fullmatch(type_) is not None


def gx_type(type_: str) -> str:
    """Return the name that Great Expectations gives a canonical type, e.g. `VARCHAR(12)`."""
    short = type_.replace("character varying", "varchar").replace("character", "char")
    return short.upper().replace(",", ", ")


def _bounded(*needs: str, judges: Judges = Judges.ANY, whole: bool = False, about_rows: bool = False) -> Covered:
    bounds = ("min_value", "max_value")
    return Covered(needs, (*bounds, "strict_min", "strict_max"), bounds, judges, whole, about_rows)


def _text(needs: str, *takes: str, note: str | None = None) -> Covered:
    return Covered(("column", needs), takes, judges=Judges.TEXT, note=note)


_COLUMN: Final = ("column",)
_SET: Final = ("column", "value_set")
_MULTI: Final = ("ignore_row_if",)
_TYPE_NOTE: Final = "decided from the contract's types"
COVERED: Final[Mapping[str, Covered]] = {
    "expect_column_values_to_not_be_null": Covered(_COLUMN),
    "expect_column_values_to_be_null": Covered(_COLUMN),
    "expect_column_values_to_be_unique": Covered(_COLUMN, judges=Judges.COMPARABLE),
    "expect_compound_columns_to_be_unique": Covered(("column_list",), _MULTI, judges=Judges.COMPARABLE),
    "expect_column_values_to_be_between": _bounded("column", judges=Judges.ORDERED, about_rows=True),
    "expect_column_values_to_be_in_set": Covered(_SET),
    "expect_column_values_to_not_be_in_set": Covered(_SET),
    "expect_column_values_to_match_regex": _text("regex"),
    "expect_column_values_to_not_match_regex": _text("regex"),
    "expect_column_values_to_match_regex_list": _text("regex_list", "match_on"),
    "expect_column_values_to_not_match_regex_list": _text("regex_list"),
    "expect_column_values_to_match_like_pattern": _text("like_pattern"),
    "expect_column_values_to_not_match_like_pattern": _text("like_pattern"),
    "expect_column_values_to_match_like_pattern_list": _text("like_pattern_list", "match_on"),
    "expect_column_values_to_not_match_like_pattern_list": _text("like_pattern_list"),
    "expect_column_value_lengths_to_be_between": _bounded("column", judges=Judges.TEXT, whole=True, about_rows=True),
    "expect_column_value_lengths_to_equal": _text("value"),
    "expect_column_pair_values_a_to_be_greater_than_b": Covered(
        ("column_A", "column_B"), ("or_equal", "ignore_row_if")
    ),
    "expect_column_pair_values_to_be_equal": Covered(("column_A", "column_B"), _MULTI),
    "expect_multicolumn_sum_to_equal": Covered(("column_list", "sum_total"), _MULTI, judges=Judges.NUMBERS),
    "expect_table_row_count_to_equal": Covered(("value",), whole=True, about_rows=False),
    "expect_table_row_count_to_be_between": _bounded(whole=True),
    "expect_column_min_to_be_between": _bounded("column", judges=Judges.ORDERED),
    "expect_column_max_to_be_between": _bounded("column", judges=Judges.ORDERED),
    "expect_column_mean_to_be_between": _bounded("column", judges=Judges.NUMBERS),
    "expect_column_sum_to_be_between": _bounded("column", judges=Judges.NUMBERS),
    "expect_column_stdev_to_be_between": _bounded("column", judges=Judges.NUMBERS),
    "expect_column_unique_value_count_to_be_between": _bounded("column", whole=True),
    "expect_column_proportion_of_unique_values_to_be_between": _bounded("column"),
    "expect_column_proportion_of_non_null_values_to_be_between": _bounded("column"),
    "expect_column_pair_values_to_be_in_set": Covered(("column_A", "column_B", "value_pairs_set"), _MULTI),
    "expect_select_column_values_to_be_unique_within_record": Covered(("column_list",), _MULTI),
    "expect_multicolumn_values_to_be_equal": Covered(("column_list",), _MULTI),
    "expect_column_value_z_scores_to_be_less_than": Covered(
        ("column", "threshold", "double_sided"), judges=Judges.NUMBERS
    ),
    "expect_column_values_to_not_be_outliers": Covered(_COLUMN, ("method", "multiplier"), judges=Judges.NUMBERS),
    "expect_column_median_to_be_between": _bounded("column", judges=Judges.NUMBERS),
    "expect_column_quantile_values_to_be_between": Covered(
        ("column", "quantile_ranges"), judges=Judges.NUMBERS, about_rows=False
    ),
    "expect_column_most_common_value_to_be_in_set": Covered(
        _SET, ("ties_okay",), judges=Judges.EXACT, about_rows=False
    ),
    "expect_column_distinct_values_to_be_in_set": Covered(_SET, about_rows=False),
    "expect_column_distinct_values_to_contain_set": Covered(_SET, about_rows=False),
    "expect_column_distinct_values_to_equal_set": Covered(_SET, about_rows=False),
    "expect_column_values_to_be_of_type": Covered(
        ("column", "type_"), about_rows=False, conditional=False, note=_TYPE_NOTE
    ),
    "expect_column_values_to_be_in_type_list": Covered(
        ("column", "type_list"), about_rows=False, conditional=False, note=_TYPE_NOTE
    ),
    "expect_column_type_to_be": Covered(("column", "type_"), about_rows=False, conditional=False, note=_TYPE_NOTE),
    "expect_column_values_to_be_json_parseable": Covered(
        _COLUMN,
        judges=Judges.TEXT,
        note="Great Expectations judges it in pandas only; here `NaN` and `Infinity` are no JSON, as RFC 8259 has it",
    ),
    "expect_column_values_to_match_strftime_format": _text(
        "strftime_format",
        note="Great Expectations judges it in pandas only; formats of %Y %m %d %H %M %S %f and literals",
    ),
    "expect_table_row_count_to_equal_other_table": Covered(
        ("other_table_name",), about_rows=False, note="the other table is `<domain>/<table>` or `<schema>.<table>`"
    ),
    "unexpected_rows_expectation": Covered(
        ("unexpected_rows_query",),
        about_rows=False,
        conditional=False,
        note="`SELECT * FROM {batch} WHERE …` splits rows; any other query is judged for the slice",
    ),
    "penstock_values_exist_in": Covered(
        ("dataset", "to"),
        ("column", "column_list"),
        ("column", "column_list"),
        note="each value (or each row of values) stands in `to` of the other dataset; a NULL is not looked for",
    ),
    "penstock_values_not_missing": Covered(
        ("column", "missing_values"), note="no value is one that stands for a missing one; NULL where it is listed"
    ),
    "penstock_column_is_fresh": Covered(
        ("column", "within"),
        judges=Judges.TIMES,
        about_rows=False,
        note="the latest value is at most `within` (such as `6 hours`) before the end of the slice",
    ),
    "penstock_metric": Covered(
        ("metric",),
        ("column", "column_list", "missing_values", "valid_values", "pattern", "unit", *OPERATORS),
        OPERATORS,
        about_rows=False,
        note="a metric of ODCS' library, in rows or percent, held against a threshold",
    ),
    "penstock_query": Covered(
        ("query",),
        ("column", *OPERATORS),
        OPERATORS,
        about_rows=False,
        conditional=False,
        note="one value of a query, ODCS' `type: sql`; `{object}` is the slice, `{property}` the column",
    ),
}
