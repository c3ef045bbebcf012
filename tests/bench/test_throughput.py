"""The benchmark runs to its end and prints what it promises; how fast, only an idle machine can tell."""

import importlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

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
    "all ways · raw: psql COPY → psql COPY",
    "all ways · Penstock, append",
    "all ways · Penstock, replace_partition",
    "all ways · Penstock, merge",
    "all ways · Penstock, scd2",
    "all ways · Penstock, snapshot",
    "readers · Penstock, 1 reader",
    "readers · Penstock, 2 readers",
    "readers · Penstock, 4 readers",
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


@pytest.mark.parametrize("arguments", [("--rows", "9"), ("--repeat", "0"), ("--slow-turns", "-1")])
def test_nonsense_is_refused(arguments: tuple[str, ...]) -> None:
    """Too few rows for a tenth of them, or no runs at all, end with a usage message before anything starts."""
    done = run(*arguments)
    assert done.returncode == 2
    assert "must be at least" in done.stderr


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any]:
    """The benchmark's modules, `throughput` and `others`."""
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    return importlib.import_module("throughput"), importlib.import_module("others")


def test_slow_ways_run_in_the_last_turns_and_are_compared_within_them(modules: tuple[Any, Any]) -> None:
    """A slow way skips the warming turn and the first ones; its ratio is to what the others took in its own turns."""
    throughput, _ = modules
    quick, slow = iter([9.0, 1.0, 2.0, 4.0]), iter([20.0, 80.0])
    ways = [
        throughput.Way("quick", lambda: None, lambda: next(quick)),
        throughput.Way("slow", lambda: None, lambda: next(slow), slow=True),
    ]
    measured = throughput.take_turns(ways, 3, lambda _: None, 2)
    assert [way.seconds for way in measured] == [(1.0, 2.0, 4.0), (20.0, 80.0)]
    assert measured[1].ratio_to(measured[0]) == 15.0


def test_the_best_way_of_another_loader_is_what_counts(modules: tuple[Any, Any]) -> None:
    """Penstock is held against the fastest of a loader's ways; a target of the kind "at least" is missed from below."""
    throughput, _ = modules
    seconds = {"Penstock, replace_partition": 1.0, "Sling": 3.0, "dlt, csv": 20.0, "dlt, parquet": 7.0}
    measured = [throughput.Measured(name, (taken,)) for name, taken in seconds.items()]
    found = throughput.targets_of({"all ways": measured}, {})
    assert [(target.name.split(" ÷")[0], target.value, target.met) for target in found] == [
        ("Sling", 3.0, False),
        ("dlt, parquet", 7.0, True),
    ]


def test_what_the_other_loaders_need_is_pinned(modules: tuple[Any, Any]) -> None:
    """Every setting has its program, every loader that the results name its version, and none is the project's."""
    _, others = modules
    assert [s.program for s in others.SETTINGS if not (others.LOADERS / s.program).is_file()] == []
    assert "\n- sling-linux-amd64 " in others.Others(Path(sys.executable), ROOT).versions()
    lines = [line for line in others.REQUIREMENTS.read_text().splitlines() if not line.startswith("#")]
    assert [line for line in lines if "==" not in line] == []
    project = (ROOT / "requirements.lock").read_text() + (ROOT / "requirements-dev.lock").read_text()
    assert [name for name in ("dlt==", "sling") if f"\n{name}" in project] == []
