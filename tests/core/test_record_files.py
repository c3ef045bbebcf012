"""Every kind of file gives its records, each value as the text that the gate reads; what is no such file is told."""

from __future__ import annotations

import io
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import fastavro
import openpyxl
import pyarrow
import pytest
from pyarrow import parquet

from penstock.core.errors import SourceError
from penstock.core.lake import land_file
from penstock.core.record_files import LOGS, READERS, RecordFormat
from penstock.core.slice import day_slice
from penstock.core.source_file import FileFormat, file_kind, stage_file

DAY = "2026-01-01"
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
FORMS = {"xml": RecordFormat(record="order"), "fixed": RecordFormat(widths={"order_id": (0, 3), "code": (3, 8)})}


def parquet_of(table: pyarrow.Table) -> bytes:
    """A Parquet file."""
    out = io.BytesIO()
    parquet.write_table(table, out)
    return out.getvalue()


def avro_of(schema: Any, records: list[Any]) -> bytes:
    """An Avro file."""
    out = io.BytesIO()
    fastavro.writer(out, schema, records)
    return out.getvalue()


def excel_of(*rows: list[Any], sheet: str = "Sheet") -> bytes:
    """An Excel file."""
    book = openpyxl.Workbook()
    book.active.title = sheet
    for row in rows:
        book.active.append(row)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


MICROS = {"type": "long", "logicalType": "timestamp-micros"}
MONEY = {"type": "bytes", "logicalType": "decimal", "precision": 8, "scale": 2}
AVRO = {
    "type": "record",
    "name": "order",
    "fields": [
        {"name": "order_id", "type": "long"},
        {"name": "code", "type": ["null", "string"]},
        {"name": "amount", "type": ["null", MONEY]},
        {"name": "sold_at", "type": MICROS},
    ],
}
COLUMNS = ("order_id", "code", "amount", "sold_at")
VALUES = [(1, "A100", Decimal("1.50"), NOON), (2, "A100", None, NOON)]
FILES = {
    "parquet": parquet_of(
        pyarrow.table(
            dict(zip(COLUMNS, map(list, zip(*VALUES, strict=True)), strict=True)),
            schema=pyarrow.schema(
                [
                    ("order_id", pyarrow.int64()),
                    ("code", pyarrow.string()),
                    ("amount", pyarrow.decimal128(8, 2)),
                    ("sold_at", pyarrow.timestamp("ns", "Asia/Tokyo")),
                ]
            ),
        )
    ),
    "avro": avro_of(AVRO, [dict(zip(COLUMNS, row, strict=True)) for row in VALUES]),
    "excel": excel_of(
        list(COLUMNS), [1, "A100", 1.5, "2026-01-01T12:00:00Z"], [2, "A100", None, "2026-01-01T12:00:00Z"]
    ),
    "xml": b"""<?xml version="1.0"?><x:orders xmlns:x="urn:x"><x:order order_id="1"><code>A100</code>
        <amount>1.50</amount><sold_at>2026-01-01T12:00:00Z</sold_at></x:order>
        <x:order order_id="2"><code>A100</code><sold_at>2026-01-01T12:00:00Z</sold_at></x:order></x:orders>""",
}


@pytest.mark.parametrize("kind", list(FILES))
def test_each_kind_gives_the_same_rows(bench: Any, build: Any, tmp_path: Path, kind: Any) -> None:
    """The same two rows, through lake, gate and publish."""

    def attribute(document: Any) -> None:
        if kind == "xml":
            document["schema"][0]["properties"][0]["physicalName"] = "@order_id"

    contract = build.contract(build.ORDERS, attribute)
    stage = bench.stage(contract, DAY)
    land_file(tmp_path, "test", [FILES[kind]])
    form = FileFormat(kind, other=FORMS.get(kind, RecordFormat()))
    stage_file(bench.conn, contract, day_slice(DAY), stage, tmp_path, form, {})
    bench.judge(contract, stage)
    assert bench.publish(contract, stage).loaded == 2
    assert bench.run("SELECT order_id, code, amount::text, sold_at FROM test.orders ORDER BY 1") == [
        (1, "A100", "1.50", NOON),
        (2, "A100", None, NOON),
    ]


def records(kind: str, body: bytes, form: RecordFormat, build: Any) -> list[Any]:
    """What a reader gives."""
    return [record for _, record in READERS[kind]([body[i : i + 9] for i in range(0, len(body), 9)], build, form)]


@pytest.fixture
def orders(build: Any) -> Any:
    """A contract."""
    return build.contract(build.ORDERS)


def test_values_of_parquet_keep_all_they_say(orders: Any) -> None:
    """Nanoseconds, days, bytes, floats and nested values."""
    table = pyarrow.table(
        {
            "ns": pyarrow.array([1], pyarrow.timestamp("ns")),
            "day": [date(2026, 1, 5)],
            "f": [0.1],
            "list": [[1, None]],
            "struct": [{"a": Decimal("1.10")}],
            "no": pyarrow.nulls(1),
        }
    )
    assert records("parquet", parquet_of(table), RecordFormat(), orders) == [
        {
            "ns": "1970-01-01 00:00:00.000000001",
            "day": "2026-01-05",
            "f": "0.1",
            "list": "[1, null]",
            "struct": '{"a": "1.10"}',
            "no": None,
        }
    ]


def test_deep_xml_is_flat(orders: Any) -> None:
    """Children of children by dots, what comes twice as a list; comments and other elements are passed over."""
    body = b"<a><b/><r k='1'><p><q>x</q><q>y</q></p><!-- no --><e/></r><r>text</r></a>"
    assert records("xml", body, RecordFormat(record="r"), orders) == [
        {"@k": "1", "p.q": ["x", "y"], "e": None},
        {"#text": "text"},
    ]


def test_memory_does_not_grow_with_the_xml(orders: Any) -> None:
    """What was read is let go."""
    import tracemalloc

    def body(rows: int) -> Any:
        yield b"<a>"
        for number in range(rows):
            yield b"<r><n>%d</n></r>" % number
        yield b"</a>"

    tracemalloc.start()
    peaks = []
    for rows in (1000, 50_000):
        tracemalloc.reset_peak()
        assert sum(1 for _ in READERS["xml"](body(rows), orders, RecordFormat(record="r"))) == rows
        peaks.append(tracemalloc.get_traced_memory()[1])
    tracemalloc.stop()
    assert peaks[1] < peaks[0] + 1_000_000


def test_lines_of_fixed_width(orders: Any) -> None:
    """Cut by characters, not bytes; a short line is no record."""
    form = RecordFormat(widths={"a": (0, 3), "b": (3, 6)})
    assert records("fixed", "äöü  x\n12 \n   1\n".encode(), form, orders) == [
        {"a": "äöü", "b": "x"},
        None,
        {"a": None, "b": "1"},
    ]


LINE = '10.0.0.1 - ann [05/Jan/2026:13:55:36 -0700] "GET /a?b=1 HTTP/1.1" 200 2326'


def test_lines_of_a_web_server(orders: Any) -> None:
    """Common and combined; a request that is none is kept as it is, an escaped quote does not end it."""
    common = {
        "host": "10.0.0.1", "ident": None, "user": "ann", "time": "2026-01-05T13:55:36-07:00",
        "request": "GET /a?b=1 HTTP/1.1", "status": "200", "bytes": "2326",
        "method": "GET", "path": "/a?b=1", "protocol": "HTTP/1.1",
    }  # fmt: skip
    assert records("log", LINE.encode(), RecordFormat(pattern="common"), orders) == [common]
    combined = rf'{LINE} "-" "Mozilla \"x\""'.replace("GET /a?b=1 HTTP/1.1", r"\x16\x03")
    (found,) = records("log", combined.encode() + b"\n", RecordFormat(pattern="combined"), orders)
    assert (found["request"], found["method"], found["referer"], found["user_agent"]) == (
        r"\x16\x03", None, None, r"Mozilla \"x\"",
    )  # fmt: skip
    assert records("log", b"garbage\n", RecordFormat(), orders) == [None]
    assert set(LOGS) == {"common", "combined"}


def test_a_log_by_a_pattern_of_ones_own(orders: Any) -> None:
    """Named groups are the fields."""
    form = RecordFormat(pattern=r"(?P<at>\S+) (?P<level>[A-Z]+) (?P<message>.*)")
    body = b"2026-01-05T10:00:00Z ERROR it broke\n"
    assert records("log", body, form, orders) == [
        {"at": "2026-01-05T10:00:00Z", "level": "ERROR", "message": "it broke"}
    ]


LAUGHS = b"""<!DOCTYPE a [<!ENTITY x "ha"><!ENTITY y "&x;&x;&x;">]><a><r>&y;</r></a>"""
HOSTILE: dict[str, tuple[str, bytes, RecordFormat, str]] = {
    "HTML for Parquet": ("parquet", b"<html></html>", RecordFormat(), "is not Parquet"),
    "nothing for Parquet": ("parquet", b"", RecordFormat(), "is not Parquet"),
    "a torn Parquet": ("parquet", FILES["parquet"][:-40], RecordFormat(), "is not Parquet"),
    "HTML for Avro": ("avro", b"<html></html>", RecordFormat(), "is not Avro"),
    "a torn Avro": ("avro", FILES["avro"][:-5], RecordFormat(), "is not Avro"),
    "an Avro of numbers": ("avro", avro_of({"type": "long"}, [1]), RecordFormat(), "holds no records"),
    "HTML for Excel": ("excel", b"<html></html>", RecordFormat(), "is not Excel"),
    "a torn Excel": ("excel", FILES["excel"][:-60], RecordFormat(), "is not Excel"),
    "a sheet that is not there": ("excel", FILES["excel"], RecordFormat(sheet="x"), "no sheet 'x', only Sheet"),
    "a sheet without names": ("excel", excel_of([None, "a"]), RecordFormat(), "does not name all fields"),
    "an empty sheet": ("excel", excel_of(), RecordFormat(), "does not name all fields"),
    "a sheet that names twice": ("excel", excel_of(["a", "a"]), RecordFormat(), "the field 'a' twice"),
    "a row that is too long": ("excel", excel_of(["a"], [1, 2]), RecordFormat(), "Row 2 of the sheet has more"),
    "torn XML": ("xml", b"<a><r>1</r>", RecordFormat(record="r"), "is not XML"),
    "HTML for XML": ("xml", b"<html><br></html>", RecordFormat(record="r"), "is not XML"),
    "nothing for XML": ("xml", b"", RecordFormat(record="r"), "is not XML"),
    "entities": ("xml", LAUGHS, RecordFormat(record="r"), "declares entities"),
    "deep XML": ("xml", b"<a>" * 100_000, RecordFormat(record="r"), "is not XML"),
    "XML without a record": ("xml", b"<a/>", RecordFormat(), "state `record`"),
    "no widths": ("fixed", b"x", RecordFormat(), "state `widths`"),
    "no pattern": ("log", b"x", RecordFormat(pattern="("), "no regular expression"),
    "a pattern without fields": ("log", b"x", RecordFormat(pattern="x"), "names no groups"),
}


@pytest.mark.parametrize("name", list(HOSTILE))
def test_what_is_no_such_file_is_told(orders: Any, name: str) -> None:
    """With the kind that it should be, or what is missing, and in no time."""
    kind, body, form, said = HOSTILE[name]
    with pytest.raises(SourceError, match=said):
        records(kind, body, form, orders)


def test_an_excel_bomb_is_not_opened(orders: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its parts say how large they would be."""
    import zipfile

    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/workbook.xml", bytes(1 << 27))
    with pytest.raises(SourceError, match="a bomb"):
        records("excel", out.getvalue(), RecordFormat(), orders)


def test_kinds_by_name() -> None:
    """Packed or not."""
    names = ("a.parquet", "a.avro", "a.xlsx", "a.xml.gz", "a.log.zst", "a.csv.zip", "s3://b/x.json?v=1")
    assert [file_kind(name) for name in names] == ["parquet", "avro", "excel", "xml", "log", "csv", "json"]
