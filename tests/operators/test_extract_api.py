"""From a paged API through the lake to the stage, against the bundled API server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from penstock.core.errors import CredentialsError, SourceError, SourceUnavailable
from penstock.core.paging import Answer, Request
from penstock.hooks.json_api import JsonApiHook
from penstock.local.ports import free_port
from penstock.operators.extract_api import ApiExtractOperator
from penstock.project import ROOT
from tests.operators.contexts import Query, context_of

READINGS = "energy/power_readings"
TOKEN = "token-0123456789"


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
