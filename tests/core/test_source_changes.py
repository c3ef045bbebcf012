"""A table's changes from the log of a real Postgres: after any slice the warehouse holds what the source held."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from itertools import groupby
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg2.extras import LogicalReplicationConnection

from penstock.core.errors import SchemaMismatch, SourceError, SourceUnavailable
from penstock.core.slice import day_slice
from penstock.core.source_changes import ChangeLog, stage_changes
from penstock.core.stage import Stage
from penstock.local.postgres import EmbeddedPostgres

DAY = "2026-01-05"
LOG = ChangeLog("public.people", "penstock", "penstock_people")


class Source:
    """A source with one published table."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn

    def run(self, *statements: str) -> list[tuple[Any, ...]]:
        """Run statements in one transaction; return the rows of the last."""
        with closing(psycopg2.connect(self.dsn)) as connection, connection, connection.cursor() as cur:
            for statement in statements:
                cur.execute(statement)
            return cur.fetchall() if cur.description else []

    def commit(self, statements: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
        """Run statements, each with its values, in one transaction."""
        with closing(psycopg2.connect(self.dsn)) as connection, connection, connection.cursor() as cur:
            for statement, values in statements:
                cur.execute(statement, values)

    def renew(self) -> None:
        """Begin anew, without a slot."""
        while self.run("SELECT 1 FROM pg_replication_slots WHERE active"):
            time.sleep(0.05)  # until the server sees that the last reader has gone
        self.run("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")
        self.run(
            "DROP TABLE IF EXISTS people, other",
            "DROP PUBLICATION IF EXISTS penstock",
            "CREATE TABLE people (person_id integer PRIMARY KEY, city text, bio text)",
            "CREATE TABLE other (n integer PRIMARY KEY)",
            "CREATE PUBLICATION penstock FOR TABLE people, other",
        )

    def rows(self) -> list[tuple[Any, ...]]:
        """What the table holds."""
        return self.run("SELECT person_id, city, bio FROM people ORDER BY 1")


@pytest.fixture(scope="session")
def logging_postgres() -> Iterator[str]:
    """A server that keeps a log for replication."""
    home = Path(tempfile.mkdtemp(prefix="penstock-log-"))
    home.chmod(0o711)
    logs = {"wal_level": "logical", "synchronous_commit": "on", "shared_buffers": "32MB"}
    server = EmbeddedPostgres(home / "postgres", durable=False, first_port=26432, settings=logs)
    try:
        server.start()
        yield server.create_database()
    finally:
        server.remove()
        home.rmdir()


@pytest.fixture
def source(logging_postgres: str) -> Source:
    """The source, as new."""
    found = Source(logging_postgres)
    found.renew()
    return found


@pytest.fixture
def contract(build: Any) -> Any:
    """A contract that takes changes."""

    def by_log(document: Any) -> None:
        document["schema"][0]["properties"] = [
            {"name": "person_id", "physicalType": "integer", "primaryKey": True},
            {"name": "city", "logicalType": "string"},
            {"name": "bio", "logicalType": "string"},
            {"name": "lsn", "physicalName": "$lsn", "physicalType": "bigint", "required": True},
            {"name": "gone", "physicalName": "$deleted", "physicalType": "boolean"},
            {"name": "since", "physicalName": "$committed_at", "physicalType": "timestamptz"},
        ]

    edits = [build.set_custom("cursor", "lsn"), build.set_custom("tombstone", "gone")]
    return build.contract(build.PEOPLE, by_log, *edits)


def extract(bench: Any, contract: Any, source: Source, key: str = DAY, log: ChangeLog = LOG) -> Stage:
    """Stage what is new."""
    stage: Stage = bench.stage(contract, key)
    with (
        closing(psycopg2.connect(source.dsn)) as plain,
        closing(psycopg2.connect(source.dsn, connection_factory=LogicalReplicationConnection)) as replication,
    ):
        stage_changes(plain, replication, bench.conn, contract, day_slice(key), stage, log, detail={"conn_id": "crm"})
    return stage


def load(bench: Any, contract: Any, source: Source, key: str = DAY) -> Any:
    """The whole flow of what is new."""
    stage = extract(bench, contract, source, key)
    bench.judge(contract, stage)
    return bench.publish(contract, stage)


def held(bench: Any) -> list[tuple[Any, ...]]:
    """What the warehouse holds."""
    return bench.run("SELECT person_id, city, bio FROM test.people ORDER BY 1")  # type: ignore[no-any-return]


STATEMENTS = {
    "put": "INSERT INTO people VALUES (%(first)s, %(second)s)"
    " ON CONFLICT (person_id) DO UPDATE SET city = excluded.city",
    "move": "UPDATE people SET person_id = %(second)s WHERE person_id = %(first)s"
    " AND NOT EXISTS (SELECT FROM people WHERE person_id = %(second)s)",
    "delete": "DELETE FROM people WHERE person_id = %(first)s",
    "other": "INSERT INTO other VALUES (%(first)s) ON CONFLICT DO NOTHING",
}
keys = st.integers(1, 6)
texts = st.one_of(st.none(), st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8))
steps = st.one_of(
    st.tuples(st.just("put"), keys, texts),
    st.tuples(st.just("move"), keys, keys),
    st.tuples(st.just("delete"), keys, st.none()),
    st.tuples(st.just("load"), st.booleans(), st.none()),
    st.tuples(st.just("other"), keys, st.none()),
)


@settings(deadline=None, max_examples=20, suppress_health_check=list(HealthCheck))
@given(program=st.lists(st.lists(steps, max_size=5), max_size=6))
def test_after_each_slice_the_warehouse_holds_what_the_source_held(
    bench: Any, contract: Any, source: Source, program: list[list[Any]]
) -> None:
    """Whatever is inserted, updated, moved to another key and deleted, in any transactions, staged or published."""
    source.renew()
    bench.reset("test")
    bench.run("TRUNCATE ops.tombstone")
    for transaction in [*program, [("load", True, None)]]:
        for is_load, group in groupby(transaction, key=lambda step: step[0] == "load"):
            if not is_load:
                source.commit((STATEMENTS[kind], {"first": first, "second": second}) for kind, first, second in group)
                continue
            for _, published, _ in group:
                if published:
                    load(bench, contract, source)
                    assert held(bench) == source.rows()
                else:
                    extract(bench, contract, source)


def test_the_position_is_committed_with_the_rows(bench: Any, contract: Any, source: Source) -> None:
    """What was staged and not published comes again; the slot forgets only what is published."""
    source.run("INSERT INTO people VALUES (1, 'Rome')")
    load(bench, contract, source)
    source.run("INSERT INTO people VALUES (2, 'Oslo')", "DELETE FROM people WHERE person_id = 1")
    extract(bench, contract, source)
    source.run("INSERT INTO people VALUES (3, 'Bonn')")
    outcome = load(bench, contract, source)
    assert (outcome.extracted, held(bench)) == (3, source.rows())
    ((position,),) = bench.run("SELECT max((detail->>'position')::bigint) FROM ops.slice_ledger")
    ((confirmed,),) = source.run("SELECT (confirmed_flush_lsn - '0/0')::bigint FROM pg_replication_slots")
    assert confirmed <= position
    assert load(bench, contract, source).extracted == 0
    assert bench.run("SELECT gone, since IS NOT NULL FROM test.people ORDER BY 1") == [(False, True)] * 2


def test_a_first_slice_that_was_never_published_is_taken_anew(bench: Any, contract: Any, source: Source) -> None:
    """The slot of the attempt before is replaced; what changed meanwhile is in the table that is read."""
    source.run("INSERT INTO people VALUES (1, 'Rome')")
    extract(bench, contract, source)
    source.run("UPDATE people SET city = 'Oslo'")
    load(bench, contract, source)
    assert held(bench) == [(1, "Oslo", None)]
    assert source.run("SELECT count(*) FROM pg_replication_slots") == [(1,)]


def test_a_long_value_that_did_not_change_is_never_lost(bench: Any, contract: Any, source: Source) -> None:
    """The log leaves it out: that is an error, which the source can be altered to avoid; then all the row is sent."""
    source.run(
        "ALTER TABLE people ALTER bio SET STORAGE EXTERNAL",
        "INSERT INTO people VALUES (1, 'Rome', repeat('x', 10000))",
    )
    load(bench, contract, source)
    source.run("UPDATE people SET city = 'Oslo'")
    with pytest.raises(SchemaMismatch, match=r"the long value of bio .*REPLICA IDENTITY FULL"):
        extract(bench, contract, source)
    source.renew()
    bench.run("TRUNCATE ops.slice_ledger CASCADE")
    source.run(
        "ALTER TABLE people ALTER bio SET STORAGE EXTERNAL",
        "ALTER TABLE people REPLICA IDENTITY FULL",
        "INSERT INTO people VALUES (1, 'Rome', repeat('x', 10000)), (2, 'Bonn', NULL)",
    )
    load(bench, contract, source)
    source.run("UPDATE people SET city = 'Oslo' WHERE person_id = 1", "DELETE FROM people WHERE person_id = 2")
    load(bench, contract, source)
    assert held(bench) == [(1, "Oslo", "x" * 10000)]


def test_truncate_is_told(bench: Any, contract: Any, source: Source) -> None:
    """The log names no rows of it, so nothing is guessed."""
    load(bench, contract, source)
    source.run("INSERT INTO people VALUES (1, 'Rome')", "TRUNCATE people")
    with pytest.raises(SchemaMismatch, match=r"public\.people was emptied by TRUNCATE"):
        extract(bench, contract, source)


def test_a_slot_is_read_by_one_run_at_a_time_and_must_be_there(bench: Any, contract: Any, source: Source) -> None:
    """Another reader is worth a retry; a slot that somebody dropped has lost changes, and that is said."""
    load(bench, contract, source)
    with closing(psycopg2.connect(source.dsn, connection_factory=LogicalReplicationConnection)) as other:
        options = {"proto_version": "1", "publication_names": "penstock"}
        other.cursor().start_replication(slot_name=LOG.slot, options=options)
        with pytest.raises(SourceUnavailable, match="Another session reads from slot penstock_people"):
            extract(bench, contract, source)
    source.renew()
    with pytest.raises(SourceError, match=r"cannot be read from.*changes are lost"):
        extract(bench, contract, source)


def test_a_contract_that_cannot_take_changes_is_told(bench: Any, build: Any, source: Source) -> None:
    """What it must state is named; no slot is made."""
    for base in (build.ORDERS, build.PEOPLE):
        with pytest.raises(SchemaMismatch, match=r"Next: state `loadMode: merge`"):
            extract(bench, build.contract(base), source)
    assert source.run("SELECT FROM pg_replication_slots") == []
