"""The benchmark runs to its end and prints what it promises; how fast, only an idle machine can tell."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINES = (
    "attach · raw: psql COPY → psql COPY",
    "attach · by hand",
    "attach · Penstock",
    "merge, empty table · by hand",
    "merge, empty table · Penstock",
    "merge, changed rows · by hand",
    "merge, changed rows · Penstock",
    "attach: Penstock ÷ raw",
    "merge, empty table: Penstock ÷ by hand",
    "merge, changed rows: Penstock ÷ by hand",
    "peak memory of the process",
    "peak memory ÷ that of a tenth of the rows",
    "- date: ",
    "- command: `python bench/throughput.py --rows 3000 --repeat 1",
    "- machine: ",
    "- Postgres ",
)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the benchmark as `make bench` does."""
    return subprocess.run(
        [sys.executable, "bench/throughput.py", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": "plugins"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_every_way_and_every_target_is_measured(tmp_path: Path) -> None:
    """A small run ends well, prints a line for each way and target, and writes the same to its file."""
    output = tmp_path / "results.md"
    done = run("--rows", "3000", "--repeat", "1", "--output", str(output))
    assert done.returncode == 0, done.stderr
    written = output.read_text(encoding="utf-8")
    assert [line for line in LINES if line not in written] == []
    assert written.strip() in done.stdout
    assert "| attach              |    10 |       3,000 |" in written, "eight rules, the key's, and the slice's own"


@pytest.mark.parametrize("arguments", [("--rows", "9"), ("--repeat", "0")])
def test_nonsense_is_refused(arguments: tuple[str, ...]) -> None:
    """Too few rows for a tenth of them, or no runs at all, end with a usage message before anything starts."""
    done = run(*arguments)
    assert done.returncode == 2
    assert "must be at least" in done.stderr
