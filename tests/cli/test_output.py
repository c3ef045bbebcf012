"""What commands print can be read by people and by machines."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from penstock.cli.output import say, show_json, show_table


@dataclass
class Line:
    """Something to print."""

    at: datetime
    rules: list[str]


def test_json_holds_what_core_returns(capsys: pytest.CaptureFixture[str]) -> None:
    """Dataclasses become objects, times ISO 8601, and letters stay as they are."""
    show_json([Line(datetime(2024, 3, 1, tzinfo=UTC), ["prüfen"])])
    out = capsys.readouterr().out
    assert json.loads(out) == [{"at": "2024-03-01T00:00:00+00:00", "rules": ["prüfen"]}]
    assert "prüfen" in out


def test_a_table_has_columns(capsys: pytest.CaptureFixture[str]) -> None:
    """As wide as they must be, one row a line, NULL empty; remarks go to standard error."""
    show_table(("id", "text"), [(1, "a\nb"), (100, None), (2, ["x", "y"])])
    say("2 rows")
    out, err = capsys.readouterr()
    assert out == "id   text\n1    a\\nb\n100\n2    x, y\n"
    assert err == "2 rows\n"
