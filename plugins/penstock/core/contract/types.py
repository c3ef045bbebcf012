"""The Postgres types a contract may use, and their one canonical spelling.

The canonical spelling is what Postgres' `format_type()` prints, so that contract, stage and source can be
compared as strings. Source: Postgres 18 manual, chapter 8, table 8.1.
"""

from __future__ import annotations

import re
from typing import Final

_ALIASES: Final = {
    "int": "integer",
    "int2": "smallint",
    "int4": "integer",
    "int8": "bigint",
    "float4": "real",
    "float8": "double precision",
    "float": "double precision",
    "double": "double precision",
    "decimal": "numeric",
    "bool": "boolean",
    "varchar": "character varying",
    "char": "character",
    "string": "text",
    "timestamp": "timestamp without time zone",
    "timestamptz": "timestamp with time zone",
    "time": "time without time zone",
    "timetz": "time with time zone",
}
_PLAIN: Final = frozenset(
    (
        *("text", "smallint", "integer", "bigint", "real", "double precision", "boolean", "uuid", "bytea"),
        *("date", "interval", "timestamp without time zone", "timestamp with time zone"),
        *("time without time zone", "time with time zone", "json", "jsonb", "xml", "inet", "cidr", "macaddr"),
    )
)
_SIZED: Final = {"numeric": 2, "character varying": 1, "character": 1}
_LOGICAL: Final = {
    "string": "text",
    "integer": "bigint",
    "number": "numeric",
    "boolean": "boolean",
    "date": "date",
    "timestamp": "timestamp with time zone",
    "time": "time without time zone",
    "object": "jsonb",
    "array": "jsonb",
    "map": "jsonb",
}
_SHAPE: Final = re.compile(r"(?P<base>[a-z][a-z0-9 ]*?)\s*(?:\((?P<args>[0-9, ]+)\))?\s*(?P<array>\[\])?")


def canonical_type(declared: str) -> str:
    """Return the spelling of `format_type()` for a declared Postgres type.

    Raises:
        ValueError: The type is unknown, or its arguments do not fit it.
    """
    match = _SHAPE.fullmatch(" ".join(declared.lower().split()))
    if match is None:
        raise ValueError(f"{declared!r} is not a Postgres type that Penstock knows")
    base = _ALIASES.get(match["base"], match["base"])
    args = [int(part) for part in match["args"].split(",")] if match["args"] else []
    if base not in _PLAIN and base not in _SIZED:
        raise ValueError(f"{declared!r} is not a Postgres type that Penstock knows")
    if len(args) > _SIZED.get(base, 0):
        raise ValueError(f"{declared!r} has more arguments than {base} takes")
    if base == "numeric" and len(args) == 1:
        args.append(0)
    if base == "character" and not args:
        args = [1]
    return base + (f"({','.join(map(str, args))})" if args else "") + (match["array"] or "")


def type_of_logical(logical: str) -> str:
    """Return the Postgres type that stands for an ODCS logical type.

    Raises:
        ValueError: No Postgres type stands for it.
    """
    if logical not in _LOGICAL:
        raise ValueError(f"logicalType {logical!r} needs a physicalType")
    return _LOGICAL[logical]


def numeric_scale(pg_type: str) -> int | None:
    """Return the digits after the point that a canonical `numeric(p,s)` keeps; None for any other type."""
    match = re.fullmatch(r"numeric\(\d+,(\d+)\)", pg_type)
    return int(match[1]) if match else None
