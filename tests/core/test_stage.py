"""The stage: names that never collide, and rows that stay until they are published."""

from __future__ import annotations

from typing import Any

import psycopg2
import psycopg2.errors
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg2.sql import SQL, Identifier

from penstock.core.errors import StageMissing
from penstock.core.slice import day_slice
from penstock.core.stage import (
    column_types,
    copy_into,
    create_stage,
    drop_stage,
    need_stage,
    open_session,
    read_stage,
    record_stage,
    stage_of,
)

DAY = "2026-01-01"
COLUMNS = [
    ("order_id", "bigint"),
    ("code", "text"),
    ("amount", "numeric(8,2)"),
    ("sold_at", "timestamp with time zone"),
]


@given(
    run_id=st.text(max_size=300), dataset=st.from_regex(r"[a-z][a-z0-9_]{0,39}/[a-z][a-z0-9_]{0,39}", fullmatch=True)
)
def test_every_name_fits_into_postgres(run_id: str, dataset: str) -> None:
    """Whatever Airflow calls the run, each of the three tables has a name that Postgres does not cut off."""
    stage = stage_of(dataset, day_slice(DAY), run_id)
    for table in (stage.table, stage.typed, stage.bad):
        assert len(table.strings[1].encode()) <= 63
    assert stage == stage_of(dataset, day_slice(DAY), run_id)


def test_names_differ_by_dataset_slice_and_run() -> None:
    """No two of these share a stage, also where the visible part of the name is the same."""
    long = "a" * 40
    names = {
        stage_of(dataset, day_slice(key), run).name
        for dataset in (f"{long}/x", f"{long}/y", "a/b")
        for key in (DAY, "2026-01-02")
        for run in ("manual__1", "manual__2")
    }
    assert len(names) == 12


def test_rows_are_numbered_only_where_they_must_be_cast(bench: Any, build: Any) -> None:
    """A stage in the contract's own types has the contract's columns and nothing else."""
    contract = build.contract(build.ORDERS)
    stage = bench.stage(contract, DAY)
    with bench.conn, bench.conn.cursor() as cur:
        create_stage(cur, stage, COLUMNS, contract)
        assert column_types(cur, stage.table) == dict(COLUMNS)
        create_stage(cur, stage, [*COLUMNS[:2], ("amount", "text"), COLUMNS[3]], contract)
        assert list(column_types(cur, stage.table)) == ["order_id", "code", "amount", "sold_at", "_row"]


def test_a_stage_is_filled_frozen(bench: Any, build: Any) -> None:
    """COPY with FREEZE works in the transaction that makes the stage, also several times."""
    contract = build.contract(build.ORDERS)
    stage = bench.stage(contract, DAY)
    import io

    with bench.conn, bench.conn.cursor() as cur:
        create_stage(cur, stage, COLUMNS, contract)
        for number in (1, 2):
            cur.copy_expert(
                copy_into(stage, [name for name, _ in COLUMNS], binary=False), io.StringIO(f"{number},a,1,{DAY}\n")
            )
        record_stage(cur, stage, contract, extracted=2, detail={})
    assert bench.one(f"SELECT count(*) FROM staging.{stage.name}") == 2


def test_the_record_tells_what_was_staged(bench: Any, build: Any) -> None:
    """State, counts, contract and time of the extract can be read back, and a record that is missing is an error."""
    contract = build.contract(build.ORDERS)
    stage = bench.stage(contract, DAY)
    with bench.conn, bench.conn.cursor() as cur:
        assert read_stage(cur, stage) is None
        with pytest.raises(StageMissing, match=f"Run {stage.run_id} has no staged rows.*clear the task `extract`"):
            need_stage(cur, stage)
        create_stage(cur, stage, COLUMNS, contract)
        cur.execute("SELECT pg_sleep(0.05)")
        record_stage(cur, stage, contract, extracted=7, detail={"a": 1})
        staged = need_stage(cur, stage)
    assert (staged.state, staged.extracted, staged.filtered, staged.quarantined) == ("staged", 7, 0, 0)
    assert (staged.contract_hash, staged.detail) == (contract.hash, {"a": 1})
    assert 0.05 <= staged.extract_seconds < 30


def test_a_record_that_was_read_is_locked(bench: Any, build: Any) -> None:
    """Two tasks cannot work on one stage at the same time."""
    contract = build.contract(build.ORDERS)
    stage = bench.stage(contract, DAY)
    with bench.conn, bench.conn.cursor() as cur:
        create_stage(cur, stage, COLUMNS, contract)
        record_stage(cur, stage, contract, extracted=0, detail={})
    other = bench.connect()
    with bench.conn, bench.conn.cursor() as cur, other.cursor() as second:
        need_stage(cur, stage)
        second.execute("SET lock_timeout = '100ms'")
        with pytest.raises(psycopg2.errors.LockNotAvailable):
            need_stage(second, stage)
    other.rollback()


def test_dropping_leaves_nothing(bench: Any, build: Any) -> None:
    """All three tables and the record go, and dropping what is not there is no error."""
    contract = build.contract(build.ORDERS)
    stage = bench.stage(contract, DAY)
    with bench.conn, bench.conn.cursor() as cur:
        create_stage(cur, stage, COLUMNS, contract)
        for table in (stage.typed, stage.bad):
            cur.execute(SQL("CREATE TABLE {} ()").format(table))
        record_stage(cur, stage, contract, extracted=0, detail={})
        drop_stage(cur, stage)
        drop_stage(cur, stage)
    assert bench.staged_tables() == []
    assert bench.run("SELECT FROM ops.stage") == []


def test_column_types_speak_postgres_own_words(bench: Any) -> None:
    """Types come as `format_type()` spells them, dropped columns do not come, a missing table has none."""
    bench.run('CREATE TABLE src."T %" (a int, gone text, b numeric(5,2)[], "C" varchar(3), d timestamptz)')
    bench.run('ALTER TABLE src."T %" DROP COLUMN gone')
    with bench.conn, bench.conn.cursor() as cur:
        assert column_types(cur, Identifier("src", "T %")) == {
            "a": "integer",
            "b": "numeric(5,2)[]",
            "C": "character varying(3)",
            "d": "timestamp with time zone",
        }
        assert column_types(cur, "src.nowhere") == {}


def test_a_session_is_in_utc_and_utf8(bench: Any) -> None:
    """Whatever the server's defaults, times mean UTC and text is UTF-8, and stay so after a rollback."""
    connection = psycopg2.connect(bench.dsn, options="-c timezone=Asia/Tokyo -c client_encoding=LATIN1")
    try:
        open_session(connection)
        connection.rollback()
        with connection.cursor() as cur:
            cur.execute("SELECT current_setting('TimeZone'), current_setting('client_encoding'), 'é€'")
            assert cur.fetchone() == ("UTC", "UTF8", "é€")
    finally:
        connection.close()


def test_a_session_of_a_host_that_is_gone_ends_within_a_minute_or_so(bench: Any) -> None:
    """The server asks after a silent client soon, for it holds its locks until then."""
    connection = psycopg2.connect(bench.dsn)
    try:
        open_session(connection)
        with connection.cursor() as cur:
            cur.execute(
                "SELECT array_agg(setting ORDER BY name) FROM pg_settings"
                " WHERE name IN ('tcp_keepalives_count', 'tcp_keepalives_idle', 'tcp_keepalives_interval')"
            )
            assert cur.fetchone() == (["3", "30", "10"],)
    finally:
        connection.close()
