"""From a paged API through the lake to the stage, against the bundled API server."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import pydoc
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from airflow.sdk.exceptions import TaskDeferred

from penstock.core.api_job import Job
from penstock.core.errors import CredentialsError, SourceError, SourceUnavailable
from penstock.core.paging import Answer, Request
from penstock.hooks.json_api import JsonApiHook
from penstock.local.ports import free_port
from penstock.operators.extract_api import ApiExtractOperator
from penstock.operators.publish import PublishOperator
from penstock.operators.validate import ValidateOperator
from penstock.project import ROOT
from penstock.triggers.api_job import ApiJobTrigger
from tests.operators.contexts import Query, context_of

READINGS = "energy/power_readings"
TOKEN = "token-0123456789"
NAMES = ("read_at", "active_kw", "reactive_kw", "voltage", "intensity", *(f"sub_metering_{n}" for n in (1, 2, 3)))
READING_ROWS = [
    dict(zip(NAMES, (f"2010-10-06T00:0{minute}:00Z", 1.5, 0.1, 240.1, 6.2, 0, 1, 17), strict=True))
    for minute in range(5)
]


@pytest.fixture(scope="module")
def api() -> Iterator[int]:
    """The port of the bundled API, with its faults."""
    port = free_port(28090)
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "include" / "sources" / "energy_api.py"), "--port", str(port)],
        env={**os.environ, "ENERGY_API_TOKEN": TOKEN},
    )
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False)
            break
        except httpx.TransportError:
            time.sleep(0.1)
    yield port
    process.terminate()
    process.wait(10)


@pytest.fixture
def operator(api: int, query: Query, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ApiExtractOperator:
    """The operator, with its connection and a lake of its own."""
    monkeypatch.setenv("AIRFLOW_CONN_ENERGY_API", f"http://:{TOKEN}@127.0.0.1:{api}")
    monkeypatch.setenv("AIRFLOW_VAR_LAKE_URL", str(tmp_path))
    return ApiExtractOperator(task_id="e", dataset=READINGS, conn_id="energy_api", endpoint="/v1/readings")


def test_lands_every_row_exactly_and_stages_it(operator: ApiExtractOperator, query: Query) -> None:
    """Ten days, through 429 and 503: every row is in the lake and in the stage, decimals as they were sent."""
    for day in range(20, 30):
        summary = operator.execute(context_of(READINGS, f"2010-09-{day}"))
        assert summary["extracted"] == 1440
        manifest = json.loads((Path(summary["lake"].removeprefix("file://")) / "manifest.json").read_text())
        assert manifest["rows"] == 1440
        assert sum(part["rows"] for part in manifest["parts"]) == 1440
    first = query(f"SELECT min(voltage), max(length(voltage::text)) FROM staging.{summary['stage']}")
    assert first[0][1] == len("243.370")


def test_tries_land_side_by_side(operator: ApiExtractOperator, query: Query) -> None:
    """A second try overwrites nothing in the lake and replaces the stage."""
    folders = {operator.execute(context_of(READINGS, "2010-10-01", try_number=number))["lake"] for number in (1, 2)}
    assert len(folders) == 2
    assert query("SELECT sum(extracted)::int FROM ops.stage") == [(1440,)]


def test_wrong_token_is_told_with_dataset_and_slice(
    operator: ApiExtractOperator, api: int, query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    """401 stops at once, names dataset, slice and connection, and stages nothing."""
    monkeypatch.setenv("AIRFLOW_CONN_ENERGY_API", f"http://:wrong-9876@127.0.0.1:{api}")
    with pytest.raises(CredentialsError, match=r"\[energy/power_readings 2010-10-01\] .*'energy_api'") as caught:
        operator.execute(context_of(READINGS, "2010-10-01"))
    assert "wrong-9876" not in str(caught.value)


def test_a_retry_goes_on_in_the_folder_of_the_try_before(
    operator: ApiExtractOperator, query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after the second page: the next try asks for the third, and the slice is whole; then nothing is kept."""
    asked = list[Request]()
    ask = JsonApiHook.ask

    def dying(hook: JsonApiHook, request: Request) -> Answer:
        asked.append(request)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return ask(hook, request)

    monkeypatch.setattr(JsonApiHook, "ask", dying)
    first, second = (context_of(READINGS, "2010-10-02", try_number=number) for number in (1, 2))
    second["task_state_store"] = first["task_state_store"]
    with pytest.raises(KeyboardInterrupt):
        operator.execute(first)
    summary = operator.execute(second)
    assert summary["extracted"] == 1440
    assert summary["lake"].endswith("-1")
    assert [request.query.get("page") for request in asked] == [None, "2", "3", "3"]
    assert second["task_state_store"].get("pages") is None


def test_an_error_that_is_not_the_networks_begins_anew(
    operator: ApiExtractOperator, query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages that are not what they should be are not gone on with; a source that went away is."""
    for error, kept in ((SourceError("x"), False), (SourceUnavailable("x"), True)):
        context = context_of(READINGS, "2010-10-03")
        ask, asked = JsonApiHook.ask, list[Request]()

        def failing(
            hook: JsonApiHook, request: Request, asked: Any = asked, ask: Any = ask, error: Exception = error
        ) -> Answer:
            asked.append(request)
            if len(asked) == 2:
                raise error
            return ask(hook, request)

        with monkeypatch.context() as patched:
            patched.setattr(JsonApiHook, "ask", failing)
            with pytest.raises(SourceError):
                operator.execute(context)
        assert (context["task_state_store"].get("pages") is not None) is kept


class Exports(BaseHTTPRequestHandler):
    """An API that makes its answers ready first: `POST /exports`, `GET /exports/1`, `GET /exports/1/rows`."""

    server: ExportServer

    def do_POST(self) -> None:
        """Take a job."""
        self.server.submitted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self._send(202, {"id": len(self.server.submitted)})

    def do_GET(self) -> None:
        """Tell how it stands, or send a page of its rows."""
        if self.path.endswith("/rows") or "?" in self.path:
            self._send(200, {"data": READING_ROWS, "total": len(READING_ROWS)})
        else:
            self._send(200, {"status": self.server.says.pop(0) if self.server.says else "done"})

    def _send(self, status: int, told: Any) -> None:
        body = json.dumps(told).encode()
        version = f'"{hashlib.sha256(body).hexdigest()}"'
        known = self.headers.get("If-None-Match") == version
        self.server.spared += known
        self.send_response(304 if known else status)
        self.send_header("ETag", version)
        self.end_headers()
        self.wfile.write(b"" if known else body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class ExportServer(ThreadingHTTPServer):
    """It says these states one after the other, then that it is done."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Exports)
        self.submitted: list[Any] = []
        self.says: list[str] = []
        self.spared = 0


@pytest.fixture
def exports(query: Query, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ExportServer]:
    """The server, as connection `exports`."""
    server = ExportServer()
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    monkeypatch.setenv("AIRFLOW_CONN_EXPORTS", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("AIRFLOW_VAR_LAKE_URL", str(tmp_path))
    yield server
    server.shutdown()
    server.server_close()


def export_of(**job: Any) -> ApiExtractOperator:
    """Reads what the server exports."""
    return ApiExtractOperator(
        task_id="e",
        dataset=READINGS,
        conn_id="exports",
        endpoint="/exports",
        body={"what": "readings"},
        job=Job(status="/exports/{job}", result="/exports/{job}/rows", **job),
    )


def test_a_job_is_submitted_waited_for_and_read(exports: ExportServer, query: Query) -> None:
    """Once submitted, the task leaves the waiting to the triggerer; when it is done, its result is the slice."""
    exports.says = ["queued", "running", "running"]
    operator, context = export_of(every=timedelta(milliseconds=10)), context_of(READINGS, "2010-10-04")
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(context)
    assert (deferred.value.method_name, deferred.value.timeout) == ("execute", timedelta(hours=12))
    path, arguments = deferred.value.trigger.serialize()
    trigger = pydoc.locate(path)
    assert trigger is ApiJobTrigger

    async def wait() -> list[Any]:
        return [event.payload async for event in ApiJobTrigger(**arguments).run()]

    assert asyncio.run(wait()) == [None]
    summary = operator.execute(context, None)
    assert summary["extracted"] == len(READING_ROWS)
    (submitted,) = exports.submitted
    assert submitted == {
        "what": "readings",
        "since": "2010-10-04T00:00:00+00:00",
        "until": "2010-10-05T00:00:00+00:00",
    }
    assert context["task_state_store"].values == {}


def test_the_next_try_waits_for_the_same_job(exports: ExportServer, query: Query) -> None:
    """A try that was killed while it waited does not submit the job again; one that was given up is."""
    exports.says = ["running", "running", "failed"]
    first, second, third = (context_of(READINGS, "2010-10-04", try_number=number) for number in (1, 2, 3))
    second["task_state_store"] = third["task_state_store"] = first["task_state_store"]
    for context in (first, second):
        with pytest.raises(TaskDeferred):
            export_of().execute(context)
    with pytest.raises(SourceError, match=r"\[energy/power_readings 2010-10-04\] The source gave the job up: failed"):
        export_of().execute(second)
    assert len(exports.submitted) == 1
    assert export_of().execute(third)["extracted"] == len(READING_ROWS)
    assert len(exports.submitted) == 2


def test_pages_are_asked_for_at_once(operator: ApiExtractOperator, query: Query) -> None:
    """Three requests at once give the same pages in the same order; less than one is refused as the DAG is loaded."""
    lakes = [operator.execute(context_of(READINGS, "2010-10-05", "one"))["lake"]]
    operator.at_once = 3
    lakes.append(operator.execute(context_of(READINGS, "2010-10-05", "three"))["lake"])
    manifests = [json.loads((Path(lake.removeprefix("file://")) / "manifest.json").read_text()) for lake in lakes]
    one, three = ([part["sha256"] for part in manifest["parts"]] for manifest in manifests)
    assert one == three
    with pytest.raises(ValueError, match="at_once is 0"):
        ApiExtractOperator(task_id="e", dataset=READINGS, conn_id="x", endpoint="/", at_once=0)


def test_a_slice_that_has_not_changed_is_not_sent_again(exports: ExportServer, query: Query) -> None:
    """What was published of the slice is asked for by its version, and its rows come from the lake."""
    extract = ApiExtractOperator(task_id="e", dataset=READINGS, conn_id="exports", endpoint="/readings?all=1")
    loaded = []
    for run in ("first", "again"):
        context = context_of(READINGS, "2010-10-06", run)
        extract.execute(context)
        ValidateOperator(task_id="v", dataset=READINGS).execute(context)
        PublishOperator(task_id="p", dataset=READINGS).execute(context)
        loaded.append(query("SELECT count(*), sum(voltage) FROM energy.power_readings")[0])
    assert (exports.spared, loaded[0]) == (1, loaded[1])
    assert loaded[0][0] == len(READING_ROWS)
