"""The benchmark of the gate runs to its end and prints what it promises; how fast, only an idle machine can tell."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_benchmark_of_the_gate_runs(tmp_path: Path) -> None:
    """Thirty rules, judged alike by hand, by the plan and by Great Expectations, side by side in one table."""
    done = subprocess.run(
        [sys.executable, "bench/gate.py", "--rows", "2000", "--repeat", "1", "--output", str(tmp_path / "results.md")],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": "plugins"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert done.stdout.strip() == text.strip()
    for line in ("# 30 rules over 2,000 rows", "| by hand | ", "| Penstock | ", "| Great Expectations | "):
        assert line in text
