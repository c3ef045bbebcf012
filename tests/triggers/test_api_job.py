"""The triggerer waits for a job and then hands back, whatever came of it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from penstock.triggers.api_job import ApiJobTrigger


class _Handler(BaseHTTPRequestHandler):
    server: Any

    def do_GET(self) -> None:
        said = self.server.says.pop(0)
        self.send_response(200 if isinstance(said, bytes) else said)
        self.end_headers()
        self.wfile.write(said if isinstance(said, bytes) else b"")

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def says(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bytes | int]]:
    """What the source answers, one after the other; it is connection `jobs`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.says = []  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    monkeypatch.setenv("AIRFLOW_CONN_JOBS", f"http://127.0.0.1:{server.server_port}")
    yield server.says  # type: ignore[attr-defined]
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("last", [b'{"status": "done"}', b'{"status": "failed"}', b"{}", 404, 401])
def test_fires_once_there_is_something_to_tell(says: list[bytes | int], last: bytes | int) -> None:
    """A job that runs is asked about again; one that is done or was given up, and a refusal, are for the task."""
    says += [b'{"status": "queued"}', b'{"status": "running"}', last]
    trigger = ApiJobTrigger("jobs", "/jobs/7", "status", ["done"], ["failed"], 0.01)

    async def wait() -> list[Any]:
        return [event.payload async for event in trigger.run()]

    assert asyncio.run(wait()) == [None]
    assert says == []


def test_is_made_again_as_it_was() -> None:
    """What it is serialised to makes the same trigger."""
    path, arguments = ApiJobTrigger("jobs", "/jobs/7", "status", ["done"], ["failed"], 0.01).serialize()
    assert path == "penstock.triggers.api_job.ApiJobTrigger"
    assert ApiJobTrigger(**arguments).serialize() == (path, arguments)
