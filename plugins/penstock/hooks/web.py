"""Web pages behind an ordinary HTTP connection: robots.txt, crawl delay, character sets, conditional requests."""

from __future__ import annotations

import time
from functools import cached_property
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from penstock.core.errors import SourceError, SourceUnavailable
from penstock.core.web_crawl import Page, Validators
from penstock.hooks.json_api import JsonApiHook

if TYPE_CHECKING:
    import httpx
    from protego import Protego

_ROBOTS_BYTES: Final = 500 * 1024  # RFC 9309, section 2.5: the least that must be read
_MAX_DELAY_SECONDS: Final = 60.0
_UNCHANGED, _CLIENT_ERRORS = 304, frozenset(range(400, 500)) - {429}
_OTHER: Final = "make a connection to that host, if its pages are meant, and clear `extract`."


class WebHook(JsonApiHook):
    """Pages of a web site, fetched one after the other.

    robots.txt is honoured (RFC 9309), with `Crawl-delay` and `Request-rate`. Troubles are sat out as by `JsonApiHook`.

    Args:
        conn_id: An HTTP connection: host, port, schema; its extra `user_agent` is who we say we are.
        delay: Seconds between two requests, if robots.txt asks for no more.
    """

    hook_name = "Web pages"

    def __init__(self, conn_id: str, *, delay: float = 0.0) -> None:
        super().__init__(conn_id)
        self.delay = delay
        self._last: float | None = None

    @cached_property
    def user_agent(self) -> str:
        """The name that robots.txt is asked about."""
        return str(self.get_connection(self.conn_id).extra_dejson.get("user_agent") or "Penstock")

    @cached_property
    def robots(self) -> Protego:
        """The site's rules; none where it has no robots.txt.

        Raises:
            SourceUnavailable: The site cannot say: then nothing may be fetched (RFC 9309, section 2.3.1.4).
        """
        from protego import Protego

        response, body = self.fetch(
            "/robots.txt", headers={"User-Agent": self.user_agent}, allowed=_CLIENT_ERRORS, follow=True
        )
        text = "" if response.status_code in _CLIENT_ERRORS else body[:_ROBOTS_BYTES].decode("utf-8", "replace")
        return Protego.parse(text)

    def address(self, path: str) -> str:
        """Return the address of a path below the connection's host."""
        return str(self.client.base_url.join(path))

    def page(self, url: str, validators: Validators = Validators()) -> Page:  # noqa: B008 - frozen
        """Fetch a page; with validators, only if it has changed.

        Args:
            url: Its address, or a path below the connection's host.
            validators: What the page said of its age when it was fetched before.

        Raises:
            SourceError: robots.txt forbids it, or the answer is no HTML.
            CredentialsError: 401 or 403.
            SourceThrottled: The site asks to wait for long.
            SourceUnavailable: No answer, for longer than a minute.
        """
        address = self.address(url)
        if not self.robots.can_fetch(address, self.user_agent):
            raise SourceError(
                f"robots.txt of {urlsplit(address).netloc} does not let {self.user_agent!r} fetch {address}.",
                next_step="ask the site's owner; `user_agent` in the connection's extra says who you are.",
            )
        self._wait_for_turn()
        headers = {"User-Agent": self.user_agent, "Accept": "text/html,application/xhtml+xml"}
        if validators.etag:
            headers["If-None-Match"] = validators.etag
        if validators.modified:
            headers["If-Modified-Since"] = validators.modified
        allowed = {_UNCHANGED} if validators else set()
        response, body = self.fetch(address, headers=headers, allowed=allowed, follow=True)
        if response.url.netloc != self.client.base_url.netloc:
            raise SourceError(f"{address} leads to another host: {response.url}.", next_step=_OTHER)
        if response.status_code == _UNCHANGED:
            return Page(str(response.url), None, validators)
        said = Validators(response.headers.get("ETag", ""), response.headers.get("Last-Modified", ""))
        return Page(str(response.url), _text_of(response, body), said)

    def _wait_for_turn(self) -> None:
        rate = self.robots.request_rate(self.user_agent)
        asked = max(
            self.robots.crawl_delay(self.user_agent) or 0.0, rate.seconds / rate.requests if rate else 0.0, self.delay
        )
        if asked > _MAX_DELAY_SECONDS:
            raise SourceUnavailable(
                f"robots.txt asks for {asked:.0f} s between two requests.",
                next_step="fetch fewer pages, or ask the site's owner.",
            )
        if self._last is not None:
            time.sleep(max(0.0, self._last + asked - time.monotonic()))
        self._last = time.monotonic()


def _text_of(response: httpx.Response, body: bytes) -> str:
    """Return a page as text: by its byte order mark, its header, its own `<meta>`, else UTF-8 or Windows-1252.

    Raises:
        SourceError: It says that it is something else than HTML.
    """
    from w3lib.encoding import html_to_unicode

    kind = response.headers.get("Content-Type", "")
    if kind and not kind.lower().lstrip().startswith(("text/html", "application/xhtml+xml")):
        raise SourceError(f"{response.url} is no HTML but {kind!r}.", next_step="correct the address in the DAG.")
    return html_to_unicode(kind, body, auto_detect_fun=_guess)[1]


def _guess(body: bytes) -> str:
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8"
