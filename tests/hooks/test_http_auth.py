"""Each way to say who we are, against a server that holds us to it; and no secret in an error."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from penstock.core.errors import CredentialsError, PenstockError, SourceUnavailable
from penstock.core.paging import Request
from penstock.hooks import json_api
from penstock.hooks.json_api import JsonApiHook

SECRET = "s3cret-0123456789-0123456789-0123456789"


class Seen:
    """A request as the server saw it."""

    def __init__(self, method: str, path: str, headers: Any, body: bytes) -> None:
        self.method, self.path, self.headers, self.body = method, path, headers, body


class Server(ThreadingHTTPServer):
    """Remembers requests, gives out tokens at `/token`, and takes back those it is told to."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen: list[Seen] = []
        self.tokens: list[dict[str, str]] = []
        self.taken_back: set[str] = set()
        self.token_answer: tuple[int, dict[str, Any]] | None = None
        self.lifetime = 3600


class Handler(BaseHTTPRequestHandler):
    """Answers `[]`."""

    server: Server

    def do_GET(self) -> None:
        """Answer one request."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path == "/token":
            self.give_token({name: values[0] for name, values in parse_qs(body.decode()).items()})
        elif self.headers.get("Authorization") in self.server.taken_back:
            self.answer(401, {})
        else:
            self.server.seen.append(Seen(self.command, self.path, self.headers, body))
            self.answer(200, [])

    do_POST = do_GET  # noqa: N815

    def give_token(self, form: dict[str, str]) -> None:
        """Give out the next token."""
        form["authorization"] = self.headers.get("Authorization", "")
        self.server.tokens.append(form)
        number = len(self.server.tokens)
        token = {"access_token": f"token-number-{number}", "token_type": "bearer", "expires_in": self.server.lifetime}
        self.answer(*(self.server.token_answer or (200, token | {"refresh_token": f"refresh-number-{number}"})))

    def answer(self, status: int, value: Any) -> None:
        """Send JSON."""
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """The server."""
    monkeypatch.setattr(json_api, "_PATIENCE_SECONDS", 0.0)
    found = Server()
    threading.Thread(target=found.serve_forever, args=(0.05,), daemon=True).start()
    yield found
    found.shutdown()
    found.server_close()


@pytest.fixture
def connect(server: Server, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make the connection `api`, and the hook on it."""

    def hook(login: str | None = None, password: str | None = SECRET, **extra: Any) -> JsonApiHook:
        found = {
            "conn_type": "http",
            "host": "127.0.0.1",
            "port": server.server_port,
            "login": login,
            "password": password,
            "extra": json.dumps(extra),
        }
        monkeypatch.setenv("AIRFLOW_CONN_API", json.dumps(found))
        return JsonApiHook("api")

    return hook


def test_none_basic_and_bearer(server: Server, connect: Any) -> None:
    """What the connection holds says which, unless `auth` does."""
    basic = "Basic " + base64.b64encode(f"me:{SECRET}".encode()).decode()
    for extra, sent in (
        ({"password": None}, None),
        ({"auth": "none"}, None),
        ({"login": "me"}, basic),
        ({}, f"Bearer {SECRET}"),
        ({"login": "me", "auth": "bearer"}, f"Bearer {SECRET}"),
        ({"login": "me", "auth": "basic"}, basic),
    ):
        hook = connect(**extra)
        hook.get("/x", {})
        assert server.seen[-1].headers.get("Authorization") == sent
        hook.close()


def test_an_api_key_in_header_or_query(server: Server, connect: Any, caplog: pytest.LogCaptureFixture) -> None:
    """The header's name is the connection's; a key in the query is hidden from checkpoints and log."""
    connect(auth="api_key").get("/x", {})
    assert server.seen[-1].headers["X-API-Key"] == SECRET
    connect(auth="api_key", header="Token").get("/x", {})
    assert server.seen[-1].headers["Token"] == SECRET
    with caplog.at_level("INFO"):
        hook = connect(auth="api_key", query="key")
        hook.ask(Request("/x?a=1", {"b": "2"}))
        answer = hook.ask(Request(f"http://127.0.0.1:{server.server_port}/x?page=2&key=old"))
    assert parse_qs(urlsplit(server.seen[-1].path).query) == {"page": ["2"], "key": [SECRET]}
    assert hook.hidden == {"key"}
    assert SECRET not in caplog.text
    assert SECRET not in answer.url


def test_client_credentials_are_fetched_once_and_before_they_expire(server: Server, connect: Any) -> None:
    """One token serves many requests; one that is near its end is not used again."""
    extra = {"auth": "oauth2", "token_url": f"http://127.0.0.1:{server.server_port}/token", "scope": "read"}
    hook = connect("client", **extra)
    for _ in range(3):
        hook.get("/x", {})
    assert [seen.headers["Authorization"] for seen in server.seen] == ["Bearer token-number-1"] * 3
    assert server.tokens[0]["grant_type"] == "client_credentials"
    assert server.tokens[0]["scope"] == "read"
    assert server.tokens[0]["authorization"].startswith("Basic ")
    server.lifetime = 0
    server.taken_back.add("Bearer token-number-1")  # and one that is taken back is replaced at once
    hook.get("/x", {})
    assert server.seen[-1].headers["Authorization"] == "Bearer token-number-2"


def test_a_refresh_token_is_exchanged_and_replaced(server: Server, connect: Any) -> None:
    """The first is the connection's, the next one is what came with the token."""
    url = f"http://127.0.0.1:{server.server_port}/token"
    hook = connect("client", auth="oauth2", token_url=url, refresh_token="refresh-number-0")
    hook.get("/x", {})
    server.taken_back.add("Bearer token-number-1")
    hook.get("/x", {})
    assert [form["refresh_token"] for form in server.tokens] == ["refresh-number-0", "refresh-number-1"]
    assert {form["grant_type"] for form in server.tokens} == {"refresh_token"}


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((400, {"error": "invalid_client", "error_description": SECRET}), CredentialsError),
        ((200, {"no": "token"}), PenstockError),
        ((503, {}), SourceUnavailable),
        ((200, [1]), SourceUnavailable),
    ],
)
def test_a_token_that_is_refused_is_told(server: Server, connect: Any, answer: Any, error: type[PenstockError]) -> None:
    """With the connection's name, and without what the server repeats of the secret."""
    server.token_answer = answer
    hook = connect("client", auth="oauth2", token_url=f"http://127.0.0.1:{server.server_port}/token")
    with pytest.raises(error, match="token URL of connection 'api'") as caught:
        hook.get("/x", {})
    assert SECRET not in str(caught.value)
    assert server.seen == []


def test_a_jwt_is_signed_with_the_key(server: Server, connect: Any) -> None:
    """Its claims are the connection's, and it lasts for minutes."""
    hook = connect("me", auth="jwt", claims={"aud": "api", "sub": "penstock"}, lifetime=120)
    hook.get("/x", {})
    token = server.seen[-1].headers["Authorization"].removeprefix("Bearer ")
    claims = jwt.decode(token, SECRET, ["HS256"], audience="api")
    assert (claims["iss"], claims["sub"], claims["exp"] - claims["iat"]) == ("me", "penstock", 120)
    with pytest.raises(CredentialsError, match="no JWT can be signed") as caught:
        connect("me", auth="jwt", algorithm="RS256").get("/x", {})
    assert SECRET not in str(caught.value)


def test_an_hmac_is_over_what_is_sent(server: Server, connect: Any) -> None:
    """Method, path with query, time and body; the server computes the same."""
    connect("key-1", auth="hmac").ask(Request("/x", {"a": "b c"}, {"q": 1}))
    seen = server.seen[-1]
    text = f"POST\n{seen.path}\n{seen.headers['X-Timestamp']}\n{hashlib.sha256(seen.body).hexdigest()}"
    assert seen.headers["X-Signature"] == hmac.new(SECRET.encode(), text.encode(), "sha256").hexdigest()
    assert seen.headers["X-Key-Id"] == "key-1"
    extra = {"signed": "{timestamp}{method}{path}{body}", "digest": "sha512", "base64": True}
    connect(auth="hmac", signature_header="Sig", timestamp_header="At", **extra).get("/y", {})
    seen = server.seen[-1]
    mac = hmac.new(SECRET.encode(), f"{seen.headers['At']}GET/y".encode(), "sha512")
    assert seen.headers["Sig"] == base64.b64encode(mac.digest()).decode()


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({"auth": "magic"}, "'magic', none of none, basic"),
        ({"auth": "oauth2"}, "no login, token_url"),
        ({"auth": "api_key", "password": None}, "no password"),
        ({"auth": "hmac", "digest": "md17"}, "no digest"),
        ({"auth": "hmac", "signed": "{nothing}"}, "`signed` names"),
        ({"client_cert": "/no/such/file"}, "cannot be read"),
    ],
)
def test_a_connection_that_lacks_something_is_told_at_once(
    server: Server, connect: Any, extra: dict[str, Any], words: str
) -> None:
    """Before anything is sent, and without the secret."""
    with pytest.raises(CredentialsError, match=words) as caught:
        connect(**extra).get("/x", {})
    assert SECRET not in str(caught.value)
    assert server.seen == []


def certificates(folder: Path) -> None:
    """Write an authority, and a certificate by it for both sides."""
    now = datetime.now(UTC)

    def write(name: str, issuer: str, key: Any, signer: Any, *, authority: bool) -> None:
        built = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
            .sign(signer, hashes.SHA256())
        )
        (folder / f"{name}.pem").write_bytes(built.public_bytes(serialization.Encoding.PEM))
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (folder / f"{name}.key").write_bytes(private)

    authority, peer = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    write("authority", "authority", authority, authority, authority=True)
    write("peer", "authority", peer, authority, authority=False)


def test_mutual_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server asks for our certificate, and we hold it to an authority of our own."""
    monkeypatch.setattr(json_api, "_PATIENCE_SECONDS", 0.0)
    certificates(tmp_path)
    server = Server()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=tmp_path / "authority.pem")
    context.load_cert_chain(tmp_path / "peer.pem", tmp_path / "peer.key")
    context.verify_mode = ssl.CERT_REQUIRED
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    files = {"client_cert": str(tmp_path / "peer.pem"), "client_key": str(tmp_path / "peer.key")}
    found = {"conn_type": "http", "schema": "https", "host": "localhost", "port": server.server_port}
    try:
        for extra, known in (({"ca": str(tmp_path / "authority.pem")}, False), ({}, False), (files, True)):
            more = {**extra, **({"ca": str(tmp_path / "authority.pem")} if known else {})}
            monkeypatch.setenv("AIRFLOW_CONN_API", json.dumps({**found, "extra": json.dumps(more)}))
            hook = JsonApiHook("api")
            if known:
                assert hook.get("/x", {}) == []
            else:
                with pytest.raises(SourceUnavailable):
                    hook.get("/x", {})
            hook.close()
    finally:
        server.shutdown()
        server.server_close()
