"""The platform's own DAGs through a real scheduler: reconciliation, retention and janitor find what there is to do."""

from __future__ import annotations

from tests.integration.platform import Platform

LINES, DAY = "commerce/order_lines", "2010-09-30"


def _run(platform: Platform, dag_id: str, **conf: object) -> str:
    """Run a DAG to its end; return its only task's log."""
    platform.request("PATCH", f"dags/{dag_id}", json={"is_paused": False})
    run = platform.trigger(dag_id, conf=conf)
    assert platform.wait_for_run(dag_id, run) == "success"
    (task,) = platform.tasks(dag_id, run)
    platform.request("PATCH", f"dags/{dag_id}", json={"is_paused": True})
    return platform.log(dag_id, run, task)


def test_what_somebody_did_to_a_table_is_found_and_mended(platform: Platform) -> None:
    """Lines deleted by hand are a finding with its figures in the log, which is closed after the slice was loaded."""
    run = platform.trigger("commerce_order_lines", partition_key=DAY)
    assert platform.wait_for_run("commerce_order_lines", run) == "success"
    lines = f"invoiced_at::date = '{DAY}'"
    ((before,),) = platform.query(f"SELECT count(*) FROM commerce.order_lines WHERE {lines}")
    platform.query(
        "WITH gone AS (DELETE FROM commerce.order_lines WHERE line_id IN"
        f" (SELECT line_id FROM commerce.order_lines WHERE {lines} LIMIT 5) RETURNING 1) SELECT count(*) FROM gone"
    )
    log = _run(
        platform, "reconciliation", days=20_000
    )  # the newest slice may be yesterday's, which Airflow schedules by itself
    assert f"{LINES} {DAY}: the ledger accounts for {before:,} rows in the table, which holds {before - 5:,}" in log
    finding = f"SELECT kind, closed_at IS NULL FROM ops.finding WHERE (dataset, slice_key) = ('{LINES}', '{DAY}')"
    assert platform.query(finding) == [("table_differs", True)]
    run = platform.trigger("commerce_order_lines", partition_key=DAY)
    assert platform.wait_for_run("commerce_order_lines", run) == "success"
    _run(platform, "reconciliation", days=1)
    assert platform.query(finding) == [("table_differs", False)]


def test_janitor_and_retention_run(platform: Platform) -> None:
    """A stage that nothing has changed for long goes with a ledger row; no contract states a retention, so no slice."""
    # The run that Airflow schedules as the DAG is switched on takes stages of 14 days: it must leave this one.
    stage = "test__orders_0123456789abcd"
    platform.query(f"CREATE TABLE staging.{stage} AS SELECT 1 AS n; SELECT 1")
    platform.query(
        "INSERT INTO ops.stage (name, dataset, slice_key, run_id, state, extracted, contract_hash, changed_at)"
        f" VALUES ('{stage}', 'test/orders', '2010-01-01', 'lost', 'staged', 1, 'h', now() - interval '10 days')"
        " RETURNING 1"
    )
    assert "1 rows that run lost had staged (staged) are gone" in _run(platform, "janitor", days=5)
    assert platform.query("SELECT kind FROM ops.slice_ledger WHERE dataset = 'test/orders'") == [("expire",)]
    assert platform.query(f"SELECT to_regclass('staging.{stage}') IS NULL") == [(True,)]
    _run(platform, "retention")
    assert platform.query("SELECT count(*) FROM ops.slice_ledger WHERE kind = 'drop'") == [(0,)]
