"""A slice is dropped from the command line, with a reason."""

from __future__ import annotations

import json
from typing import Any

LINES, DAY = "commerce/order_lines", "2010-09-21"


def test_a_slice_is_dropped_with_a_reason(cli: Any, loaded: Any) -> None:
    """How much went is said; who and why stand in the ledger; a second time there is nothing to drop."""
    said = cli("drop-slice", LINES, DAY, "--reason", "asked for by the customer", "--by", "ann")
    assert (said.code, said.out) == (0, f"2,467 rows of {LINES} {DAY} are gone, and 9 quarantined ones\n")
    assert loaded("SELECT kind, detail ->> 'by', detail ->> 'reason' FROM ops.slice_current") == [
        ("drop", "ann", "asked for by the customer")
    ]
    again = cli("drop-slice", LINES, DAY, "--reason", "again")
    assert again.code == 1
    assert "was dropped on" in again.err


def test_json_and_runs_that_have_rows_staged(cli: Any, loaded: Any) -> None:
    """`--json` is one document; a run that may publish the slice again is named beside it."""
    from penstock.operators.extract_database import DatabaseExtractOperator
    from tests.operators.contexts import context_of

    extract = DatabaseExtractOperator(task_id="e", dataset=LINES, conn_id="shop", table="public.invoice_line")
    extract.execute(context_of(LINES, DAY, "late-run"))
    said = cli("drop-slice", LINES, DAY, "--reason", "a test", "--json")
    assert json.loads(said.out) == {"slice_key": DAY, "rows": 2467, "quarantined": 9, "staged_by": ["late-run"]}
    assert "run late-run has rows of the slice staged" in said.err


def test_it_wants_a_reason_and_a_slice_that_is_there(cli: Any, loaded: Any) -> None:
    """Without a reason the command is not understood; a wrong key or an unknown slice is told in words."""
    assert cli("drop-slice", LINES, DAY).code == 2
    for key, words in (("2010-9-21", "2010-09-21"), ("2010-09-22", "never published")):
        said = cli("drop-slice", LINES, key, "--reason", "a test")
        assert said.code == 1
        assert words in said.err
    assert loaded("SELECT count(*) FROM commerce.order_lines") == [(2467,)]
