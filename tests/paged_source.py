"""A list of rows, paged in each of the ways that APIs page in; as a function, and as a real HTTP server."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from penstock.core.lake import decode
from penstock.core.paging import Answer, Cursor, Keyset, LinkHeader, NextUrl, Offset, PageNumber, Paging, Request

BASE = "http://source.test:8080"


class PagedSource:
    """Answers requests for pages of its rows, `{"id": "1", "n": 1}` and so on.

    Args:
        way: How it pages, one of `WAYS`.
        count: Number of rows.
        size: Rows in a page, where the request does not say.
    """

    def __init__(self, way: str, count: int, size: int = 3) -> None:
        self.way = way
        self.rows = [{"id": f"k{number:06}", "n": number} for number in range(1, count + 1)]
        self.size = size
        self.asked: list[Request] = []

    def __call__(self, request: Request) -> Answer:
        """Answer one request."""
        self.asked.append(request)
        parts = urlsplit(request.url)
        query = {**dict(parse_qsl(parts.query)), **request.query, **(request.body or {})}
        body, headers, links = WAYS[self.way](self, query, parts.path)
        return Answer(decode(json.dumps(body).encode()), f"{BASE}{parts.path}", headers, links)


Shown = tuple[Any, dict[str, str], dict[str, str]]


def _cut(source: PagedSource, query: dict[str, Any], start: int, size_name: str) -> list[dict[str, Any]]:
    return source.rows[start : start + int(query.get(size_name, source.size))]


def _page_number(source: PagedSource, query: dict[str, Any], path: str) -> Shown:
    size, number = int(query.get("per_page", source.size)), int(query.get("page", 1))
    pages = -(-len(source.rows) // size)
    data = _cut(source, query, (number - 1) * size, "per_page")
    return {"data": data, "page": number, "pages": pages, "total": len(source.rows)}, {}, {}


def _bare_page_number(source: PagedSource, query: dict[str, Any], path: str) -> Shown:
    return _cut(source, query, (int(query["page"]) - 1) * int(query["per_page"]), "per_page"), {}, {}


def _offset(source: PagedSource, query: dict[str, Any], path: str) -> Shown:
    start = int(query.get("offset", 0))
    data = _cut(source, query, start, "limit")
    return {"items": data, "offset": start, "limit": source.size, "total": len(source.rows)}, {}, {}


def _bare_offset(source: PagedSource, query: dict[str, Any], path: str) -> Shown:
    return _cut(source, query, int(query["offset"]), "limit"), {"x-total-count": str(len(source.rows))}, {}


def _cursor(source: PagedSource, query: dict[str, Any], path: str) -> Shown:
    start = int(str(query.get("cursor", "c0"))[1:])
    data = _cut(source, query, start, "limit")
    after = f"c{start + len(data)}" if start + len(data) < len(source.rows) else None
    return {"results": data, "meta": {"next_cursor": after}}, {}, {}


def _next(source: PagedSource, query: dict[str, Any], path: str) -> tuple[list[dict[str, Any]], str | None]:
    start = int(query.get("at", 0))
    data = source.rows[start : start + source.size]
    after = start + len(data)
    rest = {name: value for name, value in query.items() if name != "at"}
    return data, f"{path}?{urlencode({**rest, 'at': after})}" if after < len(source.rows) else None


def _link_header(source: PagedSource, query: dict[str, Any], path: str) -> Shown:
    data, url = _next(source, query, path)
    return data, {}, {"next": f"{BASE}{url}"} if url else {}


def _next_url(source: PagedSource, query: dict[str, Any], path: str) -> Shown:
    data, url = _next(source, query, path)
    return {"count": len(source.rows), "next": url and f"{BASE}{url}", "previous": None, "results": data}, {}, {}


def _hateoas(source: PagedSource, query: dict[str, Any], path: str) -> Shown:
    data, url = _next(source, query, path)
    return {"_embedded": {"meters": data}, "_links": {"next": {"href": url}} if url else {}}, {}, {}


def _next_header(source: PagedSource, query: dict[str, Any], path: str) -> Shown:
    data, url = _next(source, query, path)
    return data, {"x-next-page": url} if url else {}, {}


def _keyset(source: PagedSource, query: dict[str, Any], path: str) -> Shown:
    found = [row for row in source.rows if row["id"] > query.get("since_id", "")]
    return found[: int(query.get("limit", source.size))], {}, {}


WAYS: dict[str, Callable[[PagedSource, dict[str, Any], str], Shown]] = {
    "page number": _page_number,
    "bare page number": _bare_page_number,
    "offset": _offset,
    "bare offset": _bare_offset,
    "cursor": _cursor,
    "link header": _link_header,
    "next url": _next_url,
    "hateoas": _hateoas,
    "next header": _next_header,
    "keyset": _keyset,
}

NAMED: dict[str, Paging] = {
    "page number": PageNumber(rows_per_page=3, pages="pages"),
    "bare page number": PageNumber(rows_per_page=3),
    "offset": Offset(rows_per_page=3),
    "bare offset": Offset(rows_per_page=3),
    "cursor": Cursor("meta.next_cursor"),
    "link header": LinkHeader(),
    "next url": NextUrl("next"),
    "hateoas": NextUrl("_links.next.href"),
    "next header": NextUrl("header:X-Next-Page"),
    "keyset": Keyset("id", rows_per_page=3),
}
"""Each way, as a DAG file names it."""

TOLD = ("page number", "offset", "cursor", "link header", "next url", "hateoas", "next header")
"""The ways that a first answer tells."""


class PagedServer(ThreadingHTTPServer):
    """The source as a real HTTP server on the loopback interface."""

    daemon_threads = True

    def __init__(self, source: PagedSource) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.source = source
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: PagedServer

    def do_GET(self) -> None:
        with self.server.lock:
            answer = self.server.source(Request(self.path))
        body = json.dumps(answer.body).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        for relation, url in answer.links.items():
            self.send_header("Link", f'<{url.replace(BASE, "")}>; rel="{relation}"')
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass
