"""A text is proved only if the gate, which looks at each text by itself, would cast it to the same value."""

from __future__ import annotations

from typing import Any

import pyarrow
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg2.sql import SQL, Literal

from penstock.core.contract.model import Column
from penstock.core.gate.text_values import fails, value
from penstock.core.proof import pattern_of, unproved

TYPES = (
    *(
        "smallint",
        "integer",
        "bigint",
        "numeric",
        "numeric(4,2)",
        "numeric(5,0)",
        "real",
        "double precision",
        "boolean",
    ),
    *("date", "timestamp without time zone", "timestamp with time zone", "time without time zone", "uuid", "text"),
)
MOMENTS = st.from_regex(
    r"\A(20(24|26|00)|1900|0000|0001|9999)-(02-(28|29|30)|12-31|04-3[01]|13-01)"
    r"([ T](0[0-9]|2[34]):59(:(59|60)(\.[0-9]{1,7})?)?(Z|\+00|[+-](0[0-9]|1[0-6])(:?[0-9]{2})?)?)?\Z"
)
texts = st.one_of(
    MOMENTS,
    MOMENTS.map(lambda text: text[11:]),
    st.from_regex(r"\A[+-]?[0-9]{0,20}(\.[0-9]{0,20})?(e5)?\Z"),
    st.sampled_from(["-0", "-0.00", "0.00", "-0.5", "-0.50", "9.99", "99.99", "100.00"]),
    st.sampled_from(["NaN", "infinity", "now", "TRUE", "oN", " 1", "1\n", "٣", "", "true "]),
    st.uuids().map(str),
)


def proved(column: Column, *values: str | None) -> bool:
    """Whether all texts are proved."""
    return not unproved([column], pyarrow.table({column.name: pyarrow.array(values, pyarrow.string())}))


@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
@pytest.mark.parametrize("pg_type", TYPES)
@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=texts)
def test_what_is_proved_the_gate_casts_to_what_copy_reads(
    bench: Any, pg_type: str, zone: str | None, text: str
) -> None:
    """COPY gives the value that the gate gives, which Postgres writes just so; no text that would fail is proved."""
    column = Column("a", "a", pg_type, timezone=zone if pg_type == "timestamp with time zone" else None)
    if not proved(column, text):
        return
    query = SQL(
        "SELECT f, CASE WHEN NOT f THEN {} = v::{type} END, CASE WHEN NOT f THEN v::{type}::text END"
        " FROM (SELECT v, {} AS f FROM unnest(ARRAY[{}]) t(v)) s"
    )
    found = SQL("v")
    sql = query.format(value(column, found), fails(column, found), Literal(text), type=SQL(pg_type))
    assert bench.run(sql) == [(False, True, text)]


@pytest.mark.parametrize(
    ("pg_type", "text"),
    [
        *(("bigint", text) for text in ("0", "-12", "999999999999999999")),
        *(("numeric(4,2)", text) for text in ("1.00", "-0.50", "-99.99")),
        *(("numeric", text) for text in ("1", "-0.5", "12.500")),
        *(("date", text) for text in ("2026-01-05", "2024-02-29", "2000-02-29")),
        *(("timestamp with time zone", text) for text in ("2026-01-05 10:00:00+00", "2026-01-05 10:00:00.5+00")),
        ("boolean", "true"),
        ("time without time zone", "10:00:00"),
    ],
)
def test_plain_texts_are_proved(pg_type: str, text: str) -> None:
    """What most files hold needs no second look, and NULL is no text."""
    assert proved(Column("a", "a", pg_type), text, None)


def test_one_text_in_doubt_is_enough() -> None:
    """The column is named if any of its texts is in doubt, in any chunk."""
    columns = [Column("a", "a", "integer"), Column("b", "b", "date")]
    tables = [pyarrow.table({"a": ["1", "2"], "b": ["2026-01-05", end]}) for end in ("2026-01-06", "2026-02-29")]
    assert unproved(columns, pyarrow.concat_tables(tables)) == ["b"]


def test_some_columns_are_never_proved() -> None:
    """Units, formats, and types whose texts no regular expression tells."""
    assert pattern_of(Column("a", "a", "numeric", unit="kg")) is None
    assert pattern_of(Column("a", "a", "date", format="dd/MM/yyyy")) is None
    assert [pattern_of(Column("a", "a", t)) for t in ("jsonb", "integer[]", "numeric(2,2)", "real")] == [None] * 4
