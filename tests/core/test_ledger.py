"""The ledger balances, by the database's own check."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import psycopg2.errors
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.core.ledger import Attempt, Outcome, lock_slice, published_by, record_attempt

DAY = "2026-01-01"
BALANCED = Outcome(extracted=15, loaded=5, quarantined=4, deduplicated=3, filtered=3)


def record(bench: Any, build: Any, outcome: Outcome, status: str = "published", run_id: str = "run") -> None:
    """Write one row."""
    contract = build.contract(build.ORDERS)
    with bench.conn, bench.conn.cursor() as cur:
        attempt = Attempt(outcome, status, dag_id="a_dag", seconds=(1.0, 2.0, 3.0), detail={"why": "test"})  # type: ignore[arg-type]
        record_attempt(cur, bench.stage(contract, DAY, run_id), contract, attempt)


counts = st.integers(0, 3)


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    outcome=st.builds(Outcome, st.integers(0, 12), counts, counts, counts, counts, counts),
    status=st.sampled_from(["published", "refused"]),
)
def test_only_balanced_rows_can_be_written(bench: Any, build: Any, outcome: Outcome, status: str) -> None:
    """A row is taken exactly if its outcomes add up, and only a refused slice withholds rows, and loads none."""
    parts = outcome.loaded + outcome.quarantined + outcome.deduplicated + outcome.filtered + outcome.withheld
    allowed = outcome.withheld == 0 or (status == "refused" and outcome.loaded == 0)
    if parts == outcome.extracted and allowed:
        record(bench, build, outcome, status)
    else:
        with pytest.raises(psycopg2.errors.CheckViolation):
            record(bench, build, outcome, status)


def test_a_negative_count_is_refused(bench: Any, build: Any) -> None:
    """Two errors that cancel out in the sum do not pass."""
    with pytest.raises(psycopg2.errors.CheckViolation):
        record(bench, build, replace(BALANCED, loaded=-1, filtered=9))


def test_attempts_are_numbered_by_slice(bench: Any, build: Any) -> None:
    """Attempts count up over runs and outcomes; `slice_current` is the last one that was published."""
    record(bench, build, BALANCED, run_id="a")
    record(bench, build, BALANCED, run_id="b")
    record(bench, build, Outcome(15, 0, 4, 0, 0, withheld=11), "refused", run_id="c")
    assert bench.run("SELECT attempt FROM ops.slice_current") == [(2,)]
    record(bench, build, BALANCED, run_id="d")
    assert bench.run("SELECT attempt, run_id, status FROM ops.slice_ledger ORDER BY 1") == [
        (1, "a", "published"),
        (2, "b", "published"),
        (3, "c", "refused"),
        (4, "d", "published"),
    ]
    assert bench.run("SELECT attempt FROM ops.slice_current") == [(4,)]


def test_an_attempt_is_recorded_in_full(bench: Any, build: Any) -> None:
    """Every argument has its column."""
    contract = build.contract(build.ORDERS)
    record(bench, build, BALANCED)
    assert bench.run(
        "SELECT dataset, slice_key, run_id, dag_id, load_mode, extracted, loaded, quarantined, deduplicated, filtered,"
        " withheld, extract_seconds, validate_seconds, publish_seconds, contract_version, contract_hash, detail,"
        " finished_at <= clock_timestamp() FROM ops.slice_ledger"
    ) == [
        (
            *("test/orders", DAY, "run", "a_dag", "replace_partition"),
            *(15, 5, 4, 3, 3, 0, 1.0, 2.0, 3.0),
            *("1.0.0", contract.hash, {"why": "test"}, True),
        )
    ]


def test_a_run_finds_only_what_it_published_itself(bench: Any, build: Any) -> None:
    """What another run, or a refused attempt of this one, left in the ledger does not count as done."""
    contract = build.contract(build.ORDERS)
    record(bench, build, BALANCED, run_id="other")
    record(bench, build, Outcome(1, 0, 0, 0, 0, withheld=1), "refused", run_id="mine")
    with bench.conn, bench.conn.cursor() as cur:
        assert published_by(cur, bench.stage(contract, DAY, "mine")) is None
        assert published_by(cur, bench.stage(contract, "2026-01-02", "other")) is None
        assert published_by(cur, bench.stage(contract, DAY, "other")) == BALANCED


def test_one_transaction_at_a_time_works_on_a_slice(bench: Any, build: Any) -> None:
    """The lock of a slice keeps out other transactions on it until the end, and those on other slices never."""
    contract = build.contract(build.ORDERS)
    other = bench.connect()
    with bench.conn, bench.conn.cursor() as cur, other.cursor() as second:
        lock_slice(cur, bench.stage(contract, DAY, "a"))
        second.execute("SET lock_timeout = '100ms'")
        lock_slice(second, bench.stage(contract, "2026-01-02", "b"))
        with pytest.raises(psycopg2.errors.LockNotAvailable):
            lock_slice(second, bench.stage(contract, DAY, "b"))
    other.rollback()
    with other, other.cursor() as second:
        lock_slice(second, bench.stage(contract, DAY, "b"))


def test_whoever_falls_silent_amid_a_slice_gives_it_back(bench: Any, build: Any) -> None:
    """The transaction that holds a slice ends where its process is silent for a minute; later ones do not."""
    with bench.conn, bench.conn.cursor() as cur:
        lock_slice(cur, bench.stage(build.contract(build.ORDERS), DAY, "a"))
        cur.execute("SHOW idle_in_transaction_session_timeout")
        assert cur.fetchone() == ("1min",)
    assert bench.one("SHOW idle_in_transaction_session_timeout") == "0"
