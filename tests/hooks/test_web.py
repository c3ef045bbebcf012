"""The hook for web pages against a real HTTP server: polite, and sure of what it read."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from penstock.core.errors import SourceError, SourceUnavailable
from penstock.core.web_crawl import Page, Validators
from penstock.hooks.web import WebHook

HTML = {"Content-Type": "text/html"}


class Site(ThreadingHTTPServer):
    """Answers by path with (status, headers, body); remembers when and as whom it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.seen: list[tuple[str, dict[str, str], float]] = []


class _Handler(BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        status, headers, body = self.server.answers.get(self.path, (404, {}, b""))
        self.server.seen.append((self.path, dict(self.headers), time.monotonic()))
        if headers.get("ETag") and self.headers.get("If-None-Match") == headers["ETag"]:
            status, body = 304, b""
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A site, behind the connection `site`."""
    server = Site()
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    monkeypatch.setenv("AIRFLOW_CONN_SITE", f"http://127.0.0.1:{server.server_port}?user_agent=DataTeam")
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def hook() -> Iterator[WebHook]:
    """The hook on the connection `site`."""
    found = WebHook("site")
    yield found
    found.close()


def test_robots_are_honoured(site: Site, hook: WebHook) -> None:
    """What is forbidden to us is not fetched, and the delay is kept; robots.txt is asked for once."""
    site.answers["/robots.txt"] = (
        200,
        {},
        b"User-agent: *\nDisallow: /\n\nUser-agent: DataTeam\nDisallow: /private\nCrawl-delay: 0.3\n",
    )
    site.answers["/a"] = site.answers["/b"] = (200, HTML, b"<p>x</p>")
    assert (hook.page("/a").text, hook.page("/b").text) == ("<p>x</p>", "<p>x</p>")
    with pytest.raises(SourceError, match=r"robots.txt of 127.* does not let 'DataTeam' fetch .*/private/x"):
        hook.page("/private/x")
    assert [path for path, _, _ in site.seen] == ["/robots.txt", "/a", "/b"]
    assert site.seen[2][2] - site.seen[1][2] >= 0.29
    assert {headers["User-Agent"] for _, headers, _ in site.seen} == {"DataTeam"}


def test_a_delay_that_nobody_can_keep_is_told(site: Site, hook: WebHook) -> None:
    """An hour between two pages is no work for a task."""
    site.answers["/robots.txt"] = (200, {}, b"User-agent: *\nCrawl-delay: 3600\n")
    with pytest.raises(SourceUnavailable, match="asks for 3600 s between two requests"):
        hook.page("/a")


def test_a_site_that_cannot_say_is_left_alone(site: Site, hook: WebHook, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where robots.txt fails with 5xx no page is fetched; where there is none, every page may be."""
    monkeypatch.setattr("penstock.hooks.json_api._PATIENCE_SECONDS", 0.0)
    site.answers["/a"] = (200, HTML, b"x")
    site.answers["/robots.txt"] = (503, {}, b"")
    with pytest.raises(SourceUnavailable):
        hook.page("/a")
    del site.answers["/robots.txt"]
    assert hook.page("/a").text == "x"


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text/html; charset=iso-8859-1", "Größe".encode("latin-1")),
        ("text/html", b"<meta charset=windows-1252>" + "Größe".encode("cp1252")),
        ("text/html", "Größe".encode()),
        ("text/html", "Größe".encode("cp1252")),
        ("text/html", b"\xef\xbb\xbf" + "Größe".encode()),
        ("", "Größe".encode()),
    ],
)
def test_the_character_set_is_found(site: Site, hook: WebHook, kind: str, body: bytes) -> None:
    """By the mark, the header, the page's own word, or by what the bytes can be."""
    site.answers["/a"] = (200, {"Content-Type": kind} if kind else {}, body)
    assert (hook.page("/a").text or "").endswith("Größe")


def test_an_unchanged_page_is_not_sent(site: Site, hook: WebHook) -> None:
    """It is asked for by what it said of its age."""
    site.answers["/a"] = (200, {**HTML, "ETag": '"1"'}, b"x")
    first = hook.page("/a")
    assert first.validators == Validators(etag='"1"')
    assert hook.page("/a", first.validators) == Page(first.url, None, first.validators)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((200, {"Content-Type": "application/pdf"}, b"%PDF"), "is no HTML but 'application/pdf'"),
        ((404, HTML, b"gone"), "answered 404"),
        ((302, {"Location": "http://localhost:1/"}, b""), "No answer|another host"),
    ],
)
def test_what_is_no_page_is_told(
    site: Site, hook: WebHook, answer: Any, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another kind of content, another status, another host."""
    monkeypatch.setattr("penstock.hooks.json_api._PATIENCE_SECONDS", 0.0)
    site.answers["/a"] = answer
    with pytest.raises((SourceError, SourceUnavailable), match=said):
        hook.page("/a")


def test_a_redirect_to_another_host_is_not_followed_into(site: Site, hook: WebHook) -> None:
    """The rules that were asked for are those of the connection's host."""
    other = Site()
    threading.Thread(target=other.serve_forever, args=(0.05,), daemon=True).start()
    other.answers["/x"] = (200, HTML, b"<p>x</p>")
    site.answers["/a"] = (302, {"Location": f"http://127.0.0.1:{other.server_port}/x"}, b"")
    with pytest.raises(SourceError, match="leads to another host"):
        hook.page("/a")
    other.shutdown()
    other.server_close()
