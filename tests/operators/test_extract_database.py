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
