"""The contracts' retention as a task."""

from pathlib import Path
from typing import Any

import psycopg2
import pytest
import yaml

from penstock import project
from penstock.core.errors import PublishBlocked
from penstock.operators.retention import RetentionOperator
from tests.operators.contexts import Query, context_of
from tests.operators.test_redrive import DAY, LINES, load


def run() -> dict[str, Any]:
    """Run the task."""
    return RetentionOperator(task_id="drop_expired").execute(context_of("retention", None))


@pytest.fixture
def retained(query: Query, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Query:
    """A loaded day of 2010 whose contract keeps slices for ten years."""
    load()
    assert run() == {}
    path = tmp_path / f"{LINES}.yaml"
    path.parent.mkdir(parents=True)
    document = yaml.safe_load(project.contract_path(LINES).read_text(encoding="utf-8"))
    document["slaProperties"] = [{"property": "retention", "value": 10, "unit": "y"}]
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    monkeypatch.setattr(project, "CONTRACTS", tmp_path)
    return query


def test_slices_past_their_retention_are_dropped(retained: Query) -> None:
    """Rows and quarantine of the slice are gone, the ledger says why; a second run finds nothing to do."""
    assert run() == {LINES: {"slices": 1, "rows": 2467}}
    assert run() == {}
    assert retained("SELECT count(*) FROM commerce.order_lines") == [(0,)]
    assert retained("SELECT count(*) FROM ops.quarantine") == [(0,)]
    assert retained(
        "SELECT slice_key, kind, dag_id, detail ->> 'by', detail ->> 'reason', filtered FROM ops.slice_current"
    ) == [(DAY, "drop", "retention", "retention", "its retention of 3660 days is over", 2476)]


def test_a_slice_that_is_held_is_told_and_dropped_the_next_time(
    retained: Query, warehouse: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader in the way fails the task, which is retried, and leaves the slice whole."""
    monkeypatch.setattr("penstock.core.table_lock.LOCK_PAUSES_SECONDS", ())
    reader = psycopg2.connect(warehouse)
    with reader.cursor() as cur:
        cur.execute("SELECT count(*) FROM commerce.order_lines")
        with pytest.raises(PublishBlocked):
            run()
    reader.close()
    assert retained("SELECT kind FROM ops.slice_current") == [("load",)]
    assert run() == {LINES: {"slices": 1, "rows": 2467}}
