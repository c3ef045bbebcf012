"""The command line in this process, over a warehouse with one published slice of real orders."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from penstock import project
from penstock.cli.app import main
from penstock.operators.extract_database import DatabaseExtractOperator
from penstock.operators.publish import PublishOperator
from penstock.operators.validate import ValidateOperator
from tests.operators.contexts import Query, context_of

LINES = "commerce/order_lines"


@dataclass(frozen=True)
class Said:
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Run a command; return its exit code and what it printed."""

    def run(*arguments: str) -> Said:
        capsys.readouterr()
        code = main(list(arguments))
        out, err = capsys.readouterr()
        return Said(code, out, err)

    return run


@pytest.fixture
def contracts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the project's contracts that a test may edit."""
    folder = tmp_path / "contracts"
    shutil.copytree(project.CONTRACTS, folder)
    monkeypatch.setattr(project, "CONTRACTS", folder)
    return folder


@pytest.fixture
def loaded(query: Query) -> Query:
    """The warehouse with the lines of 2010-09-21: 2,467 rows, and 9 in quarantine for their price."""
    context = context_of(LINES, "2010-09-21")
    DatabaseExtractOperator(task_id="e", dataset=LINES, conn_id="shop", table="public.invoice_line").execute(context)
    ValidateOperator(task_id="v", dataset=LINES).execute(context)
    PublishOperator(task_id="p", dataset=LINES).execute(context)
    return query
