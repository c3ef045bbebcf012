"""Which Great Expectations expectations the gate's plan covers, and what each takes.

Kept apart from their SQL (`expectations`) so that a contract is checked without a database driver being imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

COMMON_KWARGS: Final = frozenset(("mostly", "meta", "notes", "description", "result_format", "catch_exceptions"))
"""Kwargs that change nothing in what a rule asks of a row."""


class Judges(Enum):
    """What kind of column an expectation can judge."""

    ANY = "any column"
    TEXT = "text"
    NUMBERS = "numbers"
    ORDERED = "numbers, dates and timestamps"


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
    """

    needs: tuple[str, ...]
    takes: tuple[str, ...] = ()
    one_of: tuple[str, ...] = ()
    judges: Judges = Judges.ANY
    whole: bool = False
    about_rows: bool = True


def _bounded(*needs: str, judges: Judges = Judges.ANY, whole: bool = False, about_rows: bool = False) -> Covered:
    bounds = ("min_value", "max_value")
    return Covered(needs, (*bounds, "strict_min", "strict_max"), bounds, judges, whole, about_rows)


def _text(needs: str, *takes: str) -> Covered:
    return Covered(("column", needs), takes, judges=Judges.TEXT)


_COLUMN: Final = ("column",)
_SET: Final = ("column", "value_set")
_MULTI: Final = ("ignore_row_if",)
COVERED: Final[Mapping[str, Covered]] = {
    "expect_column_values_to_not_be_null": Covered(_COLUMN),
    "expect_column_values_to_be_null": Covered(_COLUMN),
    "expect_column_values_to_be_unique": Covered(_COLUMN),
    "expect_compound_columns_to_be_unique": Covered(("column_list",), _MULTI),
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
}
