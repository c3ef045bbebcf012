"""Publish as a task."""

from typing import Any

from airflow.sdk import Asset

from penstock.operators.extract_database import DatabaseExtractOperator
from penstock.operators.publish import PublishOperator
from penstock.operators.validate import ValidateOperator
from tests.operators.contexts import Query, context_of

LINES = "commerce/order_lines"


def _run(context: Any) -> dict[str, Any]:
    DatabaseExtractOperator(task_id="e", dataset=LINES, conn_id="shop", table="public.invoice_line").execute(context)
    ValidateOperator(task_id="v", dataset=LINES).execute(context)
    return PublishOperator(task_id="p", dataset=LINES).execute(context)


def test_publishes_and_tells_the_asset(query: Query) -> None:
    """The rows are in the table, and the Asset event carries slice and counts."""
    context = context_of(LINES, "2010-09-21")
    summary = _run(context)
    assert (summary["slice"], summary["loaded"], summary["quarantined"]) == ("2010-09-21", 2467, 9)
    assert query("SELECT count(*) FROM commerce.order_lines") == [(2467,)]
    event = context["outlet_events"][Asset(LINES)]
    assert event.extra == summary
    assert event.partitions == []  # the run's own key goes with the event


def test_bare_manual_run_names_its_slice_for_the_marts(query: Query) -> None:
    """Without a key of its own, the run gives the Asset event one."""
    context = context_of(LINES, None)
    summary = _run(context)
    assert context["outlet_events"][Asset(LINES)].partitions == [summary["slice"]]


def test_dataset_is_the_outlet() -> None:
    """The task updates the Asset named after the dataset."""
    assert [asset.name for asset in PublishOperator(task_id="p", dataset=LINES).outlets] == [LINES]
