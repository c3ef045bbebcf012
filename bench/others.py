"""The other loaders that bench/throughput.py measures: their environment, and the ways they are run (bench/loaders)."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from throughput import Database, Way

LOADERS: Final = Path(__file__).resolve().parent / "loaders"
REQUIREMENTS: Final = LOADERS / "requirements.txt"
ENVIRONMENT: Final = LOADERS.parents[1] / ".penstock" / "loaders"
TARGET: Final = "other.payments"
NAMED: Final = ("sling-linux-amd64", "dlt", "adbc-driver-postgresql", "pyarrow", "pandas", "sqlalchemy")
"""What stands behind the ways, for the versions in the results."""


@dataclass(frozen=True)
class Setting:
    """One loader, with the settings that it runs by."""

    name: str
    program: str
    options: dict[str, Any] = field(default_factory=dict)

    def words(self) -> str:
        """Return the settings as the results name them."""
        return ", ".join(f"{name} {value}" for name, value in self.options.items()) or "full-refresh, use_bulk"


SETTINGS: Final = (
    Setting("Sling", "sling_load.py"),
    Setting("dlt, parquet", "dlt_load.py", {"backend": "pyarrow", "file_format": "parquet", "chunk_rows": 100_000}),
    Setting("dlt, csv", "dlt_load.py", {"backend": "pyarrow", "file_format": "csv", "chunk_rows": 100_000}),
    Setting("pandas, COPY", "pandas_load.py", {"method": "copy", "chunk_rows": 100_000}),
)


MARIADB: Final = (
    Setting(
        "dlt, parquet (MariaDB)", "dlt_load.py", {"backend": "pyarrow", "file_format": "parquet", "chunk_rows": 100_000}
    ),
    Setting(
        "dlt, as it comes (MariaDB)",
        "dlt_load.py",
        {"backend": "sqlalchemy", "file_format": "insert_values", "chunk_rows": 50_000},
    ),
    Setting("pandas, COPY (MariaDB)", "pandas_load.py", {"method": "copy", "chunk_rows": 100_000}),
)
API: Final = (
    Setting("dlt rest_api, csv", "dlt_rest_load.py", {"file_format": "csv"}),
    Setting("dlt rest_api, insert_values", "dlt_rest_load.py", {"file_format": "insert_values"}),
)
ALL: Final = (*SETTINGS, *MARIADB, *API)


def make_environment() -> Path:
    """Install the loaders where they do not stand in the project's way, unless they are there; return their Python.

    Raises:
        subprocess.CalledProcessError: They cannot be installed.
    """
    python, stamp = ENVIRONMENT / "bin" / "python", ENVIRONMENT / "requirements.txt"
    wanted = REQUIREMENTS.read_text(encoding="utf-8")
    if python.exists() and stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return python
    print(f"Installing Sling, dlt and pandas below {ENVIRONMENT} …", flush=True)
    shutil.rmtree(ENVIRONMENT, ignore_errors=True)
    beside = Path(sys.executable).with_name("uv")
    uv = str(beside) if beside.exists() else "uv"
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(ENVIRONMENT)], check=True)
    subprocess.run(
        [uv, "pip", "install", "--quiet", "--no-deps", "--python", str(python), "-r", str(REQUIREMENTS)], check=True
    )
    stamp.write_text(wanted, encoding="utf-8")
    return python


class Others:
    """The other loaders, and what they reported of themselves.

    Args:
        python: The Python of their environment.
        home: Where they may write; a folder for each run.
    """

    def __init__(self, python: Path, home: Path) -> None:
        self._python = python
        self._home = home
        self._runs = 0
        self._peaks: dict[str, float] = {}

    def ways(
        self,
        prepare: Callable[[], None],
        source: Database,
        warehouse: Database,
        *,
        settings: Sequence[Setting] = SETTINGS,
        place: tuple[str, str] | None = None,
    ) -> Iterator[Way]:
        """Yield the ways; each loads `payments` into a schema of its own.

        Args:
            prepare: Puts the warehouse back to where a way starts.
            source: What has the rows.
            warehouse: Where they go.
            settings: The loaders.
            place: URL and table from which they are read, where that is a copy of what `source` has.
        """
        from throughput import Way

        for setting in settings:
            run = partial(self._run, setting, source, warehouse, place or (source.dsn, "public.payments"))
            yield Way(setting.name, prepare, run, slow=True)

    def _run(self, setting: Setting, source: Database, warehouse: Database, place: tuple[str, str]) -> float:
        self._runs += 1
        folder = self._home / f"loader-{self._runs}"
        folder.mkdir()
        job = {
            "source": place[0],
            "warehouse": warehouse.dsn,
            "table": place[1],
            "target": TARGET,
            "folder": str(folder),
            "options": setting.options,
        }
        done = subprocess.run(
            [str(self._python), str(LOADERS / setting.program)],
            input=json.dumps(job),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        shutil.rmtree(folder)
        # Rounded, for pandas makes floating-point numbers of exact ones.
        sums = (
            "count(*), round(sum(amount)::numeric, 2), round(sum(fee)::numeric, 2), count(note),"
            " min(recorded_at)::timestamp, max(recorded_at)::timestamp, max(invoice)"
        )
        came, sent = (d.run(f"SELECT {sums} FROM {t}") for d, t in ((warehouse, TARGET), (source, "payments")))
        assert came == sent, (setting.name, came, sent)  # noqa: S101 - a faster way that loses is none
        report: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
        self._peaks[setting.name] = max(report["peak_mb"], self._peaks.get(setting.name, 0.0))
        return report["seconds"]

    def table(self) -> str:
        """Return the settings and the memory of each loader."""
        from throughput import table

        rows = [(s.name, s.words(), f"{self._peaks[s.name]:.0f}") for s in ALL if s.name in self._peaks]
        return f"{table(('other loader', 'settings', 'peak MB'), rows)}\n" if rows else ""

    def versions(self) -> str:
        """Return the versions of the loaders as a line of the results."""
        pins = dict(line.split("==") for line in REQUIREMENTS.read_text(encoding="utf-8").splitlines() if "==" in line)
        return "\n- " + ", ".join(f"{name} {pins[name]}" for name in NAMED)
