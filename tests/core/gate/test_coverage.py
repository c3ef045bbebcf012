"""docs/coverage.md is what the code says, of what is installed."""

from __future__ import annotations

import subprocess
import sys

from penstock.core.gate.check import REFUSED, known_to_gx
from penstock.core.gate.coverage import how_judged, page
from penstock.project import ROOT


def test_the_page_is_what_the_code_says() -> None:
    """Nobody has to keep the table by hand; `python -m penstock.core.gate.coverage` writes it anew."""
    assert (ROOT / "docs" / "coverage.md").read_text(encoding="utf-8") == page()


def test_the_expectations_are_those_of_the_installed_version() -> None:
    """The list found in the files is the list that Great Expectations itself has registered, and nothing else."""
    program = (
        "import great_expectations.expectations.core as core, inspect;"
        "from great_expectations.expectations.expectation import Expectation;"
        "print('\\n'.join(sorted({found.expectation_type for _, found in inspect.getmembers(core, inspect.isclass)"
        " if issubclass(found, Expectation) and found.expectation_type})))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    registered = set(done.stdout.split())
    assert len(registered) > 50
    assert known_to_gx() - registered <= REFUSED.keys(), "there is a module of that name, but no expectation in it"
    assert registered - known_to_gx() == set()


def test_each_is_judged_in_one_of_three_ways() -> None:
    """Nothing is left open; what is refused says why."""
    for type_ in known_to_gx():
        how, about, note = how_judged(type_)
        assert how in ("compiled", "run in Great Expectations", "refused")
        assert (about in ("rows", "slice", "rows or slice")) is (how != "refused")
        assert how != "refused" or len(note) > len(type_)
