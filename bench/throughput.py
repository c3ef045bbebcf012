"""How fast is a slice through Penstock, beside the raw limit and beside the same steps by hand?

    make bench                                     # with --loaders; prints the tables, writes bench/results.md
    python bench/throughput.py                     # without the other loaders
    python bench/throughput.py --check             # exit code 1 where a target is missed
    python bench/throughput.py --rows 10000000 --repeat 1 --only attach --output bench/results-10m.md
                                                   # for the memory (one turn says little of time); 8 GB of disk

Everything runs on one embedded Postgres with the demo's durable settings, in a temporary folder: a database `source`
with N rows × 10 columns (bench/payments.yaml), and a database `warehouse`. The comparisons:

attach
    *raw*: `psql COPY … (FORMAT binary) | psql COPY … (FORMAT binary)` into a table that is there: no rule, no key.
    *by hand*: the same pipe into a table made in the same transaction (FREEZE); ten rules: eight as one scan, the key
    by a unique index, the slice by attaching the table as a partition. bench/sql holds the statements.
    *Penstock*: stage_table, judge, publish; the same ten rules, with their verdicts, ledger and quarantine.
merge, empty table
    *by hand*: the pipe, the eight rules as one scan, INSERT … ON CONFLICT … WHERE excluded.cursor >= t.cursor.
    *Penstock*: the same, through core.
merge, changed rows
    As before, a tenth of N changed rows into a table of N rows.

all ways
    *raw* as above, and the same rows through Penstock in each load mode, into a table that is empty. With `--loaders`,
    beside them: Sling, dlt and pandas with the settings that their own manuals name for speed (bench/loaders). Those
    load the rows and do nothing else: no rule, no key, no record. They run in an environment of their own, which is
    made below .penstock from bench/loaders/requirements.txt; what they import is not in their time. `--slow-turns`
    lets them run in the last of the turns only, and not in the warming one.
readers
    *Penstock*, replace_partition, with 1, 2 and 4 sessions that read the table at once.

The ways of one comparison take turns (A B C A B C …) after one round that warms the caches and does not count; each
starts from the same tables after a CHECKPOINT. Seconds are medians; a ratio is the median of the ratios within each
turn, so that what slows down the machine for a while slows both sides. All use the same server with the same settings.
What Penstock does is timed inside its process (bench/slice_process.py), from before it connects to after the last
commit. Starting the interpreter and reading the contract do not depend on the rows, and are not in it; the second table
shows how long the contract took. The peak memory is that process's own, and is held against that of a slice of a tenth
of the rows, measured in the same run.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import yaml
from others import Others, make_environment

from penstock.local.binaries import program
from penstock.local.postgres import EmbeddedPostgres

HERE: Final = Path(__file__).resolve().parent
DAY, NEXT_DAY = "2026-01-01", "2026-01-02"
COMPARISONS: Final = ("attach", "merge, empty table", "merge, changed rows", "all ways", "readers")
MODES: Final[Mapping[str, Mapping[str, str]]] = {
    "append": {"cursor": "recorded_at"},
    "replace_partition": {"partitionBy": "recorded_at"},
    "merge": {"cursor": "recorded_at"},
    "scd2": {"cursor": "recorded_at"},
    "snapshot": {},
}
READERS: Final = (1, 2, 4)
MIN_OVER_SLING: Final = 4.0
MIN_OVER_DLT: Final = 6.0
MAX_RAW_RATIO: Final = 2.0
MAX_MERGE_RATIO: Final = 1.3
MAX_PEAK_MB: Final = 100.0
MAX_GROWTH: Final = 1.1
SMALLER: Final = 10
"""The changed rows, and the slice that memory is compared with, are one in so many."""


@dataclass(frozen=True)
class Way:
    """One way to load the rows.

    Attributes:
        name: What the table calls it.
        prepare: Puts the tables back to where the way starts; not timed.
        run: Loads the rows, returns seconds.
        slow: Whether it may run in fewer turns.
    """

    name: str
    prepare: Callable[[], None]
    run: Callable[[], float]
    slow: bool = False


@dataclass(frozen=True)
class Measured:
    """The seconds of all counted runs of a way."""

    name: str
    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median, in seconds."""
        return statistics.median(self.seconds)

    def ratio_to(self, other: Measured) -> float:
        """Return the median of the ratios within each turn; what slows down a whole turn cancels out.

        A slow way has run in the last turns only.
        """
        turns = min(len(self.seconds), len(other.seconds))
        pairs = zip(self.seconds[-turns:], other.seconds[-turns:], strict=True)
        return statistics.median(mine / theirs for mine, theirs in pairs)


@dataclass(frozen=True)
class Target:
    """A figure that must not exceed its limit, or not stay below it."""

    name: str
    value: float
    limit: float
    unit: str
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Whether the figure is within the limit."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit


class Database:
    """One database, reached through psql."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        url = urlsplit(dsn)
        # Through the environment: what stands in the arguments, every user of the machine can read.
        self._env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PG")},
            "PGHOST": str(url.hostname),
            "PGPORT": str(url.port),
            "PGUSER": unquote(url.username or ""),
            "PGPASSWORD": unquote(url.password or ""),
            "PGDATABASE": url.path.lstrip("/"),
            "PGOPTIONS": "-c client_min_messages=warning -c TimeZone=UTC",
        }

    def start(
        self, *arguments: str, stdin: int | None = None, variables: dict[str, str] | None = None
    ) -> subprocess.Popen[str]:
        """Start psql with the given arguments and variables."""
        options = [part for name, value in (variables or {}).items() for part in ("-v", f"{name}={value}")]
        command = [str(program("psql")), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", *options, *arguments]
        return subprocess.Popen(
            command, env=self._env, stdin=stdin or subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
        )

    def run(self, *statements: str) -> str:
        """Run statements one by one, return what they print."""
        return finished(self.start(*(part for statement in statements for part in ("-c", statement))))

    def script(self, name: str, **variables: str) -> str:
        """Run a file of bench/sql, return what it prints."""
        return finished(self.start("-f", str(HERE / "sql" / name), variables=variables))


def finished(process: subprocess.Popen[str]) -> str:
    """Wait for a process and return its output.

    Raises:
        subprocess.CalledProcessError: It failed; what it said is on standard error.
    """
    output, _ = process.communicate()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, shlex.join(map(str, process.args)))  # type: ignore[arg-type]
    return output.strip()


def pipe(source: Database, rows: str, target: Database, *statements: str) -> None:
    """Run `psql COPY TO | psql COPY FROM`; one of the statements takes the rows."""
    sender = source.start("-c", f"COPY {rows} TO STDOUT (FORMAT binary)")
    assert sender.stdout is not None  # noqa: S101 - a pipe was asked for
    commands = [part for statement in statements for part in ("-c", statement)]
    taker = target.start(*commands, stdin=sender.stdout.fileno())
    sender.stdout.close()
    finished(taker)
    if sender.wait():
        raise subprocess.CalledProcessError(sender.returncode, "psql COPY TO")


class Bench:
    """The two databases with their rows, and the ways to load them."""

    def __init__(self, server: EmbeddedPostgres, contracts: Path, rows: int, others: Others | None = None) -> None:
        self.rows = rows
        self._others = others
        self.source = Database(server.create_database("source"))
        self.warehouse = Database(server.create_database("warehouse"))
        self.reports: dict[str, list[dict[str, float]]] = {}
        self._runs = 0
        self.by_day = write_contract(
            contracts, "payments_by_day", loadMode="replace_partition", partitionBy="recorded_at"
        )
        self._merged = write_contract(contracts, "payments", loadMode="merge", cursor="recorded_at")
        self._modes = {
            mode: write_contract(contracts, f"payments_{mode}", loadMode=mode, **properties)
            for mode, properties in MODES.items()
        }

    def fill(self) -> str:
        """Make the rows; return the size of the largest table, as Postgres puts it."""
        for table, rows, day, step in (
            ("payments", self.rows, DAY, 1),
            ("payments_tenth", self.rows // SMALLER, DAY, 1),
            ("payments_changed", self.rows // SMALLER, NEXT_DAY, SMALLER),
        ):
            self.source.script("columns.sql", table=table)
            self.source.script("fill.sql", table=table, rows=str(rows), day=day, step=str(step))
        self.warehouse.run("CREATE SCHEMA kept")
        self.warehouse.script("columns.sql", table="kept.payments")
        pipe(self.source, "payments", self.warehouse, "COPY kept.payments FROM STDIN (FORMAT binary)")
        self.warehouse.run("VACUUM (FREEZE, ANALYZE) kept.payments")
        return self.source.run("SELECT pg_size_pretty(pg_relation_size('payments'))")

    # --- where the ways start ---

    def _empty(self) -> None:
        self.warehouse.run("DROP SCHEMA IF EXISTS hand, bench CASCADE", "CREATE SCHEMA hand", "CREATE SCHEMA bench")

    def for_raw(self) -> None:
        """An empty table of the contract's types."""
        self._empty()
        self.warehouse.run("CREATE TABLE hand.payments (LIKE kept.payments)", "CHECKPOINT")

    def for_attach(self) -> None:
        """A partitioned table without partitions, for the steps by hand; none for Penstock."""
        self._empty()
        self.warehouse.script("parent.sql", table="hand.payments_by_day")
        self.warehouse.run("CHECKPOINT")

    def _for_merge(self, table: str, *, filled: bool) -> None:
        self._empty()
        self.warehouse.run(f"CREATE TABLE {table} (LIKE kept.payments)")
        if filled:
            self.warehouse.run(f"INSERT INTO {table} SELECT * FROM kept.payments")
        self.warehouse.run(
            f"ALTER TABLE {table} ADD PRIMARY KEY (payment_id)", f"VACUUM (FREEZE, ANALYZE) {table}", "CHECKPOINT"
        )

    # --- the ways ---

    def raw(self) -> float:
        """Copy the rows, nothing else."""
        begin = time.perf_counter()
        pipe(self.source, "payments", self.warehouse, "COPY hand.payments FROM STDIN (FORMAT binary)")
        return time.perf_counter() - begin

    def _stage_by_hand(self, table: str, day: str) -> None:
        pipe(
            self.source,
            f"(SELECT * FROM {table} WHERE recorded_at >= '{day}' AND recorded_at < '{day}'::date + 1)",
            self.warehouse,
            "BEGIN",
            "CREATE TABLE hand.stage (LIKE kept.payments)",
            "COPY hand.stage FROM STDIN (FORMAT binary, FREEZE)",
            "COMMIT",
        )
        broken = self.warehouse.script("audit.sql", table="hand.stage").split("|")[1:]
        assert set(broken) == {"0"}, broken  # noqa: S101 - the rows are made to keep the rules

    def attach_by_hand(self) -> float:
        """Stage, audit, index and attach."""
        begin = time.perf_counter()
        self._stage_by_hand("payments", DAY)
        names = {"table": "hand.payments_by_day", "stage": "hand.stage", "day": DAY, "next_day": NEXT_DAY}
        self.warehouse.script("attach.sql", **names)
        return time.perf_counter() - begin

    def merge_by_hand(self, table: str, day: str) -> float:
        """Stage, audit and upsert."""
        begin = time.perf_counter()
        self._stage_by_hand(table, day)
        self.warehouse.script("merge.sql", table="hand.payments", stage="hand.stage")
        return time.perf_counter() - begin

    def penstock(self, kind: str, contract: Path, table: str, day: str, **more: str | int) -> float:
        """Send a slice through Penstock in a process of its own, and keep its report under `kind`.

        `more` is what else the job says, where the rows do not come from `table` itself.
        """
        self._runs += 1
        job = {
            "source": self.source.dsn,
            "warehouse": self.warehouse.dsn,
            "contract": str(contract),
            "place": f"public.{table}",
            "day": day,
            "run": f"bench-{self._runs}",
            **more,
        }
        plugins = str(HERE.parent / "plugins")
        done = subprocess.run(
            [sys.executable, str(HERE / "slice_process.py")],
            input=json.dumps(job),
            env={**os.environ, "PYTHONPATH": plugins},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        report: dict[str, float] = json.loads(done.stdout)
        there = int(self.source.run(f"SELECT count(*) FROM {table}"))
        assert report["loaded"] == there, (report, there)  # noqa: S101 - the rows are made to keep the rules
        self.reports.setdefault(kind, []).append(report)
        return report["seconds"]

    def comparisons(self) -> dict[str, list[Way]]:
        """Return the ways, by what they are compared in; Penstock stands last, what it is held against first."""
        attach, empty, changed, every, reading = COMPARISONS
        return {
            attach: [
                Way("raw: psql COPY → psql COPY", self.for_raw, self.raw),
                Way("by hand", self.for_attach, self.attach_by_hand),
                Way("Penstock", self.for_attach, lambda: self.penstock(attach, self.by_day, "payments", DAY)),
            ],
            empty: self._merges(empty, "payments", DAY, filled=False),
            changed: self._merges(changed, "payments_changed", NEXT_DAY, filled=True),
            every: [
                Way("raw: psql COPY → psql COPY", self.for_raw, self.raw),
                *(self._in_mode(mode, contract) for mode, contract in self._modes.items()),
                *(self._others.ways(self.for_others, self.source, self.warehouse) if self._others else ()),
            ],
            reading: [self._with_readers(number) for number in READERS],
        }

    def _in_mode(self, mode: str, contract: Path) -> Way:
        return Way(f"Penstock, {mode}", self.for_attach, lambda: self.penstock(mode, contract, "payments", DAY))

    def _with_readers(self, number: int) -> Way:
        kind = f"{number} reader{'s' if number > 1 else ''}"
        return Way(
            f"Penstock, {kind}",
            self.for_attach,
            lambda: self.penstock(kind, self.by_day, "payments", DAY, readers=number),
        )

    def for_others(self) -> None:
        """An empty schema."""
        self._empty()
        self.warehouse.run("DROP SCHEMA IF EXISTS other, other_staging CASCADE", "CREATE SCHEMA other", "CHECKPOINT")

    def _merges(self, kind: str, table: str, day: str, *, filled: bool) -> list[Way]:
        return [
            Way(
                "by hand",
                lambda: self._for_merge("hand.payments", filled=filled),
                lambda: self.merge_by_hand(table, day),
            ),
            Way(
                "Penstock",
                lambda: self._for_merge("bench.payments", filled=filled),
                lambda: self.penstock(kind, self._merged, table, day),
            ),
        ]

    def measure_memory(self) -> None:
        """Send a slice of a tenth of the rows through Penstock, for its peak memory."""
        self.for_attach()
        self.penstock("a tenth", self.by_day, "payments_tenth", DAY)


def write_contract(folder: Path, table: str, **properties: str) -> Path:
    """Write bench/payments.yaml with the given table name and custom properties, return the file."""
    document = yaml.safe_load((HERE / "payments.yaml").read_text(encoding="utf-8"))
    schema = document["schema"][0]
    schema["name"] = table
    schema["customProperties"] += [{"property": name, "value": value} for name, value in properties.items()]
    if properties["loadMode"] in ("append", "snapshot"):
        day = {"name": "loaded_for", "logicalType": "date", "physicalName": "$slice", "required": True}
        schema["properties"].append(day)
    file = folder / "bench" / f"{table}.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    return file


def take_turns(
    ways: list[Way], repeat: int, say: Callable[[str], None], slow_turns: int | None = None
) -> list[Measured]:
    """Run the ways in turns, once for warmth and then `repeat` times that count; slow ones in the last few."""
    seconds: dict[str, list[float]] = {way.name: [] for way in ways}
    for turn in range(repeat + 1):
        for way in ways:
            if way.slow and slow_turns is not None and turn <= max(repeat - slow_turns, 0):
                continue
            way.prepare()
            taken = way.run()
            say(f"  {way.name}: {taken:.2f} s{'' if turn else ' (warming)'}")
            if turn:
                seconds[way.name].append(taken)
    return [Measured(name, tuple(times)) for name, times in seconds.items()]


def targets_of(results: dict[str, list[Measured]], reports: dict[str, list[dict[str, float]]]) -> list[Target]:
    """Hold the measurements against the targets."""
    found = []
    for name, measured in results.items():
        if name in ("all ways", "readers"):
            continue
        limit = MAX_RAW_RATIO if name == "attach" else MAX_MERGE_RATIO
        ratio = measured[-1].ratio_to(measured[0])
        found.append(Target(f"{name}: Penstock ÷ {measured[0].name.split(':')[0]}", ratio, limit, "×"))
    found += _over_others(results.get("all ways", []))
    if "attach" not in reports:
        return found
    peak = max(report["peak_mb"] for report in reports["attach"])
    smaller = max(report["peak_mb"] for report in reports["a tenth"])
    found.append(Target("peak memory of the process", peak, MAX_PEAK_MB, "MB"))
    found.append(Target("peak memory ÷ that of a tenth of the rows", peak / smaller, MAX_GROWTH, "×"))
    return found


def _over_others(measured: list[Measured]) -> Iterator[Target]:
    """Hold Penstock, with gate and ledger, against the best way of each of the others."""
    ours = next((way for way in measured if way.name == "Penstock, replace_partition"), None)
    for other, limit in (("Sling", MIN_OVER_SLING), ("dlt", MIN_OVER_DLT)):
        ways = [way for way in measured if way.name.startswith(other)]
        if ours and ways:
            best = min(ways, key=lambda way: way.median)
            yield Target(f"{best.name} ÷ Penstock, replace_partition", best.ratio_to(ours), limit, "×", at_least=True)


def table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Lay out a Markdown table whose columns line up as plain text too; all but the first are figures."""
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]

    def line(cells: tuple[str, ...]) -> str:
        first, *others = (
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return f"| {' | '.join([first, *others])} |"

    rule = "|".join("-" * (width + 1) + (":" if column else "-") for column, width in enumerate(widths))
    return "\n".join([line(header), f"|{rule}|", *map(line, rows)])


def times_table(results: dict[str, list[Measured]]) -> str:
    """Return the seconds of all ways and how they stand to the first of their comparison."""
    return table(
        ("way", "median s", "least s", "most s", "×"),
        [
            (f"{name} · {way.name}", f"{way.median:.2f}", f"{min(way.seconds):.2f}", f"{max(way.seconds):.2f}",
             f"{way.ratio_to(measured[0]):.2f}")
            for name, measured in results.items()
            for way in measured
        ],
    )  # fmt: skip


def phases_table(reports: dict[str, list[dict[str, float]]]) -> str:
    """Return where the time of Penstock's slices went."""
    names = ("contract", "extract", "validate", "publish", "peak_mb")
    return table(
        ("Penstock's slice", "rules", "rows loaded", "contract s", "extract s", "validate s", "publish s", "peak MB"),
        [
            (kind, f"{runs[-1]['rules']:.0f}", f"{runs[-1]['loaded']:,.0f}",
             *(f"{statistics.median(run[name] for run in runs[1:] or runs):.{1 if name == 'peak_mb' else 2}f}"
               for name in names))
            for kind, runs in reports.items()
        ],
    )  # fmt: skip


def targets_table(targets: list[Target]) -> str:
    """Return the targets and whether they are met."""
    return table(
        ("target", "measured", "limit", "met"),
        [
            (target.name, f"{target.value:.2f} {target.unit}",
             f"at {'least' if target.at_least else 'most'} {target.limit:g} {target.unit}",
             "yes" if target.met else "NO")
            for target in targets
        ],
    )  # fmt: skip


def machine() -> str:
    """Say what the benchmark runs on."""
    model = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        lines = information.read_text(encoding="utf-8").splitlines()
        model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), model)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return f"{os.cpu_count()} × {model}, {memory:.0f} GB, {platform.system()} {platform.release()}"


@contextmanager
def temporary_server() -> Iterator[tuple[EmbeddedPostgres, Path]]:
    """Start an embedded Postgres in a temporary folder, and remove both in the end."""
    home = Path(tempfile.mkdtemp(prefix="penstock-bench-"))
    home.chmod(0o711)  # for root, the server runs as an ordinary user who must pass through
    server = EmbeddedPostgres(home / "postgres")
    try:
        yield server.start(), home
    finally:
        server.remove()
        shutil.rmtree(home, ignore_errors=True)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Measure Penstock beside psql COPY and beside the steps by hand.")
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of the slice (default 1,000,000)")
    parser.add_argument("--repeat", type=int, default=3, help="counted runs of each way (default 3)")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a target is missed")
    parser.add_argument("--output", type=Path, default=HERE / "results.md", help="where the results are written")
    parser.add_argument("--only", choices=COMPARISONS, help="make this comparison alone")
    parser.add_argument("--loaders", action="store_true", help="measure Sling, dlt and pandas too (Linux x86-64)")
    parser.add_argument("--slow-turns", type=int, help="let the other loaders run in so many turns only")
    arguments = parser.parse_args()
    if arguments.rows < SMALLER or arguments.repeat < 1 or (arguments.slow_turns or 1) < 1:
        parser.error(f"--rows must be at least {SMALLER}, --repeat and --slow-turns at least 1")
    return arguments


def _slow(arguments: argparse.Namespace) -> str:
    if not arguments.loaders or arguments.slow_turns is None:
        return ""
    return f"The other loaders ran in the last {arguments.slow_turns} of them, without a warming one. "


def main() -> int:
    """Measure, print, write; return the exit code."""
    arguments = parse_arguments()
    python = make_environment() if arguments.loaders else None
    began, load = datetime.now(UTC), os.getloadavg()[0]
    with temporary_server() as (server, home):
        others = Others(python, home) if python else None
        bench = Bench(server, home / "contracts", arguments.rows, others)
        print(f"Making {arguments.rows:,} rows …", flush=True)
        size = bench.fill()
        version = bench.warehouse.run("SHOW server_version")
        results = {}
        bench.measure_memory()
        for name, ways in bench.comparisons().items():
            if arguments.only in (None, name):
                print(name, flush=True)
                results[name] = take_turns(
                    ways, arguments.repeat, lambda text: print(text, flush=True), arguments.slow_turns
                )
    targets = targets_of(results, bench.reports)
    driver = importlib.metadata.version("psycopg2-binary")
    command = shlex.join(["python", "bench/throughput.py", *sys.argv[1:]])
    report = f"""# Results of bench/throughput.py

{arguments.rows:,} rows × 10 columns ({size}); counted turns: {arguments.repeat}. {_slow(arguments)}The last column is
the ratio to the first way of the same comparison: the median of the ratios within each turn.

{times_table(results)}

{phases_table(bench.reports)}

{others.table() if others else ""}
{targets_table(targets)}

- date: {began:%Y-%m-%d %H:%M} UTC
- command: `{command}`
- machine: {machine()}; load average when it began: {load:.1f}
- Postgres {version}, Python {platform.python_version()}, psycopg2-binary {driver}{others.versions() if others else ""}
"""
    print(f"\n{report}")
    arguments.output.write_text(report, encoding="utf-8")
    return 1 if arguments.check and not all(target.met for target in targets) else 0


if __name__ == "__main__":
    sys.exit(main())
