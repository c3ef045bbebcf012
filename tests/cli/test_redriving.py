"""Re-drive from the command line."""

from __future__ import annotations

import json
from typing import Any

LINES = "commerce/order_lines"


def test_rows_that_still_break_a_rule_stay(cli: Any, loaded: Any) -> None:
    """Nothing was mended: all nine are judged again and stay, and the table says so."""
    said = cli("redrive", LINES)
    assert said.code == 0, said.err
    assert said.out.split("\n")[1].split() == ["2010-09-21", "9", "0", "0", "9"]


def test_only_what_is_asked_for(cli: Any, loaded: Any) -> None:
    """Another slice, or one row of it, by its number."""
    assert json.loads(cli("redrive", LINES, "--slice", "2010-09-22", "--json").out) == []
    (row, *_) = json.loads(cli("quarantine", "list", LINES, "--json").out)
    (done,) = json.loads(cli("redrive", LINES, "--id", str(row["id"]), "--json").out)
    assert done["considered"] == 1
    assert json.loads(cli("redrive", LINES, "--mended-only", "--json").out) == []
