"""Stage a slice of a mart: a query over other datasets in the warehouse."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, ClassVar

from penstock.operators.slices import SliceOperator

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context

    from penstock.core.contract import Contract


class SqlExtractOperator(SliceOperator):
    """Stages what a query gives for the slice.

    Args:
        dataset: `<domain>/<table>`.
        sql: A query, or a `.sql` file below `include/sql`; it may bind `%(slice_key)s`, `%(slice_start)s` and
            `%(slice_end)s`. A literal percent sign is written twice.
    """

    template_fields: Sequence[str] = (*SliceOperator.template_fields, "sql")
    template_ext: Sequence[str] = (".sql",)
    template_fields_renderers: ClassVar[dict[str, str]] = {"sql": "postgresql"}
    ui_color = "#dcfce7"

    def __init__(self, *, sql: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.sql = sql

    def execute(self, context: Context) -> dict[str, Any]:
        """Stage the slice; return slice, stage and number of rows."""
        from penstock.core.source_query import stage_query

        work = self.work(context)
        with closing(self.session(work)) as warehouse:
            rows = stage_query(
                warehouse,
                work.contract,
                work.slice,
                work.stage,
                self.sql,
                producers=self.producers,
                detail=self.asked,
            )
        self.log.info("Staged %d rows in staging.%s", rows, work.stage.name)
        return {"slice": work.slice.key, "stage": work.stage.name, "extracted": rows}

    def reads_now(self, contract: Contract) -> bool:  # noqa: ARG002 - the query alone decides
        """Tell whether the query binds nothing of the slice."""
        return "%(slice_" not in self.sql
