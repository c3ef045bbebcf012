"""The digest of how rows are asked for."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG

from penstock.core.paging import PageNumber
from penstock.operators.code import code_of
from penstock.operators.extract_api import ApiExtractOperator
from penstock.operators.extract_database import DatabaseExtractOperator
from penstock.operators.extract_file import FileExtractOperator
from penstock.operators.extract_sql import SqlExtractOperator

LINES = "commerce/order_lines"


def _database(**more: Any) -> DatabaseExtractOperator:
    return DatabaseExtractOperator(
        **({"task_id": "extract", "dataset": LINES, "conn_id": "shop", "table": "public.invoice_line"} | more)
    )


class Filtering(DatabaseExtractOperator):
    """An operator of a project's own."""

    def __init__(self, *, only: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.kept = only


def test_changes_with_what_says_which_rows() -> None:
    """Connection, table, class, path, endpoint and paging count."""
    found = {
        code_of(operator)
        for operator in (
            _database(),
            _database(conn_id="other"),
            _database(table="public.invoice"),
            FileExtractOperator(task_id="e", dataset=LINES, path="a/{slice}.csv"),
            FileExtractOperator(task_id="e", dataset=LINES, path="a/{slice}.csv", delimiter=";"),
            ApiExtractOperator(task_id="e", dataset=LINES, conn_id="api", endpoint="/v1"),
            ApiExtractOperator(
                task_id="e", dataset=LINES, conn_id="api", endpoint="/v1", paging=PageNumber(rows_per_page=7)
            ),
        )
    }
    assert len(found) == 7


def test_stays_with_what_says_only_how_the_task_runs() -> None:
    """Retries, pool, the task's name and an argument that is given as its default do not count."""
    same = code_of(_database())
    assert code_of(_database()) == same
    assert code_of(_database(task_id="other", retries=9, pool="x", retry_delay=timedelta(1))) == same
    assert code_of(_database(warehouse_conn_id="warehouse")) == same


def test_template_that_is_filled_in_for_a_run_does_not_count() -> None:
    """The digest is of what the DAG file says, also in the middle of a run."""
    with DAG("rendering", schedule=None):
        operator = _database(table="public.{{ run_id }}")
    before = code_of(operator)
    running = operator.prepare_for_execution()
    running.render_template_fields({"run_id": "invoice_line"})  # type: ignore[typeddict-item]
    assert running.table == "public.invoice_line"
    assert code_of(running) == before


def test_sql_file_counts_by_its_text(tmp_path: Path) -> None:
    """Another text in a file of the same name is another way of asking."""
    found = []
    for text in ("SELECT 1", "SELECT 2"):
        (tmp_path / "rows.sql").write_text(text, encoding="utf-8")
        with DAG("mart", schedule=None, template_searchpath=[str(tmp_path)]) as dag:
            operator = SqlExtractOperator(task_id="extract", dataset=LINES, sql="rows.sql")
        dag.resolve_template_files()
        found.append(code_of(operator))
    assert found[0] != found[1]


def test_own_operator_counts_by_arguments_and_source() -> None:
    """A class that is not Penstock's counts with its text; its arguments count, whatever attribute they are kept in."""

    def other() -> type[DatabaseExtractOperator]:
        class Filtering(DatabaseExtractOperator):
            """An operator of a project's own, with another body."""

            def __init__(self, *, only: str = "", **kwargs: Any) -> None:
                super().__init__(**kwargs)
                self.kept = only

        return Filtering

    def code(kind: type[DatabaseExtractOperator], **more: Any) -> str:
        return code_of(kind(task_id="e", dataset=LINES, conn_id="shop", table="public.invoice_line", **more))

    assert code(Filtering) == code(Filtering)
    assert len({code(Filtering), code(Filtering, only="FR"), code(DatabaseExtractOperator), code(other())}) == 4


def test_arguments_of_any_type_have_a_digest_that_lasts() -> None:
    """Sets have no order, functions count by their text, and no address in memory gets in."""
    first = code_of(Filtering(task_id="e", dataset=LINES, conn_id="s", table="t", only={"b", "a", "c"}))
    assert first == code_of(Filtering(task_id="e", dataset=LINES, conn_id="s", table="t", only={"c", "b", "a"}))
    for value in (object(), [Path("x")], {"a": object()}, len, _database, timedelta(1)):
        codes = {code_of(Filtering(task_id="e", dataset=LINES, conn_id="s", table="t", only=value)) for _ in range(2)}
        assert len(codes) == 1
    plain = Filtering(task_id="e", dataset=LINES, conn_id="s", table="t", only=object())
    assert code_of(plain) == code_of(Filtering(task_id="e", dataset=LINES, conn_id="s", table="t", only=object()))
