"""A thousand pages from a server that fails every twentieth request, and three kills: every row once."""

from __future__ import annotations

import json
import random
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tenacity import wait_none

from penstock.core.lake import read_parts
from penstock.core.land_pages import Asked, land_pages
from penstock.core.paging import Answer, Plan, Request
from penstock.hooks import json_api
from penstock.hooks.json_api import JsonApiHook

PAGES, SIZE = 1000, 2
FAULTS = ("429", "503", "reset", "truncated", "half a body")


class Server(ThreadingHTTPServer):
    """Pages by cursor; remembers which it has sent whole."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.chance = random.Random(7)  # noqa: S311
        self.sent: list[int] = []
        self.faults: list[str] = []


class Handler(BaseHTTPRequestHandler):
    """Answers one page, or fails."""

    server: Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        """Answer one request."""
        page = int(self.path.rpartition("=")[2]) if "cursor=" in self.path else 0
        rows = [{"id": page * SIZE + number} for number in range(SIZE)]
        body = json.dumps({"data": rows, "next_cursor": str(page + 1) if page + 1 < PAGES else None}).encode()
        fault = self.server.chance.choice(FAULTS) if self.server.chance.random() < 0.05 else ""
        if fault:
            self.server.faults.append(fault)
        else:
            self.server.sent.append(page)
        if fault == "reset":
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return
        self.send_response(int(fault) if fault.isdigit() else 200)
        shown = body[: len(body) // 2] if fault in ("truncated", "half a body") else body
        self.send_header("Content-Length", str(len(body) if fault == "half a body" else len(shown)))
        if fault.isdigit():
            self.send_header("Retry-After", "0")
        self.end_headers()
        self.wfile.write(shown)
        self.close_connection = bool(fault)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class Store(dict[str, Any]):
    """Keeps values."""

    def set(self, key: str, value: Any) -> None:
        """Keep a value."""
        self[key] = json.loads(json.dumps(value))

    def delete(self, key: str) -> None:
        """Forget a value."""
        self.pop(key, None)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """The server, with the connection `api`; pauses between tries are left out."""
    found = Server()
    threading.Thread(target=found.serve_forever, args=(0.05,), daemon=True).start()
    monkeypatch.setenv("AIRFLOW_CONN_API", f"http://127.0.0.1:{found.server_port}")
    monkeypatch.setattr(json_api, "_BACKOFF", wait_none())
    yield found
    found.shutdown()
    found.server_close()


def test_every_row_lands_once_whatever_fails(server: Server, tmp_path: Path) -> None:
    """Statuses, resets and broken bodies are sat out; a kill costs one request at most."""
    store, kills, landed = Store(), [200, 300, 250], None
    for number in range(1, len(kills) + 2):
        hook, left = JsonApiHook("api"), [kills[number - 1] if number <= len(kills) else -1]

        def ask(request: Request, hook: JsonApiHook = hook, left: list[int] = left) -> Answer:
            answer = hook.ask(request)
            left[0] -= 1
            if left[0] == 0:
                raise KeyboardInterrupt
            return answer

        try:
            landed = land_pages(
                ask,
                Asked(Request("/rows"), Plan(), "t"),
                tmp_path / str(number),
                store,
                try_number=number,
                open_folder=Path,
            )
        except KeyboardInterrupt:
            continue
        finally:
            hook.close()
    assert landed is not None
    ids = [row["id"] for part in read_parts(landed.folder, {"id": "id"}) for row in part.to_pylist()]
    assert ids == [str(number) for number in range(PAGES * SIZE)]
    assert set(server.faults) == set(FAULTS)
    assert len(server.sent) <= PAGES + len(kills)
