"""The janitor: stages that nobody comes back for go, each with a ledger row; what is in use stays."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from psycopg2.extras import Json

from penstock.core.errors import StageMissing
from penstock.core.janitor import Expired, Swept, sweep

DAY = "2026-01-01"
COLUMNS = "order_id bigint, code text, amount numeric(8,2), sold_at timestamptz"
AGE = timedelta(days=14)
LEDGER = "kind, status, extracted, loaded, quarantined, deduplicated, filtered, withheld"
STRAY = "test__orders_0123456789abcd"


def later(**days: float) -> datetime:
    """A moment after now."""
    return datetime.now(UTC) + timedelta(**days)


def swept(bench: Any, now: datetime) -> Swept:
    """Sweep."""
    return sweep(bench.conn, now=now, age=AGE, by="janitor")


@pytest.fixture
def source(bench: Any) -> str:
    """Four orders, one of them broken."""
    rows = [(n, "?" if n == 4 else "A100", 1, f"{DAY} 12:00+00") for n in (1, 2, 3, 4)]
    return str(bench.fill("orders", COLUMNS, rows))


def test_an_old_stage_goes_and_the_ledger_accounts_for_it(bench: Any, build: Any, source: str) -> None:
    """Its tables and its record are gone, and the ledger says where its rows went, why, and whose run it was."""
    contract = build.contract(build.ORDERS)
    bench.load(contract, "2026-01-02", source)
    stage = bench.extract(contract, DAY, source, "lost-run")
    bench.judge(contract, stage)
    assert swept(bench, later(days=13.9)) == Swept([], [], [])
    done = swept(bench, later(days=14.1))
    assert done == Swept([Expired("test/orders", DAY, "lost-run", "passed", 4)], [], [])
    assert (bench.staged_tables(), bench.run("SELECT * FROM ops.stage")) == ([], [])
    assert bench.run(f"SELECT {LEDGER} FROM ops.slice_ledger WHERE slice_key = %s", (DAY,)) == [
        ("expire", "refused", 4, 0, 1, 0, 0, 3)
    ]
    columns = "run_id, load_mode, contract_version, contract_hash, detail ->> 'by', detail ->> 'state'"
    assert bench.run(f"SELECT {columns} FROM ops.slice_ledger WHERE kind = 'expire'") == [
        ("lost-run", "replace_partition", "1.0.0", contract.hash, "janitor", "passed")
    ]
    assert "not changed it since" in bench.one("SELECT detail ->> 'reason' FROM ops.slice_ledger WHERE kind = 'expire'")
    assert swept(bench, later(days=15)) == Swept([], [], [])


def test_the_slice_is_what_it_was(bench: Any, build: Any, source: str) -> None:
    """What is published of the slice stays, with its ledger row as the current one; the run finds its stage missing."""
    contract = build.contract(build.ORDERS)
    bench.load(contract, DAY, source)
    before = bench.checksum("test.orders")
    stage = bench.extract(contract, DAY, source)
    swept(bench, later(days=15))
    assert bench.checksum("test.orders") == before
    assert bench.run("SELECT kind, loaded FROM ops.slice_current") == [("load", 3)]
    with pytest.raises(StageMissing):
        bench.judge(contract, stage)
    bench.load(contract, DAY, source, stage.run_id)
    assert bench.checksum("test.orders") == before


def test_each_change_of_a_stage_makes_it_young(bench: Any, build: Any, source: str) -> None:
    """Age counts from the last judgement, or the last extract, not from the first."""
    contract = build.contract(build.ORDERS)
    stage = bench.extract(contract, DAY, source, "slow-run")
    bench.run(
        "UPDATE ops.stage SET (created_at, changed_at) = (now() - interval '99 days', now() - interval '99 days')"
    )
    bench.judge(contract, stage)
    assert swept(bench, later(days=1)) == Swept([], [], [])
    bench.run("UPDATE ops.stage SET changed_at = changed_at - interval '99 days'")
    bench.extract(contract, DAY, source, "slow-run")
    assert swept(bench, later(days=1)) == Swept([], [], [])


HOLDS = (
    f"SELECT pg_advisory_xact_lock(hashtextextended('penstock test/orders {DAY}', 0))",
    "SELECT FROM ops.stage FOR UPDATE",
    "LOCK TABLE staging.{} IN ACCESS SHARE MODE",
)


@pytest.mark.parametrize("holds", HOLDS)
def test_what_somebody_works_on_stays(bench: Any, build: Any, source: str, holds: str) -> None:
    """A stage that a session holds by the slice's lock, its record or a table of it is left, without a long wait."""
    stage = bench.extract(build.contract(build.ORDERS), DAY, source)
    other = bench.connect()
    with other.cursor() as cur:
        cur.execute(holds.format(stage.name))
    began = datetime.now(UTC)
    assert swept(bench, later(days=99)) == Swept([], [], [])
    assert datetime.now(UTC) - began < timedelta(seconds=3)
    other.rollback()
    assert bench.one("SELECT count(*) FROM ops.slice_ledger") == 0
    assert len(swept(bench, later(days=99)).stages) == 1


def test_a_dataset_that_is_no_more(bench: Any, build: Any, source: str) -> None:
    """A stage whose contract nobody knows any more goes as well; the ledger says that it is unknown."""
    bench.extract(build.contract(build.ORDERS), DAY, source)
    swept(bench, later(days=99))
    assert bench.run("SELECT kind, load_mode, contract_version FROM ops.slice_ledger") == [
        ("expire", "unknown", "unknown")
    ]


def test_tables_without_a_record_are_marked_and_go_later(bench: Any, build: Any, source: str) -> None:
    """What a dead worker left is seen first, then dropped; a table that is made anew in between is young again."""
    for name in (STRAY, f"{STRAY}__r0a1b2"):
        bench.run(f"CREATE TABLE staging.{name} (n integer)")
    first = swept(bench, later())
    assert (first.tables, first.marked) == ([], [STRAY, f"{STRAY}__r0a1b2"])
    assert swept(bench, later(days=13)) == Swept([], [], [])
    bench.run(f"DROP TABLE staging.{STRAY}")
    bench.run(f"CREATE TABLE staging.{STRAY} (n integer)")
    second = swept(bench, later(days=15))
    assert (second.tables, second.marked) == ([f"{STRAY}__r0a1b2"], [STRAY])
    assert bench.staged_tables() == [STRAY]
    assert swept(bench, later(days=30)).tables == [STRAY]


def test_parts_of_an_unfinished_stage_have_no_record(bench: Any, build: Any, source: str) -> None:
    """Beside a stage that a later try finished, what the first one left is swept; the stage's own tables are not."""
    contract = build.contract(build.ORDERS)
    stage = bench.extract(contract, DAY, source)
    bench.judge(contract, stage)
    bench.run(f"CREATE TABLE staging.{stage.name}__r0a1b2 (n integer)")
    assert swept(bench, later()).marked == [f"{stage.name}__r0a1b2"]
    bench.run("UPDATE ops.stage SET changed_at = now() + interval '30 days'")
    assert swept(bench, later(days=15)).tables == [f"{stage.name}__r0a1b2"]
    assert bench.publish(contract, stage).loaded == 3


def test_other_peoples_tables_stay(bench: Any) -> None:
    """A table that is not named as stages are, or that somebody has commented, is nobody's litter."""
    for name in ("scratch", "orders_2026", STRAY):
        bench.run(f"CREATE TABLE staging.{name} (n integer)")
    bench.run(f"COMMENT ON TABLE staging.{STRAY} IS 'do not touch'")
    for days in (0, 15, 30):
        assert swept(bench, later(days=days)) == Swept([], [], [])
    assert len(bench.staged_tables()) == 3


def test_a_table_that_is_being_filled_stays(bench: Any) -> None:
    """A marked table that a session writes to is left for the next time; a mark does not disturb the writer."""
    bench.run(f"CREATE TABLE staging.{STRAY} (n integer)")
    other = bench.connect()
    with other.cursor() as cur:
        cur.execute(f"INSERT INTO staging.{STRAY} VALUES (1)")
    assert swept(bench, later()).marked == [STRAY]
    assert swept(bench, later(days=15)) == Swept([], [], [])
    other.commit()
    assert swept(bench, later(days=15)).tables == [STRAY]


def test_a_table_that_gets_its_record_meanwhile_stays(bench: Any, build: Any) -> None:
    """Between the list and the drop the extract may finish: the janitor looks again once it holds the table."""
    contract = build.contract(build.ORDERS)
    bench.run(f"CREATE TABLE staging.{STRAY} (n integer)")
    swept(bench, later())
    other, started = bench.connect(), threading.Event()

    def finish() -> None:
        with other.cursor() as cur:
            cur.execute(f"LOCK TABLE staging.{STRAY} IN ROW EXCLUSIVE MODE")
            started.set()
            cur.execute("SELECT pg_sleep(0.3)")
            cur.execute(
                "INSERT INTO ops.stage (name, dataset, slice_key, run_id, state, extracted, contract_hash, detail)"
                " VALUES (%s, 'test/orders', %s, 'r', 'staged', 0, %s, %s)",
                (STRAY, DAY, contract.hash, Json({})),
            )
            other.commit()

    thread = threading.Thread(target=finish)
    thread.start()
    started.wait()
    assert swept(bench, later(days=15)).tables == []
    thread.join()
    assert bench.staged_tables() == [STRAY]
