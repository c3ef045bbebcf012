"""Rows in quarantine, from the command line: found, looked at, exported, mended, discarded."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

LINES = "commerce/order_lines"


def ids(cli: Any) -> list[int]:
    """The numbers of the open rows."""
    return [row["id"] for row in json.loads(cli("quarantine", "list", LINES, "--json").out)]


def test_the_counts_of_all(cli: Any, loaded: Any) -> None:
    """Without a dataset: how many rows of which slice broke which rule."""
    assert cli("quarantine", "list").out.split("\n")[1].split() == [
        *(LINES, "2010-09-21", "unit_price_positive", "9", "0")
    ]
    (line,) = json.loads(cli("quarantine", "list", "--json").out)
    assert (line["dataset"], line["rows"]) == (LINES, 9)


def test_rows_are_listed_page_by_page(cli: Any, loaded: Any) -> None:
    """`--limit` and `--after` walk through all of them; filters leave out the others."""
    found: list[int] = []
    while page := json.loads(
        cli("quarantine", "list", LINES, "--limit", "4", "--after", str(max(found, default=0)), "--json").out
    ):
        found += [row["id"] for row in page]
    assert len(found) == len(set(found)) == 9
    assert "--after" in cli("quarantine", "list", LINES, "--limit", "4").err
    for option in (["--rule", "no_such"], ["--slice", "2010-09-22"], ["--state", "discarded"]):
        assert cli("quarantine", "list", LINES, *option, "--json").out.strip() == "[]"


def test_one_row_is_shown_whole(cli: Any, loaded: Any) -> None:
    """Rule, run and every field as it was received; a number that is not there is an error."""
    number = ids(cli)[3]
    said = cli("quarantine", "show", LINES, str(number))
    assert said.code == 0
    for part in ("unit_price_positive", "unit_price", "slice 2010-09-21: open", "by test__1"):
        assert part in said.out
    assert json.loads(cli("quarantine", "show", LINES, str(number), "--json").out)["id"] == number
    missing = cli("quarantine", "show", LINES, "999999")
    assert missing.code == 1
    assert "no row 999999" in missing.err


def test_export(cli: Any, loaded: Any, tmp_path: Path) -> None:
    """To standard output or to a file that only the user may read, as CSV or JSON lines."""
    target = tmp_path / "rows.csv"
    assert "9 rows" in cli("quarantine", "export", LINES, "--out", str(target)).err
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert len(target.read_text(encoding="utf-8").splitlines()) == 10
    lines = cli("quarantine", "export", LINES, "--format", "jsonl").out.splitlines()
    assert len(lines) == 9
    assert json.loads(lines[0])["rules"] == ["unit_price_positive"]


def test_mend_redrive_and_discard(cli: Any, loaded: Any) -> None:
    """A mended row is published, a discarded one is filtered, and the slice's counts still add up."""
    numbers = ids(cli)
    mended = cli(
        "quarantine",
        "mend",
        LINES,
        "--id",
        str(numbers[0]),
        "--id",
        str(numbers[1]),
        "--set",
        "unit_price=1.25",
        "--by",
        "a",
    )
    assert mended.code == 0, mended.err
    assert f"penstock redrive {LINES} --mended-only" in mended.err
    assert "mended by a" in cli("quarantine", "show", LINES, str(numbers[0])).out
    redriven = cli("redrive", LINES, "--mended-only", "--json", "--by", "a")
    assert redriven.code == 0, redriven.err
    assert [(one["considered"], one["loaded"]) for one in json.loads(redriven.out)] == [(2, 2)]
    assert (
        cli("quarantine", "discard", LINES, "--id", str(numbers[2]), "--reason", "a test order", "--by", "a").code == 0
    )
    counts = loaded("SELECT extracted, loaded, quarantined, filtered FROM ops.slice_current")
    assert counts == [(2476, 2469, 6, 1)]
    assert ids(cli) == numbers[3:]


def test_a_mend_says_what_to_change(cli: Any, loaded: Any) -> None:
    """Nothing to change, or no `=`, is not understood; an unknown column is refused."""
    number = str(ids(cli)[0])
    assert cli("quarantine", "mend", LINES, "--id", number).code == 2
    assert cli("quarantine", "mend", LINES, "--id", number, "--set", "unit_price").code == 2
    assert cli("quarantine", "mend", LINES, "--id", number, "--set", "colour=red").code == 1
    assert cli("quarantine", "discard", LINES, "--id", number).code == 2  # no reason
