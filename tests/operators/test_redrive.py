"""Re-drive as a task, and what publish does with the mends of an earlier load."""

from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import Asset
from airflow.sdk.exceptions import AirflowSkipException

from penstock.core.quarantine import mend
from penstock.hooks.postgres import WarehouseHook
from penstock.operators.extract_database import DatabaseExtractOperator
from penstock.operators.publish import PublishOperator
from penstock.operators.redrive import RedriveOperator
from penstock.operators.validate import ValidateOperator
from penstock.project import contract_of
from tests.operators.contexts import Query, context_of

LINES, DAY = "commerce/order_lines", "2010-09-21"


def load(run_id: str = "first") -> dict[str, Any]:
    """Load the day; nine of its lines have no price."""
    context = context_of(LINES, DAY, run_id)
    DatabaseExtractOperator(task_id="e", dataset=LINES, conn_id="shop", table="public.invoice_line").execute(context)
    ValidateOperator(task_id="v", dataset=LINES).execute(context)
    return PublishOperator(task_id="p", dataset=LINES).execute(context)


def mend_prices(how_many: int) -> None:
    """Give some of the open lines a price."""
    connection = WarehouseHook().session()
    with connection, connection.cursor() as cur:
        cur.execute("SELECT id FROM ops.quarantine WHERE state = 'open' AND mended IS NULL ORDER BY id")
        ids = [id_ for (id_,) in cur.fetchall()]
        mend(cur, contract_of(LINES), ids[:how_many], {"unit_price": "0.85"}, by="ann")
    connection.close()


def redrive(**arguments: Any) -> tuple[dict[str, Any], Any]:
    """Run the task; return its summary and its Asset event."""
    context = context_of(LINES, None, "redrive-run")
    context["dag_run"] = SimpleNamespace(triggering_user_name="ann")
    summary = RedriveOperator(task_id="redrive", dataset=LINES, **arguments).execute(context)
    return summary, context["outlet_events"][Asset(LINES)]


def test_publishes_mended_rows_and_tells_the_asset(query: Query) -> None:
    """The rows are in the table, ledger and quarantine agree, and the event names the slice for its marts."""
    load()
    mend_prices(4)
    summary, event = redrive(mended_only="True")
    assert summary == {
        "redriven": [
            {"slice_key": DAY, "considered": 4, "loaded": 4, "deduplicated": 0, "still_open": 0, "filtered": 0}
        ]
    }
    assert event.partitions == [DAY]
    assert query("SELECT count(*) FROM commerce.order_lines WHERE unit_price = 0.85") >= [(4,)]
    assert query("SELECT loaded, quarantined FROM ops.slice_current") == [(2471, 5)]
    assert query("SELECT DISTINCT closed_by FROM ops.quarantine WHERE state = 'redriven'") == [("ann",)]


def test_is_skipped_where_no_row_passes(query: Query) -> None:
    """Rows that still break their rule make no Asset event, and the skip says how many there are."""
    load()
    with pytest.raises(AirflowSkipException, match="9 were re-driven and still break a rule"):
        redrive()
    with pytest.raises(AirflowSkipException, match="0 were re-driven"):
        redrive(slice_key="2010-09-22")
    assert query("SELECT count(*) FROM ops.slice_ledger") == [(1,)]


def test_a_repeated_load_does_not_undo_mends(query: Query) -> None:
    """Publish re-drives the slice's mended rows at once: after a reload the counts are what they were before it."""
    load()
    mend_prices(4)
    redrive()
    before = query("SELECT loaded, quarantined FROM ops.slice_current")
    summary = load("second")
    assert (summary["loaded"], summary["quarantined"]) == (2471, 5)
    assert query("SELECT loaded, quarantined FROM ops.slice_current") == before
    assert query("SELECT kind FROM ops.slice_ledger ORDER BY id") == [("load",), ("redrive",), ("load",), ("redrive",)]
    assert query("SELECT count(*) FROM commerce.order_lines") == [(2471,)]
