"""`penstock gaps`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg2
import pytest

LINES, REVENUE = "commerce/order_lines", "commerce/daily_revenue"
DAY = "2010-09-21"
RANGE = ("--from", "2010-09-19", "--to", "2010-09-22")
Cli = Callable[..., Any]


@contextmanager
def one_line_more(dsn: str) -> Iterator[None]:
    """The shop while it has one more line on DAY."""
    with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cur:
        cur.execute(
            "INSERT INTO invoice_line (line_id, invoice, stock_code, quantity, invoiced_at, unit_price, country)"
            f" VALUES (900777, '600001', '85048', 3, '{DAY} 11:00+00', 2.5, 'France')"
        )
        connection.commit()
        yield
        cur.execute("DELETE FROM invoice_line WHERE line_id = 900777")
        connection.commit()


def test_lists_days_in_a_row_as_one_line(cli: Cli, loaded: Any) -> None:
    """What was never loaded is listed by ranges; the exit code says that there are gaps, and the next step is named."""
    said = cli("gaps", LINES, *RANGE)
    assert said.code == 1
    assert [line.split() for line in said.out.splitlines()] == [
        ["from", "to", "slices", "why", "remark"],
        ["2010-09-19", "2010-09-20", "2", "never", "loaded"],
        ["2010-09-22", "2010-09-22", "1", "never", "loaded"],
    ]
    assert "3 of 4 slices have a gap, from 2010-09-19 to 2010-09-22" in said.err
    assert f"next: penstock backfill {LINES} --gaps" in said.err


def test_without_gaps_it_is_content(cli: Cli, loaded: Any) -> None:
    """Nothing on standard output, exit code 0; the slice was loaded by the DAG's own code and contract."""
    said = cli("gaps", LINES, "--from", DAY, "--to", DAY)
    assert (said.code, said.out) == (0, "")
    assert json.loads(cli("gaps", LINES, "--from", DAY, "--to", DAY, "--json").out) == []
    assert cli("gaps", LINES, *RANGE, "--why", "refused,changed").code == 0


def test_range_is_from_the_first_slice_to_the_newest_that_is_due(cli: Cli, loaded: Any) -> None:
    """Without --from and --to it begins at the ledger's first slice and ends at the last day whose run is due."""
    found = json.loads(cli("gaps", LINES, "--json").out)
    due = datetime.now(UTC) - timedelta(hours=2)
    ends = {(due - timedelta(days=1)).strftime("%Y-%m-%d"), (due + timedelta(minutes=1)).strftime("%Y-%m-%d")}
    assert found[0]["slice"] == "2010-09-22"
    assert found[-1]["slice"] in ends
    assert {tuple(gap["why"]) for gap in found} == {("never",)}


def test_source_that_has_changed_is_asked(cli: Cli, loaded: Any, shop: str) -> None:
    """One line more at the shop: the slice is listed with both figures, unless the source shall not be asked."""
    with one_line_more(shop):
        said = cli("gaps", LINES, "--from", DAY, "--to", DAY)
        assert "changed at the source  2,476 rows then, 2,477 now" in said.out
        found = json.loads(cli("gaps", LINES, "--from", DAY, "--to", DAY, "--json").out)
        assert found[0]["source"] == {
            "then": {"rows": 2476, "checksum": None},
            "now": {"rows": 2477, "checksum": None},
        }
        assert cli("gaps", LINES, "--from", DAY, "--to", DAY, "--no-source").code == 0


def test_older_contract_is_told_and_words_for_people_are_not(cli: Cli, contracts: Path, loaded: Any) -> None:
    """A rule more makes the slice an old one; another description does not."""
    path = contracts / "commerce" / "order_lines.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("version: 1.0.0", "version: 1.0.1"), encoding="utf-8")
    assert cli("gaps", LINES, "--from", DAY, "--to", DAY).code == 0
    rule = "    quality:\n      - {name: enough, type: library, metric: rowCount, mustBeGreaterThan: 1}\n"
    path.write_text(text.replace("    properties:\n", rule + "    properties:\n", 1), encoding="utf-8")
    assert "loaded by an older contract" in cli("gaps", LINES, "--from", DAY, "--to", DAY).out


def test_mart_waits_for_its_producer(cli: Cli, loaded: Any) -> None:
    """A mart's range begins with its producer's; what the producer lacks, the mart waits for."""
    found = cli("gaps", REVENUE, *RANGE).out.splitlines()
    assert found[1].split() == ["2010-09-19", "2010-09-20", "2", "never", "loaded", "waits", "for", LINES]
    assert found[2].split() == [DAY, DAY, "1", "never", "loaded"]
    assert json.loads(cli("gaps", REVENUE, "--json").out)[0]["slice"] == DAY


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--why", "bored"), "'bored' is not a valid Why: known are never, refused"),
        (("--from", "yesterday"), "is not a day in the form YYYY-MM-DD"),
        (("--dag", "nothing"), "No DAG in"),
    ],
)
def test_what_it_does_not_understand_it_says(cli: Cli, loaded: Any, arguments: tuple[str, str], words: str) -> None:
    """A reason, a day or a DAG that there is not."""
    said = cli("gaps", LINES, *arguments)
    assert said.code in (1, 2)
    assert words in " ".join(said.err.replace("│", " ").split())


def test_nothing_was_ever_loaded(cli: Cli, query: Any) -> None:
    """Nobody knows where to begin: it asks."""
    said = cli("gaps", LINES)
    assert said.code == 1
    assert "Nothing was ever loaded, and the DAG says no start_date. Next: say where to begin" in said.err
