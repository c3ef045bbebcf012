"""The list of covered expectations and their SQL are one registry in two files."""

import subprocess
import sys

from penstock.core.gate import own
from penstock.core.gate.covered import COVERED
from penstock.core.gate.expectations import COMPILERS
from penstock.project import ROOT


def test_every_covered_expectation_has_its_sql_and_the_other_way_round() -> None:
    """What the contract check lets through as covered, the plan compiles."""
    assert COVERED.keys() == COMPILERS.keys() | own.COMPILERS.keys()
    assert COMPILERS.keys() & own.COMPILERS.keys() == set()


def test_contracts_are_read_without_a_database_driver() -> None:
    """Reading a contract, as every DAG file does, imports neither psycopg2 nor anything heavier."""
    program = (
        "import sys, penstock.project as p; p.contract_of('commerce/order_lines');"
        "print([m for m in ('psycopg2', 'sqlalchemy', 'pandas', 'great_expectations') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": str(ROOT / "plugins")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"
