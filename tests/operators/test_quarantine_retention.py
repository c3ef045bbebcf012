"""The retention of quarantined rows as a task."""

from typing import Any

import yaml

from penstock import project
from penstock.operators.quarantine_retention import QuarantineRetentionOperator
from tests.operators.contexts import Query
from tests.operators.test_redrive import LINES, load


def test_keeps_each_contracts_retention(query: Query, monkeypatch: Any, tmp_path: Any) -> None:
    """Rows past the retention are discarded with a ledger row; a contract without one keeps its rows."""
    load()
    query("UPDATE ops.quarantine SET last_seen = now() - interval '91 days' RETURNING 1")
    assert QuarantineRetentionOperator(task_id="purge").execute({}) == {}
    path = tmp_path / f"{LINES}.yaml"
    path.parent.mkdir(parents=True)
    document = yaml.safe_load(project.contract_path(LINES).read_text(encoding="utf-8"))
    document["schema"][0]["customProperties"].append({"property": "quarantineRetention", "value": "90d"})
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    monkeypatch.setattr(project, "CONTRACTS", tmp_path)
    assert QuarantineRetentionOperator(task_id="purge").execute({}) == {LINES: {"discarded": 9, "deleted": 0}}
    assert query("SELECT kind, quarantined, filtered FROM ops.slice_ledger ORDER BY id DESC LIMIT 1") == [
        ("discard", 0, 9)
    ]
