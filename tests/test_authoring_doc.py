"""What docs/authoring.md tells people to do, done."""

from __future__ import annotations

import json
import re
import runpy
import shlex
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import penstock.cli.new
from penstock import project
from penstock.cli.app import main
from penstock.core.contract import check_all
from penstock.core.errors import SliceRefused
from penstock.project import ROOT
from tests.operators.contexts import Query, context_of

PAGE = (ROOT / "docs" / "authoring.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
FILES = dict(re.findall(r"`((?:include|dags)/[\w/.]+)`\n\n```\w+\n(.*?)```", PAGE, re.DOTALL))
SERVER = "https://files.example.org"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with the sources that the page names; contracts, DAGs and lake below it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(project, "CONTRACTS", tmp_path / "include" / "contracts")
    monkeypatch.setattr(penstock.cli.new, "DAGS", tmp_path / "dags")
    monkeypatch.setenv("AIRFLOW_VAR_LAKE_URL", str(tmp_path / "lake"))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "parcels-2026-01-05.csv").write_text("parcel,kg\n" + "".join(f"P{n},{n}\n" for n in range(30)))
    (tmp_path / "data" / "depots.csv").write_text("depot,capacity\nRome,500\nOslo,0\n")
    (tmp_path / "events.jsonl").write_text("".join(json.dumps({"id": n, "at": "2026-01-05"}) + "\n" for n in range(30)))
    return tmp_path


@pytest.fixture
def server(folder: Path) -> Iterator[str]:
    """The URL of a real server over the working folder, in place of the page's."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{found.server_port}"
        found.shutdown()


def run_dag(path: Path, key: str) -> dict[str, int]:
    """Run a DAG file's tasks for a slice; what publish says."""
    dataset = f"{path.parent.name}/{path.stem}"
    dag = runpy.run_path(str(path))[dataset.replace("/", "_")]()
    for task in dag.topological_sort():
        summary = task.execute(context_of(dataset, key))
    return summary


def test_commands_do_what_the_page_says(folder: Path, server: str, query: Query) -> None:
    """Each `penstock` command ends well, and the three drafted DAGs publish all rows of their sources."""
    penstock_commands = [line for line in COMMANDS if line.startswith("penstock")]
    assert len(penstock_commands) == 5
    for line in penstock_commands:
        assert main(shlex.split(line.replace(SERVER, server))[1:]) == 0, line
    assert run_dag(folder / "dags" / "commerce" / "sales.py", "2010-09-20")["loaded"] == 1841
    assert run_dag(folder / "dags" / "logistics" / "events.py", "2026-01-05")["loaded"] == 30
    assert run_dag(folder / "dags" / "logistics" / "parcels.py", "2026-01-05")["loaded"] == 30
    assert "parcels-{slice}.csv" in (folder / "dags" / "logistics" / "parcels.py").read_text()


def test_airflow_understands_its_part() -> None:
    """What is passed on to Airflow's own command line is understood there."""
    from airflow.cli.cli_parser import get_parser

    passed = [shlex.split(line)[2].removeprefix("ARGS=") for line in COMMANDS if line.startswith("make airflow")]
    assert passed
    for arguments in passed:
        get_parser().parse_args(shlex.split(arguments))


def test_dataset_by_hand_works(folder: Path, query: Query, monkeypatch: pytest.MonkeyPatch) -> None:
    """The contract and the DAG of the page, written down as they stand there, load a slice and hold back one row."""
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True)
        path.write_text(text.replace("data/depots.csv", str(folder / "data" / "depots.csv")), encoding="utf-8")
    assert check_all(project.CONTRACTS) == []
    with pytest.raises(SliceRefused, match="capacity_positive"):  # one row of two is more than the budget
        run_dag(folder / "dags" / "logistics" / "depots.py", "2026-01-05")
    (folder / "data" / "depots.csv").write_text("depot,capacity\nRome,500\n")
    assert run_dag(folder / "dags" / "logistics" / "depots.py", "2026-01-06")["loaded"] == 1
    assert query("SELECT slice_day::text, depot, capacity FROM logistics.depots") == [("2026-01-06", "Rome", 500)]
