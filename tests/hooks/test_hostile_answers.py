"""Fifty ways in which an API answers wrongly: a clear error in bounded time and memory, or rows; nothing half-landed.

Each case is a script of raw HTTP answers by a real server; hook, reading of pages and lake are the real ones.
"""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import brotli
import pytest

from penstock.core.errors import PagingError, PenstockError, SchemaMismatch, SourceError, SourceUnavailable
from penstock.core.lake import MANIFEST, landed_text, read_parts
from penstock.core.land_pages import Asked, land_pages
from penstock.core.paging import Cursor, LinkHeader, Offset, PageNumber, Plan, Request
from penstock.hooks import json_api
from penstock.hooks.json_api import JsonApiHook

Script = list[tuple[int, dict[str, str], bytes]]


class Server(ThreadingHTTPServer):
    """Answers by a script, whose last line is repeated; `{n}` in a body or header is the request's number."""

    daemon_threads = True
    script: Script

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked = 0


class Handler(BaseHTTPRequestHandler):
    """Sends what the script says, byte by byte."""

    server: Server

    def do_GET(self) -> None:
        """Answer one request."""
        self.server.asked += 1
        status, headers, body = self.server.script[min(self.server.asked, len(self.server.script)) - 1]
        number = str(self.server.asked)
        body = body.replace(b"{n}", number.encode())
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value.replace("{n}", number))
        self.end_headers()
        try:
            self.wfile.write(body)
        except OSError:
            self.close_connection = True

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
    """The server, with the connection `api`; bounds and patience are small."""
    found = Server()
    threading.Thread(target=found.serve_forever, args=(0.05,), daemon=True).start()
    monkeypatch.setenv("AIRFLOW_CONN_API", f"http://127.0.0.1:{found.server_port}")
    monkeypatch.setattr(json_api, "_PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(json_api, "_READS", 1)
    monkeypatch.setattr(json_api, "_MAX_BODY_BYTES", 1 << 20)
    yield found
    found.shutdown()
    found.server_close()


JSON = {"Content-Type": "application/json"}
ROW = b'[{"id": "1"}]'


def ok(body: bytes, **headers: str) -> Script:
    """One answer with status 200."""
    return [(200, {**JSON, **{name.replace("_", "-"): value for name, value in headers.items()}}, body)]


REFUSED: dict[str, tuple[Script, Plan, type[PenstockError], str]] = {
    "HTML with status 200": (ok(b"<!DOCTYPE html><h1>Maintenance"), Plan(), SourceError, "DOCTYPE"),
    "HTML that says so": (ok(b"<html>", Content_Type="text/html"), Plan(), SourceError, "text/html"),
    "a login page by redirect": ([(302, {"Location": "/login"}, b"")], Plan(), SourceError, "answered 302"),
    "nothing": (ok(b""), Plan(), SourceError, "not JSON"),
    "no content": ([(204, {}, b"")], Plan(), SourceError, "answered 204"),
    "only blanks": (ok(b" \n\t "), Plan(), SourceError, "not JSON"),
    "half a document": (ok(b'{"data": [{"id": 1}, {"id"'), Plan(), SourceError, "not JSON"),
    "two documents": (ok(ROW + ROW), Plan(), SourceError, "not JSON"),
    "JSON Lines": (ok(b'{"id": 1}\n{"id": 2}\n'), Plan(), SourceError, "not JSON"),
    "XML": (ok(b"<?xml version='1.0'?><rows/>"), Plan(), SourceError, "not JSON"),
    "JSONP": (ok(b"callback([])"), Plan(), SourceError, "not JSON"),
    "JavaScript": (ok(b"{id: 1}"), Plan(), SourceError, "not JSON"),
    "a trailing comma": (ok(b'[{"id": 1},]'), Plan(), SourceError, "not JSON"),
    "CSV": (ok(b"id,name\n1,a\n"), Plan(), SourceError, "not JSON"),
    "bytes": (ok(bytes(range(256))), Plan(), SourceError, "not JSON"),
    "UTF-8 that breaks off": (ok(b'[{"id": "\xc3"}]'), Plan(), SourceError, "not JSON"),
    "Latin-1": (ok(b'[{"id": "Gr\xfc\xdfe"}]'), Plan(), SourceError, "not JSON"),
    "depth without end": (ok(b"[" * 200_000), Plan(), SourceError, "not JSON"),
    "a key twice": (ok(b'[{"id": 1, "id": 2}]'), Plan(), SourceError, "'id' twice"),
    "a key twice, below": (ok(b'[{"id": {"a": 1, "a": 1}}]'), Plan(), SourceError, "'a' twice"),
    "a number": (ok(b"42"), Plan(), SourceError, "neither an object nor a list"),
    "null": (ok(b"null"), Plan(), SourceError, "neither an object nor a list"),
    "a list of numbers": (ok(b"[1, 2]"), Plan(), SourceError, "no list of objects"),
    "a list with one text": (ok(b'[{"id": 1}, "x"]'), Plan(), SourceError, "no list of objects"),
    "an error with status 200": (ok(b'{"error": "quota"}'), Plan(), PagingError, "object of: error"),
    "another list than named": (ok(b'{"rows": []}'), Plan(records="data"), SourceError, "begins with"),
    "errors beside null": (ok(b'{"data": null, "errors": [1]}'), Plan(records="data"), SourceError, "tells of errors"),
    "a body that is too large": (ok(b'["' + b"x" * (2 << 20) + b'"]'), Plan(), SourceError, "larger than 1 MiB"),
    "a gzip bomb": (ok(gzip.compress(bytes(90 << 20)), Content_Encoding="gzip"), Plan(), SourceError, "larger than"),
    "a brotli bomb": (ok(brotli.compress(bytes(90 << 20)), Content_Encoding="br"), Plan(), SourceError, "larger than"),
    "gzip that is none": (ok(ROW, Content_Encoding="gzip"), Plan(), SourceError, "not packed as it says"),
    "half of a gzip": (
        ok(gzip.compress(ROW * 99)[:-9], Content_Encoding="gzip"),
        Plan(),
        SourceUnavailable,
        "breaks off",
    ),
    "an unknown packing": (ok(ROW, Content_Encoding="zstd"), Plan(), SourceError, "'zstd'"),
    "a length that is too large": (ok(ROW, Content_Length="99"), Plan(), SourceUnavailable, "No answer"),
    "no HTTP": ([(200, {"Content-Length": "-1\r\nbad header"}, b"")], Plan(), SourceUnavailable, "No answer"),
    "a redirect to itself": ([(301, {"Location": "/rows"}, b"")], Plan(), SourceError, "answered 301"),
    "links to itself": (ok(ROW, Link='</rows>; rel="next"'), Plan(), PagingError, "same 1 rows"),
    "links without end": (
        ok(b'[{"id": "{n}"}]', Link='</rows?at={n}>; rel="next"'),
        Plan(most_pages=20),
        PagingError,
        "after 20 ",
    ),
    "empty pages without end": (
        ok(b"[]", Link='</rows?at={n}>; rel="next"'),
        Plan(),
        PagingError,
        "100 pages in a row",
    ),
    "a link to another host": (ok(ROW, Link='<http://evil.test/>; rel="next"'), Plan(), PagingError, "another host"),
    "a link to a file": (ok(ROW, Link='<file:///etc/passwd>; rel="next"'), Plan(), PagingError, "another host"),
    "a cursor that is an object": (
        ok(b'{"data": [{"id": 1}], "next": {"a": 1}}'),
        Plan(Cursor("next")),
        SourceError,
        "no cursor",
    ),
    "a cursor that grows": (
        ok(b'{"data": [{"id": 1}], "next": "' + b"c" * 10_000 + b'"}'),
        Plan(Cursor("next")),
        SourceError,
        "no cursor",
    ),
    "a page that ignores its number": (ok(ROW), Plan(PageNumber()), PagingError, "same 1 rows"),
    "a total that is too small": (
        ok(b'{"data": [{"id": "{n}"}], "total": 0}'),
        Plan(Offset(), total="total"),
        SourceError,
        "announced 0 rows and sent 1",
    ),
    "a total that is not met": (
        ok(b'{"data": [{"id": 1}], "total": 9, "next_cursor": null}'),
        Plan(Cursor("next_cursor")),
        SourceError,
        "announced 9 rows and sent 1",
    ),
    "a total that is a text": (
        ok(b'{"data": [], "total": "many"}'),
        Plan(total="total"),
        SourceError,
        "no count at 'total'",
    ),
    "a second page of another shape": (
        [*ok(ROW, Link='</rows?at=2>; rel="next"'), *ok(b'{"error": "gone"}')],
        Plan(),
        SourceError,
        "no list of objects",
    ),
    "a second page of HTML": (
        [*ok(ROW, Link='</rows?at=2>; rel="next"'), *ok(b"<html>")],
        Plan(LinkHeader()),
        SourceError,
        "not JSON",
    ),
    "data as keys": (
        ok(json.dumps([{f"k{number}": 1 for number in range(6000)}]).encode()),
        Plan(),
        SchemaMismatch,
        "5,000 fields",
    ),
}

LANDED: dict[str, tuple[bytes, dict[str, str | None]]] = {
    "half of a surrogate pair": (b'[{"id": "\\ud800"}]', {"id": "\ud800"}),
    "a NUL": (b'[{"id": "a\\u0000b"}]', {"id": "a\0b"}),
    "a huge text": (b'[{"id": "' + b"x" * 900_000 + b'"}]', {"id": "x" * 900_000}),
    "a huge number": (b'[{"id": ' + b"9" * 5000 + b"}]", {"id": "9" * 5000}),
    "NaN": (b'[{"id": NaN}]', {"id": "NaN"}),
    "a byte order mark": (b'\xef\xbb\xbf[{"id": "1"}]', {"id": "1"}),
    "UTF-16": ('[{"id": "é"}]'.encode("utf-16"), {"id": "é"}),
    "an empty object": (b'[{}, {"id": null}]', {"id": None}),
    "a wrong content type": (b'[{"id": "1"}]', {"id": "1"}),
}
"""What is odd and can be kept: the gate judges it, or sends the row to quarantine."""


def land(plan: Plan, folder: Path) -> Any:
    """Land all pages."""
    hook = JsonApiHook("api")
    try:
        return land_pages(hook.ask, Asked(Request("/rows"), plan, "t"), folder, Store(), open_folder=Path)
    finally:
        hook.close()


@pytest.mark.parametrize("name", REFUSED)
def test_is_refused_with_a_clear_error(server: Server, tmp_path: Path, name: str) -> None:
    """The error names what is wrong; there is no attempt that could be staged; it takes seconds at most."""
    server.script, plan, error, words = REFUSED[name]
    began = time.monotonic()
    with pytest.raises(error, match=words) as caught:
        land(plan, tmp_path / "attempt")
    assert time.monotonic() - began < 20
    assert len(str(caught.value)) < 1000
    assert not (tmp_path / "attempt" / MANIFEST).exists()


@pytest.mark.parametrize("name", LANDED)
def test_is_landed_as_it_was_sent(server: Server, tmp_path: Path, name: str) -> None:
    """No character is lost on the way to the lake."""
    body, row = LANDED[name]
    server.script = [(200, {"Content-Type": "text/plain"}, body)]
    land(Plan(), tmp_path / "attempt")
    (part,) = read_parts(tmp_path / "attempt", {"id": "id"})
    assert {name: landed_text(value) for name, value in part.to_pylist()[-1].items()} == row
