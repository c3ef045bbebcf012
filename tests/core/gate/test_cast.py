"""Text that does not cast goes to quarantine, row by row; what casts keeps all it said."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.core.gate.value_class import ValueClass
from penstock.core.lake import decode

DAY = "2026-01-01"
NOON = f"{DAY}T12:00:00Z"

# by type: texts that cast, with their value in Postgres' own words where it reads them otherwise
GOOD: dict[str, dict[str | None, str | None]] = {
    "numeric(8,2)": {
        text: text for text in ("0", "-0.10", "1.5", " 7 ", "1e3", "999999.99", "1.500", "+.5", "5.", None)
    },
    "numeric": {text: text for text in ("0.1", "1e40", "123456789012345678901234567890.123456789", None)},
    "integer": {text: text for text in ("0", "-1", " 7 ", "2147483647", None)},
    "bigint": {text: text for text in ("9223372036854775807", None)},
    "smallint": {"32767": "32767"},
    "double precision": {text: text for text in ("0.1", "1e308", "-1e-300")},
    "boolean": {text: text for text in ("true", "f", "yes", "0", " ON ", None)},
    "date": {text: text for text in ("2026-01-01", "2026-01-01 00:00:00", "2026-01-01T00:00:00.000Z", None)},
    "timestamp": {
        text: text
        for text in ("2026-01-01 10:30:00", "2026-01-01T10:30:00.123456", "2026-01-01T10:30:00Z", "2026-01-01", None)
    },
    "timestamptz": {
        text: text
        for text in ("2026-01-01T10:30:00+02:00", "2026-01-01t10:30z", "2026-01-01 10:30:00.1234560-0530", None)
    },
    "time": {text: text for text in ("10:30", "23:59:59.5")},
    "timetz": {text: text for text in ("10:30Z", "23:59:59.5+02")},
    "interval": {text: text for text in ("P1DT2H", "3 days")},
    "uuid": {"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"},
    "jsonb": {text: text for text in ('{"a": [1, null]}', "1", None)},
    "varchar(3)": {text: text for text in ("abc", "", "äöü", None)},
    "text": {text: text for text in ("", "anything at all", "a'b\"c\\d%s{}\n\\.\n", None)},
    "integer[]": {"{1,2}": "{1,2}", "{}": "{}", "[1, null, 3]": "{1,NULL,3}", " [ ] ": "{}", None: None},
    "text[]": {'["a,b", "c"]': '{"a,b",c}', "{x,NULL}": "{x,NULL}"},
    "numeric(4,1)[]": {"[1.5, 2]": "{1.5,2}"},
    "date[]": {'["2026-01-01"]': "{2026-01-01}"},
    "jsonb[]": {'[{"a": 1}, "b"]': '{"{\\"a\\": 1}","\\"b\\""}'},
}
# by type: texts that do not, with the class that is recorded
BAD: dict[str, dict[str, str]] = {
    "numeric(8,2)": {
        "": "empty",
        "  ": "blank",
        "n/a": "null word",
        "x": "text",
        "1,5": "decimal comma",
        "1,234.50": "other number",
        "1_000": "other number",
        "1 000": "other number",
        "0x1F": "other number",
        "0.001": "too many digits",
        "1e-3": "too many digits",
        "1000000": "out of range",
        "1e9999999": "out of range",
        "1.2.3": "other number",
        "--1": "text",
        "Infinity": "NaN or infinity",
        "nan": "NaN or infinity",
        "12 kWh": "other unit",
        "€5": "text",
        "5%": "other unit",
        "true": "boolean",
        "2026-01-01": "ISO date",
        "[1]": "JSON",
    },
    "numeric": {"": "empty", "1/2": "text", "0,1": "decimal comma", "NaN": "NaN or infinity"},
    "integer": {
        "1.0": "decimal",
        "2147483648": "out of range",
        "1e3": "exponent",
        "seven": "text",
        "NaN": "NaN or infinity",
        "NULL": "null word",
        "{": "invalid JSON",
    },
    "bigint": {"9223372036854775808": "out of range", "1.5": "decimal"},
    "smallint": {"32768": "out of range", "-32769": "out of range"},
    "double precision": {"1e309": "out of range", "1e-400": "out of range", "inf": "NaN or infinity"},
    "boolean": {"maybe": "text", "2": "integer", "tru": "text"},
    "date": {
        "2026-02-30": "impossible date",
        "2026-13-01": "impossible date",
        "today": "relative date",
        "YESTERDAY": "relative date",
        "infinity": "NaN or infinity",
        "epoch": "relative date",
        "2026-01-01 10:30:00": "ISO timestamp",
        "300000-01-01": "text",
        "05/09/2010": "other date",
        "5.9.10": "other date",
        "2010/09/05": "other date",
        "5 Sep 2010": "other date",
        "September 5, 2010": "other date",
        "20260101": "integer",
        "1.5e9": "exponent",
        "10:30": "time of day",
        "2026-001": "text",
    },
    "timestamp": {
        "now": "relative date",
        "2026-01-01T25:00:00": "impossible date",
        "2026-01-01T24:00:00": "impossible date",
        "2026-01-01T10:30:60": "impossible date",
        "2026-01-01T10:30:00+02:00": "ISO timestamp",
        "2026-01-01T10:30:00.1234567": "too many digits",
        "1767261600": "integer",
    },
    "timestamptz": {
        "Tomorrow": "relative date",
        "2026-02-29T00:00:00Z": "impossible date",
        "2026-01-01T00:00:00+25:00": "impossible date",
        "2026-01-01T10:30:00.1234567Z": "too many digits",
        "2026-01-01 10:30:00": "naive timestamp",
        "2026-01-01": "naive timestamp",
        "soon": "text",
    },
    "time": {"24:01": "impossible date", "24:00": "impossible date", "now": "relative date", "10:30+02": "time of day"},
    "timetz": {"10:30": "time of day"},
    "interval": {"infinity": "NaN or infinity", "a while": "text"},
    "uuid": {"a0ee": "text"},
    "jsonb": {"{a: 1}": "invalid JSON", "'": "text", '["\\u0000"]': "invalid JSON"},
    "varchar(3)": {"abcd": "too long"},
    "integer[]": {
        "1,2": "decimal comma",
        "{1,x}": "array element",
        "[1, 2.5]": "array element",
        "[[1]]": "array element",
        "{{1},{2}}": "array element",
        "[1": "invalid JSON",
        "[0:1]={1,2}": "array element",
    },
    "date[]": {'["today"]': "array element"},
}


def contract_of(build: Any, pg_type: str) -> Any:
    """A contract whose third column has this type."""

    def retype(document: Any) -> None:
        amount = document["schema"][0]["properties"][2]
        amount.update(physicalType=pg_type, quality=[])

    return build.contract(build.ORDERS, retype)


def record(number: int, amount: Any) -> dict[str, Any]:
    """A record that is sound but, perhaps, for the amount."""
    return {"order_id": str(number), "code": "A100", "amount": amount, "sold_at": NOON}


@pytest.mark.parametrize("pg_type", list(GOOD))
def test_what_casts_keeps_its_value(bench: Any, build: Any, tmp_path: Path, pg_type: str) -> None:
    """Of each type, every text that casts is loaded with the value that Postgres itself gives it."""
    texts = list(GOOD[pg_type])
    contract = contract_of(build, pg_type)
    stage = bench.land(contract, DAY, [record(number, text) for number, text in enumerate(texts)], tmp_path, 4)
    bench.judge(contract, stage)
    assert bench.publish(contract, stage).loaded == len(texts)
    loaded = bench.run("SELECT amount FROM test.orders ORDER BY order_id")
    assert loaded == [bench.run(f"SELECT %s::{pg_type}", (value,))[0] for value in GOOD[pg_type].values()]


@pytest.mark.parametrize("pg_type", list(BAD))
def test_what_does_not_cast_is_set_aside(bench: Any, build: Any, tmp_path: Path, pg_type: str) -> None:
    """Of each type, every text that does not cast is in quarantine as it came, with its class and the target."""
    texts = BAD[pg_type]
    contract = contract_of(build, pg_type)
    records = [record(number, text) for number, text in enumerate([*texts, None])]
    stage = bench.land(contract, DAY, records, tmp_path, part_rows=4)
    gated = bench.judge(contract, stage)
    assert gated.refusals == []
    outcome = bench.publish(contract, stage)
    aside = bench.run("SELECT rules, payload, details FROM ops.quarantine ORDER BY (payload->>'order_id')::integer")
    target = contract.column("amount").type
    assert aside == [
        (["amount.cast"], row, [{"column": "amount", "value_class": texts[row["amount"]], "target": target}])
        for row in records[: len(texts)]
    ]
    assert (outcome.loaded, outcome.quarantined) == (1, len(texts))


def test_every_class_is_seen() -> None:
    """There is no class that nothing falls into."""
    seen = {class_ for texts in BAD.values() for class_ in texts.values()}
    assert seen | {"nonexistent local time"} == {class_.value for class_ in ValueClass}


def options(column: int, *, custom: dict[str, Any] | None = None, **fields: Any) -> Any:
    """Edit: give the column these fields, and no quality."""

    def edit(document: Any) -> None:
        item = document["schema"][0]["properties"][column]
        item.update(quality=[], **fields)
        item["customProperties"] = [{"property": name, "value": value} for name, value in (custom or {}).items()]

    return edit


def test_a_unit_of_the_contract_is_read_and_no_other(bench: Any, build: Any, tmp_path: Path) -> None:
    """`12.5 kWh` is 12.5 where the contract says kWh; a bare number is too; MWh is not read as kWh."""
    contract = build.contract(build.ORDERS, options(2, custom={"unit": "kWh"}))
    texts = ["12.5 kWh", "12.5kWh", "12.5", "12.5 MWh", "12.5 kwh", "0.001 kWh", "kWh", "12.5 kWh/d"]
    stage = bench.land(contract, DAY, [record(number, text) for number, text in enumerate(texts)], tmp_path)
    bench.judge(contract, stage)
    bench.publish(contract, stage)
    assert bench.run("SELECT amount FROM test.orders") == [(Decimal("12.50"),)] * 3
    assert bench.run(
        "SELECT payload->>'amount', details->0->>'value_class' FROM ops.quarantine ORDER BY payload->>'order_id'"
    ) == [
        ("12.5 MWh", "other unit"),
        ("12.5 kwh", "other unit"),
        ("0.001 kWh", "too many digits"),
        ("kWh", "text"),
        ("12.5 kWh/d", "other unit"),
    ]


def test_local_times_need_a_zone_and_must_exist_in_it(bench: Any, build: Any, tmp_path: Path) -> None:
    """Without an offset the contract's zone holds; a skipped hour is no time; a repeated one is winter time."""
    zone = {"defaultTimezone": "Europe/Berlin"}
    column = options(2, logicalType="timestamp", physicalType="timestamptz", logicalTypeOptions=zone)
    contract = build.contract(build.ORDERS, column)
    texts = {
        "2026-07-01 10:30": "2026-07-01 08:30+00",
        "2026-01-01": "2025-12-31 23:00+00",
        "2026-07-01T10:30Z": "2026-07-01 10:30+00",
        "2026-10-25 02:30": "2026-10-25 01:30+00",  # twice on that day
    }
    bad = {"2026-03-29 02:30": "nonexistent local time", "2026-02-30 02:30": "impossible date", "02:30": "time of day"}
    stage = bench.land(contract, DAY, [record(number, text) for number, text in enumerate([*texts, *bad])], tmp_path)
    bench.judge(contract, stage)
    bench.publish(contract, stage)
    assert bench.run("SELECT amount FROM test.orders ORDER BY order_id") == [
        bench.run("SELECT %s::timestamptz", (moment,))[0] for moment in texts.values()
    ]
    found = bench.run("SELECT payload->>'amount', details->0->>'value_class' FROM ops.quarantine ORDER BY id")
    assert dict(found) == bad


def test_the_contracts_format_is_the_only_one(bench: Any, build: Any, tmp_path: Path) -> None:
    """With `dd/MM/yyyy`, the fifth of September is just that, and ISO 8601 is another format."""
    column = options(2, logicalType="date", physicalType="date", logicalTypeOptions={"format": "dd/MM/yyyy"})
    contract = build.contract(build.ORDERS, column)
    texts = ["05/09/2010", "31/02/2010", "2010-09-05", "5/9/2010", "05-09-2010"]
    stage = bench.land(contract, DAY, [record(number, text) for number, text in enumerate(texts)], tmp_path)
    bench.judge(contract, stage)
    bench.publish(contract, stage)
    assert bench.run("SELECT amount FROM test.orders") == [(date(2010, 9, 5),)]
    assert bench.run("SELECT details->0->>'value_class' FROM ops.quarantine ORDER BY payload->>'order_id'") == [
        ("impossible date",),
        ("ISO date",),
        ("other date",),
        ("other date",),
    ]


def test_a_format_without_offset_needs_a_zone(bench: Any, build: Any, tmp_path: Path) -> None:
    """A timestamptz in a local format is naive, unless the contract says where it is local."""
    fields = {"logicalType": "timestamp", "physicalType": "timestamptz"}
    local = {"format": "dd.MM.yyyy HH:mm"}
    for number, (zone, loaded) in enumerate({None: 0, "Asia/Tokyo": 1}.items()):
        extra = {"defaultTimezone": zone} if zone else {}
        contract = build.contract(build.ORDERS, options(2, **fields, logicalTypeOptions=local | extra))
        stage = bench.land(contract, DAY, [record(number, "05.09.2010 09:00")], tmp_path / str(number))
        bench.judge(contract, stage)
        assert bench.publish(contract, stage).loaded == loaded
    assert bench.one("SELECT amount FROM test.orders") == datetime(2010, 9, 5, tzinfo=UTC)
    assert bench.run("SELECT details->0->>'value_class' FROM ops.quarantine") == []  # the second load mended it


def test_38_digits_survive_from_json_to_the_table(bench: Any, build: Any, tmp_path: Path) -> None:
    """A number of 38 digits in a JSON body is the same number in the table: no float on the way."""
    digits = "1234567890123456789012345678.9012345678"
    contract = contract_of(build, "numeric(38,10)")
    (sent,) = decode(f'[{{"order_id": 1, "code": "A100", "amount": {digits}, "sold_at": "{NOON}"}}]'.encode())
    stage = bench.land(contract, DAY, [sent], tmp_path)
    bench.judge(contract, stage)
    bench.publish(contract, stage)
    assert bench.one("SELECT amount::text FROM test.orders") == digits


def test_a_row_names_every_column_that_does_not_cast(bench: Any, build: Any, tmp_path: Path) -> None:
    """Several bad values in one row are all named, and the row is kept once."""
    contract = build.contract(build.ORDERS)
    bad = {"order_id": "one", "code": "A100", "amount": "much", "sold_at": "soon"}
    stage = bench.land(contract, DAY, [bad], tmp_path)
    bench.judge(contract, stage)
    bench.publish(contract, stage)
    assert bench.run("SELECT rules, payload FROM ops.quarantine") == [
        (["order_id.cast", "amount.cast", "sold_at.cast"], bad)
    ]


decimals = st.decimals(min_value=Decimal("-999999.99"), max_value=Decimal("999999.99"), places=2)


@settings(deadline=None, max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(amounts=st.lists(decimals, min_size=1, max_size=30))
def test_decimals_survive_to_the_last_digit(
    bench: Any, build: Any, tmp_path_factory: pytest.TempPathFactory, amounts: list[Decimal]
) -> None:
    """No decimal passes through a float between the source's text and the table."""
    contract = contract_of(build, "numeric(8,2)")
    bench.reset("test")
    records = [record(number, str(amount)) for number, amount in enumerate(amounts)]
    stage = bench.land(contract, DAY, records, tmp_path_factory.mktemp("lake"))
    bench.judge(contract, stage)
    bench.publish(contract, stage)
    assert [amount for (amount,) in bench.run("SELECT amount FROM test.orders ORDER BY order_id")] == amounts


def test_text_from_a_table_is_cast_too(bench: Any, build: Any) -> None:
    """A source column of a type that may not fit travels as text and is cast by the gate, with the same care."""
    contract = build.contract(build.ORDERS)
    rows = [(1, "A100", "0.001", NOON), (2, "A100", "5.10", NOON), (3, "A100", "10000000", NOON)]
    source = bench.fill("orders", "order_id bigint, code text, amount numeric, sold_at timestamptz", rows)
    outcome = bench.load(contract, DAY, source)
    assert bench.run("SELECT order_id, amount FROM test.orders") == [(2, Decimal("5.10"))]
    assert bench.run("SELECT rules, payload->>'amount' FROM ops.quarantine ORDER BY 2") == [
        (["amount.cast"], "0.001"),
        (["amount.cast"], "10000000"),
    ]
    assert outcome.quarantined == 2
