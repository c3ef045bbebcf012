"""From a source database to the stage."""

from contextlib import closing
from datetime import timedelta
from typing import Any

import psycopg2
import pytest

from penstock.core.errors import SchemaMismatch
from penstock.operators.extract_database import DatabaseExtractOperator
from penstock.operators.publish import PublishOperator
from penstock.operators.reconcile import ReconcileOperator
from penstock.operators.validate import ValidateOperator
from tests.mariadb import MariaDb
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


def test_several_readers_stage_the_same(query: Query, monkeypatch: pytest.MonkeyPatch) -> None:
    """With several readers the rows are the same, each reader takes a slot of the pool, and the digest stays."""
    from penstock.core import parallel_read
    from penstock.operators.code import code_of

    alone = _extract()
    several = DatabaseExtractOperator(
        task_id="extract", dataset=LINES, conn_id="shop", table="public.invoice_line", readers=3
    )
    assert (alone.pool_slots, several.pool_slots) == (1, 3)
    assert code_of(several) == code_of(alone)
    monkeypatch.setattr(parallel_read.Readers.__init__, "__defaults__", (1,))
    summary = several.execute(context_of(LINES, "2010-09-20"))
    assert summary["extracted"] == 1841
    assert query(f"SELECT count(*) FROM staging.{summary['stage']}") == [(1841,)]


def test_pool_slots_can_be_stated_and_no_reader_at_all_is_refused() -> None:
    """What a DAG file says of the slots counts; a number of readers below one is refused when the file is read."""
    arguments = {"task_id": "extract", "dataset": LINES, "conn_id": "shop", "table": "public.invoice_line"}
    assert DatabaseExtractOperator(**arguments, readers=4, pool_slots=2).pool_slots == 2
    with pytest.raises(ValueError, match="readers is 0"):
        DatabaseExtractOperator(**arguments, readers=0)


@pytest.mark.parametrize("given", [{}, {"table": "a", "query": "b"}])
def test_a_table_or_a_query_is_stated(given: dict[str, str]) -> None:
    """Neither and both are refused when the file is read."""
    with pytest.raises(ValueError, match="either a table or a query"):
        DatabaseExtractOperator(task_id="extract", dataset=LINES, conn_id="shop", **given)


def test_a_query_of_a_postgres_is_piped(query: Query) -> None:
    """The slice is bound; the rows are the table's; only a query that binds the slice can be asked for old days."""
    sql = "SELECT * FROM public.invoice_line WHERE invoiced_at >= %(slice_start)s AND invoiced_at < %(slice_end)s;"
    arguments: dict[str, Any] = {"task_id": "extract", "dataset": LINES, "conn_id": "shop"}
    extract = DatabaseExtractOperator(**arguments, query=sql, readers=2, statement_timeout=timedelta(minutes=5))
    assert extract.execute(context_of(LINES, "2010-09-20"))["extracted"] == 1841
    ((detail,),) = query("SELECT detail FROM ops.stage")
    assert (detail["source"], "source_rows" in detail) == ("query", False)
    assert not extract.reads_now(None)  # type: ignore[arg-type]
    assert DatabaseExtractOperator(**arguments, query="SELECT 1").reads_now(None)  # type: ignore[arg-type]
    with pytest.raises(SchemaMismatch, match=r"The query cannot be run: .*nothing"):
        DatabaseExtractOperator(**arguments, query="SELECT nothing").execute(context_of(LINES, "2010-09-20"))


def test_the_same_rows_come_from_a_mariadb(
    query: Query, shop: str, mariadb: MariaDb, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another database gives the same table, row by row; later it is asked again what it has of the slice."""
    day, columns = "2010-09-20", "line_id, invoice, stock_code, description, quantity, invoiced_at, unit_price"
    fields = f"{columns}, customer_id, country"
    with closing(psycopg2.connect(shop)) as connection, connection.cursor() as cur:
        cur.execute(f"SELECT {fields} FROM public.invoice_line WHERE invoiced_at::date = %s", (day,))
        lines = cur.fetchall()
    mariadb.run(
        "DROP TABLE IF EXISTS invoice_line",
        "CREATE TABLE invoice_line (line_id bigint PRIMARY KEY, invoice varchar(9), stock_code varchar(20),"
        " description text, quantity int, invoiced_at timestamp NULL, unit_price decimal(12,3), customer_id int,"
        " country varchar(60))",
        many=(f"INSERT INTO invoice_line ({fields}) VALUES ({', '.join(['%s'] * 9)})", lines),
    )
    context, loaded = context_of(LINES, day), []
    for uri, table in ((None, "public.invoice_line"), (mariadb.uri, "shop.invoice_line")):
        if uri:
            monkeypatch.setenv("AIRFLOW_CONN_SHOP", uri)
            context = context_of(LINES, day, "again")
        DatabaseExtractOperator(task_id="e", dataset=LINES, conn_id="shop", table=table).execute(context)
        ValidateOperator(task_id="v", dataset=LINES).execute(context)
        PublishOperator(task_id="p", dataset=LINES).execute(context)
        loaded.append(query("SELECT * FROM commerce.order_lines ORDER BY line_id"))
    assert loaded[0] == loaded[1]
    assert query("SELECT count(*) > 1000 FROM commerce.order_lines") == [(True,)]

    def findings() -> tuple[int, int]:
        told = ReconcileOperator(task_id="reconcile").execute({})[LINES]
        return told["asked"], told["findings"]

    assert findings() == (1, 0)
    mariadb.run("DELETE FROM invoice_line LIMIT 1")
    assert findings() == (1, 1)
