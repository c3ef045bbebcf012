"""The JSON API hook against a real HTTP server that answers by a script."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from penstock.core.errors import CredentialsError, SourceError, SourceThrottled, SourceUnavailable
from penstock.core.paging import Request
from penstock.hooks import json_api
from penstock.hooks.json_api import JsonApiHook

TOKEN = "token-0123456789"


class ScriptedServer(ThreadingHTTPServer):
    """Answers the requests in turn with (status, headers, body); the last answer is repeated."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script: list[tuple[int, dict[str, str], bytes]] = [(200, {}, b"{}")]
        self.seen: list[tuple[str, str | None]] = []


class _Handler(BaseHTTPRequestHandler):
    server: ScriptedServer

    def do_GET(self) -> None:
        status, headers, body = self.server.script[min(len(self.server.seen), len(self.server.script) - 1)]
        self.server.seen.append((self.path, self.headers.get("Authorization")))
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedServer]:
    """A server, with the connection `api` pointing at it."""
    server = ScriptedServer()
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    monkeypatch.setenv("AIRFLOW_CONN_API", f"http://:{TOKEN}@127.0.0.1:{server.server_port}")
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def hook() -> Iterator[JsonApiHook]:
    """The hook on the connection `api`."""
    hook = JsonApiHook("api")
    yield hook
    hook.close()


def test_sends_the_password_as_bearer_token_and_keeps_numbers_as_text(
    server: ScriptedServer, hook: JsonApiHook
) -> None:
    """The request is authenticated, and no number passes through a float."""
    server.script = [(200, {}, b'{"price": 0.10, "big": 12345678901234567890}')]
    assert hook.get("/x", {"page": "1"}) == {"price": "0.10", "big": "12345678901234567890"}
    assert server.seen == [("/x?page=1", f"Bearer {TOKEN}")]


def test_sits_out_429_and_5xx_for_as_long_as_it_is_asked_to(server: ScriptedServer, hook: JsonApiHook) -> None:
    """`Retry-After` is honoured, and the answer that comes in the end is returned."""
    server.script = [(429, {"Retry-After": "1"}, b""), (500, {}, b""), (200, {}, b"[1]")]
    began = time.monotonic()
    assert hook.get("/x", {}) == ["1"]
    assert time.monotonic() - began >= 1
    assert len(server.seen) == 3


def test_hands_a_long_wait_to_the_retry_policy(server: ScriptedServer, hook: JsonApiHook) -> None:
    """A task does not sleep for an hour: the wait is raised, with its length, after a single request."""
    server.script = [(503, {"Retry-After": "3600"}, b"")]
    with pytest.raises(SourceThrottled) as caught:
        hook.get("/x", {})
    assert caught.value.retry_after == 3600
    assert len(server.seen) == 1


def test_gives_up_on_a_source_that_stays_down(
    server: ScriptedServer, hook: JsonApiHook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A 5xx that outlasts the hook's patience is raised as one that is worth a retry of the task."""
    monkeypatch.setattr(json_api, "_PATIENCE_SECONDS", 4.0)
    server.script = [(502, {}, b"")]
    with pytest.raises(SourceUnavailable, match="answered 502"):
        hook.get("/x", {})
    assert len(server.seen) > 1


@pytest.mark.parametrize("status", [401, 403])
def test_refused_credentials_are_not_tried_again_and_not_shown(
    server: ScriptedServer, hook: JsonApiHook, status: int
) -> None:
    """One request, one error that names the connection, and no token in it."""
    server.script = [(status, {}, f"bad {TOKEN}".encode())]
    with pytest.raises(CredentialsError, match="'api' answered") as caught:
        hook.get("/x", {})
    assert len(server.seen) == 1
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize(("status", "body"), [(404, b"no such thing"), (200, b"<html>maintenance</html>"), (200, b"")])
def test_other_answers_are_errors_that_show_how_they_begin(
    server: ScriptedServer, hook: JsonApiHook, status: int, body: bytes
) -> None:
    """A wrong status, or a page of HTML with status 200, is no data."""
    server.script = [(status, {}, body)]
    with pytest.raises(SourceError, match=body.decode()[:12] or "not JSON"):
        hook.get("/x", {})


def test_a_body_is_bounded(server: ScriptedServer, hook: JsonApiHook, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer without end does not fill the memory."""
    monkeypatch.setattr(json_api, "_MAX_BODY_BYTES", 1000)
    server.script = [(200, {}, b"[" + b"1," * 1000 + b"1]")]
    with pytest.raises(SourceError, match="larger than"):
        hook.get("/x", {})


def test_no_server_is_worth_a_retry(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused connection is raised as a source that is away."""
    monkeypatch.setattr(json_api, "_PATIENCE_SECONDS", 0.0)
    monkeypatch.setenv("AIRFLOW_CONN_API", "http://127.0.0.1:9")
    with pytest.raises(SourceUnavailable, match="No answer from connection 'api'"):
        JsonApiHook("api").get("/x", {})


def test_a_body_that_breaks_off_is_asked_for_again(server: ScriptedServer, hook: JsonApiHook) -> None:
    """Half of a JSON document, or a connection that ends before the body does, costs a request and no data."""
    server.script = [(200, {}, b'{"a": [1,'), (200, {"Content-Length": "99"}, b'{"a"'), (200, {}, b'{"a": 1}')]
    assert hook.get("/x", {}) == {"a": "1"}
    assert len(server.seen) == 3


def test_answers_carry_links_and_headers(server: ScriptedServer, hook: JsonApiHook) -> None:
    """What a way to page reads: target by relation, and names of headers in lower case."""
    link = '</x?page=2>; rel="next", </x?page=9>; rel="last"'
    server.script = [(200, {"Link": link, "X-Total-Count": "9"}, b"[]")]
    answer = hook.ask(Request("/x", {"a": "b c"}))
    assert answer.links == {"next": "/x?page=2", "last": "/x?page=9"}
    assert answer.headers["x-total-count"] == "9"
    assert answer.url.endswith("/x?a=b+c") or answer.url.endswith("/x?a=b%20c")


def test_a_url_of_a_next_page_keeps_its_query(server: ScriptedServer, hook: JsonApiHook) -> None:
    """Whole URLs are asked for as they are."""
    hook.ask(Request(f"http://127.0.0.1:{server.server_port}/x?a=1&b=%2F"))
    assert server.seen[0][0] == "/x?a=1&b=%2F"


def test_a_pause_that_a_limit_asks_for_is_made(server: ScriptedServer, hook: JsonApiHook) -> None:
    """No request remains for a second: the next one comes after it."""
    server.script = [(200, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1"}, b"[]"), (200, {}, b"[]")]
    began = time.monotonic()
    hook.get("/x", {})
    hook.get("/x", {})
    assert time.monotonic() - began >= 1


def test_a_pause_that_is_too_long_is_handed_on(server: ScriptedServer, hook: JsonApiHook) -> None:
    """The next request is not sent, and the task is retried when it may be."""
    server.script = [(200, {"Backoff": "3600"}, b"[]")]
    hook.get("/x", {})
    with pytest.raises(SourceThrottled) as caught:
        hook.get("/x", {})
    assert (caught.value.retry_after or 0) > 3500
    assert len(server.seen) == 1


def test_keeps_to_the_pace_of_the_connection(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten requests a second: five of them take four tenths at least."""
    extra = json.dumps({"requests_per_second": 10})
    uri = {"conn_type": "http", "host": "127.0.0.1", "port": server.server_port, "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_API", json.dumps(uri))
    hook, began = JsonApiHook("api"), time.monotonic()
    for _ in range(5):
        hook.get("/x", {})
    assert time.monotonic() - began >= 0.4
    hook.close()


def test_the_connection_can_be_tested(server: ScriptedServer, hook: JsonApiHook) -> None:
    """A host that answers and knows us, even if it has no such page; one that does not know us."""
    server.script = [(404, {}, b""), (401, {}, b"")]
    assert hook.test_connection() == (True, "The host answered 404 for /.")
    fine, said = hook.test_connection()
    assert not fine
    assert "correct the token" in said
