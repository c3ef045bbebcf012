"""Land a slice of a JSON API in the lake, and stage it from there."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from penstock.core.errors import PenstockError
from penstock.operators.slices import SliceOperator, Work

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context

    from penstock.core.lake import LakePath
    from penstock.core.paging import PageNumber


class ApiExtractOperator(SliceOperator):
    """Reads a paged JSON API: pages to the lake as Parquet, the lake to the stage.

    Args:
        dataset: `<domain>/<table>`.
        conn_id: HTTP connection; its password is the bearer token.
        endpoint: Path below the connection's host.
        since_parameter: Query parameter that takes the slice's first instant, ISO 8601.
        until_parameter: Query parameter that takes the first instant after the slice.
        paging: How the API pages.
    """

    template_fields: Sequence[str] = (*SliceOperator.template_fields, "conn_id", "endpoint")
    ui_color = "#dbeafe"

    def __init__(
        self,
        *,
        conn_id: str,
        endpoint: str,
        since_parameter: str = "since",
        until_parameter: str = "until",
        paging: PageNumber | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.conn_id = conn_id
        self.endpoint = endpoint
        self.since_parameter = since_parameter
        self.until_parameter = until_parameter
        self.paging = paging

    def execute(self, context: Context) -> dict[str, Any]:
        """Land and stage the slice; return slice, stage, number of rows and the lake's folder."""
        from penstock.core.source_lake import stage_lake
        from penstock.hooks.lake import attempt_folder

        work = self.work(context)
        folder = attempt_folder(work.stage, context["ti"].try_number)
        try:
            self._land(work, folder)
            detail = {"source": self.endpoint, "lake": str(folder), **self.asked}
            with closing(self.session(work)) as warehouse:
                found = stage_lake(warehouse, work.contract, work.stage, folder, detail)
        except PenstockError as error:
            error.dataset, error.slice_key = work.contract.dataset, work.slice.key
            raise
        for remark in found.drift.remarks():
            self.log.warning("%s: %s", self.endpoint, remark)
        self.log.info("Landed and staged %d rows of %s; lake: %s", found.rows, self.endpoint, folder)
        return {"slice": work.slice.key, "stage": work.stage.name, "extracted": found.rows, "lake": str(folder)}

    def _land(self, work: Work, folder: LakePath) -> None:
        from penstock.core.lake import LakeWriter
        from penstock.core.paging import PageNumber, read_pages
        from penstock.hooks.json_api import JsonApiHook

        window = {
            self.since_parameter: work.slice.start.isoformat(),
            self.until_parameter: work.slice.end.isoformat(),
        }
        writer = LakeWriter(folder, source=f"{self.conn_id}:{self.endpoint}")
        with closing(JsonApiHook(self.conn_id)) as api:
            for records in read_pages(lambda query: api.get(self.endpoint, query), self.paging or PageNumber(), window):
                writer.write(records)
        writer.close()
