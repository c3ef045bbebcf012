"""Who we are to an HTTP API: told by its connection, never by a DAG.

The extra's `auth` names the way; without it a login and password are basic, and a password alone is a bearer token.
docs/apis.md lists what belongs to each.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import threading
import time
from collections.abc import Callable, Generator, Mapping
from typing import TYPE_CHECKING, Any, Final

import airflow.sdk.log

from penstock.core.errors import CredentialsError, SourceUnavailable

if TYPE_CHECKING:
    import ssl

    import httpx
    from airflow.sdk import Connection

_LEEWAY_SECONDS: Final = 60
_JWT_SECONDS: Final = 300
_SIGNED: Final = "{method}\n{path}\n{timestamp}\n{body_sha256}"


def auth_of(connection: Connection) -> httpx.Auth | None:
    """Return what signs the requests of a connection.

    Raises:
        CredentialsError: The connection lacks what the way needs, or names a way that is not known.
    """
    way = connection.extra_dejson.get("auth")
    if not way:  # a form sends what was left empty as an empty text
        way = ("basic" if connection.login else "bearer") if connection.password else "none"
    if way not in _WAYS:
        known = ", ".join(_WAYS)
        raise CredentialsError(f"The extra's `auth` of {connection.conn_id!r} is {str(way)!r}, none of {known}.")
    return _WAYS[way](connection)


def tls_of(extra: Mapping[str, Any]) -> ssl.SSLContext | bool:
    """Return how to speak TLS: with an authority of one's own (`ca`), as a known client (`client_cert`).

    Raises:
        CredentialsError: A file is missing or is not what it should be.
    """
    import ssl

    if not extra.get("ca") and not extra.get("client_cert"):
        return True
    try:
        context = ssl.create_default_context(cafile=extra.get("ca"))
        if extra.get("client_cert"):
            context.load_cert_chain(extra["client_cert"], extra.get("client_key"), extra.get("client_key_password"))
    except (OSError, ValueError) as error:
        raise CredentialsError(
            f"`ca`, `client_cert` or `client_key` cannot be read: {type(error).__name__}: {error}.",
            next_step="correct the files that the connection's extra names, clear the task.",
        ) from error
    return context


def _needed(connection: Connection, *names: str) -> list[str]:
    """Return the values of login, password or keys of the extra, all of which must be there."""
    values = [getattr(connection, n) if n in ("login", "password") else connection.extra_dejson.get(n) for n in names]
    missing = [name for name, value in zip(names, values, strict=True) if not value]
    if missing:
        raise CredentialsError(
            f"Connection {connection.conn_id!r} has no {', '.join(missing)}.",
            next_step="complete the connection and clear the task.",
        )
    return [str(value) for value in values]


def _basic(connection: Connection) -> httpx.Auth:
    import httpx

    (login,) = _needed(connection, "login")
    return httpx.BasicAuth(login, connection.password or "")


def _bearer(connection: Connection) -> httpx.Auth:
    (token,) = _needed(connection, "password")
    return _signing(lambda request: request.headers.update({"Authorization": f"Bearer {token}"}))


def _api_key(connection: Connection) -> httpx.Auth:
    (key,) = _needed(connection, "password")
    query = connection.extra_dejson.get("query")
    header = connection.extra_dejson.get("header", "X-API-Key")

    def sign(request: httpx.Request) -> None:
        if query:
            request.url = request.url.copy_set_param(query, key)
        else:
            request.headers[header] = key

    return _signing(sign)


def _jwt(connection: Connection) -> httpx.Auth:
    """Sign a token of our own (RFC 7519); the password is the key: a shared secret, or a private key as PEM."""
    (key,) = _needed(connection, "password")
    extra = connection.extra_dejson
    lifetime = int(extra.get("lifetime", _JWT_SECONDS))
    kept: dict[str, Any] = {"token": "", "until": 0.0}

    def sign(request: httpx.Request) -> None:
        import jwt

        now = time.time()
        if kept["until"] <= now:
            claims = {"iss": connection.login, "iat": int(now), "exp": int(now) + lifetime, **extra.get("claims", {})}
            try:
                kept["token"] = jwt.encode(
                    {name: value for name, value in claims.items() if value is not None},
                    key,
                    extra.get("algorithm", "HS256"),
                    extra.get("jwt_headers"),
                )
            except (jwt.PyJWTError, ValueError, TypeError, NotImplementedError) as error:
                raise CredentialsError(
                    f"Connection {connection.conn_id!r}: no JWT can be signed with its key ({type(error).__name__}).",
                    next_step="correct `algorithm` and the key, which is the password; clear the task.",
                ) from None
            kept["until"] = now + lifetime / 2
            airflow.sdk.log.mask_secret(kept["token"])
        request.headers["Authorization"] = f"Bearer {kept['token']}"

    return _signing(sign)


def _hmac(connection: Connection) -> httpx.Auth:
    """Sign each request with a shared secret; what is signed and where it goes differs from API to API."""
    (secret,) = _needed(connection, "password")
    extra = connection.extra_dejson
    digest = str(extra.get("digest", "sha256"))
    if digest not in hashlib.algorithms_guaranteed or digest.startswith("shake"):
        raise CredentialsError(f"Connection {connection.conn_id!r}: {digest!r} is no digest for an HMAC.")

    def sign(request: httpx.Request) -> None:
        stamp = str(int(time.time()))
        parts = {
            "method": request.method,
            "path": request.url.raw_path.decode("ascii"),
            "timestamp": stamp,
            "body": request.content.decode("utf-8", "replace"),
            "body_sha256": hashlib.sha256(request.content).hexdigest(),
            "key_id": connection.login or "",
        }
        try:
            text = str(extra.get("signed", _SIGNED)).format(**parts)
        except (KeyError, IndexError, ValueError) as error:
            raise CredentialsError(
                f"Connection {connection.conn_id!r}: `signed` names {error}, none of {', '.join(parts)}."
            ) from None
        mac = hmac.new(secret.encode(), text.encode(), digest)
        signature = base64.b64encode(mac.digest()).decode() if extra.get("base64") else mac.hexdigest()
        request.headers[extra.get("signature_header", "X-Signature")] = signature
        request.headers[extra.get("timestamp_header", "X-Timestamp")] = stamp
        if connection.login:
            request.headers[extra.get("key_header", "X-Key-Id")] = connection.login

    return _signing(sign)


def _signing(sign: Callable[[httpx.Request], None]) -> httpx.Auth:
    import httpx

    class Signing(httpx.Auth):
        requires_request_body = True

        def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response]:
            sign(request)
            yield request

    return Signing()


def _oauth2(connection: Connection) -> httpx.Auth:
    """Fetch tokens by client credentials, or by a refresh token (RFC 6749, sections 4.4 and 6), before they expire."""
    import httpx

    class OAuth2(httpx.Auth):
        def __init__(self) -> None:
            self.token = ""
            self.until = 0.0
            self.refresh = connection.extra_dejson.get("refresh_token")
            self.lock = threading.Lock()

        def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response]:
            with self.lock:  # a refresh token may be good for one use
                fresh = self.until <= time.monotonic()
                if fresh:
                    self._renew()
                token = self.token
            request.headers["Authorization"] = f"Bearer {token}"
            response = yield request
            if response.status_code == httpx.codes.UNAUTHORIZED and not fresh:  # taken back before its time
                with self.lock:
                    if self.token == token:
                        self._renew()
                request.headers["Authorization"] = f"Bearer {self.token}"
                yield request

        def _renew(self) -> None:
            found = _token(connection, self.refresh)
            self.token = str(found["access_token"])
            self.refresh = found.get("refresh_token") or self.refresh
            lifetime = float(found.get("expires_in") or _JWT_SECONDS)
            self.until = time.monotonic() + max(lifetime - _LEEWAY_SECONDS, lifetime / 2)
            for secret in (self.token, self.refresh):
                if secret:
                    airflow.sdk.log.mask_secret(secret)

    _needed(connection, "login", "token_url")
    return OAuth2()


def _token(connection: Connection, refresh: str | None) -> Mapping[str, Any]:
    import httpx
    from authlib.integrations.base_client import OAuthError
    from authlib.integrations.httpx_client import OAuth2Client

    extra, url = connection.extra_dejson, connection.extra_dejson["token_url"]
    more = {name: extra[name] for name in ("audience", "resource") if name in extra}
    said = f"The token URL of connection {connection.conn_id!r}"
    try:
        with OAuth2Client(
            connection.login,
            connection.password,
            token_endpoint_auth_method=extra.get("client_auth", "client_secret_basic"),
            scope=extra.get("scope"),
            timeout=30.0,
            verify=tls_of(extra),
        ) as client:
            if refresh:
                found = client.refresh_token(url, refresh_token=refresh, **more)
            else:
                found = client.fetch_token(url, grant_type="client_credentials", **more)
        if not found.get("access_token"):
            raise ValueError("no access_token")  # noqa: TRY301
    except OAuthError as error:
        raise CredentialsError(
            f"{said} refused us: {str(error.error)[:80]}.",
            next_step="correct login (client id), password (client secret) or refresh_token; clear the task.",
        ) from None
    except httpx.HTTPStatusError as error:
        raise SourceUnavailable(f"{said} answered {error.response.status_code}.") from None
    except httpx.TransportError as error:
        raise SourceUnavailable(f"{said} does not answer: {type(error).__name__}.") from None
    except (ValueError, AttributeError, TypeError, httpx.HTTPError) as error:
        raise SourceUnavailable(f"{said} did not answer with a token ({type(error).__name__}).") from None
    return dict(found)


_WAYS: Final[dict[str, Callable[[Connection], httpx.Auth | None]]] = {
    "none": lambda _: None,
    "basic": _basic,
    "bearer": _bearer,
    "api_key": _api_key,
    "oauth2": _oauth2,
    "jwt": _jwt,
    "hmac": _hmac,
}
