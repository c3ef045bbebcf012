"""Stage a slice of a table of a Postgres database."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, ClassVar

from penstock.operators.slices import SliceOperator

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context

    from penstock.core.contract import Contract


class DatabaseExtractOperator(SliceOperator):
    """Pipes the slice's rows from the source to the stage by COPY, without reading them.

    The slice is cut by the contract's `partitionBy` column, else by its `cursor`. A large table can be read by several
    sessions at once, which see one snapshot of it.

    Args:
        dataset: `<domain>/<table>`.
        conn_id: Connection of the source database.
        table: `schema.table` at the source.
        readers: Sessions that read at most. The task takes as many slots of its pool, unless `pool_slots` says
            otherwise.

    Raises:
        ValueError: There is not a single reader.
    """

    template_fields: Sequence[str] = (*SliceOperator.template_fields, "conn_id", "table")
    not_code: ClassVar[Sequence[str]] = ("readers",)
    ui_color = "#dbeafe"

    def __init__(self, *, conn_id: str, table: str, readers: int = 1, **kwargs: Any) -> None:
        if readers < 1:
            raise ValueError(f"readers is {readers}; a table is read by one session at least")
        super().__init__(**{"pool_slots": readers, **kwargs})
        self.conn_id = conn_id
        self.table = table
        self.readers = readers

    def execute(self, context: Context) -> dict[str, Any]:
        """Stage the slice; return slice, stage and number of rows."""
        from penstock.core.parallel_read import Readers
        from penstock.core.source_table import stage_table
        from penstock.hooks.postgres import CheckedPostgresHook

        work = self.work(context)
        source = CheckedPostgresHook(self.conn_id)
        with closing(source.get_conn()) as connection, closing(self.session(work)) as warehouse:
            found = stage_table(
                connection,
                warehouse,
                work.contract,
                work.slice,
                work.stage,
                self.table,
                detail=self.asked,
                readers=Readers(self.readers, source.get_conn, self.warehouse.session),
            )
        if self.readers > 1 and found.one_reader:
            self.log.info("One session has read %s: %s.", self.table, found.one_reader)
        for remark in found.drift.remarks():
            self.log.warning("%s: %s", self.table, remark)
        self.log.info("Staged %d rows of %s in staging.%s", found.rows, self.table, work.stage.name)
        return {"slice": work.slice.key, "stage": work.stage.name, "extracted": found.rows}

    def reads_now(self, contract: Contract) -> bool:
        """Tell whether the contract cuts the source into no slices."""
        from penstock.core.reconcile import can_be_asked

        return not can_be_asked(contract)
