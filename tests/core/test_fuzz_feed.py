"""A feed in which one row of twenty is broken, in every way there is: each is found with its true reason.

`PENSTOCK_FUZZ_ROWS` sets the number of rows.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from penstock.core.contract import load_contract
from penstock.core.lake import land_file
from penstock.core.slice import day_slice
from penstock.core.source_file import FileFormat, stage_file
from penstock.core.text_lines import CsvFormat

ROWS = int(os.environ.get("PENSTOCK_FUZZ_ROWS", "100000"))
BROKEN_SHARE = 0.05
DAY = "2026-01-01"
FIELDS = ("id", "code", "amount", "pieces", "active", "day", "sold_at", "energy", "tags", "meta", "kind", "note")
BETWEEN = "expect_column_values_to_be_between"

# by column: a text that does not cast, with its class
UNCASTABLE: dict[str, dict[str, str]] = {
    "amount": {
        "n/a": "null word",
        "   ": "blank",
        "1,5": "decimal comma",
        "1_000": "other number",
        "0x1F": "other number",
        "1.005": "too many digits",
        "10000000": "out of range",
        "NaN": "NaN or infinity",
        "-Infinity": "NaN or infinity",
        "12 EUR": "other unit",
        "true": "boolean",
        "much": "text",
        "2026-01-01": "ISO date",
        "10:30": "time of day",
        '{"a":1}': "JSON",
    },
    "pieces": {"1.5": "decimal", "1e3": "exponent", "2147483648": "out of range", "seven": "text", "": "empty"},
    "active": {"maybe": "text", "2": "integer"},
    "day": {
        "2026-02-30": "impossible date",
        "today": "relative date",
        "infinity": "NaN or infinity",
        "05/09/2010": "other date",
        "2026-01-01T10:00:00Z": "ISO timestamp",
        "20260101": "integer",
        "1.5": "decimal",
    },
    "sold_at": {
        "2026-01-01T12:00:00": "naive timestamp",
        "2026-01-01T25:00:00Z": "impossible date",
        "2026-01-01T12:00:00.1234567Z": "too many digits",
        "now": "relative date",
        "1767261600": "integer",
    },
    "energy": {"1.5 MWh": "other unit", "kWh": "text", "1.5 kwh": "other unit"},
    "tags": {"[1, x]": "invalid JSON", "a,b": "text", "{a,{b}": "invalid JSON"},
    "meta": {"{a: 1}": "invalid JSON", '["\\u0000"]': "invalid JSON", "x": "text"},
    "kind": {"toolong": "too long"},
}
# by rule: a column and a value that breaks it
UNRULY: dict[str, tuple[str, str | None]] = {
    "code_format": ("code", "a100"),
    "amount_range": ("amount", "1000.01"),
    "kind.enum": ("kind", "x"),
    "code.required": ("code", None),
    "sold_at.required": ("sold_at", None),
    "sold_at.in_slice": ("sold_at", "2026-01-02T00:00:00Z"),
    "note.maxLength": ("note", "n" * 41),
}


def contract_document() -> dict[str, Any]:
    """The contract of the feed: a column of every kind of type."""

    def prop(name: str, logical: str, physical: str, **more: Any) -> dict[str, Any]:
        return {"name": name, "logicalType": logical, "physicalType": physical, **more}

    def rule(name: str, type_: str, **kwargs: Any) -> list[dict[str, Any]]:
        body = {"type": type_, "kwargs": kwargs}
        return [{"name": name, "type": "custom", "engine": "greatExpectations", "implementation": body}]

    return {
        "apiVersion": "v3.2.0",
        "kind": "DataContract",
        "id": "feed",
        "version": "1.0.0",
        "status": "active",
        "domain": "test",
        "schema": [
            {
                "name": "feed",
                "customProperties": [
                    {"property": "loadMode", "value": "replace_partition"},
                    {"property": "partitionBy", "value": "sold_at"},
                    {"property": "quarantineBudget", "value": "10%"},
                    {"property": "schemaPolicy", "value": "quarantine"},
                ],
                "properties": [
                    prop("id", "integer", "bigint", primaryKey=True),
                    prop(
                        "code",
                        "string",
                        "text",
                        required=True,
                        quality=rule("code_format", "expect_column_values_to_match_regex", regex="^[A-Z][0-9]{3}"),
                    ),
                    prop(
                        "amount",
                        "number",
                        "numeric(8,2)",
                        quality=rule("amount_range", BETWEEN, min_value=-1000, max_value=1000),
                    ),
                    prop("pieces", "integer", "integer"),
                    prop("active", "boolean", "boolean"),
                    prop("day", "date", "date"),
                    prop("sold_at", "timestamp", "timestamptz", required=True),
                    prop("energy", "number", "numeric(12,3)", customProperties=[{"property": "unit", "value": "kWh"}]),
                    prop("tags", "array", "text[]"),
                    prop("meta", "object", "jsonb"),
                    prop("kind", "string", "varchar(4)", enum=[{"value": "a"}, {"value": "b"}]),
                    prop("note", "string", "text", logicalTypeOptions={"maxLength": 40}),
                ],
            }
        ],
    }


@dataclass
class Feed:
    """A feed and what its generator knows of it.

    Attributes:
        rules: By number of a broken row, the rules it breaks.
        details: By number of a row that does not cast, column and class.
        good: Numbers of the good rows.
    """

    form: str
    chance: random.Random
    rules: dict[int, set[str]] = field(default_factory=dict)
    details: dict[int, tuple[str, str]] = field(default_factory=dict)
    good: set[int] = field(default_factory=set)

    def blocks(self, rows: int) -> Iterator[bytes]:
        """The feed's bytes, in blocks of some rows."""
        if self.form == "csv":
            yield ",".join((*FIELDS, "colour")).encode() + b"\n"
        number = 0
        while number < rows:
            lines = []
            for _ in range(500):
                lines.append(self._line(number))
                number += 1
            yield b"".join(lines)

    def _line(self, number: int) -> bytes:
        row = self._sound(number)
        if self.chance.random() >= BROKEN_SHARE:
            self.good.add(number)
            return self._written(row)
        return self.chance.choice(BREAKS[self.form])(self, number, row)

    def _sound(self, number: int) -> dict[str, str | None]:
        pick = self.chance
        row: dict[str, str | None] = {
            "id": str(number),
            "code": f"{pick.choice('ABCXYZ')}{pick.randrange(1000):03d}",
            "amount": pick.choice(["0", "-0.10", "1e2", " 7.5 ", f"{pick.randrange(100000) / 100:.2f}"]),
            "pieces": str(pick.randrange(-5, 1000)),
            "active": pick.choice(["true", "false", "1", "no"]),
            "day": f"2026-{pick.randrange(1, 13):02d}-{pick.randrange(1, 29):02d}",
            "sold_at": f"{DAY}{pick.choice('T ')}{pick.randrange(24):02d}:30:00{pick.choice(['Z', '+00:00'])}",
            "energy": pick.choice(["1.5 kWh", "1.5", "12.125kWh"]),
            "tags": pick.choice(['["a", "b,c"]', "{x,y}", "[]"]),
            "meta": pick.choice(['{"a": [1, null]}', "1", '"é"']),
            "kind": pick.choice("ab"),
            "note": pick.choice(["", 'it\'s "quoted"', "comma, and\ttab", "naïve 😀", "\\N", "NULL", "a;b", "\\."]),
        }
        for name in ("amount", "pieces", "active", "day", "energy", "tags", "meta", "kind", "note"):
            if pick.random() < 0.02:
                row[name] = None
        return row

    def _written(self, row: dict[str, str | None], colour: str | None = None) -> bytes:
        if self.form == "csv":
            return ",".join(map(self._quoted, [*row.values(), colour])).encode("utf-8") + b"\n"
        found: dict[str, Any] = {
            name: value for name, value in row.items() if value is not None or self.chance.random() < 0.5
        }
        if colour is not None:
            found["colour"] = colour
        return json.dumps(found, ensure_ascii=self.chance.random() < 0.5).encode("utf-8") + b"\n"

    def _quoted(self, value: str | None) -> str:
        if value is None:
            return ""
        must = value == "" or any(character in value for character in ',"\r')
        return '"' + value.replace('"', '""') + '"' if must or self.chance.random() < 0.1 else value

    # --- ways to break a row

    def uncastable(self, number: int, row: dict[str, str | None]) -> bytes:
        """A value of another kind than its column's."""
        column = self.chance.choice(list(UNCASTABLE))
        text = self.chance.choice(list(UNCASTABLE[column]))
        self.rules[number] = {f"{column}.cast"}
        self.details[number] = (column, UNCASTABLE[column][text])
        return self._written(row | {column: text})

    def unruly(self, number: int, row: dict[str, str | None]) -> bytes:
        """A value that a rule forbids."""
        rule = self.chance.choice(list(UNRULY))
        column, value = UNRULY[rule]
        self.rules[number] = {rule}
        return self._written(row | {column: value})

    def unknown(self, number: int, row: dict[str, str | None]) -> bytes:
        """A value in a field that the contract does not name."""
        self.rules[number] = {"row.unknown_fields"}
        return self._written(row, colour="red")

    def nul(self, number: int, row: dict[str, str | None]) -> bytes:
        """A NUL character."""
        column = self.chance.choice(["code", "note", "kind"])
        self.rules[number] = {f"{column}.encoding"}
        return self._written(row | {column: "A100\0"})

    def bytes(self, number: int, row: dict[str, str | None]) -> bytes:
        """Bytes that are no UTF-8."""
        self.rules[number] = {"note.encoding"}
        return self._written(row | {"note": "#"}).replace(
            b"#", self.chance.choice([b"\xff", b"caf\xe9", b"\xed\xa0\x80"])
        )

    def surrogate(self, number: int, row: dict[str, str | None]) -> bytes:
        """Half of a surrogate pair, as JSON can write it."""
        self.rules[number] = {"note.encoding"}
        return self._written(row | {"note": "#"}).replace(b'"#"', b'"\\ud83d"')

    def unclosed(self, number: int, row: dict[str, str | None]) -> bytes:
        """A quote that is not closed."""
        self.rules[number] = {"row.malformed"}
        return self._written(row | {"note": "plain"}).rstrip(b"\n").rstrip(b",") + b',"open\n'

    def stray(self, number: int, row: dict[str, str | None]) -> bytes:
        """Text after a closing quote."""
        self.rules[number] = {"row.malformed"}
        return f'{number},"A100"x,'.encode() + self._written(row).split(b",", 2)[2]

    def short(self, number: int, row: dict[str, str | None]) -> bytes:  # noqa: ARG002
        """Fewer values than the header has."""
        self.rules[number] = {"row.shape"}
        return f"{number},A100,1\n".encode()

    def long(self, number: int, row: dict[str, str | None]) -> bytes:
        """More values than the header has."""
        self.rules[number] = {"row.shape"}
        return self._written(row).rstrip(b"\n") + b",,\n"

    def no_object(self, number: int, row: dict[str, str | None]) -> bytes:  # noqa: ARG002
        """A line that is JSON, and no object."""
        self.rules[number] = {"row.malformed"}
        return self.chance.choice(['[{"id": "%d"}]', '"%d"', "%d"]).replace("%d", str(number)).encode() + b"\n"

    def cut(self, number: int, row: dict[str, str | None]) -> bytes:
        """A line that ends too early."""
        self.rules[number] = {"row.malformed"}
        return self._written(row).rstrip(b"}\n") + b"\n"


Break = Callable[[Feed, int, dict[str, "str | None"]], bytes]
COMMON: tuple[Break, ...] = (*(Feed.uncastable,) * 6, *(Feed.unruly,) * 3, Feed.unknown, Feed.nul, Feed.bytes)
BREAKS: dict[str, tuple[Break, ...]] = {
    "csv": (*COMMON, Feed.unclosed, Feed.stray, Feed.short, Feed.long),
    "jsonl": (*COMMON, Feed.surrogate, Feed.no_object, Feed.cut),
}


def number_of(payload: dict[str, Any]) -> int:
    """The number of a quarantined row, also of one that is only a line."""
    if payload["id"] is not None:
        return int(payload["id"])
    line = payload["$extra"]["$line"]
    digits = line.split('"id": "', 1)[-1].lstrip('"')
    return int(digits[: next((i for i, c in enumerate(digits) if not c.isdigit()), len(digits))])


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_each_broken_row_is_found_with_its_true_reason_and_no_other(bench: Any, tmp_path: Path, form: str) -> None:
    """No crash, the ledger balanced, each broken row in quarantine by rule, column and class, each good one loaded."""
    path = tmp_path / "test" / "feed.yaml"
    path.parent.mkdir()
    path.write_text(json.dumps(contract_document()), encoding="utf-8")  # JSON is YAML
    contract = load_contract(path)
    feed = Feed(form, random.Random(20260101))  # noqa: S311 - the same feed every time
    stage = bench.stage(contract, DAY)
    land_file(tmp_path / "lake", "fuzz", feed.blocks(ROWS))
    kind = FileFormat("csv", CsvFormat()) if form == "csv" else FileFormat("jsonl")
    stage_file(bench.conn, contract, day_slice(DAY), stage, tmp_path / "lake", kind, {})
    assert bench.judge(contract, stage).refusals == []
    outcome = bench.publish(contract, stage)
    assert outcome.extracted == outcome.loaded + outcome.quarantined == len(feed.good) + len(feed.rules)
    assert {number for (number,) in bench.run("SELECT id FROM test.feed")} == feed.good
    found = bench.run("SELECT payload, rules, details FROM ops.quarantine")
    assert {number_of(payload): set(rules) for payload, rules, _ in found} == feed.rules
    classes = {
        number_of(payload): (details[0]["column"], details[0]["value_class"])
        for payload, _, details in found
        if details and "value_class" in details[0]
    }
    assert classes == feed.details
    assert all(len(details) == 1 for payload, _, details in found if number_of(payload) in feed.details)
    if ROWS >= 20_000:
        seen = {tuple(sorted(rules)) for rules in feed.rules.values()}
        assert len(seen) >= len(UNCASTABLE) + len(UNRULY) + 5
        assert len(set(feed.details.values())) == len(
            {(c, k) for c, texts in UNCASTABLE.items() for k in texts.values()}
        )
