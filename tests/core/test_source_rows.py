"""A slice of any database's table or query: the right rows, each exactly as at the source, or in quarantine."""

from __future__ import annotations

import json
import sqlite3
import struct
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, create_engine
from sqlalchemy.pool import NullPool

from penstock.core.errors import SchemaMismatch, SourceError, SourceUnavailable
from penstock.core.slice import day_slice
from penstock.core.source_rows import count_slices, stage_rows
from penstock.core.stage import Stage, column_types
from penstock.core.wanted import Wanted
from tests.mariadb import MariaDb

DAY, NEXT = "2026-01-05", "2026-01-06"
NOON = f"{DAY} 12:00:00"
ORDERS = "order_id bigint, code varchar(20), amount decimal(8,2), sold_at timestamp(6) NULL"


@contextmanager
def opened(url: str) -> Iterator[Connection]:
    """A session of the source."""
    engine = create_engine(url, poolclass=NullPool)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def extract(bench: Any, contract: Any, url: str, wanted: Wanted, key: str = DAY) -> Stage:
    """Stage a slice."""
    stage: Stage = bench.stage(contract, key)
    with opened(url) as source:
        stage_rows(source, bench.conn, contract, day_slice(key), stage, wanted, {"conn_id": "shop"})
    return stage


def load(bench: Any, contract: Any, url: str, wanted: Wanted, key: str = DAY) -> Any:
    """The whole flow of one slice."""
    stage = extract(bench, contract, url, wanted, key)
    bench.judge(contract, stage)
    return bench.publish(contract, stage)


def fill(mariadb: MariaDb, columns: str, rows: list[Any], name: str = "orders") -> Wanted:
    """Make the source's table anew with these rows."""
    marks = ", ".join(["%s"] * (len(rows[0]) if rows else 1))
    many = (f"INSERT INTO {name} VALUES ({marks})", rows) if rows else None
    mariadb.run(f"DROP TABLE IF EXISTS {name}", f"CREATE TABLE {name} ({columns})", many=many)
    return Wanted(f"shop.{name}")


@pytest.fixture
def lite(tmp_path: Path) -> Path:
    """The file of an SQLite database."""
    return tmp_path / "source.db"


def fill_lite(path: Path, columns: str, rows: list[Any]) -> str:
    """Make the SQLite table anew; return its URL."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DROP TABLE IF EXISTS orders")
        connection.execute(f"CREATE TABLE orders ({columns})")
        if rows:
            connection.executemany(f"INSERT INTO orders VALUES ({', '.join('?' * len(rows[0]))})", rows)
    return f"sqlite:///file:{path}?mode=ro&uri=true"


# --- every value ---------------------------------------------------------------------------------------------------

# name, type at the source, type in the contract, values, and what makes a value one that goes to quarantine
NO_TIME = ("0000-00-00", "2026-02-00", "2026-02-31")
texts = st.text(st.characters(codec="utf-8"), max_size=30)
moments = st.datetimes(datetime(1000, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999999))  # noqa: DTZ001
instants = st.datetimes(datetime(1970, 1, 2), datetime(2038, 1, 1))  # noqa: DTZ001 - what a TIMESTAMP holds
KINDS: list[tuple[str, str, str, st.SearchStrategy[Any]]] = [
    ("tiny", "tinyint", "smallint", st.integers(-128, 127)),
    ("utiny", "tinyint unsigned", "smallint", st.integers(0, 255)),
    ("flag", "tinyint(1)", "boolean", st.booleans()),
    ("small", "smallint", "smallint", st.integers(-(2**15), 2**15 - 1)),
    ("medium", "mediumint", "integer", st.integers(-(2**23), 2**23 - 1)),
    ("whole", "int", "integer", st.integers(-(2**31), 2**31 - 1)),
    ("uwhole", "int unsigned", "bigint", st.integers(0, 2**32 - 1)),
    ("big", "bigint", "bigint", st.integers(-(2**63), 2**63 - 1)),
    ("ubig", "bigint unsigned", "numeric", st.integers(0, 2**64 - 1)),
    ("zero", "int zerofill", "integer", st.integers(0, 2**31 - 1)),
    ("exact", "decimal(30,10)", "numeric(30,10)", st.decimals(-(10**19), 10**19, places=10)),
    ("large", "decimal(65,30)", "numeric", st.decimals(-(10**30), 10**30, places=20)),
    ("single", "float", "real", st.floats(width=32, allow_nan=False, allow_infinity=False, allow_subnormal=False)),
    ("twice", "double", "double precision", st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False)),
    ("year", "year", "smallint", st.integers(1901, 2155)),
    ("bit", "bit(1)", "boolean", st.booleans()),
    ("bits", "bit(64)", "numeric", st.integers(0, 2**64 - 1)),
    ("day", "date", "date", st.one_of(st.dates(date(1000, 1, 1)), st.sampled_from(NO_TIME))),
    ("moment", "datetime(6)", "timestamp", st.one_of(moments, st.sampled_from(NO_TIME))),
    ("instant", "timestamp(6) NULL", "timestamptz", instants),
    ("local", "datetime(6)", "timestamptz", moments.filter(lambda moment: 1001 < moment.year < 9999)),
    ("clock", "time(6)", "time", st.timedeltas(timedelta(hours=-30), timedelta(hours=30))),
    ("letters", "varchar(40)", "text", texts),
    ("short", "varchar(40)", "varchar(10)", texts),
    ("long", "longtext", "text", texts),
    (
        "latin",
        "varchar(40) CHARACTER SET latin1",
        "text",
        st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=30),
    ),
    ("choice", "enum('a','b''c','')", "text", st.sampled_from(["a", "b'c", ""])),
    ("several", "set('x','y')", "text", st.sampled_from(["", "x", "x,y"])),
    ("raw", "varbinary(40)", "bytea", st.binary(max_size=40)),
    ("blob", "longblob", "bytea", st.binary(max_size=40)),
    ("json", "json", "jsonb", st.sampled_from(["{}", '{"a": [1, null, "é\\n"]}', "[]", "1.50"])),
    ("id16", "binary(16)", "uuid", st.uuids().map(lambda found: found.bytes)),
]


def contract_of_kinds(build: Any) -> Any:
    """A contract with a column of every kind, of which each slice is the whole table."""

    def kinds(document: Any) -> None:
        columns = [{"name": name, "physicalType": type_} for name, _, type_, _ in KINDS]
        next(c for c in columns if c["name"] == "local")["logicalTypeOptions"] = {"defaultTimezone": "UTC"}  # type: ignore[call-overload]
        document["schema"][0]["properties"] = [
            {"name": "id", "physicalType": "integer", "primaryKey": True},
            {"name": "slice_day", "physicalName": "$slice", "physicalType": "date", "required": True},
            *columns,
        ]

    return build.contract(build.ORDERS, kinds, build.set_custom("partitionBy", "slice_day"))


def expected(name: str, value: Any) -> Any:
    """What the warehouse holds of a value; None where it cannot be held, and the row goes to quarantine."""
    if isinstance(value, str):
        bad = "\0" in value or (name in ("day", "moment") and value in NO_TIME) or (name == "short" and len(value) > 10)
        return None if bad else {"{}": {}, "[]": []}.get(value, value) if name == "json" else value
    if isinstance(value, timedelta):
        if not timedelta() <= value < timedelta(hours=24):
            return None
        return (datetime(2026, 1, 1) + value).time()  # noqa: DTZ001 - no moment
    if name in ("instant", "local"):
        return value.replace(tzinfo=UTC)
    return value


rows_of_kinds = st.lists(
    st.fixed_dictionaries({name: st.one_of(st.none(), values, values, values) for name, _, _, values in KINDS}),
    min_size=1,
    max_size=25,
)


def plain(name: str, value: Any) -> Any:
    """A value of the warehouse as it can be compared."""
    if isinstance(value, memoryview):
        return bytes(value)
    if name == "single" and value is not None:
        return struct.unpack("f", struct.pack("f", value))[0]  # psycopg2 reads the shortest digits as a double
    return value


@settings(deadline=None, max_examples=25, suppress_health_check=list(HealthCheck))
@given(rows=rows_of_kinds)
def test_any_row_of_mariadb_arrives_exactly_or_is_in_quarantine(
    bench: Any, build: Any, mariadb: MariaDb, rows: list[dict[str, Any]]
) -> None:
    """For every type: each value that the warehouse can hold is there bit by bit, each row with another is aside."""
    contract = contract_of_kinds(build)
    columns = ", ".join(["id int", *(f"`{name}` {type_}" for name, type_, _, _ in KINDS)])
    wanted = fill(
        mariadb, columns, [(number, *(row[name] for name, *_ in KINDS)) for number, row in enumerate(rows)], "kinds"
    )
    outcome = load(bench, contract, mariadb.url, wanted)
    found = {
        row[0]: {name: plain(name, value) for (name, *_), value in zip(KINDS, row[2:], strict=True)}
        for row in bench.run("SELECT * FROM test.orders")
    }
    quarantined = {int(number) for (number,) in bench.run("SELECT payload->>'id' FROM ops.quarantine")}
    bench.run("TRUNCATE ops.quarantine")
    bad = {
        number
        for number, row in enumerate(rows)
        if any(value is not None and expected(name, value) is None for name, value in row.items())
    }
    assert quarantined == bad
    assert outcome.extracted == len(rows) == outcome.loaded + outcome.quarantined
    for number, row in found.items():
        for name, value in row.items():
            sent = expected(name, rows[number][name]) if rows[number][name] is not None else None
            if name == "json" and isinstance(sent, str):
                sent = json.loads(sent)
            if name == "id16" and sent is not None:
                sent = str(uuid.UUID(bytes=sent))
            assert value == sent, (name, rows[number][name], value)


# --- which rows ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pg_type", "source_type", "zone", "inside", "outside"),
    [
        ("timestamptz", "timestamp(6) NULL", None, [f"{DAY} 00:00:00", f"{DAY} 23:59:59.999999"], [f"{NEXT} 00:00:00"]),
        (
            "timestamptz",
            "datetime(6)",
            "Asia/Tokyo",
            [f"{DAY} 09:00:00", f"{NEXT} 08:59:59.999999"],
            [f"{DAY} 08:59:59"],
        ),
        ("timestamptz", "date", "America/New_York", [DAY], ["2026-01-04", NEXT]),
        ("timestamp", "datetime(6)", None, [f"{DAY} 00:00:00", f"{DAY} 23:59:59.999999"], [f"{NEXT} 00:00:00"]),
        ("date", "date", None, [DAY], ["2026-01-04", NEXT]),
        ("date", "datetime", None, [f"{DAY} 00:00:00"], [f"{NEXT} 00:00:00"]),
    ],
)
def test_a_slice_of_mariadb_is_a_utc_day(
    bench: Any,
    build: Any,
    mariadb: MariaDb,
    *,
    pg_type: str,
    source_type: str,
    zone: str | None,
    inside: Any,
    outside: Any,
) -> None:
    """Whatever kind of column tells the moment, the rows of the UTC day come, pass the gate, and no others."""

    def by_type(document: Any) -> None:
        column = document["schema"][0]["properties"][3]
        column.update(physicalType=pg_type, **({"logicalTypeOptions": {"defaultTimezone": zone}} if zone else {}))
        column.pop("logicalType")

    contract = build.contract(build.ORDERS, by_type)
    rows = [(number, "A100", 1, moment) for number, moment in enumerate([*inside, *outside, None])]
    wanted = fill(mariadb, ORDERS.replace("timestamp(6) NULL", source_type), rows)
    outcome = load(bench, contract, mariadb.url, wanted)
    assert (outcome.extracted, outcome.loaded) == (len(inside), len(inside))
    with opened(mariadb.url) as source:
        assert count_slices(source, contract, wanted.table, [day_slice(DAY)]) == {DAY: len(inside)}


@pytest.mark.parametrize("zone", [None, "Asia/Tokyo"])
def test_a_slice_of_sqlite_is_a_utc_day(bench: Any, build: Any, lite: Path, zone: str | None) -> None:
    """A time with an offset is an instant; one without is local in the contract's zone, or breaks the contract."""

    def in_zone(document: Any) -> None:
        if zone:
            document["schema"][0]["properties"][3]["logicalTypeOptions"] = {"defaultTimezone": zone}

    contract = build.contract(build.ORDERS, in_zone)
    local = f"{DAY} 12:00:00"
    times = [f"{DAY}T00:00:00Z", f"{NEXT} 00:30:00+01:00", local, f"{DAY} 00:30:00+01:00", f"{NEXT}T00:00Z", None]
    url = fill_lite(lite, "order_id INTEGER, code TEXT, amount NUMERIC, sold_at DATETIME",
                    [(number, "A100", 1, moment) for number, moment in enumerate(times)])  # fmt: skip
    outcome = load(bench, contract, url, Wanted("orders"))
    assert (outcome.extracted, outcome.loaded) == (3, 3 if zone else 2)
    assert {number for (number,) in bench.run("SELECT order_id FROM test.orders")} == ({0, 1, 2} if zone else {0, 1})


def test_values_of_sqlite_have_types_of_their_own(bench: Any, build: Any, lite: Path) -> None:
    """Each value is judged by itself: what its column's type promises is not relied on, and nothing is lost."""
    contract = build.contract(build.ORDERS)
    rows = [
        (1, "A100", 1.5, NOON + "Z"),
        ("2", "A100", "2.50", NOON + "Z"),
        (2**40, "A\0B", None, NOON + "Z"),
        ("three", "A100", 1, NOON + "Z"),
        (4, b"A100", 10**12, NOON + "Z"),
        (5, b"\xff", 1, NOON + "Z"),
    ]
    url = fill_lite(lite, "order_id INTEGER, code TEXT, amount NUMERIC, sold_at TEXT", rows)
    outcome = load(bench, contract, url, Wanted("main.orders"))
    assert bench.run("SELECT order_id, amount FROM test.orders ORDER BY 1") == [
        (1, Decimal("1.50")),
        (2, Decimal("2.50")),
    ]
    found = dict(bench.run("SELECT payload->>'order_id', rules FROM ops.quarantine"))
    assert (outcome.extracted, outcome.quarantined) == (6, 4)
    assert {
        number: set(rules) & {"code.encoding", "order_id.cast", "amount.cast"} for number, rules in found.items()
    } == {
        str(2**40): {"code.encoding"},
        "three": {"order_id.cast"},
        "4": {"amount.cast"},
        "5": {"code.encoding"},
    }


def test_a_row_of_sqlite_that_tells_no_time_is_not_passed_over(bench: Any, build: Any, lite: Path) -> None:
    """It would be of no slice; the extract says how many there are, and stages nothing."""
    contract = build.contract(build.ORDERS)
    rows = [(1, "A100", 1, NOON), (2, "A100", 1, "05.01.2026"), (3, "A100", 1, 1767261600)]
    url = fill_lite(lite, "order_id INTEGER, code TEXT, amount NUMERIC, sold_at TEXT", rows)
    with pytest.raises(SchemaMismatch, match=r"In 2 rows the source's sold_at is no time"):
        extract(bench, contract, url, Wanted("orders"))
    assert bench.staged_tables() == []


def test_a_query_gets_the_slice_bound(bench: Any, build: Any, mariadb: MariaDb, lite: Path) -> None:
    """The slice's parameters are bound, a colon and a doubled percent sign are text, types are told by the driver."""
    contract = build.contract(build.ORDERS)
    wanted = fill(mariadb, ORDERS, [(n, "A100", n, f"2026-01-0{n} 12:00:00") for n in range(1, 9)])
    query = (
        f"SELECT order_id, 'A100' AS code, amount, sold_at FROM {wanted.table} WHERE sold_at >= %(slice_start)s"
        " AND sold_at < %(slice_end)s AND %(slice_key)s <> ':x' AND code LIKE 'A%%' -- the day;"
    )
    assert load(bench, contract, mariadb.url, Wanted(query=query)).loaded == 1
    assert bench.run("SELECT order_id, code, amount, sold_at FROM test.orders") == [
        (5, "A100", 5, datetime(2026, 1, 5, 12, tzinfo=UTC))
    ]
    url = fill_lite(lite, "n INTEGER, at TEXT", [(1, f"{DAY} 00:00:00"), (2, f"{NEXT} 00:00:00")])
    query = (
        "SELECT n AS order_id, 'B200' AS code, 1 AS amount, at || 'Z' AS sold_at FROM orders"
        " WHERE at >= %(slice_start)s AND at < %(slice_end)s"
    )
    assert load(bench, contract, url, Wanted(query=query)).loaded == 1
    assert bench.run("SELECT order_id, code FROM test.orders") == [(1, "B200")]


def test_a_float_and_bits_of_a_query_are_exact(bench: Any, build: Any, mariadb: MariaDb) -> None:
    """The server would write a FLOAT with six digits, bits as bytes and a TIMESTAMP without its offset."""

    def floats(document: Any) -> None:
        document["schema"][0]["properties"][2].update(physicalType="real", quality=[])
        document["schema"][0]["properties"][0].update(physicalType="integer")

    contract = build.contract(build.ORDERS, floats)
    fill(mariadb, "order_id bit(8), code text, amount float, sold_at timestamp NULL", [(7, "A100", 16777213, NOON)])
    outcome = load(bench, contract, mariadb.url, Wanted(query="SELECT * FROM orders"))
    assert outcome.loaded == 1
    assert bench.run("SELECT order_id, amount FROM test.orders") == [(7, 16777213.0)]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELECT nothing FROM orders", r"The query cannot be run: .*nothing"),
        ("SELECT %(key)s", r"cannot be bound .*known are slice_key, slice_start, slice_end"),
        ("SELECT 5 % 3", "cannot be bound"),
        ("SELECT 1 AS order_id", "it sends no field code"),
        ("SELECT *, 1 AS order_id FROM orders", "The query cannot be run: .*order_id"),
    ],
)
def test_a_query_that_does_not_fit_is_named(bench: Any, build: Any, mariadb: MariaDb, query: str, said: str) -> None:
    """Dataset, slice, what is wrong and what to do; nothing is staged."""
    fill(mariadb, ORDERS, [])
    with pytest.raises(SchemaMismatch, match=rf"\[test/orders {DAY}\] .*{said}.* Next: .*clear `extract`"):
        extract(bench, build.contract(build.ORDERS), mariadb.url, Wanted(query=query))
    assert bench.staged_tables() == []


@pytest.mark.parametrize(
    ("columns", "table", "said"),
    [
        (ORDERS, "shop.nowhere", "no table shop.nowhere"),
        (ORDERS.replace("code varchar(20), ", ""), "shop.orders", "it sends no field code"),
        (ORDERS.replace("timestamp(6) NULL", "varchar(30)"), "shop.orders", "sold_at is text; slices are cut by"),
        (ORDERS.replace("sold_at", "at"), "shop.orders", "no column sold_at"),
        (ORDERS.replace("timestamp(6) NULL", "datetime"), "shop.orders", r"sold_at says no offset.*defaultTimezone"),
    ],
)
def test_a_table_that_does_not_fit_is_named(
    bench: Any, build: Any, mariadb: MariaDb, columns: str, table: str, said: str
) -> None:
    """A missing table, missing columns, no column to cut slices by, a time without an offset: all are named."""
    fill(mariadb, columns, [])
    with pytest.raises(SchemaMismatch, match=rf"\[test/orders {DAY}\].*{said}.*clear `extract`"):
        extract(bench, build.contract(build.ORDERS), mariadb.url, Wanted(table))
    assert bench.run("SELECT FROM ops.stage") == []


def test_a_lookback_takes_late_rows_along(bench: Any, build: Any, mariadb: MariaDb) -> None:
    """Rows of the days before come again and change nothing that is newer; no figures are kept for reconciliation."""
    contract = build.contract(build.PEOPLE)
    columns = "person_id int, city varchar(20), changed_at timestamp NULL"
    wanted = fill(mariadb, columns, [(1, "Rome", NOON)], "people")
    wanted = Wanted(wanted.table, lookback=timedelta(days=1))
    load(bench, contract, mariadb.url, wanted)
    mariadb.run(f"INSERT INTO people VALUES (2, 'Oslo', '{NOON}'), (3, 'Bonn', '{NEXT} 12:00:00')")
    assert load(bench, contract, mariadb.url, wanted, NEXT).extracted == 3
    assert bench.run("SELECT person_id, city FROM test.people ORDER BY 1") == [(1, "Rome"), (2, "Oslo"), (3, "Bonn")]
    details = [detail for (detail,) in bench.run("SELECT detail FROM ops.slice_ledger")]
    assert all("source_rows" not in detail and detail["source"] == wanted.table for detail in details)


# --- how it is read -------------------------------------------------------------------------------------------------


def test_what_the_source_had_is_recorded_and_can_be_asked_again(bench: Any, build: Any, mariadb: MariaDb) -> None:
    """The number of rows stands with the stage; the source tells for each slice what it has now."""
    contract = build.contract(build.ORDERS)
    rows = [(n, "A100", 1, f"2026-01-0{n} 12:00:00") for n in (4, 5, 6)] + [(9, "A100", 1, NOON)]
    wanted = fill(mariadb, ORDERS, rows)
    extract(bench, contract, mariadb.url, wanted)
    assert bench.run("SELECT extracted, detail FROM ops.stage") == [
        (2, {"conn_id": "shop", "source": "shop.orders", "source_rows": 2})
    ]
    slices = [day_slice(f"2026-01-0{n}") for n in (7, 5, 4)]
    with opened(mariadb.url) as source:
        counts = count_slices(source, contract, wanted.table, slices)
    assert counts == {"2026-01-07": 0, "2026-01-05": 2, "2026-01-04": 1}


def test_only_what_is_sure_to_fit_is_staged_typed(bench: Any, build: Any, mariadb: MariaDb) -> None:
    """Where all values of a column are proved nothing is left to cast of it; another column is staged as text."""
    contract = build.contract(build.ORDERS)
    found = []
    for amount in (1, 1234567):
        wanted = fill(mariadb, ORDERS.replace("decimal(8,2)", "decimal(9,2)"), [(1, "A100", amount, NOON)])
        stage = extract(bench, contract, mariadb.url, wanted)
        with bench.conn, bench.conn.cursor() as cur:
            types = column_types(cur, stage.table)
        found.append([types[name] for name in ("order_id", "amount", "code", "sold_at")])
    assert found == [["bigint", kind, "text", "timestamp with time zone"] for kind in ("numeric(8,2)", "text")]


cells = st.sampled_from([None, 1, -3, 1.5, 0.1, "2.50", 1e20, "x", "", "a\0b", NOON, b"\xff", 2**62])


@settings(deadline=None, max_examples=30, suppress_health_check=list(HealthCheck))
@given(rows=st.lists(st.tuples(cells, cells, cells, st.just(f"{NOON}+00:00")), max_size=8))
def test_rows_are_the_same_whether_they_are_proved_or_looked_at(
    bench: Any, build: Any, lite: Path, rows: list[Any]
) -> None:
    """Of whatever values SQLite has, table and quarantine are the same; only the way there is shorter."""
    url, found = fill_lite(lite, "order_id, code, amount, sold_at", rows), []
    for known in (True, False):
        bench.reset("test")
        bench.run("TRUNCATE ops.quarantine")
        contract = build.contract(build.ORDERS, build.set_custom("quarantineBudget", "100%"))
        with pytest.MonkeyPatch.context() as patch:
            if not known:
                patch.setattr("penstock.core.proof.pattern_of", lambda _: None)
            load(bench, contract, url, Wanted("orders"))
        table = bench.run("SELECT * FROM test.orders ORDER BY 1, 2, 3, 4")
        found.append((table, bench.run("SELECT rules, payload FROM ops.quarantine ORDER BY 1, 2")))
    assert found[0] == found[1]


@pytest.mark.parametrize(("policy", "loaded"), [("discard", 2), ("evolve", 2), ("quarantine", 1)])
def test_new_columns_follow_the_schema_policy(
    bench: Any, build: Any, mariadb: MariaDb, policy: str, loaded: int
) -> None:
    """What the contract does not name is left out, taken in with its type, or sends the row to quarantine."""
    contract = build.contract(build.ORDERS, build.set_custom("schemaPolicy", policy))
    rows = [(1, "A100", 1, NOON, 2**32 - 1), (2, "A100", 1, NOON, None)]
    wanted = fill(mariadb, ORDERS + ", `New Colour` int unsigned", rows)
    assert load(bench, contract, mariadb.url, wanted).loaded == loaded
    if policy == "evolve":
        assert bench.run("SELECT new_colour FROM test.orders ORDER BY order_id") == [(2**32 - 1,), (None,)]
    if policy == "quarantine":
        assert bench.run("SELECT rules, payload->'$extra' FROM ops.quarantine") == [
            (["row.unknown_fields"], {"New Colour": str(2**32 - 1)})
        ]


def test_names_with_quotes_capitals_and_percent_are_safe(bench: Any, build: Any, mariadb: MariaDb, lite: Path) -> None:
    """Whatever a source calls its tables and columns, and whatever its values hold, they are data and never SQL."""
    name = "Co\"de%%(x)s :y {}'"
    values = ["'; DROP TABLE x; --", 'a"b', "%s%%", "back\\slash\n\\.\n", "", "NULL", "\\N"]

    def rename(document: Any) -> None:
        document["schema"][0]["properties"][1].update(physicalName=name, quality=[])

    contract = build.contract(build.ORDERS, rename)
    rows = [(number, value, 1, NOON) for number, value in enumerate(values)]
    fill(mariadb, ORDERS.replace("code", f"`{name}`"), rows)
    mariadb.run("DROP TABLE IF EXISTS `We\"ird%s'T`", "RENAME TABLE orders TO `We\"ird%s'T`")
    load(bench, contract, mariadb.url, Wanted("shop.We\"ird%s'T"))
    assert [code for (code,) in bench.run("SELECT code FROM test.orders ORDER BY order_id")] == values
    quoted = '"' + name.replace('"', '""') + '"'
    url = fill_lite(lite, f"order_id INTEGER, {quoted} TEXT, amount NUMERIC, sold_at TEXT",
                    [(n, value, 1, at + "Z") for n, value, _, at in rows])  # fmt: skip
    load(bench, contract, url, Wanted("orders"))
    assert [code for (code,) in bench.run("SELECT code FROM test.orders ORDER BY order_id")] == values


def test_the_source_is_only_read(bench: Any, build: Any, mariadb: MariaDb) -> None:
    """The transaction at the source is read-only: a function that would write is refused, even to one who may."""
    contract = build.contract(build.ORDERS)
    fill(mariadb, "at datetime", [], "log")
    mariadb.run(
        "DROP FUNCTION IF EXISTS note",
        "CREATE FUNCTION note() RETURNS int BEGIN INSERT INTO log VALUES (now()); RETURN 1; END",
        "GRANT ALL ON *.* TO 'reader'@'%'",
    )
    try:
        query = f"SELECT note() AS order_id, 'A100' AS code, 1 AS amount, '{NOON}' AS sold_at"
        with pytest.raises((SourceError, SchemaMismatch), match="READ ONLY"):
            extract(bench, contract, mariadb.url, Wanted(query=query))
    finally:
        mariadb.run("REVOKE ALL ON *.* FROM 'reader'@'%'", "GRANT SELECT ON *.* TO 'reader'@'%'")
    assert mariadb.run("SELECT count(*) FROM log") == [(0,)]


def test_all_is_read_in_one_snapshot(bench: Any, build: Any, mariadb: MariaDb, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row that is committed after the transaction has begun is not among them."""
    from penstock.core import source_rows

    contract = build.contract(build.ORDERS)
    wanted = fill(mariadb, ORDERS, [(1, "A100", 1, NOON)])
    check = source_rows.check_fields

    def meddle(*arguments: Any, **more: Any) -> None:
        mariadb.run(f"INSERT INTO orders VALUES (2, 'A100', 1, '{NOON}')")
        check(*arguments, **more)

    monkeypatch.setattr(source_rows, "check_fields", meddle)
    stage = extract(bench, contract, mariadb.url, wanted)
    assert bench.run(f"SELECT order_id FROM staging.{stage.name}") == [(1,)]
    assert mariadb.run("SELECT count(*) FROM orders") == [(2,)]


def test_a_connection_that_breaks_leaves_nothing(bench: Any, build: Any, mariadb: MariaDb) -> None:
    """The server ends the session in the middle of the rows: the error is worth a retry, no row is staged."""
    contract = build.contract(build.ORDERS)
    wanted = fill(mariadb, ORDERS.replace("(20)", "(2000)"), [])  # more than what a socket holds
    mariadb.run(f"INSERT INTO orders SELECT seq, repeat('x', 2000), 1, '{NOON}' FROM seq_1_to_20000")
    stage = bench.stage(contract, DAY)
    with opened(mariadb.url) as source:
        (session,) = source.exec_driver_sql("SELECT connection_id()").one()
        source.rollback()
        killing: Any = Killing(bench.conn, lambda: mariadb.run(f"KILL {session}"))
        with pytest.raises(SourceUnavailable, match=rf"\[test/orders {DAY}\] .*broke"):
            stage_rows(source, killing, contract, day_slice(DAY), stage, wanted)
    assert bench.staged_tables() == []
    assert bench.run("SELECT FROM ops.stage") == []


class Killing:
    """The warehouse, which does something when the first rows are copied."""

    def __init__(self, conn: Any, act: Any) -> None:
        self._conn, self._act = conn, act

    def __enter__(self) -> Any:
        return self._conn.__enter__()

    def __exit__(self, *error: object) -> Any:
        return self._conn.__exit__(*error)

    def cursor(self) -> Any:
        """A cursor of the warehouse, whose COPY acts before the second block."""
        act = self._act

        class Cursor(psycopg2.extensions.cursor):
            def copy_expert(self, sql: Any, file: Any, size: int = 8192) -> None:
                class Reader:
                    blocks = 0

                    def read(self, size: int = -1) -> bytes:
                        self.blocks += 1
                        if self.blocks == 2:
                            act()
                        return file.read(size)  # type: ignore[no-any-return]

                    readline = read

                super().copy_expert(sql, Reader(), size)

        return self._conn.cursor(cursor_factory=Cursor)
