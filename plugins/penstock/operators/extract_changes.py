"""Stage what changed in a table of a Postgres."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from penstock.operators.slices import SliceOperator

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context

    from penstock.core.contract import Contract


class ChangesExtractOperator(SliceOperator):
    """Takes the inserts, updates and deletes since the last published slice from the log of a Postgres.

    The first slice is the whole table. Whichever slice a run is for, it takes what is new: nothing is lost when a run
    is left out, and nothing is there to backfill.

    Args:
        dataset: `<domain>/<table>`; its contract merges, by the order of the log.
        conn_id: Connection of the source; its user may read the table and has the right to REPLICATION.
        table: `schema.table` at the source.
        publication: A publication of the source that has the table.
        slot: Name of the replication slot, which the first run makes; no other dataset's.
    """

    template_fields: Sequence[str] = (*SliceOperator.template_fields, "conn_id", "table", "publication", "slot")
    ui_color = "#dbeafe"

    def __init__(self, *, conn_id: str, table: str, publication: str, slot: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.conn_id = conn_id
        self.table = table
        self.publication = publication
        self.slot = slot

    def execute(self, context: Context) -> dict[str, Any]:
        """Stage the changes; return slice, stage and their number."""
        from penstock.core.source_changes import ChangeLog, stage_changes
        from penstock.hooks.postgres import CheckedPostgresHook, ReplicationHook

        work = self.work(context)
        log = ChangeLog(self.table, self.publication, self.slot)
        with (
            closing(CheckedPostgresHook(self.conn_id).get_conn()) as source,
            closing(ReplicationHook(self.conn_id).get_conn()) as replication,
            closing(self.session(work)) as warehouse,
        ):
            found = stage_changes(
                source, replication, warehouse, work.contract, work.slice, work.stage, log, detail=self.asked
            )
        for remark in found.drift.remarks():
            self.log.warning("%s: %s", self.table, remark)
        self.log.info("Staged %d changes of %s in staging.%s", found.rows, self.table, work.stage.name)
        return {"slice": work.slice.key, "stage": work.stage.name, "extracted": found.rows}

    def reads_now(self, contract: Contract) -> bool:  # noqa: ARG002 - the log alone decides
        """Tell that a run takes what is new, whichever slice it is for."""
        return True
