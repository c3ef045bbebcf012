"""What the README tells a newcomer to do, done."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from penstock import project
from penstock.cli.app import app
from penstock.core.contract import check_all
from penstock.project import ROOT
from tests.operators.contexts import Query, context_of

README = (ROOT / "README.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"`((?:include|dags)/[\w/.]+)`\n\n```\w+\n(.*?)```", README, re.DOTALL))
SHELL = [line for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) for line in block.splitlines()]
COMMANDS = SHELL + re.findall(r"^\| `(make [^`]+)`", README, re.MULTILINE)


def test_new_dataset_of_the_readme_works(query: Query, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The contract and the DAG of the README, written down as they stand there, load a slice."""
    contract, dag_file = FILES
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True)
        path.write_text(text, encoding="utf-8")
    contracts = tmp_path / "include" / "contracts"
    assert check_all(contracts) == []
    monkeypatch.setattr(project, "CONTRACTS", contracts)
    names: dict[str, Any] = {"__name__": "dag_file", "__doc__": ""}
    exec(compile((tmp_path / dag_file).read_text(encoding="utf-8"), dag_file, "exec"), names)  # noqa: S102 - our own
    dag = names["commerce_customer_changes"]()
    context = context_of("commerce/customer_changes", "2010-09-20")
    for task in dag.topological_sort():
        summary = task.execute(context)
    assert summary["loaded"] == 88
    assert query("SELECT count(*) FROM commerce.customer_changes") == [(88,)]
    assert contract.endswith("customer_changes.yaml")


def understood_by_penstock(arguments: list[str]) -> None:
    """Fail unless the command line has this command with these options."""
    found = CliRunner().invoke(app, [*arguments, "--help"])  # the arguments are read first
    assert found.exit_code == 0, found.output


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_exist(command: str) -> None:
    """Each command of the README is a make target or one of `penstock`; what is passed on is understood there."""
    words = shlex.split(command)
    if words[0] == ".venv/bin/penstock":
        understood_by_penstock(words[1:])
        return
    assert words[0] == "make"
    assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for word in words[2:]:
        name, value = word.split("=", 1)
        if name == "ARGS":
            from airflow.cli.cli_parser import get_parser

            get_parser().parse_args(shlex.split(value))


def test_links_lead_somewhere() -> None:
    """Every relative link and picture of the README and the docs is a file of the project."""
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
