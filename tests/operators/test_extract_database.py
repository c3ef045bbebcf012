"""From a source database to the stage."""

import pytest

from penstock.core.errors import SchemaMismatch
from penstock.operators.extract_database import DatabaseExtractOperator
from tests.operators.contexts import Query, context_of

LINES = "commerce/order_lines"


def _extract(table: str = "public.invoice_line") -> DatabaseExtractOperator:
    return DatabaseExtractOperator(task_id="extract", dataset=LINES, conn_id="shop", table=table)


def test_stages_just_the_slice(query: Query) -> None:
    """The rows of the day are staged, counted, and told in a small summary; a second try replaces them."""
    for _ in range(2):
        summary = _extract().execute(context_of(LINES, "2010-09-20"))
        assert summary["extracted"] == 1841
        assert query(f"SELECT count(*) FROM staging.{summary['stage']}") == [(1841,)]
    assert query("SELECT slice_key, state, extracted FROM ops.stage") == [("2010-09-20", "staged", 1841)]


def test_missing_table_is_named(query: Query) -> None:
    """A wrong table name is told with dataset, slice and next step, and leaves no stage."""
    with pytest.raises(SchemaMismatch, match=r"\[commerce/order_lines 2010-09-20\] .*public\.nothing.* Next: "):
        _extract("public.nothing").execute(context_of(LINES, "2010-09-20"))
    assert query("SELECT count(*) FROM ops.stage") == [(0,)]
