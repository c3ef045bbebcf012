"""The gate as a task."""

import pytest

from penstock.core.errors import StageMissing
from penstock.operators.extract_database import DatabaseExtractOperator
from penstock.operators.validate import ValidateOperator
from tests.operators.contexts import Query, context_of

LINES = "commerce/order_lines"


def test_tells_what_was_broken(query: Query) -> None:
    """The summary carries counts and broken rules, and the rows wait in the stage, split."""
    context = context_of(LINES, "2010-09-21")
    DatabaseExtractOperator(task_id="e", dataset=LINES, conn_id="shop", table="public.invoice_line").execute(context)
    summary = ValidateOperator(task_id="validate", dataset=LINES).execute(context)
    assert (summary["extracted"], summary["quarantined"]) == (2476, 9)
    assert summary["broken"] == ["unit_price_positive: 9 of 2,476 rows"]
    assert query("SELECT state, quarantined FROM ops.stage") == [("passed", 9)]


def test_without_a_stage_says_which_task_to_clear(query: Query) -> None:
    """A run without staged rows is told to clear `extract`."""
    with pytest.raises(StageMissing, match="clear the task `extract`"):
        ValidateOperator(task_id="validate", dataset=LINES).execute(context_of(LINES, "2010-09-21"))
