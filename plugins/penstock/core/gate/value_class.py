"""What kind of text it was that could not be read: a closed set of classes, found set-wise in SQL."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final

from psycopg2.sql import SQL, Composable, Composed, Literal

from penstock.core.contract.model import Column
from penstock.core.contract.moments import moment_format
from penstock.core.contract.types import numeric_scale
from penstock.core.gate.text_values import is_moment, is_number, is_whole, naive, nonexistent, plain


class ValueClass(StrEnum):
    """What a text that does not cast looks like."""

    EMPTY = "empty"
    BLANK = "blank"
    NULL_WORD = "null word"
    TOO_LONG = "too long"
    NAN_OR_INFINITY = "NaN or infinity"
    RELATIVE_DATE = "relative date"
    INTEGER = "integer"
    DECIMAL = "decimal"
    EXPONENT = "exponent"
    TOO_MANY_DIGITS = "too many digits"
    OUT_OF_RANGE = "out of range"
    DECIMAL_COMMA = "decimal comma"
    OTHER_NUMBER = "other number"
    OTHER_UNIT = "other unit"
    BOOLEAN = "boolean"
    ISO_DATE = "ISO date"
    ISO_TIMESTAMP = "ISO timestamp"
    TIME_OF_DAY = "time of day"
    IMPOSSIBLE_DATE = "impossible date"
    NAIVE_TIMESTAMP = "naive timestamp"
    NONEXISTENT_LOCAL_TIME = "nonexistent local time"
    OTHER_DATE = "other date"
    JSON = "JSON"
    INVALID_JSON = "invalid JSON"
    ARRAY_ELEMENT = "array element"
    TEXT = "text"


MEANINGS: Final = {
    ValueClass.EMPTY: "nothing between the separators or quotes",
    ValueClass.BLANK: "white space only",
    ValueClass.NULL_WORD: "a word for no value, such as `NULL`, `None`, `n/a`, `-`",
    ValueClass.TOO_LONG: "more characters than the type holds",
    ValueClass.NAN_OR_INFINITY: "`NaN`, `inf` or `Infinity`, with or without a sign",
    ValueClass.RELATIVE_DATE: "a word whose value depends on when it is read, such as `now` or `today`",
    ValueClass.INTEGER: "a whole number where no number is wanted",
    ValueClass.DECIMAL: "a number with a point where a whole one, or none, is wanted",
    ValueClass.EXPONENT: "a number with an exponent where a whole one, or none, is wanted",
    ValueClass.TOO_MANY_DIGITS: "more digits after the point than the type keeps; nothing is rounded",
    ValueClass.OUT_OF_RANGE: "a number that is larger, or nearer to zero, than the type can hold",
    ValueClass.DECIMAL_COMMA: "digits with one comma, such as `1,5`",
    ValueClass.OTHER_NUMBER: "a number not in plain digits, such as `1_000`, `1 000`, `1,234.50`, `0x1F`",
    ValueClass.OTHER_UNIT: "a number with a unit that the contract does not state",
    ValueClass.BOOLEAN: "a word for true or false",
    ValueClass.ISO_DATE: "a day in ISO 8601 where something else is wanted",
    ValueClass.ISO_TIMESTAMP: "a day and time in ISO 8601 where something else is wanted",
    ValueClass.TIME_OF_DAY: "a time of day in ISO 8601 where something else is wanted",
    ValueClass.IMPOSSIBLE_DATE: "written as wanted, but no calendar or clock has it, such as `2026-02-30`",
    ValueClass.NAIVE_TIMESTAMP: "no offset from UTC, and the contract states no `defaultTimezone`",
    ValueClass.NONEXISTENT_LOCAL_TIME: "a local time that the clocks of the contract's zone skipped",
    ValueClass.OTHER_DATE: "a date written otherwise than the contract says, such as `05/09/2010`",
    ValueClass.JSON: "a JSON object or array where something else is wanted",
    ValueClass.INVALID_JSON: "begins like a JSON object or array and is none, or none that Postgres can hold",
    ValueClass.ARRAY_ELEMENT: "an array of which at least one element does not cast",
    ValueClass.TEXT: "anything else",
}

_NUMBER: Final = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_DAY: Final = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_TIME: Final = r"[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:[.][0-9]+)?)?(?:[Zz]|[+-][0-9]{2}(?::?[0-9]{2})?)?"
_MONTH: Final = "(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
_IS_DAY: Final = rf"^\s*{_DAY}\s*$"
_IS_TIMESTAMP: Final = rf"^\s*{_DAY}[Tt ]{_TIME}\s*$"
_IS_TIME: Final = rf"^\s*{_TIME}\s*$"
_ODD_CLOCK: Final = r"(?:^\s*|[Tt ])24:|:60"  # which Postgres takes, for the next day or minute
_LONG_FRACTION: Final = r"[.][0-9]{6}[0-9]*[1-9]"
_FIRST: Final = (
    (ValueClass.NULL_WORD, r"(?i)^\s*(?:null|none|nil|n/?a|#n/a|undefined|missing|-{1,3}|[?]|\\n)\s*$"),
    (ValueClass.NAN_OR_INFINITY, r"(?i)^\s*[+-]?(?:nan|inf|infinity)\s*$"),
    (ValueClass.RELATIVE_DATE, r"(?i)^\s*(?:now|today|tomorrow|yesterday|epoch|allballs)\M"),
)
_OTHERS: Final = (
    (ValueClass.INTEGER, r"^\s*[+-]?[0-9]+\s*$"),
    (ValueClass.EXPONENT, rf"^\s*{_NUMBER}\s*$"),  # with an exponent: a plain decimal is found before
    (ValueClass.ISO_DATE, _IS_DAY),
    (ValueClass.ISO_TIMESTAMP, _IS_TIMESTAMP),
    (ValueClass.TIME_OF_DAY, _IS_TIME),
    (
        ValueClass.OTHER_DATE,
        r"^\s*(?:[0-9]{4}([./-])[0-9]{1,2}\1[0-9]{1,2}|[0-9]{1,2}([./-])[0-9]{1,2}\2(?:[0-9]{4}|[0-9]{2}))(?:[T ].*)?$",
    ),
    (
        ValueClass.OTHER_DATE,
        rf"(?i)^\s*(?:[0-9]{{1,2}}[. -]+{_MONTH}|(?:[a-z]+,? +)?{_MONTH}[. ]+[0-9]{{1,2}})\M.*[0-9]",
    ),
    (ValueClass.DECIMAL_COMMA, r"^\s*[+-]?[0-9]+,[0-9]+\s*$"),
    (ValueClass.OTHER_NUMBER, r"^\s*[+-]?[0-9][0-9.,_'  ]*\s*$"),
    (ValueClass.OTHER_NUMBER, r"(?i)^\s*[+-]?0[xob][0-9a-f_]+\s*$"),
)
_LAST: Final = (
    (ValueClass.OTHER_UNIT, rf"^\s*{_NUMBER}\s*[[:alpha:]%‰°€$£]"),
    (ValueClass.BOOLEAN, r"(?i)^\s*(?:true|false|yes|no|on|off|t|f|y|n)\s*$"),
)
_SIZED: Final = re.compile(r"character(?: varying)?\((\d+)\)")


def _when(condition: Composable, then: ValueClass) -> Composed:
    return SQL("WHEN {} THEN {}").format(condition, Literal(then.value))


def _matches(text: Composable, regex: str) -> Composed:
    return SQL("{} ~ {}").format(text, Literal(regex))


def value_class(column: Column, text: Composable) -> Composed:
    """Return the expression of the class of a text that does not cast to the column's type."""
    cases = [_when(SQL("{} = ''").format(text), ValueClass.EMPTY), _when(_matches(text, r"^\s+$"), ValueClass.BLANK)]
    if size := _SIZED.fullmatch(column.type):
        cases.append(_when(SQL("char_length({}) > {}").format(text, Literal(int(size[1]))), ValueClass.TOO_LONG))
    cases += [_when(_matches(text, regex), class_) for class_, regex in _FIRST]
    if is_number(column.type):
        cases += _number_cases(column, text)
    if is_moment(column.type):
        cases += _moment_cases(column, text)
    cases.append(_when(_matches(text, r"^\s*[+-]?(?:[0-9]+\.[0-9]*|\.[0-9]+)\s*$"), ValueClass.DECIMAL))
    cases += [_when(_matches(text, regex), class_) for class_, regex in _OTHERS]
    cases += [_when(_matches(text, regex), class_) for class_, regex in _LAST]
    cases += _json_cases(column, text)
    return SQL("CASE {} ELSE {} END").format(SQL(" ").join(cases), Literal(ValueClass.TEXT.value))


def _number_cases(column: Column, text: Composable) -> list[Composed]:
    """Tell why a number, in plain digits, is not one that the column's type holds."""
    read = plain(column, text)
    if is_whole(column.type):
        return [_when(_matches(read, r"^\s*[+-]?[0-9]+\s*$"), ValueClass.OUT_OF_RANGE)]
    scale = numeric_scale(column.type)
    number = _matches(read, rf"^\s*{_NUMBER}\s*$")
    if scale is None:
        return [_when(number, ValueClass.OUT_OF_RANGE)]
    too_many = SQL("CASE WHEN {n} AND pg_input_is_valid({r}, 'numeric') THEN scale(trim_scale({r}::numeric)) > {s} END")
    return [
        _when(too_many.format(n=number, r=read, s=Literal(scale)), ValueClass.TOO_MANY_DIGITS),
        _when(number, ValueClass.OUT_OF_RANGE),
    ]


def _moment_cases(column: Column, text: Composable) -> list[Composed]:
    """Tell why a date or time, written as the contract wants it, is none; with a format only that counts as wanted."""
    of_day, read = column.type.startswith("time "), plain(column, text)
    if column.format:
        wanted = [moment_format(column.format).regex]
    else:
        wanted = [_IS_TIME] if of_day else [_IS_DAY, _IS_TIMESTAMP]
    is_wanted = SQL("({})").format(SQL(" OR ").join(_matches(text, regex) for regex in wanted))

    def wanted_but(condition: Composable, then: ValueClass) -> Composed:
        return _when(SQL("CASE WHEN {} THEN {} END").format(is_wanted, condition), then)

    valid = SQL("pg_input_is_valid({}, {})").format(read, Literal("time" if of_day else "timestamp"))
    cases = [
        wanted_but(SQL("NOT {}").format(valid), ValueClass.IMPOSSIBLE_DATE),
        wanted_but(_matches(text, _ODD_CLOCK), ValueClass.IMPOSSIBLE_DATE),
    ]
    if column.type != "date":
        cases.insert(0, wanted_but(_matches(text, _LONG_FRACTION), ValueClass.TOO_MANY_DIGITS))
    if column.type == "timestamp with time zone" and column.timezone is None:
        cases.append(wanted_but(naive(column, text), ValueClass.NAIVE_TIMESTAMP))
    elif column.type == "timestamp with time zone":
        cases.append(wanted_but(nonexistent(column, read), ValueClass.NONEXISTENT_LOCAL_TIME))
    return cases


def _json_cases(column: Column, text: Composable) -> list[Composed]:
    opened = _matches(text, r"^\s*[\[{]")
    valid = SQL("pg_input_is_valid({}, 'json')").format(text)
    cases = []
    if column.type.endswith("[]"):
        literal = SQL("pg_input_is_valid({}, 'text[]')").format(text)
        cases.append(_when(SQL("{} AND ({} OR {})").format(opened, valid, literal), ValueClass.ARRAY_ELEMENT))
    elif column.type not in ("json", "jsonb"):
        cases.append(_when(SQL("{} AND {}").format(opened, valid), ValueClass.JSON))
    return [*cases, _when(opened, ValueClass.INVALID_JSON)]


def table_of_classes() -> str:
    """Return the classes and what they mean as a table in Markdown, as docs/types.md shows it."""
    rows = [f"| `{class_.value}` | {MEANINGS[class_]} |" for class_ in ValueClass]
    return "\n".join(["| class | the text is |", "| --- | --- |", *rows])
