"""What differs between databases: types, edges of slices, conditions."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import column, create_engine, types
from sqlalchemy.dialects import mysql

from penstock.core.dialects import NAIVE, ZONED, Dialect, Field, MySql, Sqlite, dialect_of, local_edge, pg_type_of
from penstock.core.slice import day_slice

DAY = day_slice("2026-01-05")


def read_by_the_gate(local: datetime, zone: ZoneInfo) -> datetime:
    """A local time as Postgres' `AT TIME ZONE` reads it: the second of two, and a skipped one by the old offset."""
    offsets = [local.replace(tzinfo=zone, fold=fold).utcoffset() for fold in (0, 1)]
    return (local - min(offset for offset in offsets if offset is not None)).replace(tzinfo=UTC)


@settings(max_examples=300)
@given(
    zone=st.sampled_from(sorted(available_timezones() - {"localtime"})),
    day=st.dates(date(1975, 1, 1), date(2037, 1, 1)),
)
def test_a_local_edge_parts_the_slices(zone: str, day: date) -> None:
    """The edge is read as the slice's first instant or a later one, and what comes a moment before it as an earlier."""
    moment = datetime(day.year, day.month, day.day, tzinfo=UTC)
    edge = local_edge(moment, zone)
    assert read_by_the_gate(edge, ZoneInfo(zone)) >= moment
    before = edge - timedelta(microseconds=1)
    exists = (
        before.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None) == before
    )
    assert not exists or read_by_the_gate(before, ZoneInfo(zone)) < moment


@pytest.mark.parametrize(
    ("type_", "expected"),
    [
        (types.Integer(), "integer"),
        (types.SmallInteger(), "smallint"),
        (types.BigInteger(), "bigint"),
        (types.Numeric(12, 3), "numeric(12,3)"),
        (types.Numeric(), "numeric"),
        (types.Float(), "double precision"),
        (types.Boolean(), "boolean"),
        (types.Date(), "date"),
        (types.DateTime(), NAIVE),
        (types.DateTime(timezone=True), ZONED),
        (types.Time(), "time without time zone"),
        (types.String(5), "text"),
        (types.Text(), "text"),
        (types.LargeBinary(), "bytea"),
        (types.VARBINARY(5), "bytea"),
        (types.JSON(), "jsonb"),
        (types.Uuid(), "uuid"),
        (types.NullType(), None),
    ],
)
def test_pg_type_of(type_: Any, expected: str | None) -> None:
    """Every kind of type that SQLAlchemy has stands for one of Postgres', or for none that is known."""
    assert pg_type_of(type_) == expected


MYSQL = [
    (mysql.TINYINT(), "smallint", True),
    (mysql.TINYINT(unsigned=True), "smallint", True),
    (mysql.SMALLINT(unsigned=True), "integer", True),
    (mysql.MEDIUMINT(), "integer", True),
    (mysql.INTEGER(), "integer", True),
    (mysql.INTEGER(unsigned=True), "bigint", True),
    (mysql.BIGINT(), "bigint", True),
    (mysql.BIGINT(unsigned=True), "numeric(20,0)", True),
    (mysql.DECIMAL(65, 30), "numeric(65,30)", True),
    (mysql.FLOAT(), "real", True),
    (mysql.DOUBLE(), "double precision", True),
    (mysql.YEAR(), "smallint", True),
    (mysql.BIT(1), "boolean", False),
    (mysql.BIT(64), "numeric(20,0)", True),
    (mysql.DATE(), "date", False),
    (mysql.DATETIME(), NAIVE, False),
    (mysql.TIMESTAMP(), ZONED, False),
    (mysql.TIME(), "time without time zone", False),
    (mysql.VARCHAR(20), "text", False),
    (mysql.LONGTEXT(), "text", False),
    (mysql.ENUM("a"), "text", False),
    (mysql.LONGBLOB(), "bytea", True),
    (types.VARBINARY(8), "bytea", True),
]


@pytest.mark.parametrize(("type_", "expected", "exact"), MYSQL)
def test_types_of_mysql(type_: Any, expected: str, *, exact: bool) -> None:
    """Numbers and bytes are sure to fit the type that stands for them; a time may be none, a text may hold a NUL."""
    field = MySql().field("c", type_)
    assert (field.type, field.exact) == (expected, exact)


def test_what_is_short_is_known() -> None:
    """Rows of short values are gathered by their number, others by their size too."""
    found = [
        MySql().field("c", type_).short for type_ in (mysql.INTEGER(), mysql.VARCHAR(255), mysql.TEXT(), mysql.BLOB())
    ]
    assert found == [True, True, False, False]
    assert not Sqlite().field("c", types.Integer()).short
    assert not MySql().described("c", 252).short


@pytest.mark.parametrize(
    ("dialect", "type_", "zone", "edge"),
    [
        (Dialect(), ZONED, "Asia/Tokyo", DAY.start),
        (Dialect(), NAIVE, "Asia/Tokyo", datetime(2026, 1, 5, 9)),  # noqa: DTZ001
        (Dialect(), "date", "UTC", date(2026, 1, 5)),
        (Dialect(), "date", "Asia/Tokyo", date(2026, 1, 6)),
        (Dialect(), "date", "America/New_York", date(2026, 1, 5)),
        (MySql(), ZONED, "UTC", datetime(2026, 1, 5)),  # noqa: DTZ001
    ],
)
def test_edges(dialect: Dialect, type_: str, zone: str, edge: object) -> None:
    """A slice begins at an instant, at a local time, or at the first day that begins in it."""
    assert dialect.edge(DAY.start, Field("c", type_), zone) == edge


ZONE_CUT = (
    "concat(CASE WHEN (locate('.', c) > 0) THEN trim(TRAILING '.' FROM  trim(TRAILING '0' FROM  c)) ELSE c END, '+00')"
)


@pytest.mark.parametrize(
    ("field", "sql"),
    [
        (Field("c", "real"), "c * 1e0"),
        (Field("c", "boolean", bits=True), "c + 0"),
        (
            Field("c", ZONED),
            ZONE_CUT,
        ),
        (Field("c", NAIVE), "c"),
    ],
)
def test_what_mysql_would_not_write_out_is_asked_for_otherwise(field: Field, sql: str) -> None:
    """A FLOAT by all its digits, bits as a number, an instant with its offset."""
    assert str(MySql().read(column("c"), field)) == sql


def test_each_database_has_its_dialect() -> None:
    """SQLite and MySQL are known, any other is taken as SQLAlchemy knows it."""
    with create_engine("sqlite://").connect() as connection:
        assert type(dialect_of(connection)) is Sqlite
    assert Dialect().described("c", 1) == Field("c")
    assert Sqlite().parameter(DAY.start) == "2026-01-05 00:00:00"
    assert Dialect().parameter(DAY.start) == datetime(2026, 1, 5)  # noqa: DTZ001
