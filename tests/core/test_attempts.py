"""One try of a task at a time works on a stage, and the last one wins."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import psycopg2
import pytest
from psycopg2.sql import SQL

from penstock.core.attempts import Try, take_over
from penstock.core.errors import StageBusy
from penstock.core.gate.judge import judge
from penstock.core.publish import publish
from penstock.core.slice import day_slice
from penstock.core.source_query import stage_query
from penstock.core.stage import Stage, finish_stage, open_session, unfinished_stage

DAY = "2026-01-01"
GOOD = (
    f"SELECT 1::bigint AS order_id, 'A100' AS code, 1::numeric(8,2) AS amount, timestamptz '{DAY} 08:00+00' AS sold_at"
)
ROWS = f"{GOOD} UNION ALL SELECT 2, 'bad', 1, '{DAY} 09:00+00'"


def tries(bench: Any, contract: Any, task: str, *numbers: int) -> list[Stage]:
    """The stage of one run as these tries of a task have it."""
    stage = bench.stage(contract, DAY, "run")
    return [replace(stage, by=Try(task, number, f"0190-{number}")) for number in numbers]


def session(bench: Any) -> Any:
    """A further session, made ready as the operators do."""
    found = bench.connect()
    open_session(found)
    return found


def extract(bench: Any, contract: Any, stage: Stage) -> None:
    """Stage two rows, one of them bad."""
    stage_query(bench.conn, contract, day_slice(DAY), stage, ROWS)


def test_a_new_try_ends_the_session_that_it_would_wait_for(bench: Any, build: Any) -> None:
    """The transaction of a try that hangs is rolled back, and its replacement goes on at once."""
    old, new = tries(bench, build.contract(build.ORDERS), "extract", 1, 2)
    hanging, fresh = session(bench), session(bench)
    take_over(hanging, old)
    with hanging.cursor() as cur:
        cur.execute("CREATE TABLE staging.half_done ()")
    assert take_over(fresh, new) == 1
    with pytest.raises(psycopg2.OperationalError):
        hanging.commit()
    assert bench.staged_tables() == []


def test_other_tasks_and_other_runs_are_left_alone(bench: Any, build: Any) -> None:
    """A try ends the sessions of its own task in its own run only."""
    contract = build.contract(build.ORDERS)
    (mine,) = tries(bench, contract, "extract", 2)
    others = [
        *tries(bench, contract, "validate", 1),
        replace(bench.stage(contract, DAY, "another run"), by=Try("extract", 1, "0190")),
    ]
    sessions = [session(bench) for _ in others]
    for its, stage in zip(sessions, others, strict=True):
        take_over(its, stage)
    assert take_over(session(bench), mine) == 0
    for its in sessions:
        with its, its.cursor() as cur:
            cur.execute("SELECT 1")


def test_the_same_try_in_a_second_process_stops(bench: Any, build: Any) -> None:
    """Of two processes that do one try the one that came later stops; the first goes on."""
    (stage,) = tries(bench, build.contract(build.ORDERS), "extract", 1)
    first, second = session(bench), session(bench)
    take_over(first, stage)
    with pytest.raises(StageBusy, match="try 1 is at work"):
        take_over(second, stage)
    assert take_over(first, stage) == 0


def test_of_many_processes_that_do_one_try_at_once_one_goes_on(bench: Any, build: Any) -> None:
    """However they meet, just one is left."""
    (stage,) = tries(bench, build.contract(build.ORDERS), "extract", 1)
    sessions = [session(bench) for _ in range(6)]
    together, went_on = threading.Barrier(len(sessions)), []

    def start(number: int) -> None:
        together.wait()
        try:
            take_over(sessions[number], stage)
        except StageBusy:
            return
        went_on.append(number)

    threads = [threading.Thread(target=start, args=(number,)) for number in range(len(sessions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(went_on) == 1


def test_an_old_try_that_comes_back_meets_its_successor(bench: Any, build: Any) -> None:
    """A try that was replaced stops while the later one is at work."""
    old, new = tries(bench, build.contract(build.ORDERS), "extract", 1, 2)
    take_over(session(bench), new)
    with pytest.raises(StageBusy, match="try 2 is at work"):
        take_over(session(bench), old)


def test_an_old_extract_does_not_replace_what_a_later_one_has_staged(bench: Any, build: Any) -> None:
    """The old try stops before it touches the stage, while the stage is there and after it was published."""
    contract = build.contract(build.ORDERS)
    old, new = tries(bench, contract, "extract", 1, 2)
    extract(bench, contract, new)
    judge(bench.conn, contract, day_slice(DAY), new)
    with pytest.raises(StageBusy, match="try 2 has done its work"):
        extract(bench, contract, old)
    assert publish(bench.conn, contract, day_slice(DAY), new).loaded == 1
    with pytest.raises(StageBusy, match="try 2 has done its work"):
        extract(bench, contract, old)
    assert bench.staged_tables() == []
    assert bench.one("SELECT count(*) FROM ops.stage") == 0


def test_an_old_verdict_does_not_undo_a_later_one(bench: Any, build: Any) -> None:
    """A try of the gate that was replaced leaves the stage as its successor has judged it."""
    contract = build.contract(build.ORDERS)
    (staged,) = tries(bench, contract, "extract", 1)
    extract(bench, contract, staged)
    old, new = tries(bench, contract, "validate", 1, 2)
    judge(bench.conn, contract, day_slice(DAY), new)
    with pytest.raises(StageBusy, match="try 2 has done its work"):
        judge(bench.conn, contract, day_slice(DAY), old)
    assert publish(bench.conn, contract, day_slice(DAY), new).loaded == 1


def test_a_try_that_slept_between_its_two_transactions_stops(bench: Any, build: Any) -> None:
    """The gate's second transaction needs the record to be its own: here another try judges the stage in between."""
    beyond = build.expectation(
        "median", "expect_column_kl_divergence_to_be_less_than", partition_object=None, threshold=None
    )
    contract = build.contract(build.ORDERS, build.add_quality(beyond, "amount"))
    (staged,) = tries(bench, contract, "extract", 1)
    extract(bench, contract, staged)
    old, new = tries(bench, contract, "validate", 1, 2)

    def overtaken(table: Any, rules: Any) -> list[Any]:
        judge(session(bench), contract, day_slice(DAY), new, beyond_plan=lambda _table, _rules: [])
        return []

    with pytest.raises(StageBusy, match="another try has begun the work anew"):
        judge(bench.conn, contract, day_slice(DAY), old, beyond_plan=overtaken)
    assert publish(bench.conn, contract, day_slice(DAY), new).loaded == 1


@pytest.mark.parametrize("later", [Try("extract", 1, "0190-9"), Try("extract", 3, "0189-1")])
def test_a_run_made_anew_and_a_clock_that_is_behind_stop_nobody(bench: Any, build: Any, later: Try) -> None:
    """A try is old only by number and by id: a run made anew counts from 1, and ids come from several clocks."""
    contract = build.contract(build.ORDERS)
    (stage,) = tries(bench, contract, "extract", 2)
    extract(bench, contract, stage)
    extract(bench, contract, replace(stage, by=later))
    tried = bench.one("SELECT detail -> 'tries' -> 'extract' ->> 'id' FROM ops.stage")
    assert tried == later.id


def test_the_ledger_says_which_tries_made_the_slice(bench: Any, build: Any) -> None:
    """The row of a published slice names the tries that extracted and judged its rows."""
    contract = build.contract(build.ORDERS)
    (staged,) = tries(bench, contract, "extract", 3)
    extract(bench, contract, staged)
    (judged,) = tries(bench, contract, "validate", 2)
    judge(bench.conn, contract, day_slice(DAY), judged)
    publish(bench.conn, contract, day_slice(DAY), judged)
    assert bench.one("SELECT detail -> 'tries' FROM ops.slice_ledger") == {
        "extract": {"number": 3, "id": "0190-3"},
        "validate": {"number": 2, "id": "0190-2"},
    }


@pytest.mark.parametrize("late", ["extract", "validate"])
def test_a_twin_that_comes_late_leaves_the_rows_to_the_next_task(bench: Any, build: Any, late: str) -> None:
    """The same try again, after the first process has ended, changes nothing of what publish is about to take."""
    contract = build.contract(build.ORDERS)
    (extracted,) = tries(bench, contract, "extract", 1)
    (judged,) = tries(bench, contract, "validate", 1)
    extract(bench, contract, extracted)
    judge(bench.conn, contract, day_slice(DAY), judged)
    again: dict[str, Callable[[], Any]] = {
        "extract": lambda: extract(bench, contract, extracted),
        "validate": lambda: judge(bench.conn, contract, day_slice(DAY), judged),
    }
    with pytest.raises(StageBusy, match="has done, or begun, the work of this very try"):
        again[late]()
    assert publish(bench.conn, contract, day_slice(DAY), judged).loaded == 1


@pytest.mark.parametrize("number", [1, 2])
def test_a_table_filled_by_several_sessions_does_not_replace_a_stage_that_was_finished(
    bench: Any, build: Any, number: int
) -> None:
    """An old try, or a twin, that filled a table of its own stops before that takes the stage's place."""
    contract = build.contract(build.ORDERS)
    mine, *_, done = tries(bench, contract, "extract", 1, number)
    extract(bench, contract, done)
    with bench.conn.cursor() as cur:
        unfinished = unfinished_stage(cur, mine)
        cur.execute(SQL("CREATE TABLE {} ()").format(unfinished.table))
        with pytest.raises(StageBusy):
            finish_stage(cur, unfinished, mine)
    bench.conn.rollback()
    assert bench.one("SELECT extracted FROM ops.stage") == 2
