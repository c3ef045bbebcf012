"""How commands start and end."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from penstock.cli.app import app

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("airflow", "great_expectations", "pandas", "pyarrow", "sqlalchemy", "httpx", "rich")


def penstock(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as a program."""
    return subprocess.run(
        [sys.executable, "-m", "penstock", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT / "plugins"), **environ},
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_starts_in_under_a_second() -> None:
    """The best of three starts, with every contract read; what takes longer is imported by those who need it."""
    times = []
    for _ in range(3):
        began = time.monotonic()
        assert penstock("check").returncode == 0
        times.append(time.monotonic() - began)
    assert min(times) < 1


def test_nothing_heavy_is_imported() -> None:
    """Airflow, Great Expectations and their like stay out, whichever command is asked for help."""
    script = (
        "import sys; from penstock.cli.app import main; assert main(['check']) == 0;"
        "[main([*c, '--help']) for c in (['plan'], ['quarantine', 'mend'], ['new'], ['docs-site'], ['redrive'])];"
        f"found = sorted(set({HEAVY!r}) & sys.modules.keys()); sys.exit(repr(found) if found else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(ROOT / "plugins")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_what_is_not_understood_ends_with_2(cli: Any) -> None:
    """An unknown command, a missing argument, a wrong option: 2, and how it should have been."""
    for arguments in (["nonsense"], ["apply"], ["plan", "--colour"], ["quarantine", "list", "--state", "lost"]):
        said = cli(*arguments)
        assert (said.code, "Usage: penstock" in said.err) == (2, True), arguments


def test_a_problem_ends_with_1_and_is_told_in_words(cli: Any, contracts: Path) -> None:
    """An error of Penstock's has no traceback; it says what to do."""
    said = cli("plan", "shop/nothing")
    assert said.code == 1
    assert "nothing.yaml: the file: does not exist" in said.err
    assert "Traceback" not in said.err


@pytest.mark.parametrize("arguments", [["--help"], ["quarantine", "--help"], ["redrive", "--help"]])
def test_help_names_everything(cli: Any, arguments: list[str]) -> None:
    """Help ends with 0 and is on standard output."""
    said = cli(*arguments)
    assert said.code == 0
    assert "Usage: penstock" in said.out


def commands(found: Any, prefix: str = "penstock") -> Iterator[str]:
    """The full names of all commands below one."""
    for name, command in getattr(found, "commands", {}).items():
        below = list(commands(command, f"{prefix} {name}"))
        yield from below or [f"{prefix} {name}"]


def test_every_command_is_on_the_page() -> None:
    """`docs/cli.md` has a line for each command, and none for another."""
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    described = re.findall(r"^\| `(penstock (?:quarantine )?[a-z-]+)", text, re.MULTILINE)
    assert sorted(described) == sorted(commands(typer.main.get_command(app)))
