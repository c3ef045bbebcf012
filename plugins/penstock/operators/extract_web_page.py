"""Land the rows of web pages in the lake, and stage them from there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, ClassVar

from penstock.core.errors import PenstockError
from penstock.operators.slices import SliceOperator, Work

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context

    from penstock.core.contract import Contract
    from penstock.core.lake import LakePath
    from penstock.core.web_crawl import Before


class WebPageExtractOperator(SliceOperator):
    """Reads tables or elements of a web page, and of the pages that it links to as the next ones.

    Args:
        dataset: `<domain>/<table>`.
        conn_id: HTTP connection of the site; its extra `user_agent` is who we say we are.
        path: Path below the connection's host; `{slice}` is the slice's day.
        rows: CSS or XPath of the elements that are rows; of a `<table>`, where there are no `fields`.
        fields: CSS or XPath below a row, by field: `{"name": "h2", "link": "a::attr(href)"}`.
        next: CSS or XPath of the link to the next page.
        may_be_empty: Whether a page without such elements is one without rows; else it is an error.
        max_pages: More pages than this are an error.
        delay: Seconds between two requests, if robots.txt asks for no more.
    """

    template_fields: Sequence[str] = (*SliceOperator.template_fields, "conn_id", "path")
    not_code: ClassVar[Sequence[str]] = ("delay", "max_pages")
    ui_color = "#dbeafe"

    def __init__(
        self,
        *,
        conn_id: str,
        path: str,
        rows: str,
        fields: Mapping[str, str] | None = None,
        next: str = "",  # noqa: A002 - what a page calls it
        may_be_empty: bool = False,
        max_pages: int = 1000,
        delay: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.conn_id = conn_id
        self.path = path
        self.rows = rows
        self.fields = fields
        self.next = next
        self.may_be_empty = may_be_empty
        self.max_pages = max_pages
        self.delay = delay

    def execute(self, context: Context) -> dict[str, Any]:
        """Land and stage the slice; return slice, stage, number of rows and the lake's folder."""
        from penstock.core.source_lake import stage_lake
        from penstock.hooks.lake import attempt_folder

        work = self.work(context)
        path = self.path.replace("{slice}", work.slice.key)
        folder = attempt_folder(work.stage, context["ti"].try_number)
        try:
            with closing(self.session(work)) as warehouse:
                before = self._before(warehouse)
                self._land(work, path, folder, before)
                detail = {"source": path, "lake": str(folder), **self.asked}
                found = stage_lake(warehouse, work.contract, work.stage, folder, detail)
        except PenstockError as error:
            error.dataset, error.slice_key = work.contract.dataset, work.slice.key
            raise
        for remark in found.drift.remarks():
            self.log.warning("%s: %s", path, remark)
        self.log.info("Landed and staged %d rows of %s; lake: %s", found.rows, path, folder)
        return {"slice": work.slice.key, "stage": work.stage.name, "extracted": found.rows, "lake": str(folder)}

    def _before(self, warehouse: Any) -> Before | None:
        """Return the pages of the slice that was published last, if they were read in the same way."""
        from airflow.sdk import ObjectStoragePath

        from penstock.core.ledger import last_landed
        from penstock.core.web_crawl import Before

        with warehouse, warehouse.cursor() as cur:
            folder = last_landed(cur, self.dataset, self.asked["code"])
        return Before(ObjectStoragePath(folder)) if folder else None

    def _land(self, work: Work, path: str, folder: LakePath, before: Before | None) -> None:
        from penstock.core.lake import LakeWriter
        from penstock.core.web_crawl import crawl
        from penstock.core.web_page import OWN_FIELDS, PageShape
        from penstock.hooks.web import WebHook

        named = {column.source_name for column in work.contract.columns}
        shape = PageShape(self.rows, self.fields or {}, self.next, self.may_be_empty, OWN_FIELDS & named)
        writer = LakeWriter(folder, source=f"{self.conn_id}:{path}")
        with closing(WebHook(self.conn_id, delay=self.delay)) as web:
            start = web.address(path)
            unchanged = crawl(web.page, start, shape, writer, max_pages=self.max_pages, before=before)
        if unchanged:
            self.log.info("%d pages have not changed since the slice before", unchanged)

    def reads_now(self, contract: Contract) -> bool:  # noqa: ARG002 - the path alone decides
        """Tell whether the path is the same for every slice."""
        return "{slice}" not in self.path and "{{" not in self.path
