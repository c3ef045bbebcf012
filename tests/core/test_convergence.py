"""Any slice, any time, same result: order, repetition and death of the process leave no trace in the warehouse."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

DAYS = ["2026-01-01", "2026-01-02", "2026-01-03"]
ORDER_COLUMNS = "order_id bigint, code text, amount numeric(8,2), sold_at timestamptz"
PEOPLE_COLUMNS = "person_id integer, city text, changed_at timestamptz"
SETTINGS = settings(
    deadline=None,
    max_examples=12,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

moments = st.builds(
    lambda day, hour: f"{day} {hour:02}:00:00+00",
    st.sampled_from(DAYS),
    st.sampled_from([0, 7, 23]),
)
orders = st.lists(
    st.tuples(
        st.none() | st.integers(1, 25),
        st.sampled_from(["A100", "B200", "b200", None]),
        st.none() | st.sampled_from(["0.01", "999.99", "-1", "1000.01"]),
        moments,
    ),
    max_size=40,
)
people = st.lists(
    st.tuples(
        st.none() | st.integers(1, 6),
        st.sampled_from(["Ulm", "Bonn", "Kiel", "?", None]),
        moments,
    ),
    max_size=40,
)
schedules = st.permutations(DAYS).flatmap(
    lambda days: st.lists(st.sampled_from(DAYS), max_size=4).map(lambda more: [*days, *more])
)


def assert_ledger_is_true(bench: Any, dataset: str, source: str, column: str) -> None:
    """Each current ledger row holds what can be counted in source and quarantine for that slice."""
    ledger = bench.run(
        "SELECT slice_key, extracted, loaded, quarantined, deduplicated, filtered, withheld"
        " FROM ops.slice_current WHERE dataset = %s",
        (dataset,),
    )
    in_source = dict(bench.run(f"SELECT ({column} AT TIME ZONE 'UTC')::date::text, count(*) FROM {source} GROUP BY 1"))
    aside = dict(bench.run("SELECT slice_key, count(*) FROM ops.quarantine WHERE dataset = %s GROUP BY 1", (dataset,)))
    assert {row[0] for row in ledger} == set(DAYS)
    for key, extracted, loaded, quarantined, deduplicated, filtered, withheld in ledger:
        assert extracted == in_source.get(key, 0)
        assert quarantined == aside.get(key, 0)
        assert extracted == loaded + quarantined + deduplicated + filtered
        assert (filtered, withheld) == (0, 0)


def outcome(bench: Any, contract: Any, source: str, schedule: list[str]) -> tuple[Any, Any]:
    """Load the slices in this order into an empty warehouse; return checksum and quarantine."""
    bench.reset("test")
    for key in schedule:
        bench.load(contract, key, source)
    return bench.checksum(contract.dataset.replace("/", ".")), bench.quarantine(contract.dataset)


@SETTINGS
@given(rows=orders, schedule=schedules)
@example(rows=[(1, "A100", None, f"{DAYS[0]} 00:00:00+00")] * 2, schedule=[*DAYS, DAYS[0]])
def test_replaced_partitions_converge(bench: Any, build: Any, rows: list[Any], schedule: list[str]) -> None:
    """Slices run in any order and any number of times give the table, quarantine and ledger of one run in order."""
    contract = build.contract(build.ORDERS)
    source = bench.fill("orders", ORDER_COLUMNS, rows)
    assert outcome(bench, contract, source, schedule) == outcome(bench, contract, source, DAYS)
    assert_ledger_is_true(bench, "test/orders", source, "sold_at")
    loaded = bench.one("SELECT sum(loaded) FROM ops.slice_current")
    assert loaded == bench.one("SELECT count(*) FROM test.orders")
    # An independent statement of what the contract lets through.
    keys = Counter((row[0], row[3][:10]) for row in rows)
    sound = [
        row
        for row in rows
        if row[0] is not None
        and keys[row[0], row[3][:10]] == 1
        and row[1] in ("A100", "B200")
        and (row[2] is None or 0 <= float(row[2]) <= 1000)
    ]
    assert loaded == len(sound)


@SETTINGS
@given(rows=people, schedule=schedules)
@example(rows=[(1, city, f"{day} 07:00:00+00") for day in DAYS for city in ("Ulm", "Bonn")], schedule=DAYS[::-1] * 2)
def test_merged_keys_converge(bench: Any, build: Any, rows: list[Any], schedule: list[str]) -> None:
    """Versions of a key scattered over slices, with ties inside a slice, end in the newest one, in any order."""
    contract = build.contract(build.PEOPLE)
    source = bench.fill("people", PEOPLE_COLUMNS, rows)
    assert outcome(bench, contract, source, schedule) == outcome(bench, contract, source, DAYS)
    assert_ledger_is_true(bench, "test/people", source, "changed_at")
    newest: dict[int, datetime] = {}
    for person, city, moment in rows:
        if person is not None and city not in ("?", None):
            at = datetime.fromisoformat(moment)
            newest[person] = max(newest.get(person, at), at)
    assert dict(bench.run("SELECT person_id, changed_at FROM test.people")) == newest


def test_a_slice_run_five_times_is_recorded_five_times(bench: Any, build: Any) -> None:
    """Every attempt has its ledger row, `slice_current` shows the latest, and the rows are there once."""
    contract = build.contract(build.ORDERS)
    source = bench.fill("orders", ORDER_COLUMNS, [(1, "A100", 1, f"{DAYS[0]} 12:00+00")])
    for _ in range(5):
        bench.load(contract, DAYS[0], source)
    assert bench.run("SELECT attempt, loaded FROM ops.slice_ledger ORDER BY 1") == [(n, 1) for n in range(1, 6)]
    assert bench.run("SELECT attempt FROM ops.slice_current") == [(5,)]
    assert bench.one("SELECT count(*) FROM test.orders") == 1


# --- SIGKILL -----------------------------------------------------------------------------------------------------

KILLS = 8
KILL_ROWS = 20_000
RUN_SLICE = """
import sys
from pathlib import Path
import psycopg2
from penstock.core.contract import load_contract
from penstock.core.gate.judge import judge
from penstock.core.publish import publish
from penstock.core.slice import day_slice
from penstock.core.source_table import stage_table
from penstock.core.stage import open_session, stage_of
dsn, path, table, key, run_id = sys.argv[1:]
warehouse, source = psycopg2.connect(dsn), psycopg2.connect(dsn)
open_session(warehouse)
contract, day = load_contract(Path(path)), day_slice(key)
stage = stage_of(contract.dataset, day, run_id)
print("ready", flush=True)
stage_table(source, warehouse, contract, day, stage, table)
judge(warehouse, contract, day, stage)
publish(warehouse, contract, day, stage)
print("done", flush=True)
"""


class SliceProcess:
    """A process of its own that runs the whole flow of one slice."""

    def __init__(self, *arguments: str) -> None:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        self._process = subprocess.Popen(
            [sys.executable, "-c", RUN_SLICE, *arguments], env=environment, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self._said = self._process.stdout
        assert self._said.readline() == "ready\n"

    def finish(self) -> None:
        """Let it run to its end."""
        assert self._said.read() == "done\n"
        assert self._process.wait() == 0
        self._said.close()

    def kill_after(self, seconds: float) -> None:
        """Let it run for this long, then kill it without a chance to clean up."""
        time.sleep(seconds)
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self._said.close()


def _wait_for_backends(bench: Any) -> None:
    """Wait until the server has noticed that its client is gone; a retry does not come sooner either."""
    deadline = time.monotonic() + 30
    others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    while bench.one(others) > 0:
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize("mode", ["replace_partition", "merge"])
def test_a_killed_run_that_is_run_again_leaves_no_trace(bench: Any, build: Any, mode: str) -> None:
    """SIGKILL at random instants, then a retry of the same run: the warehouse of a run that nobody disturbed."""
    base, table = (build.ORDERS, "orders") if mode == "replace_partition" else (build.PEOPLE, "people")
    contract, path = build.contract(base), str(build.folder / "test" / f"{table}.yaml")
    bench.fill("orders", ORDER_COLUMNS, [])
    bench.fill("people", PEOPLE_COLUMNS, [])
    bench.run(
        "INSERT INTO src.orders SELECT i, CASE i %% 10 WHEN 0 THEN 'bad' ELSE 'A100' END, i / 100.0,"
        " '2026-01-01 00:00+00'::timestamptz + i * interval '1 second' FROM generate_series(1, %s) AS i",
        (KILL_ROWS,),
    )
    bench.run("INSERT INTO src.people SELECT order_id % 500, code, sold_at FROM src.orders")
    source, target = f"src.{table}", f"test.{table}"

    SliceProcess(bench.dsn, path, source, DAYS[0], "undisturbed").finish()
    again = SliceProcess(bench.dsn, path, source, DAYS[0], "timed")
    started = time.monotonic()
    again.finish()
    lasts = time.monotonic() - started
    expected = bench.checksum(target), bench.quarantine(contract.dataset)
    assert expected[0][0] > 0

    seed = int(os.environ.get("PENSTOCK_TEST_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)
    print(f"seed {seed}: PENSTOCK_TEST_SEED={seed} repeats the instants")  # noqa: T201 - shown when the test fails
    chance = random.Random(seed)  # noqa: S311
    killed_at = Counter[str]()
    for kill in range(KILLS):
        run_id = f"killed-{kill}"
        if kill % 2:  # half of the kills hit a first load, half of them a repeated one
            bench.reset("test")
        SliceProcess(bench.dsn, path, source, DAYS[0], run_id).kill_after(chance.uniform(0, lasts))
        _wait_for_backends(bench)
        killed_at[_progress(bench, run_id)] += 1
        if bench.one("SELECT to_regclass(%s) IS NOT NULL", (target,)):
            assert bench.checksum(target)[0] in (0, expected[0][0]), "half a slice is visible"
        SliceProcess(bench.dsn, path, source, DAYS[0], run_id).finish()
        assert (bench.checksum(target), bench.quarantine(contract.dataset)) == expected
        assert bench.run("SELECT FROM ops.stage") == []
        assert bench.staged_tables() == []
        published = bench.run(
            "SELECT extracted - loaded - quarantined - deduplicated FROM ops.slice_ledger WHERE run_id = %s", (run_id,)
        )
        # A run killed after its publish and started again from the extract publishes the same rows a second time.
        assert published in ([(0,)], [(0,), (0,)])
    print(dict(killed_at))  # noqa: T201


def _progress(bench: Any, run_id: str) -> str:
    """How far a run had come."""
    if bench.run("SELECT FROM ops.slice_ledger WHERE run_id = %s", (run_id,)):
        return "published"
    states = bench.run("SELECT state FROM ops.stage WHERE run_id = %s", (run_id,))
    return states[0][0] if states else "nothing staged"


def test_a_publish_repeated_after_success_finds_its_work_done(bench: Any, build: Any) -> None:
    """A task killed after its commit and tried again returns the same counts and writes no second ledger row."""
    contract = build.contract(build.ORDERS)
    source = bench.fill("orders", ORDER_COLUMNS, [(1, "A100", 1, f"{DAYS[0]} 12:00+00"), (2, "no", 1, DAYS[0])])
    stage = bench.extract(contract, DAYS[0], source)
    bench.judge(contract, stage)
    first = bench.publish(contract, stage)
    assert bench.publish(contract, stage) == first
    assert bench.one("SELECT count(*) FROM ops.slice_ledger") == 1


def test_a_verdict_does_not_outlive_a_judgement_that_was_cut_short(
    bench: Any, build: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between putting the rows back and judging them anew, the gate leaves nothing that could be published."""
    from penstock.core.errors import StageMissing
    from penstock.core.gate import judge as gate

    contract = build.contract(build.ORDERS)
    source = bench.fill("orders", ORDER_COLUMNS, [(1, "A100", 1, f"{DAYS[0]} 12:00+00"), (2, "no", 1, DAYS[0])])
    stage = bench.extract(contract, DAYS[0], source)
    bench.judge(contract, stage)

    def die(*_: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(gate, "_scan", die)
        with pytest.raises(KeyboardInterrupt):
            bench.judge(contract, stage)
    with pytest.raises(StageMissing, match="did not pass the gate"):
        bench.publish(contract, stage)
    assert bench.judge(contract, stage).quarantined == 1
    assert bench.publish(contract, stage).loaded == 1


def test_two_processes_may_run_the_same_path(tmp_path: Path) -> None:
    """The flow needs nothing but its arguments: no environment, no working folder."""
    done = subprocess.run(
        [sys.executable, "-c", "import penstock.core.publish"],
        cwd=tmp_path,
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )
    assert done.returncode == 0
