"""A run's context and the connections, as far as the operators ask for them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from itertools import count
from types import SimpleNamespace
from typing import Any

import psycopg2
import pytest
from airflow.sdk import Asset
from pydantic import JsonValue, TypeAdapter

from include.sources.shop import fill_shop
from penstock.local.postgres import EmbeddedPostgres

Query = Callable[[str], list[tuple[Any, ...]]]


class OutletEvent:
    """What a task may say about its outlet."""

    def __init__(self) -> None:
        self.extra: dict[str, Any] = {}
        self.partitions: list[str] = []

    def add_partitions(self, key: str) -> None:
        """Name a partition."""
        self.partitions.append(key)


_IDS = count(1)
_JSON: TypeAdapter[Any] = TypeAdapter(JsonValue)


class TaskStateStore:
    """Airflow's task state store of one task, as far as operators use it."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    def get(self, key: str) -> Any:
        """Return a value, or None."""
        return json.loads(self.values[key]) if key in self.values else None

    def set(self, key: str, value: Any, *, retention: timedelta) -> None:  # noqa: ARG002
        """Keep a value, if it is what Airflow takes for JSON: lists and no tuples."""
        self.values[key] = json.dumps(_JSON.validate_python(value))

    def delete(self, key: str) -> None:
        """Forget a value."""
        self.values.pop(key, None)


def context_of(dataset: str, key: str | None, run_id: str = "test__1", try_number: int = 1) -> Any:
    """Return the context of a run with a partition key, or of a bare manual one."""
    return {
        "run_id": run_id,
        "partition_key": key,
        "ti": SimpleNamespace(
            dag_id=dataset.replace("/", "_"), task_id="task", try_number=try_number, id=f"{next(_IDS):036}"
        ),
        "task_state_store": TaskStateStore(),
        "outlet_events": {Asset(dataset): OutletEvent()},
    }


@pytest.fixture(scope="session")
def shop(pg: EmbeddedPostgres) -> Iterator[str]:
    """The filled source database."""
    dsn = pg.create_database("operators_shop")
    fill_shop(dsn)
    yield dsn
    pg.drop_database("operators_shop")


@pytest.fixture
def query(warehouse: str, shop: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Query]:
    """Run a statement in the warehouse; the connections `warehouse` and `shop` are set."""
    for name, dsn in (("WAREHOUSE", warehouse), ("SHOP", shop)):
        monkeypatch.setenv(f"AIRFLOW_CONN_{name}", dsn.replace("postgresql:", "postgres:", 1))
    with closing(psycopg2.connect(warehouse)) as connection:
        connection.autocommit = True

        def run(sql: str) -> list[tuple[Any, ...]]:
            with connection.cursor() as cur:
                cur.execute(sql)
                return cur.fetchall()

        yield run
