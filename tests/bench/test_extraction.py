"""The benchmark of files and other databases runs to its end; how fast, only an idle machine can tell."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the benchmark as bench/extraction.md says."""
    return subprocess.run(
        [sys.executable, "bench/extraction.py", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"plugins{os.pathsep}."},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_a_csv_is_measured_beside_copy(tmp_path: Path) -> None:
    """A small run ends well and writes its ways and its target; the other loaders are not needed for it."""
    output = tmp_path / "results.md"
    done = run("--only", "csv", "--rows", "3000", "--repeat", "1", "--output", str(output))
    assert done.returncode == 0, done.stderr
    written = output.read_text(encoding="utf-8")
    wanted = ("csv · raw: psql \\copy", "csv · Penstock", "csv: Penstock ÷ \\copy", "- machine: ")
    assert [line for line in wanted if line not in written] == []


@pytest.mark.parametrize("arguments", [("--rows", "0"), ("--repeat", "0")])
def test_nonsense_is_refused(arguments: tuple[str, ...]) -> None:
    """No rows or no runs end with a usage message before anything starts."""
    done = run(*arguments)
    assert done.returncode == 2
    assert "must be at least" in done.stderr
