"""The types of a contract have one spelling, and it is Postgres' own."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.core.contract import types
from penstock.core.contract.types import canonical_type, numeric_scale, type_of_logical

DECLARED = [
    *sorted(types._ALIASES),
    *sorted(types._PLAIN),
    "numeric(8,2)",
    "numeric(8)",
    "decimal(8, 2)",
    "NUMERIC ( 8 , 2 )",
    "varchar(3)",
    "character varying(3)",
    "char",
    "char(3)",
    "Text",
    "timestamp   with time   zone",
    "integer[]",
    "numeric(8,2)[]",
]


@pytest.mark.parametrize("declared", DECLARED)
def test_the_canonical_spelling_is_what_postgres_prints(bench: Any, declared: str) -> None:
    """For every declared type, the canonical spelling is what `format_type()` says of a column made with it."""
    raw = {"double": "double precision", "string": "text"}.get(declared, declared)
    printed = bench.run(f"CREATE TEMPORARY TABLE t (c {raw})") or bench.one(
        "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 't'::regclass AND attnum = 1"
    )
    assert canonical_type(declared) == printed
    assert canonical_type(printed) == printed


@pytest.mark.parametrize(
    "declared",
    [
        "",
        "money",
        "int; drop",
        "text)",
        "numeric(8,2,1)",
        "numeric(-1)",
        "text(5)",
        "int(4)",
        "date[][]",
        "varchar()",
        '"text"',
        "numeric(a)",
    ],
)
def test_anything_else_is_refused(declared: str) -> None:
    """Unknown types, arguments that do not fit, and whatever could smuggle SQL into a statement."""
    with pytest.raises(ValueError, match=r"Postgres type|arguments"):
        canonical_type(declared)


@pytest.mark.parametrize(
    "logical", ["string", "integer", "number", "boolean", "date", "timestamp", "time", "object", "array", "map"]
)
def test_every_logical_type_has_a_column_type(logical: str) -> None:
    """Each logical type of the standard stands for a type in canonical spelling."""
    assert canonical_type(type_of_logical(logical)) == type_of_logical(logical)


def test_an_unknown_logical_type_needs_a_physical_one() -> None:
    """What the standard may add later is not guessed."""
    with pytest.raises(ValueError, match="'geometry' needs a physicalType"):
        type_of_logical("geometry")


@pytest.mark.parametrize(
    ("pg_type", "scale"),
    [("numeric(8,2)", 2), ("numeric(8,0)", 0), ("numeric", None), ("bigint", None), ("numeric(8,2)[]", None)],
)
def test_scale(pg_type: str, scale: int | None) -> None:
    """Only a numeric with precision and scale keeps a fixed number of digits after the point."""
    assert numeric_scale(pg_type) == scale
