"""`penstock gaps` and `penstock backfill` against a real Airflow, from another process, as a user runs them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from typing import Any

import pytest

from penstock.cli.app import main
from penstock.cli.backfilling import check_dag
from penstock.core.errors import AirflowApiError
from penstock.local.processes import read_record
from tests.integration.platform import Platform

LINES, REVENUE, CUSTOMERS = "commerce/order_lines", "commerce/daily_revenue", "commerce/customers"
DAG, CUSTOMERS_DAG = "commerce_order_lines", "commerce_customers"
DAYS = [f"2010-10-{day:02d}" for day in range(4, 8)]
LONG = [f"2010-10-{day:02d}" for day in range(10, 20)]
BETWEEN = ("--from", DAYS[0], "--to", DAYS[-1])


@dataclass(frozen=True)
class Command:
    """`penstock …` for the platform: in this process, for Airflow's import takes seconds, or as one of its own."""

    platform: Platform

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command as a user does, in the platform's checkout.

        Ctrl-C reaches it even where the tests run in a shell's background, which has its children ignore that.
        """
        signal.signal(signal.SIGINT, signal.default_int_handler)
        home = str(self.platform.stack.layout.home)
        return subprocess.Popen(
            [sys.executable, "-m", "penstock", *arguments],
            env={**os.environ, "PENSTOCK_HOME": home, "PENSTOCK_CONTRACTS": str(self.platform.contracts)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, code: int = 0) -> tuple[str, str]:
        """Run a command that ends with this code; return what it printed on both streams."""
        out, err = StringIO(), StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            found = main(arguments)
        assert found == code, out.getvalue() + err.getvalue()
        return out.getvalue(), err.getvalue()

    def gaps(self, dataset: str) -> dict[str, list[str]]:
        """Return the reasons for the gaps of a dataset among DAYS."""
        out = StringIO()
        with redirect_stdout(out):
            code = main(("gaps", dataset, *BETWEEN, "--json"))
        found: list[dict[str, Any]] = json.loads(out.getvalue())
        assert code == int(bool(found))
        return {gap["slice"]: gap["why"] for gap in found}


@pytest.fixture
def penstock(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command line, with the platform's home, contracts and databases."""
    monkeypatch.setenv("PENSTOCK_HOME", str(platform.stack.layout.home))
    monkeypatch.setattr("penstock.project.CONTRACTS", platform.contracts)
    for name in ("warehouse", "shop"):
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", platform.stack.postgres.dsn(name))
    return Command(platform)


def test_gaps_are_loaded_a_few_at_a_time_and_marts_follow(platform: Platform, penstock: Command) -> None:
    """Slices that were never loaded are found and asked for, each once, never more at once than said."""
    never = penstock.gaps(LINES)
    assert never == {key: ["never"] for key in DAYS}
    _, said = penstock.run("backfill", REVENUE, "--gaps", *BETWEEN)
    assert f"4 slices wait for their producer: `penstock backfill {LINES} --gaps`" in said

    _, said = penstock.run("backfill", LINES, "--gaps", *BETWEEN, "--at-once", "2")
    assert "4 of 4 slices loaded" in said
    runs = [run for run in platform.runs(DAG) if run["partition_key"] in never]
    assert sorted(run["partition_key"] for run in runs) == DAYS
    assert _most_at_once(runs) <= 2
    assert penstock.gaps(LINES) == {}
    platform.wait("the mart", lambda: never.keys() <= platform.ledger(REVENUE).keys())
    assert penstock.gaps(REVENUE) == {}


def test_mart_is_loaded_by_its_own_dag(platform: Platform, penstock: Command) -> None:
    """A slice of a mart is asked for by its partition key, though its DAG has no schedule but its producer's events."""
    before = platform.query(f"SELECT * FROM commerce.daily_revenue WHERE day = '{DAYS[0]}' ORDER BY country")
    penstock.run("backfill", REVENUE, "--from", DAYS[0], "--to", DAYS[0])
    assert platform.query(f"SELECT * FROM commerce.daily_revenue WHERE day = '{DAYS[0]}' ORDER BY country") == before
    attempts = f"SELECT count(*) FROM ops.slice_ledger WHERE (dataset, slice_key) = ('{REVENUE}', '{DAYS[0]}')"
    assert platform.query(attempts) == [(2,)]


def test_what_the_source_has_changed_since_is_loaded_again(platform: Platform, penstock: Command) -> None:
    """A row that the source lost makes its slice a gap, and only it; the backfill ends it, in the mart too."""
    loaded = platform.ledger(LINES)[DAYS[1]][0]
    platform.query(
        "DELETE FROM invoice_line WHERE line_id = (SELECT min(line_id) FROM invoice_line"
        f" WHERE invoiced_at >= '{DAYS[1]}' AND invoiced_at < '{DAYS[2]}')",
        database="shop",
    )
    assert penstock.gaps(LINES) == {DAYS[1]: ["changed"]}
    penstock.run("backfill", LINES, "--gaps", *BETWEEN, "--why", "changed")
    assert penstock.gaps(LINES) == {}
    assert platform.ledger(LINES)[DAYS[1]][0] == loaded - 1
    platform.wait("the mart", lambda: penstock.gaps(REVENUE) == {})


def test_interrupted_backfill_goes_on_where_it_was(platform: Platform, penstock: Command) -> None:
    """Ctrl-C leaves what was asked for running; the same command again asks for nothing twice."""
    arguments = ("backfill", CUSTOMERS, "--gaps", *BETWEEN, "--at-once", "2")
    process = penstock.start(*arguments)
    platform.wait("its first run", lambda: _of_range(platform, CUSTOMERS_DAG))
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert re.search(r"[12] runs go on, [0-4] slices were not asked for: repeat the command", said)

    _, said = penstock.run(*arguments, "--no-wait")
    assert "repeat the command for these" in said
    penstock.run(*arguments)
    assert penstock.gaps(CUSTOMERS) == {}
    assert sorted(run["partition_key"] for run in _of_range(platform, CUSTOMERS_DAG)) == DAYS


def test_what_stands_against_a_backfill_is_said(
    platform: Platform, penstock: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A paused DAG, a wrong password, a DAG that Airflow does not know: one line each, and nothing is asked for."""
    arguments = ("backfill", LINES, "--from", DAYS[0], "--to", DAYS[0])
    before = len(platform.runs(DAG))
    platform.request("PATCH", f"dags/{DAG}", json={"is_paused": True})
    try:
        _, said = penstock.run(*arguments, code=1)
    finally:
        platform.request("PATCH", f"dags/{DAG}", json={"is_paused": False})
    assert f"The DAG {DAG} is paused: its runs would wait for ever. Next: `airflow dags unpause {DAG}`" in said
    with platform.stack.api() as api, pytest.raises(AirflowApiError, match=r"has no DAG nothing\. Next: wait until"):
        check_dag(api, LINES, "nothing")
    monkeypatch.setenv("PENSTOCK_AIRFLOW_URL", platform.stack.url)
    monkeypatch.setenv("PENSTOCK_AIRFLOW_USER", "admin")
    monkeypatch.setenv("PENSTOCK_AIRFLOW_PASSWORD", "wrong-5561")
    _, said = penstock.run(*arguments, code=1)
    assert "Airflow refused the login of 'admin'" in said
    assert "wrong-5561" not in said
    assert len(platform.runs(DAG)) == before


def test_backfill_that_is_paused_killed_and_cancelled_is_finished_by_its_gaps(
    platform: Platform, penstock: Command
) -> None:
    """Airflow's own backfill, backwards and interrupted in each way: what it left is loaded, and the table is whole."""
    days = ("--from-date", LONG[0], "--to-date", LONG[-1])
    platform.airflow("backfill", "create", "--dag-id", DAG, *days, "--run-backwards", "--max-active-runs", "2")
    [backfill] = _active_backfills(platform)
    platform.wait("some slices", lambda: len(_published(platform)) >= 2)
    platform.request("PUT", f"backfills/{backfill}/pause")
    platform.request("PUT", f"backfills/{backfill}/unpause")
    platform.wait("more slices", lambda: len(_published(platform)) >= 4)
    _kill_scheduler(platform)
    platform.request("PUT", f"backfills/{backfill}/cancel")
    platform.stack.up(lambda _: None)
    platform.wait("the end of what was running", lambda: not _unfinished(platform))

    found = len(_published(platform))
    assert 4 <= found < len(LONG)
    _, said = penstock.run("backfill", LINES, "--gaps", "--from", LONG[0], "--to", LONG[-1])
    assert f"{len(LONG) - found} of {len(LONG) - found} slices loaded" in said
    assert _published(platform) == set(LONG)
    lines = f"invoiced_at >= '{LONG[0]}' AND invoiced_at < date '{LONG[-1]}' + 1"
    source = platform.query(f"SELECT count(*) FROM invoice_line WHERE {lines}", database="shop")
    assert platform.query(
        f"SELECT sum(extracted), sum(loaded) = (SELECT count(*) FROM commerce.order_lines WHERE {lines}),"
        " bool_and(extracted = loaded + quarantined + deduplicated + filtered) FROM ops.slice_current"
        f" WHERE dataset = '{LINES}' AND slice_key BETWEEN '{LONG[0]}' AND '{LONG[-1]}'"
    ) == [(source[0][0], True, True)]
    assert platform.query(f"SELECT count(*) FROM ops.stage WHERE dataset = '{LINES}'") == [(0,)]


def _active_backfills(platform: Platform) -> list[int]:
    found = platform.request("GET", "backfills", params={"dag_id": DAG})["backfills"]
    return [backfill["id"] for backfill in found if not backfill["completed_at"]]


def _published(platform: Platform) -> set[str]:
    return platform.ledger(LINES).keys() & set(LONG)


def _unfinished(platform: Platform) -> list[str]:
    return [run["dag_run_id"] for run in platform.runs(DAG) if run["state"] in ("queued", "running")]


def _kill_scheduler(platform: Platform) -> None:
    """End the scheduler and its workers as a machine that fails does."""
    record = read_record(platform.stack.layout.records / "scheduler.json")
    assert record is not None
    os.killpg(record.pid, signal.SIGKILL)


def test_all_tasks_of_slices_share_a_pool(platform: Platform) -> None:
    """Whatever asked for a run, its tasks take a slot of the platform's budget."""
    found = platform.request("GET", "pools/slices")
    assert found["slots"] == 8
    run = next(run["dag_run_id"] for run in platform.runs(DAG) if run["partition_key"] == DAYS[0])
    assert {task["pool"] for task in platform.tasks(DAG, run).values()} == {"slices"}


def _of_range(platform: Platform, dag_id: str) -> list[dict[str, Any]]:
    return [run for run in platform.runs(dag_id) if run["partition_key"] in DAYS]


def _most_at_once(runs: list[dict[str, Any]]) -> int:
    """Return how many of these runs were under way at the same moment."""
    events = sorted([(run["queued_at"], 1) for run in runs] + [(run["end_date"], -1) for run in runs])
    most = now = 0
    for _, step in events:
        now += step
        most = max(most, now)
    return most
