"""`row_condition`: which rows an expectation looks at.

Two forms are read: Great Expectations' text (`col("status") == "paid"`) and its conditions as mappings. Reading one
needs no database driver, so that a contract is checked without it; `expectations` makes SQL of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

OPERATORS: Final = {"==": "=", "!=": "<>", "<": "<", "<=": "<=", ">": ">", ">=": ">=", "IN": "IN", "NOT_IN": "NOT IN"}
"""Operators of Great Expectations and the SQL of each."""
_SETS: Final = ("IN", "NOT_IN")
_TEXT: Final = re.compile(
    r"""\s*col\("(?P<column>[^"\n]+)"\)\s*
    (?: (?P<filled>\.notnull\(\))
      | (?P<operator>==|!=|<=|>=|<|>)\s*
        (?: (?P<number>[+-]?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)
          | (?P<date>date\(\s*)? (?P<quote>["']) (?P<text>[^"'\n]+) (?P=quote) (?(date)\s*\))
        )
    )\s*""",
    re.VERBOSE | re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Compared:
    """A column compared with a value, or held against a set of values."""

    column: str
    operator: str
    value: Any


@dataclass(frozen=True, slots=True)
class Nullity:
    """A column that is NULL, or is not."""

    column: str
    is_null: bool


@dataclass(frozen=True, slots=True)
class Group:
    """Conditions of which all, or any, hold."""

    joiner: str
    parts: tuple[Condition, ...]


Condition = Compared | Nullity | Group


def columns_of(condition: Condition) -> list[str]:
    """Return the columns that a condition names, in order."""
    if isinstance(condition, Group):
        return [name for part in condition.parts for name in columns_of(part)]
    return [condition.column]


def read_condition(stated: Any) -> Condition:
    """Return a stated `row_condition`.

    Raises:
        ValueError: It is none that Great Expectations judges in a database, or a part of it would be ignored.
    """
    if isinstance(stated, str):
        return _of_text(stated)
    if isinstance(stated, Mapping):
        return _of_mapping(stated)
    raise ValueError(f"row_condition is neither text nor a mapping: {stated!r}")


def _of_text(text: str) -> Condition:
    match = _TEXT.fullmatch(text)
    if match is None:
        raise ValueError(
            f'row_condition {text!r} is not of the form col("name") > 5, == "text" or .notNull();'
            " state several conditions as a mapping with `type: and`"
        )
    if match["filled"]:
        return Nullity(match["column"], is_null=False)
    if match["number"] is None:
        return Compared(match["column"], match["operator"], match["text"])
    whole = re.fullmatch(r"[+-]?\d+", match["number"])
    return Compared(match["column"], match["operator"], int(match["number"]) if whole else float(match["number"]))


def _of_mapping(stated: Mapping[str, Any]) -> Condition:
    kind = stated.get("type")
    if kind in ("and", "or"):
        parts = stated.get("conditions")
        if not isinstance(parts, list) or not parts:
            raise ValueError(f"row_condition of type {kind!r} needs a list of conditions")
        read = tuple(read_condition(part) for part in parts)
        if any(isinstance(part, Group) and part.joiner == "or" for part in read):
            raise ValueError("row_condition: Great Expectations takes an `or` only as the outermost condition")
        return Group(kind, read)
    name = _column_name(stated)
    if kind == "nullity" and isinstance(stated.get("is_null"), bool):
        return Nullity(name, stated["is_null"])
    if kind == "comparison" and stated.get("operator") in OPERATORS:
        return Compared(name, stated["operator"], _parameter(stated["operator"], stated.get("parameter")))
    raise ValueError(
        "row_condition needs `type: comparison` with operator and parameter, `type: nullity` with is_null,"
        f" `and` or `or` with conditions; not {dict(stated)!r}"
    )


def _column_name(stated: Mapping[str, Any]) -> str:
    column = stated.get("column")
    name = column.get("name") if isinstance(column, Mapping) else column
    if not isinstance(name, str):
        raise ValueError(f"row_condition needs `column: {{name: …}}`, not {column!r}")
    return name


def _parameter(operator: str, value: Any) -> Any:
    if operator not in _SETS:
        if isinstance(value, str | int | float):
            return value
    elif isinstance(value, list | tuple) and (
        all(isinstance(item, str) for item in value)
        or all(isinstance(item, int | float) and not isinstance(item, bool) for item in value)
    ):
        return tuple(value)
    raise ValueError(f"row_condition: {operator} takes no {value!r}")
