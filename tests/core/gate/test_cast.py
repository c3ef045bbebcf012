"""Text that does not cast goes to quarantine, row by row; what casts keeps all it said."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

DAY = "2026-01-01"
NOON = f"{DAY}T12:00:00Z"

# type, texts that cast, texts that do not
TEXTS: dict[str, tuple[list[str | None], list[str]]] = {
    "numeric(8,2)": (
        ["0", "-0.10", "1.5", " 7 ", "1e3", "999999.99", "1.500", "1_000", None],
        ["", "x", "1,5", "0.001", "1000000", "1.2.3", "12 34", "--1", "1e-3", "Infinity"],
    ),
    "numeric": (["0.1", "1e40", "123456789012345678901234567890.123456789", None], ["", "1/2", "0,1"]),
    "integer": (["0", "-1", " 7 ", "2147483647", None], ["", "1.0", "2147483648", "1e3", "seven", "NaN"]),
    "bigint": (["9223372036854775807", None], ["9223372036854775808", "", "1.5"]),
    "smallint": (["32767"], ["32768", "-32769"]),
    "double precision": (["0.1", "1e308", "-1e-300"], ["", "1e309", "1e-400", "0,1"]),
    "boolean": (["true", "f", "yes", "0", None], ["", "maybe", "2"]),
    "date": (
        ["2026-01-01", "2026-01-01 00:00:00", "infinity", None],
        ["", "2026-02-30", "2026-13-01", "today", "YESTERDAY", "2026-01-01 10:30:00", "300000-01-01", "05/09/2010"],
    ),
    "timestamp": (
        ["2026-01-01 10:30:00", "2026-01-01T10:30:00.123456", "2026-01-01T10:30:00Z", None],
        ["", "now", "2026-01-01T25:00:00", "2026-01-01T10:30:00+02:00", "2026-01-01T10:30:00.1234567"],
    ),
    "timestamptz": (
        ["2026-01-01T10:30:00+02:00", "2026-01-01 10:30:00", "2026-01-01T10:30:00.1234560", None],
        ["", "Tomorrow", "2026-02-29T00:00:00Z", "2026-01-01T10:30:00.1234567Z", "soon"],
    ),
    "time": (["10:30", "23:59:59.5"], ["24:01", "now", ""]),
    "uuid": (["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"], ["a0ee", ""]),
    "jsonb": (['{"a": [1, null]}', "1", None], ["", "{a: 1}", "'"]),
    "varchar(3)": (["abc", "", "äöü", None], ["abcd"]),
    "text": (["", "anything at all", "a'b\"c\\d%s{}\n\\.\n", None], []),
    "integer[]": (["{1,2}", "{}"], ["1,2", "{1,x}", ""]),
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


@pytest.mark.parametrize("pg_type", list(TEXTS))
def test_what_does_not_cast_is_set_aside(bench: Any, build: Any, tmp_path: Path, pg_type: str) -> None:
    """Of each type, every text that casts is loaded with its value; each other one is in quarantine, as it came."""
    good, bad = TEXTS[pg_type]
    contract = contract_of(build, pg_type)
    records = [record(number, text) for number, text in enumerate([*good, *bad])]
    stage = bench.land(contract, DAY, records, tmp_path, part_rows=4)
    gated = bench.judge(contract, stage)
    assert gated.refusals == []
    outcome = bench.publish(contract, stage)
    aside = bench.run("SELECT rules, payload FROM ops.quarantine ORDER BY (payload->>'order_id')::integer")
    assert aside == [(["amount.cast"], row) for row in records[len(good) :]]
    loaded = bench.run("SELECT amount FROM test.orders ORDER BY order_id")
    # Postgres itself says what the value of a text is.
    assert loaded == [bench.run(f"SELECT %s::{pg_type}", (text,))[0] for text in good]
    assert (outcome.loaded, outcome.quarantined) == (len(good), len(bad))


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
