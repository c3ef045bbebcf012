"""A JSON API behind an ordinary Airflow HTTP connection."""

from __future__ import annotations

import json
from collections.abc import Container, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
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

from penstock.core.errors import CredentialsError, SourceError, SourceThrottled, SourceUnavailable
from penstock.core.lake import decode
from penstock.core.paging.page import Answer, Request

if TYPE_CHECKING:
    import httpx

_TIMEOUT_SECONDS: Final = 30.0
_PATIENCE_SECONDS: Final = 60.0
_MAX_BODY_BYTES: Final = 64 * 1024 * 1024
_READS: Final = 3
_BACKOFF: Final = wait_exponential_jitter(initial=0.5, max=20)


def retry_after_seconds(header: str | None, now: datetime) -> float | None:
    """Read a `Retry-After` header, in seconds from `now`; None where it is missing or malformed.

    Source: RFC 9110, section 10.2.3 (delay in seconds, or an HTTP date).
    """
    if header is None:
        return None
    if header.strip().isdigit():
        return float(header)
    try:
        moment = parsedate_to_datetime(header)
    except ValueError:
        return None
    return max(0.0, (moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds())


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after if isinstance(error, SourceThrottled) else None
    return _BACKOFF(state) if asked is None else asked


class JsonApiHook(BaseHook):
    """Requests to a JSON API; the connection's password is sent as a bearer token.

    Short troubles (429, 5xx, a dropped connection) are sat out here for up to a minute in all, waiting as long as
    `Retry-After` asks; what lasts longer is raised, and the task's retry policy takes over.

    Args:
        conn_id: An HTTP connection: host, port, schema (`http`, `https`), password (the token).
    """

    conn_name_attr = "conn_id"
    default_conn_name = "http_default"
    conn_type = "http"
    hook_name = "JSON API"

    def __init__(self, conn_id: str) -> None:
        super().__init__()
        self.conn_id = conn_id

    @cached_property
    def client(self) -> httpx.Client:
        """The client, built from the connection at the first request."""
        import httpx

        connection = self.get_connection(self.conn_id)
        scheme = connection.schema or "http"
        host = connection.host or ""
        base = host if "://" in host else f"{scheme}://{host}"
        headers = {"Accept": "application/json"}
        if connection.password:
            headers["Authorization"] = f"Bearer {connection.password}"
        return httpx.Client(
            base_url=f"{base}:{connection.port}" if connection.port else base,
            headers=headers,
            timeout=_TIMEOUT_SECONDS,
        )

    def close(self) -> None:
        """Close the client's connections."""
        if "client" in self.__dict__:
            self.client.close()

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
        return patient(self._ask_once, request)

    def _ask_once(self, request: Request) -> Answer:
        content = None if request.body is None else json.dumps(request.body).encode()
        headers = None if content is None else {"Content-Type": "application/json"}
        response, body = self.fetch(request.url, request.query or None, headers=headers, content=content)
        try:
            decoded = decode(body)
        except SourceError as error:
            kind = response.headers.get("Content-Type", "nothing")[:80]
            raise _NotJson(
                f"Connection {self.conn_id!r}, {response.url.path}, {kind!r}: {error.message}",
                next_step="nothing at first: the task is retried; if it goes on, ask the source's owner.",
            ) from error
        links = {str(name): link["url"] for name, link in response.links.items() if "url" in link}
        return Answer(decoded, str(response.url), dict(response.headers), links)

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
        try:
            with self.client.stream(method, path, **request) as response:
                if response.status_code not in allowed:
                    self._check(response)
                return response, _body(response)
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
        wait = retry_after_seconds(response.headers.get("Retry-After"), datetime.now(UTC))
        if status == 429 or (status == 503 and wait is not None):  # noqa: PLR2004 - HTTP statuses
            raise SourceThrottled(f"Connection {said} and asks to wait.", retry_after=wait)
        if status >= 500:  # noqa: PLR2004
            raise SourceUnavailable(f"Connection {said}.", next_step="nothing if it comes back: the task is retried.")
        if status != 200:  # noqa: PLR2004
            raise SourceError(f"Connection {said}: {_start(response)}")


class _NotJson(SourceError):
    """The body is not JSON, or only the beginning of some."""


def _shown(path: str) -> str:
    """Return where a request goes, without its query, which may hold a secret."""
    return path.partition("?")[0]


def _out_of_patience(state: RetryCallState) -> bool:
    """Stop where the next wait would end after the patience does: a task should not sleep that long."""
    return (state.seconds_since_start or 0) + _wait(state) > _PATIENCE_SECONDS


def _start(response: httpx.Response) -> str:
    for block in response.iter_bytes(200):
        return block.decode("utf-8", "replace")
    return "(no body)"


def _body(response: httpx.Response) -> bytes:
    parts, size = [], 0
    for block in response.iter_bytes():
        size += len(block)
        if size > _MAX_BODY_BYTES:
            raise SourceError(f"The answer is larger than {_MAX_BODY_BYTES // 2**20} MiB; ask for smaller pages.")
        parts.append(block)
    return b"".join(parts)
