"""A text is read as a value only if the type takes it and gives it back: nothing is lost, and nothing fails."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg2.sql import SQL, Literal

from penstock.core.contract.model import Column
from penstock.core.gate.text_values import fails, is_moment, is_number, is_whole, value

VALUES = {
    "numeric": st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**30), max_value=10**30),
    "bigint": st.integers(-(2**63), 2**63 - 1),
    "double precision": st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False),
    "date": st.dates(),
    "timestamp without time zone": st.datetimes(),
    "timestamp with time zone": st.datetimes(timezones=st.just(UTC)),
    "time without time zone": st.times(),
    "boolean": st.booleans(),
    "integer[]": st.lists(st.none() | st.integers(-(2**31), 2**31 - 1), max_size=5),
    "text[]": st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")), max_size=5),
}
texts = st.text(st.sampled_from("0123456789+-.:,eETZ /{}[]\"'natruewsk%\\\n"), max_size=20)


def read(bench: Any, column: Column, text: str) -> tuple[Any, ...]:
    """Whether a text fails, and its value where it does not; the text is no constant, which would be folded."""
    found = SQL("v")
    query = SQL("SELECT f, CASE WHEN NOT f THEN {} END FROM (SELECT v, {} AS f FROM unnest(ARRAY[{}]) AS t(v)) AS s")
    return tuple(bench.run(query.format(value(column, found), fails(column, found), Literal(text)))[0])


@pytest.mark.parametrize("pg_type", list(VALUES))
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_what_a_program_writes_plainly_is_read_back(bench: Any, pg_type: str, data: Any) -> None:
    """Python's own plain text of any value (ISO 8601, digits) gives that value."""
    wanted = data.draw(VALUES[pg_type])
    if isinstance(wanted, list):
        text = json.dumps(wanted)
    elif isinstance(wanted, date | datetime | time):
        text = wanted.isoformat()
    else:
        text = str(wanted)
    assert read(bench, Column("a", "a", pg_type), text) == (False, wanted)


@pytest.mark.parametrize("pg_type", list(VALUES))
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=texts)
def test_a_text_that_does_not_fail_has_a_value(bench: Any, pg_type: str, text: str) -> None:
    """There is no text that passes the check and then fails the cast."""
    failed, found = read(bench, Column("a", "a", pg_type), text)
    assert failed or found is not None


WRITTEN = (
    *(
        "0",
        "-0",
        "007",
        "+5",
        "5.",
        ".5",
        "1.50",
        "1.005",
        "-12.34",
        "1e5",
        "1e+20",
        "NaN",
        "Infinity",
        "-inf",
        "99999999999",
    ),
    *(
        "2026-01-05",
        "0044-03-15 BC",
        "10000-01-01",
        "infinity",
        "-infinity",
        "2026-02-30",
        "2026-1-5",
        "now",
        "0000-01-01",
    ),
    *("2026-01-05T10:00:00Z", "2026-01-05 10:00:00+00", "2026-01-05T10:00:00", "2026-01-05 10:00:00.1234567+00"),
    *("2026-01-05 24:00:00+00", "2026-01-05 10:00:60+00", "0044-03-15 10:00:00+00 BC", "10000-01-01 00:00:00+00"),
    *("2026-01-05ZT10:00:00Z", "2026-01-05 10:00:00.5+00", "2026-01-05 10:00:00+02", "2026-01-05 10:00:00", " 5 ", ""),
)


@pytest.mark.parametrize("pg_type", ["smallint", "real", "numeric(4,2)", *VALUES])
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.sampled_from(WRITTEN) | texts)
def test_what_is_as_written_would_pass_the_slower_look(bench: Any, pg_type: str, text: str) -> None:
    """The quick look takes no text that the regular expression and the check for losses would not."""
    column = Column("a", "a", pg_type)
    with pytest.MonkeyPatch.context() as patch:
        quick = read(bench, column, text)
        patch.setattr("penstock.core.gate.text_values._as_written", lambda *_: None)
        assert read(bench, column, text) == quick


def test_kinds_of_types() -> None:
    """Single numbers, whole ones and moments are told from arrays of them."""
    assert [is_number(t) for t in ("numeric(8,2)", "real", "bigint", "numeric(8,2)[]", "text")] == [1, 1, 1, 0, 0]
    assert [is_whole(t) for t in ("smallint", "integer[]", "numeric")] == [1, 0, 0]
    assert [is_moment(t) for t in ("date", "timestamp with time zone", "interval", "date[]")] == [1, 1, 0, 0]


def test_a_unit_is_read_as_it_is_written(bench: Any) -> None:
    """A unit with signs of regular expressions is only itself."""
    column = Column("a", "a", "numeric", unit="m.s")
    assert read(bench, column, "1.5 m.s") == (False, Decimal("1.5"))
    assert read(bench, column, "1.5 mxs")[0] is True
