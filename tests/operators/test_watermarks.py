"""Sources that know no slices are read on from what is published: nothing is lost, nothing is doubled."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg2
import pytest

from penstock.core.contract import load_contract
from penstock.core.errors import SchemaMismatch
from penstock.operators.extract_api import ApiExtractOperator
from penstock.operators.extract_database import DatabaseExtractOperator
from penstock.operators.publish import PublishOperator
from penstock.operators.slices import SliceOperator
from penstock.operators.validate import ValidateOperator
from tests.operators.contexts import Query, context_of

EVENTS = "test/events"
CONTRACT = """
apiVersion: v3.2.0
kind: DataContract
id: test-events
version: 1.0.0
status: active
domain: test
schema:
  - name: events
    customProperties:
      - {property: loadMode, value: merge}
      - {property: cursor, value: version}
    properties:
      - {name: id, physicalType: bigint, primaryKey: true}
      - {name: name, logicalType: string}
      - {name: version, physicalType: integer, required: true}
"""
QUERY = "SELECT id, name, 1 AS version FROM events WHERE %(watermark)s IS NULL OR id > %(watermark)s"


class Source:
    """Events by their number; `add` brings new ones."""

    def __init__(self, extract: SliceOperator, add: Any) -> None:
        self.extract, self.add = extract, add


class Api(BaseHTTPRequestHandler):
    """Answers the events after `after`."""

    def do_GET(self) -> None:
        """Answer all that are new."""
        after = int(parse_qs(urlsplit(self.path).query).get("after", ["0"])[0])
        ids = self.server.ids  # type: ignore[attr-defined]
        body = json.dumps({"data": [{"id": i, "name": f"n{i}", "version": 1} for i in ids if i > after]}).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def _database(name: str, connect: Any) -> Source:
    def add(*ids: int) -> None:
        with closing(connect()) as connection:
            cur = connection.cursor()
            cur.execute("CREATE TABLE IF NOT EXISTS events (id bigint PRIMARY KEY, name text)")
            for number in ids:
                cur.execute(f"INSERT INTO events VALUES ({number}, 'n{number}')")
            connection.commit()

    return Source(DatabaseExtractOperator(task_id="e", dataset=EVENTS, conn_id=name, query=QUERY, watermark="id"), add)


@pytest.fixture(params=["postgres", "sqlite", "api"])
def source(
    request: pytest.FixtureRequest, query: Query, pg: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Source]:
    """An empty source of each kind."""
    path = tmp_path / "test" / "events.yaml"
    path.parent.mkdir()
    path.write_text(CONTRACT, encoding="utf-8")
    monkeypatch.setattr("penstock.operators.slices.contract_of", lambda _: load_contract(path))
    monkeypatch.setenv("AIRFLOW_VAR_LAKE_URL", str(tmp_path / "lake"))
    if request.param == "postgres":
        dsn = pg.create_database("watermarks")
        monkeypatch.setenv("AIRFLOW_CONN_EVENTS", dsn.replace("postgresql:", "postgres:", 1))
        yield _database("events", lambda: psycopg2.connect(dsn))
        pg.drop_database("watermarks")
    elif request.param == "sqlite":
        file = tmp_path / "events.db"
        monkeypatch.setenv("AIRFLOW_CONN_EVENTS", json.dumps({"conn_type": "sqlite", "host": str(file)}))
        yield _database("events", lambda: sqlite3.connect(file))
    else:
        server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
        server.ids = []  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        monkeypatch.setenv("AIRFLOW_CONN_EVENTS", f"http://127.0.0.1:{server.server_port}")
        extract = ApiExtractOperator(
            task_id="e", dataset=EVENTS, conn_id="events", endpoint="/events", since_parameter="after", watermark="id"
        )
        yield Source(extract, lambda *ids: server.ids.extend(ids))  # type: ignore[attr-defined]
        server.shutdown()
        server.server_close()


def load(source: Source, day: str, *, publish: bool = True) -> int:
    """Load a slice; how many rows were extracted."""
    context = context_of(EVENTS, day, run_id=f"test__{day}")
    extracted = int(source.extract.execute(context)["extracted"])
    if publish:
        ValidateOperator(task_id="v", dataset=EVENTS).execute(context)
        PublishOperator(task_id="p", dataset=EVENTS).execute(context)
    return extracted


def test_each_slice_reads_what_is_new(source: Source, query: Query) -> None:
    """All at first, then what came since; what a slice that failed has read the next one reads; days in any order."""
    source.add(1, 2, 3)
    assert load(source, "2026-01-02") == 3
    source.add(4, 5)
    assert load(source, "2026-01-03", publish=False) == 2
    source.add(6)
    assert load(source, "2026-01-05") == 3
    assert load(source, "2026-01-01") == 0
    assert query("SELECT array_agg(id ORDER BY id), min(name) FROM test.events") == [([1, 2, 3, 4, 5, 6], "n1")]
    marks = query("SELECT slice_key, detail->>'watermark' FROM ops.slice_ledger ORDER BY id")
    assert marks == [("2026-01-02", None), ("2026-01-05", "3"), ("2026-01-01", "6")]
    assert source.extract.reads_now(None)  # type: ignore[arg-type]


def test_a_lookback_takes_what_came_late(source: Source, query: Query) -> None:
    """An event with a smaller number that was committed later; what comes again changes nothing."""
    if not isinstance(source.extract, ApiExtractOperator):
        source.extract.query = QUERY.replace("id > %(watermark)s", "id > %(watermark)s - 3")
    else:
        source.extract.lookback = 3
    source.add(1, 2, 3, 5)
    load(source, "2026-01-02")
    source.add(4, 6)
    assert load(source, "2026-01-03") == 4
    assert query("SELECT array_agg(id ORDER BY id) FROM test.events") == [([1, 2, 3, 4, 5, 6],)]


def test_what_cannot_be_a_watermark_is_refused(source: Source) -> None:
    """A column that the contract does not have, and a table, which is cut by its slices."""
    source.add(1)
    source.extract.watermark = "number"  # type: ignore[attr-defined]
    with pytest.raises(SchemaMismatch, match=r"\[test/events.*no column 'number' for a watermark"):
        load(source, "2026-01-02")
    with pytest.raises(ValueError, match="bound by a query"):
        DatabaseExtractOperator(task_id="e", dataset=EVENTS, conn_id="events", table="events", watermark="id")
