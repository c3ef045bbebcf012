"""docs/backfill.md says nothing that this project or Airflow does not know."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from typing import Any

import pytest

from penstock.core.gaps import Why
from penstock.defaults import DAG_DEFAULTS, POOL
from penstock.local.settings_file import read_settings
from penstock.project import ROOT

DOC = (ROOT / "docs" / "backfill.md").read_text(encoding="utf-8")
COMMANDS = [
    shlex.split(line) for block in re.findall(r"^```sh\n(.*?)^```$", DOC, re.M | re.S) for line in block.splitlines()
]


def test_airflow_commands_parse() -> None:
    """Airflow's own parser accepts each `airflow` command of the page."""
    from airflow.cli.cli_parser import get_parser

    found = [command[1:] for command in COMMANDS if command[0] == "airflow"]
    assert len(found) == 3
    for arguments in found:
        get_parser().parse_args(arguments)


@pytest.mark.parametrize("command", [c[1:] for c in COMMANDS if c[0] == "penstock"], ids=" ".join)
def test_penstock_commands_run(command: list[str], cli: Callable[..., Any], loaded: Any) -> None:
    """Each `penstock` command of the page is understood; here it is only told what it would do."""
    said = cli(*command, "--to", "2010-09-25", *(() if "--dry-run" in command else ("--dry-run",)))
    assert said.code == 0, said.err


def test_listing_is_what_the_command_prints(cli: Callable[..., Any], loaded: Any) -> None:
    """The console block is the real output over one loaded slice, 2010-09-21."""
    [block] = re.findall(r"^```console\n\$ penstock (.*?)\n(.*?)^```$", DOC, re.M | re.S)
    assert cli(*shlex.split(block[0])).out == block[1]


def test_reasons_and_figures_are_those_of_the_code() -> None:
    """The table has a line for each reason; the numbers of slots and runs are those that apply."""
    assert re.findall(r"^\| `(\w+)` \|", DOC, re.M) == [why.value for why in Why]
    [slots] = [
        pool["slots"] for pool in read_settings(ROOT / "airflow_settings.yaml", {}).pools if pool["name"] == POOL
    ]
    assert f"pool `{POOL}` (`penstock.defaults.POOL`), {slots} slots" in DOC
    assert f"`max_active_runs` ({DAG_DEFAULTS['max_active_runs']}, of `DAG_DEFAULTS`)" in DOC
