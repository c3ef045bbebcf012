"""Data Docs as a task."""

from pathlib import Path

from penstock.operators.data_docs import DataDocsOperator
from penstock.operators.extract_database import DatabaseExtractOperator
from penstock.operators.validate import ValidateOperator
from tests.operators.contexts import Query, context_of

LINES = "commerce/order_lines"


def test_writes_the_site(query: Query, tmp_path: Path) -> None:
    """The site has a page for the validation of the slice that was judged; what the task returns is its entrance."""
    context = context_of(LINES, "2010-09-21")
    DatabaseExtractOperator(task_id="e", dataset=LINES, conn_id="shop", table="public.invoice_line").execute(context)
    ValidateOperator(task_id="v", dataset=LINES).execute(context)
    page = Path(DataDocsOperator(task_id="build", folder=str(tmp_path)).execute({}))
    assert "order_lines" in page.read_text(encoding="utf-8")
    assert [path.name for path in (tmp_path / "validations" / LINES).iterdir()] == ["2010-09-21_test__1.json"]
