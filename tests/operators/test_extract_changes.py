"""From the log of a Postgres to the stage."""

from __future__ import annotations

import pytest

from penstock.core.errors import SchemaMismatch
from penstock.operators.extract_changes import ChangesExtractOperator
from tests.operators.contexts import Query, context_of

LINES = "commerce/order_lines"


def test_a_contract_that_takes_no_changes_is_told(query: Query) -> None:
    """Both sessions are opened over the connection; the error names dataset and slice, and nothing is staged."""
    extract = ChangesExtractOperator(
        task_id="extract", dataset=LINES, conn_id="shop", table="public.invoice_line", publication="p", slot="s"
    )
    with pytest.raises(SchemaMismatch, match=rf"\[{LINES} 2010-09-20\] Changes are merged by key.*Next: "):
        extract.execute(context_of(LINES, "2010-09-20"))
    assert query("SELECT count(*) FROM ops.stage") == [(0,)]


def test_a_run_takes_what_is_new_whichever_slice_it_is_for() -> None:
    """So a gap in the past cannot be filled by another run."""
    extract = ChangesExtractOperator(
        task_id="e", dataset=LINES, conn_id="shop", table="public.invoice_line", publication="p", slot="s"
    )
    assert extract.reads_now(None)  # type: ignore[arg-type]
