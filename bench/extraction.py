r"""How fast do rows come from a file and from another database, beside the raw limit and beside other loaders?

    python bench/extraction.py                     # prints the tables, writes bench/extraction.md
    python bench/extraction.py --only csv --rows 8000000

As bench/throughput.py, whose rows, contract (ten rules), server and turns these are. The comparisons:

csv
    *raw*: `psql \copy … FROM file WITH (FORMAT csv, HEADER)` into a table of the contract's types that is there.
    *Penstock*: stage_file, judge, publish; every value is staged as text, cast and judged.
mariadb
    *Penstock*: stage_rows, judge, publish, from a MariaDB with the same rows. Beside it pandas and dlt, which load and
    do nothing else. The first way is dlt's fastest.
api
    *Penstock*: pages of 500 rows from a server on this machine (bench/api_server.py), landed in the lake, staged from
    there, judged, published. Beside it dlt's `rest_api`, which loads and does nothing else.
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from others import API, MARIADB, Others, make_environment
from throughput import (
    DAY,
    HERE,
    Bench,
    Measured,
    Target,
    Way,
    machine,
    phases_table,
    take_turns,
    targets_table,
    temporary_server,
    times_table,
)

from penstock.core.lake import land_file
from tests.mariadb import DATABASE, MariaDb, running

PARTS: Final = ("csv", "mariadb", "api")
MAX_OVER_COPY: Final = 2.5
MIN_OVER_DLT: Final = 3.0
ROWS_PER_PAGE: Final = 500
COLUMNS: Final = (
    "payment_id bigint, account_id integer, merchant_id integer, recorded_at timestamp(6) NULL, booked_on date,"
    " amount decimal(12,2), fee decimal(10,4), currency varchar(3), invoice varchar(20), note text"
)


class Sources:
    """The rows of bench/throughput.py as they stand elsewhere."""

    def __init__(self, bench: Bench, home: Path) -> None:
        self.bench = bench
        self.home = home
        self.file = home / "payments.csv"

    def write_csv(self) -> int:
        """Write the file and land it; return its bytes."""
        self.bench.source.run(f"\\copy payments TO '{self.file}' WITH (FORMAT csv, HEADER)")
        with self.file.open("rb") as blocks:
            land_file(self.home / "lake", "payments.csv", iter(lambda: blocks.read(1 << 20), b""))
        return self.file.stat().st_size

    def fill_mariadb(self, server: MariaDb) -> None:
        """Put the rows into a MariaDB."""
        file = self.home / "mariadb.csv"
        rows = "SELECT payment_id, account_id, merchant_id, recorded_at AT TIME ZONE 'UTC', booked_on, amount, fee,"
        self.bench.source.run(
            f"\\copy ({rows} currency, invoice, note FROM payments) TO '{file}' WITH (FORMAT csv, NULL '\\N')"
        )
        file.chmod(0o644)
        server.run(
            f"CREATE TABLE payments ({COLUMNS})",
            f"LOAD DATA LOCAL INFILE '{file}' INTO TABLE payments FIELDS TERMINATED BY ',' OPTIONALLY ENCLOSED BY '\"'",
        )
        file.unlink()

    @contextmanager
    def api(self) -> Iterator[str]:
        """Serve the rows; yield the address."""
        file = self.home / "payments.jsonl"
        rows = "SELECT replace(to_jsonb(payments)::text, E'\\n', ' ') FROM payments"
        self.bench.source.run(f"\\copy ({rows}) TO '{file}' WITH (FORMAT csv, QUOTE E'\\x01', DELIMITER E'\\x02')")
        command = [sys.executable, str(HERE / "api_server.py"), str(file), str(ROWS_PER_PAGE)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None  # noqa: S101 - a pipe was asked for
            try:
                yield f"http://127.0.0.1:{server.stdout.readline().strip()}"
            finally:
                server.terminate()

    # --- the ways ---

    def copy(self) -> float:
        """Copy the file, nothing else."""
        begin = time.perf_counter()
        self.bench.warehouse.run(f"\\copy hand.payments FROM '{self.file}' WITH (FORMAT csv, HEADER)")
        return time.perf_counter() - begin

    def csv_ways(self) -> list[Way]:
        """The file, raw and through Penstock."""
        return [
            Way("raw: psql \\copy", self.bench.for_raw, self.copy),
            Way("Penstock", self.bench.for_attach, lambda: self._penstock("csv", str(self.home / "lake"))),
        ]

    def mariadb_ways(self, server: MariaDb, others: Others) -> list[Way]:
        """The MariaDB, by others and through Penstock."""
        place = (server.url, f"{DATABASE}.payments")
        bench = self.bench
        return [
            *others.ways(bench.for_others, bench.source, bench.warehouse, settings=MARIADB, place=place),
            Way("Penstock", bench.for_attach, lambda: self._penstock("database", server.url, f"{DATABASE}.payments")),
        ]

    def api_ways(self, address: str, others: Others) -> list[Way]:
        """The API, by others and through Penstock."""
        bench = self.bench
        return [
            *others.ways(bench.for_others, bench.source, bench.warehouse, settings=API, place=(address, "payments")),
            Way("Penstock", bench.for_attach, lambda: self._penstock("api", address, str(self.home))),
        ]

    def _penstock(self, kind: str, source: str, place: str = "") -> float:
        return self.bench.penstock(kind, self.bench.by_day, "payments", DAY, extract=kind, source=source, place=place)


def targets_of(results: dict[str, list[Measured]]) -> list[Target]:
    """Hold the measurements against the targets."""
    found = []
    if "csv" in results:
        raw, ours = results["csv"]
        found.append(Target("csv: Penstock ÷ \\copy", ours.ratio_to(raw), MAX_OVER_COPY, "×"))
    if "api" in results:
        *others, ours = results["api"]
        best = min(others, key=lambda way: way.median)
        found.append(Target(f"api: {best.name} ÷ Penstock", best.ratio_to(ours), MIN_OVER_DLT, "×", at_least=True))
    return found


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Measure what comes from files and other databases.")
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of the slice (default 1,000,000)")
    parser.add_argument("--repeat", type=int, default=3, help="counted runs of each way (default 3)")
    parser.add_argument("--only", choices=PARTS, help="make this comparison alone")
    parser.add_argument("--output", type=Path, default=HERE / "extraction.md", help="where the results are written")
    arguments = parser.parse_args()
    if arguments.rows < 1 or arguments.repeat < 1:
        parser.error("--rows and --repeat must be at least 1")
    return arguments


def main() -> int:
    """Measure, print, write; return the exit code."""
    arguments = parse_arguments()
    began, load = datetime.now(UTC), os.getloadavg()[0]
    parts = [part for part in PARTS if arguments.only in (None, part)]
    python = make_environment() if {"mariadb", "api"} & {*parts} else None
    with temporary_server() as (server, home), ExitStack() as stack:
        bench = Bench(server, home / "contracts", arguments.rows)
        print(f"Making {arguments.rows:,} rows …", flush=True)
        bench.fill()
        sources = Sources(bench, home)
        size = sources.write_csv()
        comparisons = {}
        others = Others(python, home) if python else None
        if "csv" in parts:
            comparisons["csv"] = sources.csv_ways()
        if others and "api" in parts:
            comparisons["api"] = sources.api_ways(stack.enter_context(sources.api()), others)
        if others and "mariadb" in parts:
            mariadb = stack.enter_context(running())
            sources.fill_mariadb(mariadb)
            comparisons["mariadb"] = sources.mariadb_ways(mariadb, others)
        results = {
            name: take_turns(ways, arguments.repeat, lambda text: print(text, flush=True))
            for name, ways in comparisons.items()
        }
        version = bench.warehouse.run("SHOW server_version")
    report = f"""# Results of bench/extraction.py

{arguments.rows:,} rows × 10 columns (as a CSV {size / 1e6:,.0f} MB); counted turns: {arguments.repeat}. The last
column is the ratio to the first way of the same comparison: the median of the ratios within each turn.

{times_table(results)}

{phases_table(bench.reports)}

{others.table() if others else ""}
{targets_table(targets_of(results))}

- date: {began:%Y-%m-%d %H:%M} UTC
- command: `{shlex.join(["python", "bench/extraction.py", *sys.argv[1:]])}`
- machine: {machine()}; load average when it began: {load:.1f}
- Postgres {version}, Python {platform.python_version()}{others.versions() if others else ""}
"""
    print(f"\n{report}")
    arguments.output.write_text(report, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
