"""A JSON API behind an ordinary Airflow HTTP connection."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Container, Mapping
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from airflow.sdk import BaseHook
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_exponential_jitter,
)

from penstock.core.errors import CredentialsError, PenstockError, SourceError, SourceThrottled, SourceUnavailable
from penstock.core.lake import decode
from penstock.core.paging.page import Answer, Request
from penstock.core.rate_limit import pause_seconds, retry_after_seconds
from penstock.hooks.http_body import ENCODINGS, read_body

if TYPE_CHECKING:
    import httpx
    from pyrate_limiter import Limiter

_TIMEOUT_SECONDS: Final = 30.0
_PATIENCE_SECONDS: Final = 60.0
_MAX_BODY_BYTES: Final = 64 * 1024 * 1024
_READS: Final = 3
_ACCEPTED: Final = (201, 202)  # of a job that was submitted
_UNCHANGED: Final = 304
_BACKOFF: Final = wait_exponential_jitter(initial=0.5, max=20)


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after if isinstance(error, SourceThrottled) else None
    return _BACKOFF(state) if asked is None else asked


class JsonApiHook(BaseHook):
    """Requests to a JSON API; the connection says who we are (`penstock.hooks.http_auth`, docs/apis.md).

    Short troubles (429, 5xx, a dropped connection) are sat out here for up to a minute in all, waiting as long as
    `Retry-After` asks; what lasts longer is raised, and the task's retry policy takes over.

    Args:
        conn_id: An HTTP connection: host, port, schema (`http`, `https`), login, password. Its extra holds `auth`
            and what belongs to it; `headers`; `requests_per_second`; `timeout`, in seconds; `ca`, `client_cert` and
            `client_key`, which are files.
    """

    conn_name_attr = "conn_id"
    default_conn_name = "http_default"
    conn_type = "http"
    hook_name = "HTTP"

    def __init__(self, conn_id: str) -> None:
        super().__init__()
        self.conn_id = conn_id
        self._lock = threading.Lock()
        self._not_before = 0.0

    @cached_property
    def client(self) -> httpx.Client:
        """The client, built from the connection at the first request."""
        import httpx

        from penstock.hooks.http_auth import auth_of, tls_of

        connection = self.get_connection(self.conn_id)
        extra = connection.extra_dejson
        scheme = connection.schema or "http"
        host = connection.host or ""
        base = host if "://" in host else f"{scheme}://{host}"
        logging.getLogger("httpx").setLevel(logging.WARNING)  # it writes whole URLs, and a key may stand in them
        return httpx.Client(
            base_url=f"{base}:{connection.port}" if connection.port else base,
            headers={"Accept": "application/json", "Accept-Encoding": ", ".join(ENCODINGS), **extra.get("headers", {})},
            timeout=float(extra.get("timeout") or _TIMEOUT_SECONDS),
            auth=auth_of(connection),
            verify=tls_of(extra),
        )

    @cached_property
    def hidden(self) -> frozenset[str]:
        """The query parameters that are secrets."""
        extra = self.get_connection(self.conn_id).extra_dejson
        return frozenset((extra["query"],)) if extra.get("auth") == "api_key" and extra.get("query") else frozenset()

    @cached_property
    def _limiter(self) -> Limiter | None:
        """Keeps requests apart, as the connection asks."""
        rate = self.get_connection(self.conn_id).extra_dejson.get("requests_per_second")
        if not rate:
            return None
        from pyrate_limiter import Limiter, Rate

        return Limiter(Rate(1, max(1, round(1000 / float(rate)))), buffer_ms=0)

    def _keep_pace(self) -> None:
        """Keep to the connection's pace, and to what the source asked for in its answers.

        Raises:
            SourceThrottled: It asked for a wait that is too long for a task.
        """
        with self._lock:
            wait = self._not_before - time.monotonic()
        if wait > _PATIENCE_SECONDS:
            raise SourceThrottled(f"Connection {self.conn_id!r}: no more requests are allowed now.", retry_after=wait)
        if wait > 0:
            time.sleep(wait)
        if self._limiter:
            self._limiter.try_acquire("request")

    def _pause(self, seconds: float) -> None:
        with self._lock:
            self._not_before = max(self._not_before, time.monotonic() + seconds)

    def test_connection(self) -> tuple[bool, str]:
        """Ask for the extra's `test_path`, else for `/`, and tell whether the host answers and knows us."""
        path = self.get_connection(self.conn_id).extra_dejson.get("test_path", "/")
        try:
            response, _ = self.fetch(path, allowed=frozenset(range(200, 500)) - {401, 403, 429})
        except PenstockError as error:
            return False, str(error)
        finally:
            self.close()
        return True, f"The host answered {response.status_code} for {response.url.path}."

    def close(self) -> None:
        """Close the client's connections."""
        for name in ("client", "_limiter"):
            opened = self.__dict__.pop(name, None)
            if opened is not None:
                opened.close()

    def get(self, path: str, parameters: Mapping[str, str]) -> Any:
        """Send one GET request and decode the answer, numbers kept as the text they were written in.

        Raises:
            CredentialsError: 401 or 403.
            SourceThrottled: 429 or 503 with `Retry-After`, for longer than a minute.
            SourceUnavailable: No connection, a time-out or 5xx, for longer than a minute.
            SourceError: Any other status, a body that is too large or is not JSON.
        """
        return self.ask(Request(path, parameters)).body

    def ask(self, request: Request) -> Answer:
        """Send a request for a page and decode the answer, as `get` does.

        A body that is not JSON, as when it was cut off, is asked for twice more.

        Raises:
            CredentialsError: 401 or 403.
            SourceThrottled: 429 or 503 with `Retry-After`, for longer than a minute.
            SourceUnavailable: No connection, a time-out or 5xx, for longer than a minute.
            SourceError: Any other status, a body that is too large or is not JSON.
        """
        patient = Retrying(
            retry=retry_if_exception_type(_NotJson), wait=_BACKOFF, stop=stop_after_attempt(_READS), reraise=True
        )
        try:
            answer: Answer = patient(self._ask_once, request)
        except _NotJson as error:
            raise error.told from error.__cause__
        return answer

    def _ask_once(self, request: Request) -> Answer:
        content = None if request.body is None else json.dumps(request.body).encode()
        headers = {} if content is None else {"Content-Type": "application/json"}
        headers |= {"If-None-Match": request.etag} if request.etag else {}
        headers |= {"If-Modified-Since": request.modified} if request.modified else {}
        allowed = (*_ACCEPTED, _UNCHANGED) if request.etag or request.modified else _ACCEPTED
        response, body = self.fetch(
            request.url, request.query or None, headers=headers or None, content=content, allowed=allowed
        )
        if response.status_code == _UNCHANGED:
            return Answer(None, unchanged=True)
        try:
            decoded = decode(body)
        except SourceError as error:
            kind = response.headers.get("Content-Type", "nothing")[:80]
            told = SourceError(
                f"Connection {self.conn_id!r}, {response.url.path}, {kind!r}: {error.message}",
                next_step="nothing at first: the task is retried; if it goes on, ask the source's owner.",
            )
            raise _NotJson(told) from error
        links = {str(name): link["url"] for name, link in response.links.items() if "url" in link}
        url = Request(str(response.url)).without(self.hidden).url
        said = dict(response.headers.items())  # by name in lower case
        return Answer(decoded, url, said, links, said.get("etag", ""), said.get("last-modified", ""))

    def fetch(
        self,
        path: str,
        parameters: Mapping[str, str] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        allowed: Container[int] = (),
        follow: bool = False,
    ) -> tuple[httpx.Response, bytes]:
        """Send one GET request; return the answer, of status 200 or an allowed one, and its body.

        With `content` it is a POST.

        Raises:
            CredentialsError: 401 or 403.
            SourceThrottled: 429 or 503 with `Retry-After`, for longer than a minute.
            SourceUnavailable: No connection, a time-out or 5xx, for longer than a minute.
            SourceError: Any other status, or a body that is too large.
        """
        patient = Retrying(
            retry=retry_if_exception_type((SourceThrottled, SourceUnavailable)),
            wait=_wait,
            stop=_out_of_patience,
            reraise=True,
        )
        request = {"params": parameters, "headers": headers, "content": content, "follow_redirects": follow}
        return patient(self._fetch_once, path, request, allowed)

    def _fetch_once(
        self, path: str, request: Mapping[str, Any], allowed: Container[int]
    ) -> tuple[httpx.Response, bytes]:
        import httpx

        method = "GET" if request["content"] is None else "POST"
        self._keep_pace()
        try:
            with self.client.stream(method, path, **request) as response:
                self._pause(pause_seconds(dict(response.headers.items()), datetime.now(UTC)))
                if response.status_code not in allowed:
                    self._check(response)
                return response, read_body(response, _MAX_BODY_BYTES)
        except httpx.TransportError as error:
            raise SourceUnavailable(
                f"No answer from connection {self.conn_id!r}, {_shown(path)}: {type(error).__name__}: {error}",
                next_step="nothing if it comes back: the task is retried.",
            ) from error
        except (httpx.InvalidURL, httpx.DecodingError, httpx.TooManyRedirects) as error:
            raise SourceError(
                f"Connection {self.conn_id!r}, {_shown(path)}: {type(error).__name__}: {error}",
                next_step="nothing at first: the task is retried; if it goes on, ask the source's owner.",
            ) from error

    def _check(self, response: httpx.Response) -> None:
        status, path = response.status_code, response.url.path
        said = f"{self.conn_id!r} answered {status} for {path}"
        if status in (401, 403):
            raise CredentialsError(
                f"Connection {said}.",
                next_step=f"correct the token of connection {self.conn_id!r}, clear the task.",
            )
        now = datetime.now(UTC)
        wait = retry_after_seconds(response.headers.get("Retry-After"), now)
        if wait is None and status == 429:  # noqa: PLR2004
            wait = pause_seconds(response.headers, now) or None
        if status == 429 or (status == 503 and wait is not None):  # noqa: PLR2004 - HTTP statuses
            raise SourceThrottled(f"Connection {said} and asks to wait.", retry_after=wait)
        if status >= 500:  # noqa: PLR2004
            raise SourceUnavailable(f"Connection {said}.", next_step="nothing if it comes back: the task is retried.")
        if status != 200:  # noqa: PLR2004
            raise SourceError(f"Connection {said}: {_start(response)}")


class _NotJson(Exception):
    """The body is not JSON, or only the beginning of some: worth a few more requests before it is told."""

    def __init__(self, told: SourceError) -> None:
        super().__init__(told.message)
        self.told = told


def _shown(path: str) -> str:
    """Return where a request goes, without its query, which may hold a secret."""
    return path.partition("?")[0]


def _out_of_patience(state: RetryCallState) -> bool:
    """Stop where the next wait would end after the patience does: a task should not sleep that long."""
    return (state.seconds_since_start or 0) + _wait(state) > _PATIENCE_SECONDS


def _start(response: httpx.Response) -> str:
    """Return how a body begins, as text."""
    try:
        return read_body(response, _MAX_BODY_BYTES)[:200].decode("utf-8", "replace") or "(no body)"
    except SourceError as error:
        return error.message
