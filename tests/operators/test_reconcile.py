"""Reconciliation as a task, over the bundled shop."""

from contextlib import closing
from typing import Any

import psycopg2
import pytest

from penstock.core.errors import SchemaMismatch
from penstock.operators.reconcile import ReconcileOperator
from tests.operators.contexts import Query
from tests.operators.test_redrive import DAY, LINES, load

SAME = {"slices": 1, "asked": 1, "findings": 0, "new": 0, "closed": 0}


def reconcile(**arguments: Any) -> dict[str, Any]:
    """Run the task."""
    return ReconcileOperator(task_id="reconcile", **arguments).execute({})


def test_what_differs_is_logged_with_the_next_step(query: Query, capsys: pytest.CaptureFixture[str]) -> None:
    """Both figures, the slice and what to do are in one warning; after the next load the finding is closed."""
    load()
    assert reconcile(days="30") == {LINES: SAME}
    lines = "SELECT line_id FROM commerce.order_lines LIMIT 7"
    query(f"DELETE FROM commerce.order_lines WHERE line_id IN ({lines}) RETURNING 1")
    capsys.readouterr()
    assert reconcile() == {LINES: SAME | {"findings": 1, "new": 1}}
    (warning,) = [line for line in capsys.readouterr().out.splitlines() if DAY in line]
    for words in (
        "[warning",
        f"{LINES} {DAY}: the ledger accounts for 2,467 rows in the table, which holds 2,460. Next: find out",
    ):
        assert words in warning
    assert query("SELECT dataset, slice_key, kind FROM ops.finding WHERE closed_at IS NULL") == [
        (LINES, DAY, "table_differs")
    ]
    load("again")
    assert reconcile() == {LINES: SAME | {"closed": 1}}


def test_a_source_that_lost_its_table_fails_the_task_at_the_end(query: Query, shop: str) -> None:
    """The error names dataset and table, and no finding is opened."""
    load()
    with closing(psycopg2.connect(shop)) as source, source.cursor() as cur:
        source.autocommit = True
        cur.execute("ALTER TABLE invoice_line RENAME TO moved")
        try:
            with pytest.raises(SchemaMismatch, match=f"{LINES} {DAY}.*no table public.invoice_line"):
                reconcile()
        finally:
            cur.execute("ALTER TABLE moved RENAME TO invoice_line")
    assert query("SELECT count(*) FROM ops.finding") == [(0,)]
