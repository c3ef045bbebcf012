"""What is told of a source from its catalog and its rows."""

from __future__ import annotations

import random
from typing import Any

import pytest
from psycopg2.sql import SQL, Literal

from penstock.core.contract.model import Column
from penstock.core.errors import SourceError
from penstock.core.gate.text_values import fails
from penstock.core.lake import Number
from penstock.core.profile import ColumnProfile, Profile, profile_sample, profile_table
from penstock.core.sample import Sample


def profiled(*values: Any, field: str = "x", typed: bool = False) -> ColumnProfile:
    """The profile of one field with these values."""
    (column,) = profile_sample(Sample((field,), [[value] for value in values], True, typed=typed)).columns
    return column


@pytest.mark.parametrize(
    ("values", "type_"),
    [
        (("1", "-2", "+3"), "bigint"),
        (("0", "1"), "bigint"),
        (("1", "9223372036854775808"), "numeric"),
        (("1", "2.5"), "numeric"),
        (("1e5", "2"), "numeric"),
        (("00123", "00456"), "text"),
        (("0.5", "0"), "numeric"),
        (("1,5", "2,5"), "text"),
        (("NaN", "1"), "text"),
        (("true", "False"), "boolean"),
        (("yes", "no"), "boolean"),
        (("no", "no"), "text"),
        (("2026-01-05", "2026-12-31"), "date"),
        (("2026-02-30", "2026-02-31"), "text"),
        (("2026-01-05T10:00:00Z", "2026-01-05 10:00:00.5+01:00"), "timestamp with time zone"),
        (("2026-01-05T10:00:00", "2026-01-05 11:00"), "timestamp without time zone"),
        (("2026-01-05 00:00:00", "2026-01-06 00:00:00"), "timestamp without time zone"),
        (("2026-01-05T10:00:00Z", "2026-01-05 11:00"), "timestamp without time zone"),
        (("2026-01-05T10:00:00+01:00", "2026-01-05 11:00"), "text"),
        (("10:30", "11:45:10.5"), "time without time zone"),
        (("0a8e1a4c-9d3e-4e0a-b2f0-9d6a0a3c1b11",), "uuid"),
        (('{"a": 1}', "[1, 2]"), "jsonb"),
        (("{a", "[b"), "text"),
        (("now", "today"), "text"),
        (("now", "infinity"), "text"),
        (("", ""), "text"),
        ((None, None), "text"),
    ],
)
def test_guesses_the_type(values: tuple[str | None, ...], type_: str) -> None:
    """The most special type that the gate reads all values as; a code with leading zeros is no number."""
    column = profiled(*values)
    assert (column.type, column.misfits) == (type_, 0)


@pytest.mark.parametrize(
    ("values", "type_", "format_"),
    [
        (("28/02/2026", "01/02/2026"), "date", "dd/MM/yyyy"),
        (("02/28/2026", "02/01/2026"), "date", "MM/dd/yyyy"),
        (("5.2.2026", "17.11.2026"), "date", "d.M.yyyy"),
        (("17.02.2026 10:30", "01.02.2026 09:05"), "timestamp without time zone", "dd.MM.yyyy HH:mm"),
        (("2/28/2026 9:05", "12/1/2026 23:59"), "timestamp without time zone", "M/d/yyyy H:mm"),
        (("01/02/2026", "03/04/2026"), "text", None),
    ],
)
def test_finds_how_dates_are_written(values: tuple[str, ...], type_: str, format_: str | None) -> None:
    """A format is taken where it is the only reading; where day and month could be swapped, the column stays text."""
    column = profiled(*values)
    assert (column.type, column.format) == (type_, format_)
    if format_ is None:
        assert "the sample does not tell which" in (column.remark or "")


def test_equal_readings_are_no_doubt() -> None:
    """Days that give the same dates by either format need no decision."""
    assert profiled("01/01/2026", "02/02/2026").type == "date"


def test_tolerates_few_misfits() -> None:
    """A word for nothing in one row of a hundred does not make a number a text, and is told.

    In three rows it does, and so does any other value: rows with `C17` for an invoice may be as good as the rest.
    """
    numbers = [str(number) for number in range(99)]
    column = profiled(*numbers, "n/a")
    assert (column.type, column.misfits) == ("bigint", 1)
    assert "such as 'n/a'" in (column.remark or "")
    assert profiled(*numbers[:97], "a", "b", "c").type == "text"
    column = profiled(*numbers[:90], *["NULL"] * 10)
    assert (column.type, column.remark) == ("text", "text, for 10 of 100 values are 'NULL', else it were bigint")
    column = profiled(*numbers, "C17")
    assert (column.type, column.remark) == ("text", "text, for 1 of 100 values are no bigint, such as 'C17'")
    assert profiled(*["true", "false"] * 50, "maybe").type == "text"
    assert profiled(*numbers, "1.5").type == "numeric"


def test_json_tells_numbers_from_text() -> None:
    """A JSON string of digits is text; numbers, booleans and nested values are what they are."""
    assert profiled("123", "456", typed=True).type == "text"
    assert profiled(Number("123"), Number("4"), typed=True).type == "bigint"
    assert profiled(Number("1.50"), typed=True).type == "numeric"
    assert profiled(True, None, False, typed=True).type == "boolean"
    assert profiled({"a": Number("1")}, [], typed=True).type == "jsonb"
    assert profiled("2026-01-05", typed=True).type == "date"
    mixed = profiled({"a": Number("1")}, "b", typed=True)
    assert (mixed.type, mixed.remark) == ("text", "values of several kinds: nested, text")


def test_counts_and_extent() -> None:
    """Nulls, different values, the extent of numbers and days, the lengths of texts."""
    column = profiled("9", "10", None, "10")
    assert (column.rows, column.nulls, column.distinct, column.least, column.greatest) == (4, 1, 2, 9, 10)
    assert not column.unique
    column = profiled("2026-01-05", "2025-12-31")
    assert (str(column.least), str(column.greatest), column.unique) == ("2025-12-31", "2026-01-05", True)
    assert profiled("abc", "d").lengths == (1, 3)


def test_few_values_are_listed() -> None:
    """A text column with few values, each seen often, lists them; one with many, or with few rows, does not."""
    assert profiled(*["paid", "lost"] * 10).values == ("lost", "paid")
    assert profiled("paid", "lost").values == ()
    assert profiled(*map(str, range(100)), *["x"] * 100).values == ()
    assert profiled(*["same"] * 100).values == ()


@pytest.mark.parametrize(
    ("field", "value", "personal"),
    [
        ("contact", "a@example.org", "e-mail addresses"),
        ("customerEmail", "none", "e-mail addresses"),
        ("phone", "+49 30 1234567", "telephone numbers"),
        ("Tel", "03012345678", "telephone numbers"),
        ("mobile_no", "4915112345678", "telephone numbers"),
        ("telemetry", "03012345678", None),
        ("phone_model", "Pixel 9", None),
        ("id", "4915112345678", None),
    ],
)
def test_personal_columns(field: str, value: str, personal: str | None) -> None:
    """E-mail addresses and telephone numbers are told by name and look; they stay text and list no values."""
    column = profiled(*[value] * 30, field=field)
    assert column.personal == personal
    if personal:
        assert (column.type, column.values) == ("text", ())


def test_likely_key() -> None:
    """A field that is unique in enough rows and is named, or placed, like a key is taken for it."""

    def key(*fields: str, rows: int = 30, repeat: str = "") -> tuple[str, ...]:
        lines = [[str(number % 5 if field == repeat else number) for field in fields] for number in range(rows)]
        return profile_sample(Sample(fields, lines, True)).key

    assert key("code", "n") == ("code",)
    assert key("n", "order_id", repeat="n") == ("order_id",)
    assert key("n", "orderId", repeat="n") == ("orderId",)
    assert key("n", "amount", repeat="n") == ()
    assert key("order_id", "n", repeat="order_id") == ()
    assert key("order_id", rows=5) == ()


WORDS = ("7", "-12", "1.5", "1e3", "0x1F", "1_000", "007", "true", "no", "2026-01-05", "2026-02-30", "10:30", "24:00")
WORDS += ("2026-01-05T10:00:00Z", "2026-01-05 10:00", "2026-1-5", "05/02/2026", "17/02/2026", "5.2.2026 9:07", "abc")
WORDS += ('{"a": 1}', "[1]", "{", "NaN", "inf", "now", "", " 8 ", "٣", "99999999999999999999", "1e400", "0000-01-01")
WORDS += (
    "0a8e1a4c-9d3e-4e0a-b2f0-9d6a0a3c1b11",
    "2026-01-05T10:00:00+25:00",
    "10:30:59.1234567",
    "²",
    "1 ",
    "2026-01-05Z",
)


def test_the_gate_reads_what_the_profile_takes_for_good(bench: Any) -> None:
    """Over random columns: a text that is no misfit here casts in the gate to the guessed type, every one of them."""
    rng = random.Random(5)  # noqa: S311 - repeatable
    seen = set()
    for _ in range(600):
        main = rng.choice(WORDS)
        values = [main] * 60 + [rng.choice(WORDS) for _ in range(rng.randint(0, 2))]
        column = profiled(*values)
        seen.add(column.type)
        found = Column("x", "x", column.type, format=column.format)
        refused = bench.one(
            SQL("SELECT count(*) FROM unnest({}::text[]) AS x WHERE {}").format(Literal(values), fails(found, SQL("x")))
        )
        assert refused <= column.misfits, (values, column)
    assert len(seen) >= 8


# --- Postgres ----------------------------------------------------------------------------------------------------


def table_profile(bench: Any, table: str, rows: int = 1000) -> Profile:
    """The profile of a table, in a transaction that is not kept."""
    with bench.conn, bench.conn.cursor() as cur:
        return profile_table(cur, table, rows)


def test_types_and_comments_are_the_catalogs(bench: Any) -> None:
    """Types come from the catalog, domains as what they are made of, others than Penstock knows as text."""
    bench.run("CREATE TYPE src.mood AS ENUM ('ok', 'bad')")
    bench.run("CREATE DOMAIN src.price AS numeric(8,2)")
    bench.run(
        "CREATE TABLE src.t (a int, b varchar(20) NOT NULL, c src.price, d src.mood, e timestamptz, f text[], g money,"
        " h float8, i timestamp)"
    )
    bench.run("COMMENT ON COLUMN src.t.a IS 'first'")
    bench.run("COMMENT ON TABLE src.t IS 'a table'")
    bench.run(
        "INSERT INTO src.t VALUES (1, 'x', 9.5, 'ok', '2026-01-05 10:00+02', '{1}', 5, 'NaN', 'infinity'),"
        " (NULL, 'y', 10, 'ok', '2026-01-06 10:00+02', NULL, 6, 2, '2026-01-05')"
    )
    profile = table_profile(bench, "src.t")
    assert [column.type for column in profile.columns] == [
        "integer",
        "character varying(20)",
        "numeric(8,2)",
        "text",
        "timestamp with time zone",
        "text[]",
        "text",
        "double precision",
        "timestamp without time zone",
    ]
    by_field = {column.field: column for column in profile.columns}
    assert (by_field["a"].comment, profile.comment) == ("first", "a table")
    assert (by_field["a"].nulls, by_field["b"].not_null, by_field["a"].not_null) == (1, True, False)
    assert (by_field["c"].least, by_field["h"].greatest) == (9.5, 2)
    assert str(by_field["e"].greatest) == "2026-01-06 08:00:00+00:00"
    assert str(by_field["i"].greatest) == "2026-01-05 00:00:00"
    assert (profile.rows, profile.whole, profile.key) == (2, True, ())


@pytest.mark.parametrize(
    ("columns", "extra", "key"),
    [
        ("b int, a int, PRIMARY KEY (a, b)", "", ("a", "b")),
        ("a int NOT NULL UNIQUE, b int", "", ("a",)),
        ("a int UNIQUE, b int", "", ()),
        ("a int NOT NULL, b int NOT NULL", "CREATE UNIQUE INDEX ON src.k (a) WHERE b > 0", ()),
        ("a int NOT NULL, b int NOT NULL", "CREATE UNIQUE INDEX ON src.k (abs(a))", ()),
        ("a int NOT NULL, b int NOT NULL", "CREATE UNIQUE INDEX ON src.k (b, a) INCLUDE (c)", ("b", "a")),
        ("a int NOT NULL UNIQUE, b int PRIMARY KEY", "", ("b",)),
        ("a int, b int", "CREATE INDEX ON src.k (a)", ()),
    ],
)
def test_keys_are_the_catalogs(bench: Any, columns: str, extra: str, key: tuple[str, ...]) -> None:
    """The primary key, else a unique index that holds for every row; one over NULLs or a part of the rows is none."""
    bench.run(
        f"CREATE TABLE src.k ({columns.replace('b int,', 'b int, c text,') if 'PRIMARY' in columns else columns})"
    )
    bench.run("ALTER TABLE src.k ADD COLUMN IF NOT EXISTS c text")
    if extra:
        bench.run(extra)
    assert table_profile(bench, "src.k").key == key


def test_sample_of_a_large_table(bench: Any) -> None:
    """A large table is sampled all over, the same rows each time; a view, which has no pages, by its first rows."""
    bench.run("CREATE TABLE src.big AS SELECT n, repeat('x', 100) AS filler FROM generate_series(1, 20000) AS n")
    bench.run("CREATE VIEW src.seen AS SELECT * FROM src.big")
    bench.run("ANALYZE src.big")
    first = table_profile(bench, "src.big", rows=1000)
    assert not first.whole
    assert 300 < first.rows <= 1000
    assert first.columns[0].greatest > 10_000
    assert table_profile(bench, "src.big", rows=1000) == first
    assert table_profile(bench, "src.seen", rows=1000).rows == 1000


def test_changes_nothing_of_the_session(bench: Any) -> None:
    """Settings of the profile end with its transaction."""
    bench.run("CREATE TABLE src.t (a int)")
    bench.run("SET TIME ZONE 'Europe/Rome'")
    table_profile(bench, "src.t")
    assert bench.one("SHOW TIME ZONE") == "Europe/Rome"


def test_missing_table_is_named(bench: Any) -> None:
    """A table that is not there is told."""
    with pytest.raises(SourceError, match=r"no table src\.nothing"):
        table_profile(bench, "src.nothing")
