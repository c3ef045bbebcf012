"""How the text of a value is read as a type: SQL that tells whether it can be, and SQL that does it.

A text is read only if it is written plainly (digits, ISO 8601 or the contract's format), the type takes it and
nothing of it would be lost. Every check is an expression over a whole column; nothing is parsed in Python.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from psycopg2.sql import SQL, Composable, Composed, Literal

from penstock.core.contract.model import Column
from penstock.core.contract.moments import ISO_8601, ISO_LOCAL, NO_OFFSET, moment_format
from penstock.core.contract.types import numeric_scale

_DIGITS: Final = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_WHOLE: Final = re.compile(r"smallint|integer|bigint")
_FRACTION: Final = re.compile(r"real|double precision|numeric.*")
_ZONED: Final = "timestamp with time zone"
_NO_ZONE: Final = "timestamp without time zone"
_BOOLEAN: Final = r"(?i)^\s*(?:true|t|yes|y|on|1|false|f|no|n|off|0)\s*$"
_FINITE: Final = r"(?i)^(?!.*inf)"


def is_number(pg_type: str) -> bool:
    """Tell whether a canonical type holds single numbers."""
    return bool(_WHOLE.fullmatch(pg_type) or (_FRACTION.fullmatch(pg_type) and not pg_type.endswith("[]")))


def is_whole(pg_type: str) -> bool:
    """Tell whether a canonical type holds single whole numbers."""
    return bool(_WHOLE.fullmatch(pg_type))


def is_moment(pg_type: str) -> bool:
    """Tell whether a canonical type holds single dates or times."""
    return pg_type in ISO_8601


def _unit(column: Column) -> str:
    return rf"(?:\s*{re.escape(column.unit)})?" if column.unit else ""


def shape(column: Column) -> str | None:
    """Return the regular expression that a text of the column must match; None where the type alone decides."""
    if column.format and is_moment(column.type):
        return moment_format(column.format).regex
    if column.type == _ZONED and column.timezone:
        return ISO_LOCAL
    if is_whole(column.type):
        return rf"^\s*[+-]?[0-9]+{_unit(column)}\s*$"
    if is_number(column.type):
        return rf"^\s*{_DIGITS}{_unit(column)}\s*$"
    return ISO_8601.get(column.type) or {"boolean": _BOOLEAN, "interval": _FINITE}.get(column.type)


def plain(column: Column, text: Composable) -> Composable:
    """Return the text as Postgres reads it: without its unit, in ISO 8601, a date without midnight."""
    if column.unit:
        return SQL("regexp_replace({}, {}, '')").format(text, Literal(rf"\s*{re.escape(column.unit)}\s*$"))
    if column.format and is_moment(column.type):
        found = moment_format(column.format)
        return SQL("regexp_replace({}, {}, {})").format(text, Literal(found.regex), Literal(found.iso))
    if column.type == "date":
        return SQL("substr(btrim({}, E' \\t\\r\\n'), 1, 10)").format(text)
    return text


def naive(column: Column, text: Composable) -> Composable:
    """Return the condition that a text of a timestamp tells no offset from UTC."""
    if column.format:
        return SQL("false" if moment_format(column.format).has_offset else "true")
    return SQL("{} ~ {}").format(text, Literal(NO_OFFSET))


def nonexistent(column: Column, read: Composable) -> Composed:
    """Return the condition that a local time, plain and valid, was skipped in the column's zone."""
    return SQL("({read}::timestamp AT TIME ZONE {zone}) AT TIME ZONE {zone} <> {read}::timestamp").format(
        read=read, zone=Literal(column.timezone)
    )


def loses(column: Column, text: Composable) -> Composed | None:
    """Return the condition that a text which the type takes would not keep all it says; None if it always would."""
    scale, read = numeric_scale(column.type), plain(column, text)
    if scale is not None:
        return SQL("coalesce(scale(trim_scale({}::numeric)), 0) > {}").format(read, Literal(scale))
    if column.type == _ZONED and column.timezone:
        return SQL("CASE WHEN {} THEN {} ELSE false END").format(naive(column, text), nonexistent(column, read))
    return None


def _as_written(column: Column, text: Composable) -> Composed | None:
    """Return the condition that a text which the type takes is as Postgres itself writes its value.

    Then it is written plainly and nothing is lost. That is told in a fraction of the time that the regular expression
    takes, and holds for most texts. None where it cannot tell.
    """
    if column.unit or column.format:
        return None
    if is_moment(column.type):
        return _moment_as_written(column, text)
    if is_whole(column.type):
        return SQL("{text}::{type}::text = {text}").format(text=text, type=SQL(column.type))
    if is_number(column.type):  # without its scale, in which a value may be shorter; NaN and infinities end in a letter
        scale = numeric_scale(column.type)
        type_ = "numeric" if scale is not None else column.type
        kept = SQL("true") if scale is None else SQL("scale({}::numeric) <= {}").format(text, Literal(scale))
        return SQL("{text}::{type}::text = {text} AND ascii(right({text}, 1)) <= 57 AND {kept}").format(
            text=text, type=SQL(type_), kept=kept
        )
    return None


def _moment_as_written(column: Column, text: Composable) -> Composed | None:
    """Return the same of a date or timestamp, of which none is infinite, before Christ or after the year 9999."""
    if column.type == "date":
        return SQL("{text}::date::text = {text} AND length({text}) = 10 AND substr({text}, 5, 1) = '-'").format(
            text=text
        )
    if column.type == _ZONED and column.timezone is None:
        spaced = SQL("replace(replace(replace({}, 'T', ' '), 'Z', '+00'), '+00:00', '+00')").format(text)
    elif column.type == _NO_ZONE:
        spaced = SQL("replace({}, 'T', ' ')").format(text)
    else:
        return None
    return SQL("{text}::{type}::text = {spaced} AND substr({text}, 5, 1) = '-' AND right({text}, 1) <> 'C'").format(
        text=text, type=SQL(column.type), spaced=spaced
    )


def fails(column: Column, text: Composable) -> Composed:
    """Return the condition that a text, not NULL, cannot be read as a value of the column."""
    if column.type.endswith("[]"):
        return _array_fails(column, text)
    # CASE, for OR may look at its parts in any order, and only what the type takes can be looked at further.
    cases: list[Composable] = []
    as_written = _as_written(column, text)
    if as_written is not None:
        cases.append(
            SQL("WHEN CASE WHEN pg_input_is_valid({}, {}) THEN {} ELSE false END THEN false").format(
                text, Literal(column.type), as_written
            )
        )
    wanted = shape(column)
    if wanted is not None:
        cases.append(SQL("WHEN {} !~ {} THEN true").format(text, Literal(wanted)))
    if column.type == _ZONED and column.format and not column.timezone:
        cases.append(SQL("WHEN {} THEN true").format(naive(column, text)))
    cases.append(SQL("WHEN NOT pg_input_is_valid({}, {}) THEN true").format(plain(column, text), Literal(column.type)))
    lost = loses(column, text)
    return SQL("CASE {} ELSE {} END").format(SQL(" ").join(cases), lost if lost is not None else SQL("false"))


def value(column: Column, text: Composable) -> Composed:
    """Return the value of a text that does not fail."""
    if column.type.endswith("[]"):
        return _array_value(column, text)
    read = plain(column, text)
    direct = SQL("{}::{}").format(read, SQL(column.type))  # canonical, see contract.types
    if column.type == _ZONED and column.timezone:
        return SQL("CASE WHEN {} THEN {}::timestamp AT TIME ZONE {} ELSE {} END").format(
            naive(column, text), read, Literal(column.timezone), direct
        )
    return direct


def _element(column: Column) -> Column:
    return replace(column, type=column.type.removesuffix("[]"), unit=None)


def _elements(column: Column) -> SQL:
    """Return how the elements of a JSON array become texts: JSON as it is, anything else without its quotes."""
    as_json = column.type in ("json[]", "jsonb[]")
    return SQL("SELECT e::text FROM json_array_elements" if as_json else "SELECT e FROM json_array_elements_text")


def _texts(column: Column, text: Composable) -> Composed:
    """Return the texts of the elements of an array, JSON or a literal of Postgres, that is valid as such."""
    return SQL(
        "CASE WHEN {text} ~ '^\\s*\\[' THEN ARRAY({elements}({text}::json) AS e) ELSE {text}::text[] END"
    ).format(text=text, elements=_elements(column))


def _array_fails(column: Column, text: Composable) -> Composed:
    return SQL(
        "CASE WHEN {text} ~ '^\\s*\\[' THEN CASE WHEN NOT pg_input_is_valid({text}, 'json') THEN true ELSE {any} END"
        " WHEN {text} !~ '^\\s*{{' OR NOT pg_input_is_valid({text}, 'text[]') THEN true"
        " WHEN array_ndims({text}::text[]) > 1 THEN true ELSE {any} END"
    ).format(
        text=text,
        any=SQL("EXISTS (SELECT FROM unnest({}) AS e(v) WHERE v IS NOT NULL AND {})").format(
            _texts(column, text), fails(_element(column), SQL("v"))
        ),
    )


def _array_value(column: Column, text: Composable) -> Composed:
    return SQL(
        "CASE WHEN {text} IS NOT NULL THEN ARRAY(SELECT {value} FROM unnest({texts}) WITH ORDINALITY AS e(v, n)"
        " ORDER BY n)::{type} END"
    ).format(
        text=text,
        value=value(_element(column), SQL("v")),
        texts=_texts(column, text),
        type=SQL(column.type),
    )
