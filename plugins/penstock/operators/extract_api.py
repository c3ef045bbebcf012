"""Land a slice of an HTTP API in the lake, and stage it from there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Final

from penstock.core.errors import PenstockError, SourceThrottled, SourceUnavailable
from penstock.operators.slices import SliceOperator, Work

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context

    from penstock.core.api_job import Job
    from penstock.core.contract import Contract
    from penstock.core.land_pages import Landed, Store
    from penstock.core.paging import Paging, Repeated, Request
    from penstock.hooks.json_api import JsonApiHook

_KEPT: Final = timedelta(days=1)
_JOB: Final = "job"


class _TaskStateStore:
    """Airflow's task state store, in which pages of a day ago are no longer gone on with."""

    def __init__(self, accessor: Any) -> None:
        self._accessor = accessor

    def get(self, key: str) -> Any:
        return self._accessor.get(key)

    def set(self, key: str, value: Any) -> None:
        self._accessor.set(key, value, retention=_KEPT)

    def delete(self, key: str) -> None:
        self._accessor.delete(key)


class ApiExtractOperator(SliceOperator):
    """Reads a paged JSON API: pages to the lake as Parquet, the lake to the stage.

    A try that was killed, or met a source that went away, is gone on with after its last landed page. After any other
    error the next try reads all pages afresh.

    Args:
        dataset: `<domain>/<table>`.
        conn_id: HTTP connection; it holds host and credentials (docs/apis.md).
        endpoint: Path below the connection's host.
        parameters: Query parameters that go with the first request.
        body: JSON body; it makes the request a POST, and takes the parameters of slice and paging too.
        since_parameter: Parameter that takes the slice's first instant, ISO 8601; None where the API knows none.
        until_parameter: Parameter that takes the first instant after the slice; None where the API knows none.
        lookback: How much earlier than the slice's first instant, or the watermark, to begin, for rows that come late;
            the dataset is one that is merged by key. A number where the watermark is one.
        watermark: Column whose largest published value goes into `since_parameter` instead of the slice's first
            instant, for APIs that give what is new; nothing goes into `until_parameter` then. As long as nothing is
            published, nothing goes into either.
        paging: How the API pages; by default told from its first answer.
        records: JSON path to the rows in an answer; by default told from the first answer.
        total: Where the answer holds the number of rows in all pages: a JSON path, or `header:X-Total-Count`; by
            default told from the first answer; empty where it holds none.
        explode: Path to a list in each record, whose objects are the rows: `lines`. Columns with `physicalName`
            `$parent.id` take the field `id` of the record around it; the total counts the records.
        repeated: What a page is that repeats the one before it: `error`, `end` or `rows`.
        most_pages: More pages are an error.
        at_once: Requests that may be under way at once, where the source counts pages or rows and says how many there
            are; of other sources the next page is asked for while one is landed. A kill then costs as many pages.
        job: How to ask for a result that the source makes ready first. `endpoint` takes the job, with the parameters
            of the slice; the result is read as pages are. The waiting is left to the triggerer.
    """

    template_fields: Sequence[str] = (*SliceOperator.template_fields, "conn_id", "endpoint", "parameters", "body")
    not_code: ClassVar[Sequence[str]] = ("at_once", "most_pages")
    ui_color = "#dbeafe"

    def __init__(  # noqa: PLR0913 - keyword arguments, as all operators have
        self,
        *,
        conn_id: str,
        endpoint: str,
        parameters: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        since_parameter: str | None = "since",
        until_parameter: str | None = "until",
        lookback: timedelta | int = timedelta(0),
        watermark: str = "",
        paging: Paging | None = None,
        records: str | None = None,
        total: str | None = None,
        explode: str = "",
        repeated: Repeated = "error",
        most_pages: int = 1_000_000,
        at_once: int = 1,
        job: Job | None = None,
        **kwargs: Any,
    ) -> None:
        if at_once < 1:
            raise ValueError(f"at_once is {at_once}; one request at least must be under way")
        if isinstance(lookback, int) and not watermark:
            raise ValueError("a lookback before the slice is a timedelta")
        super().__init__(**kwargs)
        self.conn_id = conn_id
        self.endpoint = endpoint
        self.parameters = parameters
        self.body = body
        self.since_parameter = since_parameter
        self.until_parameter = until_parameter
        self.lookback = lookback
        self.watermark = watermark
        self.paging = paging
        self.records = records
        self.total = total
        self.explode = explode
        self.repeated = repeated
        self.most_pages = most_pages
        self.at_once = at_once
        self.job = job

    def execute(self, context: Context, event: object = None) -> dict[str, Any]:  # noqa: ARG002 - the triggerer's
        """Land and stage the slice; return slice, stage, number of rows and the lake's folder."""
        from penstock.core.land_pages import forget
        from penstock.core.source_lake import stage_lake
        from penstock.hooks.json_api import JsonApiHook

        work = self.work(context)
        store: Store = _TaskStateStore(context["task_state_store"])
        try:
            with closing(JsonApiHook(self.conn_id)) as api:
                request, more = self._request(work)
                if self.job:
                    request = self._result(api, self.job, request, store)
                landed = self._land(api, work, request, store, context["ti"].try_number)
            detail = {"source": self.endpoint, "lake": str(landed.folder), **self.asked, **more}
            with closing(self.session(work)) as warehouse:
                found = stage_lake(warehouse, work.contract, work.stage, landed.folder, detail)
        except PenstockError as error:
            error.dataset, error.slice_key = work.contract.dataset, work.slice.key
            if not isinstance(error, SourceUnavailable | SourceThrottled):
                forget(store)
                store.delete(_JOB)
            raise
        forget(store)
        store.delete(_JOB)
        for remark in found.drift.remarks():
            self.log.warning("%s: %s", self.endpoint, remark)
        self.log.info(
            "Landed %d pages (%d of them by earlier tries, %d unchanged) and staged %d rows of %s; lake: %s",
            *(landed.pages, landed.before, landed.unchanged, found.rows, self.endpoint, landed.folder),
        )
        return {"slice": work.slice.key, "stage": work.stage.name, "extracted": found.rows, "lake": str(landed.folder)}

    def reads_now(self, contract: Contract) -> bool:  # noqa: ARG002 - the request alone decides
        """Tell whether the request is the same for every slice."""
        asked = str([self.endpoint, self.parameters, self.body])
        if self.watermark:
            return True
        return self.since_parameter is None and self.until_parameter is None and "{{" not in asked

    def _request(self, work: Work) -> tuple[Request, dict[str, Any]]:
        """Return the request for the slice, without any paging, and what to keep of it with the rows."""
        from penstock.core.paging import Request
        from penstock.core.watermark import watermark_of

        request = Request(self.endpoint, dict(self.parameters or {}), self.body)
        if self.watermark:
            with closing(self.warehouse.session()) as warehouse, warehouse, warehouse.cursor() as cur:
                newest = watermark_of(cur, work.contract, self.watermark, self.lookback).text
            self.log.info("Reading on from %s", newest or "the beginning: nothing is published yet")
            if newest and self.since_parameter:
                request = request.with_parameter(self.since_parameter, newest)
            return request, {"watermark": newest}
        assert isinstance(self.lookback, timedelta)  # noqa: S101 - see __init__
        window = ((self.since_parameter, work.slice.start - self.lookback), (self.until_parameter, work.slice.end))
        for name, moment in window:
            request = request.with_parameter(name, moment.isoformat()) if name else request
        return request, {}

    def _result(self, api: JsonApiHook, job: Job, request: Request, store: Store) -> Request:
        """Return the request for a job's result; submit the job, or leave the waiting to the triggerer, before that."""
        from penstock.triggers.api_job import ApiJobTrigger

        number = store.get(_JOB)
        if not number:
            number = job.number(api.ask(request))
            store.set(_JOB, number)
            self.log.info("Submitted the job %s", number)
        question = job.question(number)
        answer = api.ask(question)
        if job.stands(answer) == "waiting":
            self.log.info("The job %s is not done yet", number)
            seconds = job.every.total_seconds()
            trigger = ApiJobTrigger(self.conn_id, question.url, job.state, job.done, job.failed, seconds)
            self.defer(trigger=trigger, method_name=self.execute.__name__, timeout=job.patience)
        return job.result_of(number, answer)

    def _land(self, api: JsonApiHook, work: Work, request: Request, store: Store, try_number: int) -> Landed:
        from airflow.sdk import ObjectStoragePath

        from penstock.core.land_pages import Asked, land_pages
        from penstock.core.nested import shape_of
        from penstock.core.paging import Plan
        from penstock.hooks.lake import attempt_folder

        plan = Plan(self.paging, self.records, self.total, self.repeated, self.most_pages)
        shape = shape_of(work.contract, self.explode)
        earlier = self._earlier(work)
        return land_pages(
            api.ask,
            Asked(request, plan, f"{self.conn_id}:{self.endpoint}", shape, self.at_once, api.hidden),
            attempt_folder(work.stage, try_number),
            store,
            try_number=try_number,
            open_folder=ObjectStoragePath,
            say=self.log.info,
            earlier=ObjectStoragePath(earlier) if earlier else None,
        )

    def _earlier(self, work: Work) -> str | None:
        """Return where the lake has what was published of the slice, else what was published last."""
        from penstock.core.ledger import last_landed

        with closing(self.warehouse.session()) as warehouse, warehouse, warehouse.cursor() as cur:
            return last_landed(cur, self.dataset, self.asked["code"], work.slice.key)
