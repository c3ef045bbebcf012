"""docs/databases.md: its DAG loads its contract from a real MariaDB, its hook example runs, its names are true."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from penstock import defaults, project
from penstock.core.contract import load_contract
from penstock.core.source_changes import FIELDS, _check
from penstock.core.stage import Stage
from penstock.hooks import database
from penstock.operators.extract_changes import ChangesExtractOperator
from penstock.operators.extract_database import DatabaseExtractOperator
from tests.mariadb import MariaDb
from tests.operators.contexts import Query, context_of

PAGE = (project.ROOT / "docs" / "databases.md").read_text(encoding="utf-8")
DAG, HOOK = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
CONTRACT, CHANGES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def helpdesk(mariadb: MariaDb, monkeypatch: pytest.MonkeyPatch) -> MariaDb:
    """The page's source, behind its connection."""
    mariadb.run(
        "DROP DATABASE IF EXISTS helpdesk",
        "CREATE DATABASE helpdesk",
        "CREATE TABLE helpdesk.ticket (id bigint PRIMARY KEY, subject varchar(100), hours decimal(6,2),"
        " changed_at timestamp NULL)",
        "INSERT INTO helpdesk.ticket VALUES (1, 'Printer', 0.25, '2026-01-05 10:00:00'),"
        " (2, NULL, 1, '2026-01-05 11:00:00'), (3, 'Mouse', 1, '2026-01-06 00:00:00')",
        "INSERT INTO helpdesk.ticket SELECT seq, 'Screen', 1, '2026-01-05 12:00:00' FROM seq_4_to_25",
    )
    monkeypatch.setenv("AIRFLOW_CONN_HELPDESK", mariadb.uri.replace("/shop", "/helpdesk"))
    return mariadb


def test_the_dag_of_the_page_loads_its_contract(
    query: Query, helpdesk: MariaDb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The three tasks of the DAG, run one after the other: the good rows of the day are there, the bad one is aside."""
    path = tmp_path / "support" / "tickets.yaml"
    path.parent.mkdir()
    path.write_text(CONTRACT, encoding="utf-8")

    def contract_of(dataset: str) -> Any:
        assert dataset == "support/tickets"
        return load_contract(path)

    monkeypatch.setattr(defaults, "contract_of", contract_of)
    monkeypatch.setattr("penstock.operators.slices.contract_of", contract_of)
    module = ModuleType("support_tickets")
    exec(DAG, vars(module))  # noqa: S102 - what the page says
    dag = module.support_tickets()
    for name in ("extract", "validate", "publish"):
        dag.get_task(name).execute(context_of("support/tickets", "2026-01-05"))
    assert query("SELECT subject, hours::text FROM support.tickets WHERE ticket_id < 4") == [("Printer", "0.25")]
    assert query("SELECT count(*) FROM support.tickets") == [(23,)]
    assert query("SELECT rules FROM ops.quarantine") == [(["subject.required"],)]


def test_the_hook_of_the_page_runs(helpdesk: MariaDb, capsys: pytest.CaptureFixture[str]) -> None:
    """It prints the number of tickets."""
    exec(HOOK, {})  # noqa: S102 - what the page says
    assert capsys.readouterr().out.split()[-1] == "25"


def test_the_contract_for_changes_is_sound(tmp_path: Path) -> None:
    """It takes its order, its deletions and its times from the log."""
    path = tmp_path / "crm" / "people.yaml"
    path.parent.mkdir()
    path.write_text(CHANGES, encoding="utf-8")
    contract = load_contract(path)
    _check(contract, Stage("s", contract.dataset, "2026-01-05", "run"))
    assert set(FIELDS) <= {column.source_name for column in contract.columns}


def test_the_names_of_the_page_are_true() -> None:
    """Each argument is the operator's, each extra is handed on to PyMySQL."""
    arguments = inspect.signature(DatabaseExtractOperator.__init__).parameters
    assert {"table", "query", "lookback", "statement_timeout", "readers"} <= set(arguments)
    said = PAGE[PAGE.index("`ChangesExtractOperator(") :].split("`")[1]
    given = set(re.findall(r"(\w+)=", said)) - {"task_id", "dataset", "max_active_runs"}
    assert given == set(inspect.signature(ChangesExtractOperator.__init__).parameters) - {"self", "kwargs"}
    row = next(line for line in PAGE.splitlines() if line.startswith("| `mysql`, `mariadb`"))
    assert set(re.findall(r"`(\w+)`", row)[2:]) <= database._MYSQL_EXTRAS
