"""A mart's source is a query."""

import pytest

from penstock.core.errors import SchemaMismatch
from penstock.operators.extract_sql import SqlExtractOperator
from penstock.project import SQL
from tests.operators.contexts import Query, context_of

REVENUE = "commerce/daily_revenue"


def test_before_its_inputs_exist_it_says_what_is_missing(query: Query) -> None:
    """A mart over a table that was never published names the table and the next step."""
    sql = (SQL / "commerce" / "daily_revenue.sql").read_text(encoding="utf-8")
    operator = SqlExtractOperator(task_id="extract", dataset=REVENUE, sql=sql)
    with pytest.raises(SchemaMismatch, match=r"commerce\.order_lines.* Next: "):
        operator.execute(context_of(REVENUE, "2010-09-20"))


def test_binds_the_slice(query: Query) -> None:
    """The query gets the slice's bounds as bound values."""
    sql = """
        SELECT %(slice_start)s::date AS day, %(slice_key)s AS country, 1::bigint AS orders, 1::bigint AS lines,
               1.5::numeric(14, 3) AS revenue, 0::numeric(14, 3) AS cancelled
    """
    summary = SqlExtractOperator(task_id="e", dataset=REVENUE, sql=sql).execute(context_of(REVENUE, "2010-09-20"))
    assert summary["extracted"] == 1
    rows = query(f"SELECT day::text, country FROM staging.{summary['stage']}")
    assert rows == [("2010-09-20", "2010-09-20")]
