"""Stage a slice of a table of a Postgres database."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from penstock.operators.slices import SliceOperator

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context


class DatabaseExtractOperator(SliceOperator):
    """Pipes the slice's rows from the source to the stage by COPY, without reading them.

    The slice is cut by the contract's `partitionBy` column, else by its `cursor`.

    Args:
        dataset: `<domain>/<table>`.
        conn_id: Connection of the source database.
        table: `schema.table` at the source.
    """

    template_fields: Sequence[str] = (*SliceOperator.template_fields, "conn_id", "table")
    ui_color = "#dbeafe"

    def __init__(self, *, conn_id: str, table: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.conn_id = conn_id
        self.table = table

    def execute(self, context: Context) -> dict[str, Any]:
        """Stage the slice; return slice, stage and number of rows."""
        from penstock.core.source_table import stage_table
        from penstock.hooks.postgres import CheckedPostgresHook

        work = self.work(context)
        source = CheckedPostgresHook(self.conn_id)
        with closing(source.get_conn()) as connection, closing(self.warehouse.session()) as warehouse:
            found = stage_table(connection, warehouse, work.contract, work.slice, work.stage, self.table)
        for remark in found.drift.remarks():
            self.log.warning("%s: %s", self.table, remark)
        self.log.info("Staged %d rows of %s in staging.%s", found.rows, self.table, work.stage.name)
        return {"slice": work.slice.key, "stage": work.stage.name, "extracted": found.rows}
