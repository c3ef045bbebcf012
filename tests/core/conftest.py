"""Builders for the tests of core: contracts from a sound document, and a database that is source and warehouse."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import yaml
from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extras import execute_values
from psycopg2.sql import SQL, Composable, Identifier

from penstock.core.contract import Contract, load_contract
from penstock.core.gate.judge import Gated, judge
from penstock.core.lake import LakeWriter
from penstock.core.ledger import Outcome
from penstock.core.ops import ensure_ops
from penstock.core.publish import publish
from penstock.core.slice import day_slice
from penstock.core.source_lake import stage_lake
from penstock.core.source_query import stage_query
from penstock.core.source_table import stage_table
from penstock.core.stage import Stage, open_session, stage_of
from penstock.local.postgres import EmbeddedPostgres

Document = dict[str, Any]


def expectation(name: str, type_: str, severity: str | None = None, **kwargs: Any) -> Document:
    """A quality item that holds one expectation."""
    item: Document = {
        "name": name,
        "type": "custom",
        "engine": "greatExpectations",
        "implementation": {"type": type_, "kwargs": kwargs},
    }
    return item | ({"severity": severity} if severity else {})


def _document(table: str, custom: Mapping[str, Any], properties: list[Document]) -> Document:
    return {
        "apiVersion": "v3.2.0",
        "kind": "DataContract",
        "id": f"test-{table}",
        "version": "1.0.0",
        "status": "active",
        "domain": "test",
        "schema": [
            {
                "name": table,
                "customProperties": [{"property": name, "value": value} for name, value in custom.items()],
                "properties": properties,
            }
        ],
    }


ORDERS: Document = _document(
    "orders",
    {"loadMode": "replace_partition", "partitionBy": "sold_at", "quarantineBudget": "100%"},
    [
        {"name": "order_id", "logicalType": "integer", "physicalType": "bigint", "primaryKey": True},
        {
            "name": "code",
            "logicalType": "string",
            "required": True,
            "quality": [expectation("code_format", "expect_column_values_to_match_regex", regex="^[A-Z][0-9]{3}$")],
        },
        {
            "name": "amount",
            "logicalType": "number",
            "physicalType": "numeric(8,2)",
            "quality": [expectation("amount_range", "expect_column_values_to_be_between", min_value=0, max_value=1000)],
        },
        {"name": "sold_at", "logicalType": "timestamp", "physicalType": "timestamptz", "required": True},
    ],
)
"""A sound contract that replaces partitions."""

PEOPLE: Document = _document(
    "people",
    {"loadMode": "merge", "cursor": "changed_at", "quarantineBudget": "100%"},
    [
        {"name": "person_id", "logicalType": "integer", "physicalType": "integer", "primaryKey": True},
        {
            "name": "city",
            "logicalType": "string",
            "required": True,
            "quality": [expectation("city_known", "expect_column_values_to_not_be_in_set", value_set=["?"])],
        },
        {
            "name": "changed_at",
            "logicalType": "timestamp",
            "physicalType": "timestamptz",
            "required": True,
        },
    ],
)
"""A sound contract that merges by key."""


def edited(base: Document, *edits: Callable[[Document], Any]) -> Document:
    """A copy of a document after the edits, each a function that changes it in place."""
    document = copy.deepcopy(base)
    for edit in edits:
        edit(document)
    return document


def set_custom(name: str, value: Any) -> Callable[[Document], None]:
    """Edit: set one of the table's custom properties."""

    def edit(document: Document) -> None:
        table = document["schema"][0]
        kept = [item for item in table["customProperties"] if item["property"] != name]
        table["customProperties"] = [*kept, {"property": name, "value": value}]

    return edit


def add_quality(item: Document, column: str | None = None) -> Callable[[Document], None]:
    """Edit: add a quality item to a column, or to the table."""

    def edit(document: Document) -> None:
        table = document["schema"][0]
        target = table if column is None else next(p for p in table["properties"] if p["name"] == column)
        target.setdefault("quality", []).append(item)

    return edit


class Builders:
    """What tests take from here; with importlib's import mode a test cannot import its conftest."""

    ORDERS = ORDERS
    PEOPLE = PEOPLE
    edited = staticmethod(edited)
    set_custom = staticmethod(set_custom)
    add_quality = staticmethod(add_quality)
    expectation = staticmethod(expectation)

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, document: Document) -> Path:
        """Write a document where its dataset belongs."""
        path = self.folder / document.get("domain", "none") / f"{document['schema'][0]['name']}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(document, sort_keys=False, allow_unicode=True), encoding="utf-8")
        return path

    def contract(self, base: Document, *edits: Callable[[Document], Any]) -> Contract:
        """The contract of an edited document, read from a real file."""
        return load_contract(self.write(edited(base, *edits)))


@pytest.fixture
def build(tmp_path: Path) -> Builders:
    """Builders of contracts, which are written below the test's own folder."""
    return Builders(tmp_path / "contracts")


class Bench:
    """One database that is source (schema `src`) and warehouse at once, and the flow over it."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self._open: list[Connection] = []
        self.conn = self.connect()
        self._wipe()
        open_session(self.conn)
        ensure_ops(self.conn)
        self.run("CREATE SCHEMA IF NOT EXISTS src")
        self._runs = 0

    def _wipe(self) -> None:
        """Leave nothing of an earlier test; to make a new database takes ten times as long."""
        self.run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        schemas = self.run(
            "SELECT nspname FROM pg_namespace"
            " WHERE nspname !~ '^pg_' AND nspname NOT IN ('public', 'information_schema')"
        )
        for (name,) in schemas:
            self.run(SQL("DROP SCHEMA {} CASCADE").format(Identifier(name)))

    def connect(self) -> Connection:
        """A further connection, closed with the bench."""
        connection = psycopg2.connect(self.dsn)
        self._open.append(connection)
        return connection

    def close(self) -> None:
        """Close every connection."""
        for connection in self._open:
            connection.close()

    def run(self, statement: str | Composable, values: Any = None) -> list[tuple[Any, ...]]:
        """Run one statement, commit, and return its rows."""
        with self.conn, self.conn.cursor() as cur:
            cur.execute(statement, values)
            return cur.fetchall() if cur.description else []

    def one(self, statement: str | Composable, values: Any = None) -> Any:
        """The first value of a statement's only row."""
        ((value, *_),) = self.run(statement, values)
        return value

    def reset(self, *schemas: str) -> None:
        """Empty the platform's tables and drop these schemas: as good as a new database, and quicker."""
        names = SQL(", ").join(map(Identifier, schemas))
        self.run(SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(names))
        self.run("TRUNCATE ops.stage, ops.slice_ledger, ops.quarantine, ops.rule_result")

    def fill(self, table: str, columns: str, rows: Sequence[tuple[Any, ...]]) -> str:
        """Make the source table anew with these rows; return its name."""
        self.run(f"DROP TABLE IF EXISTS src.{table}")
        self.run(f"CREATE TABLE src.{table} ({columns})")
        if rows:
            with self.conn, self.conn.cursor() as cur:
                execute_values(cur, f"INSERT INTO src.{table} VALUES %s", rows)
        return f"src.{table}"

    def stage(self, contract: Contract, key: str, run_id: str | None = None) -> Stage:
        """The stage of a run; of a new run without an id."""
        self._runs += 1
        return stage_of(contract.dataset, day_slice(key), run_id or f"run-{self._runs}")

    def extract(self, contract: Contract, key: str, table: str, run_id: str | None = None) -> Stage:
        """Stage a slice of a source table, over a connection of its own."""
        stage = self.stage(contract, key, run_id)
        source = psycopg2.connect(self.dsn)
        try:
            stage_table(source, self.conn, contract, day_slice(key), stage, table)
        finally:
            source.close()
        return stage

    def land(
        self, contract: Contract, key: str, records: Sequence[Mapping[str, Any]], folder: Path, part_rows: int = 1000
    ) -> Stage:
        """Land records in the lake below a folder and stage them from there."""
        stage = self.stage(contract, key)
        writer = LakeWriter(folder / stage.name, "test")
        for start in range(0, len(records), part_rows):
            writer.write(records[start : start + part_rows])
        writer.close()
        stage_lake(self.conn, contract, stage, folder / stage.name, {"source": "test"})
        return stage

    def query(self, contract: Contract, key: str, sql: str) -> Stage:
        """Stage a slice from a query."""
        stage = self.stage(contract, key)
        stage_query(self.conn, contract, day_slice(key), stage, sql)
        return stage

    def judge(self, contract: Contract, stage: Stage) -> Gated:
        """Judge a stage."""
        return judge(self.conn, contract, day_slice(stage.slice_key), stage)

    def publish(self, contract: Contract, stage: Stage) -> Outcome:
        """Publish a stage."""
        return publish(self.conn, contract, day_slice(stage.slice_key), stage)

    def load(self, contract: Contract, key: str, table: str, run_id: str | None = None) -> Outcome:
        """The whole flow of one slice of a source table."""
        stage = self.extract(contract, key, table, run_id)
        self.judge(contract, stage)
        return self.publish(contract, stage)

    def checksum(self, table: str) -> tuple[int, int]:
        """Number of rows and a checksum that does not depend on their order."""
        statement = f"SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)), 0) FROM {table} AS t"
        ((count, total),) = self.run(statement)
        return count, total

    def quarantine(self, dataset: str) -> list[tuple[Any, ...]]:
        """The quarantine of a dataset without what differs between runs."""
        return self.run(
            "SELECT slice_key, rules, payload::text, occurrence FROM ops.quarantine WHERE dataset = %s"
            " ORDER BY slice_key, payload::text, occurrence, rules",
            (dataset,),
        )

    def staged_tables(self) -> list[str]:
        """Tables that are in the schema of stages."""
        return [name for (name,) in self.run("SELECT tablename FROM pg_tables WHERE schemaname = 'staging' ORDER BY 1")]


@pytest.fixture(scope="session")
def bench_database(pg: EmbeddedPostgres) -> Iterator[str]:
    """The database that the benches of a session use in turn."""
    dsn = pg.create_database()
    yield dsn
    pg.drop_database(dsn.rsplit("/", 1)[1])


@pytest.fixture
def bench(bench_database: str) -> Iterator[Bench]:
    """A database with Penstock's own tables and nothing else."""
    found = Bench(bench_database)
    yield found
    found.close()
