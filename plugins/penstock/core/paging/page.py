"""What is asked of an HTTP API and what it answers, without the HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit, urlunsplit

from penstock.core.errors import PagingError, SourceError
from penstock.core.json_path import find_one

HEADER: Final = "header:"
"""Begins a place that is a header of the answer and not a JSON path in its body."""

_LONGEST_POSITION: Final = 8192
_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Request:
    """One request for a page. It is all that is needed to go on later, so it is what a checkpoint keeps.

    Attributes:
        url: Path below the connection's host, or a whole URL of that host.
        query: Query parameters that are added to the URL's own.
        body: JSON body; None sends a GET, anything else a POST.
        etag: Asks for the page only if this is not its version (RFC 9110, section 13.1.2).
        modified: Asks for it only if it has changed since (section 13.1.3).
    """

    url: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    etag: str = ""
    modified: str = ""

    @property
    def key(self) -> str:
        """A text that two requests share only if they ask for the same page."""
        return json.dumps([self.url, dict(self.query), self.body], sort_keys=True)

    def with_parameter(self, name: str, value: str | int) -> Request:
        """Return the request with one parameter more: in the body where it has one, else in the query.

        Args:
            name: The parameter; in a body, the way to it through the names of objects: `variables.after`.
            value: A number stays one in a body.
        """
        if self.body is None:
            return replace(self, query={**self.query, name: str(value)})
        return replace(self, body=_with(self.body, name.split("."), value))

    def parameter(self, name: str) -> Any:
        """Return the value of a parameter, or None."""
        found: Any = self.query if self.body is None else self.body
        for part in [name] if self.body is None else name.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
        return found

    def without(self, names: frozenset[str]) -> Request:
        """Return the request without these parameters of its URL: a source may echo a secret in its links."""
        parts = urlsplit(self.url)
        pairs = parse_qsl(parts.query, keep_blank_values=True)
        if not names or not any(name in names for name, _ in pairs):
            return self
        query = urlencode([(name, value) for name, value in pairs if name not in names])
        return replace(self, url=urlunsplit(parts._replace(query=query)))


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back.

    Attributes:
        body: The decoded JSON.
        url: The whole URL that answered; links are relative to it.
        headers: By name in lower case.
        links: Target by relation, from the `Link` header (RFC 8288).
        etag: What it says of its version, if anything.
        modified: When it says it was changed, if it does.
        unchanged: Whether it says only that nothing has changed.
    """

    body: Any
    url: str = "http://localhost/"
    headers: Mapping[str, str] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    etag: str = ""
    modified: str = ""
    unchanged: bool = False


Fetch = Callable[[Request], Answer]
"""Sends one request."""


def _with(body: Mapping[str, Any], way: list[str], value: Any) -> Mapping[str, Any]:
    name, *rest = way
    inner = body.get(name)
    return {**body, name: _with(inner if isinstance(inner, Mapping) else {}, rest, value) if rest else value}


def found_at(answer: Answer, place: str) -> Any:
    """Return what stands at a place: `header:X-Next`, or a JSON path in the body; None where nothing does.

    Raises:
        ValueError: The place is no JSON path.
    """
    if place.startswith(HEADER):
        return answer.headers.get(place.removeprefix(HEADER).strip().lower())
    return find_one(place, answer.body)


def count_at(answer: Answer, place: str) -> int:
    """Return the count at a place; of a header such as `Content-Range: items 0-24/319`, what follows the slash.

    Raises:
        SourceError: There is none.
    """
    value = found_at(answer, place)
    text = str(value).rpartition("/")[2].strip() if place.startswith(HEADER) else str(value)
    if isinstance(value, bool) or not (text.isascii() and text.isdigit() and len(text) < 19):  # noqa: PLR2004 - a bigint
        raise SourceError(f"The answer holds no count at {place!r} but {str(value)[:80]!r}.")
    return int(text)


def position_at(answer: Answer, place: str) -> str | None:
    """Return a cursor, or the URL of the next page; None where there is none: missing, null, false or empty.

    Raises:
        SourceError: There is something else, or the text is too long to be sent.
    """
    value = found_at(answer, place)
    if value is None or value is False or value == "":
        return None
    if not isinstance(value, str) or len(value) > _LONGEST_POSITION:
        raise SourceError(f"At {place!r} the answer has no cursor or URL but {str(value)[:80]!r}.")
    return value


def linked(answer: Answer, link: str) -> str:
    """Return the whole URL of a link in an answer.

    A link to another host is refused, for the credentials go with every request. One that differs only in `http` or
    `https`, as behind a proxy, is asked for the way that the connection says.

    Raises:
        PagingError: It leads to another host.
    """
    try:
        target, base = urlsplit(urljoin(answer.url, link)), urlsplit(answer.url)
        ports = [part.port or _PORTS.get(part.scheme) for part in (target, base)]
    except ValueError as error:
        raise PagingError(f"The link to the next page is no URL: {link[:80]!r}.") from error
    default = target.port is None and base.port is None
    if target.hostname != base.hostname or (ports[0] != ports[1] and not default):
        raise PagingError(
            f"The link to the next page leads to another host, {target.netloc[-80:]!r} instead of {base.netloc!r}, and"
            " would carry the credentials there.",
            next_step="set host and port of the connection to those that the source links to, or ask its owner.",
        )
    return urlunsplit(target._replace(scheme=base.scheme, netloc=base.netloc, fragment=""))
