"""The JSON API hook against httpbin: who we say we are, packed bodies, statuses, redirects, slow answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from penstock.core.errors import CredentialsError, SourceError, SourceThrottled, SourceUnavailable
from penstock.hooks import json_api
from penstock.hooks.json_api import JsonApiHook

Connect = Callable[..., JsonApiHook]


@pytest.fixture
def connect(httpbin: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connect]:
    """A hook on a connection to the server."""
    made: list[JsonApiHook] = []
    host, port = httpbin.split(":")
    monkeypatch.setattr(json_api, "_PATIENCE_SECONDS", 0.0)

    def hook(**more: Any) -> JsonApiHook:
        monkeypatch.setenv(
            "AIRFLOW_CONN_BIN", json.dumps({"conn_type": "http", "host": host, "port": int(port), **more})
        )
        made.append(JsonApiHook("bin"))
        return made[-1]

    yield hook
    for one in made:
        one.close()


def test_the_server_knows_us(connect: Connect) -> None:
    """Basic and bearer are what it takes them for; a wrong password is told, and not shown."""
    assert connect(login="ann", password="p:w ü").get("/basic-auth/ann/p:w ü", {})["user"] == "ann"
    assert connect(password="t0ken").get("/bearer", {}) == {"authenticated": True, "token": "t0ken"}
    key = connect(password="k3y", extra={"auth": "api_key", "header": "X-Key"}).get("/headers", {})
    assert key["headers"]["X-Key"] == "k3y"
    assert connect(password="k3y", extra={"auth": "api_key", "query": "key"}).get("/get", {"a": "1"})["args"] == {
        "a": "1",
        "key": "k3y",
    }
    with pytest.raises(CredentialsError) as caught:
        connect(login="ann", password="wrong-4711").get("/basic-auth/ann/right", {})
    assert "4711" not in str(caught.value)


@pytest.mark.parametrize("packing", ["gzip", "deflate", "brotli"])
def test_packed_answers_are_unpacked(connect: Connect, packing: str) -> None:
    """In each way that the server packs them."""
    packed = {"gzip": "gzipped", "deflate": "deflated"}.get(packing, packing)
    assert connect().get(f"/{packing}", {})[packed] is True


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/status/429", SourceThrottled),
        ("/status/503", SourceUnavailable),
        ("/status/500", SourceUnavailable),
        ("/status/404", SourceError),
        ("/status/418", SourceError),
        ("/redirect/1", SourceError),
        ("/html", SourceError),
        ("/xml", SourceError),
        ("/image/png", SourceError),
        ("/deny", SourceError),
        ("/drip?duration=0&numbytes=10&code=200", SourceError),
    ],
)
def test_what_is_no_answer_is_told(connect: Connect, path: str, error: type[Exception]) -> None:
    """Each status and each body that is no JSON has its error."""
    with pytest.raises(error):
        connect().get(path, {})


def test_a_slow_answer_is_given_up(connect: Connect) -> None:
    """After the connection's own time-out; worth a retry."""
    with pytest.raises(SourceUnavailable, match="ReadTimeout"):
        connect(extra={"timeout": 0.3}).get("/delay/3", {})


def test_parameters_and_bodies_arrive(connect: Connect) -> None:
    """Whatever is in them."""
    odd = {"a b": "ü&=?#", "since": "2026-01-05T00:00:00+00:00"}
    assert connect().get("/get", odd)["args"] == odd


def test_the_connection_can_be_tried(connect: Connect) -> None:
    """What *Test* in the web UI shows."""
    assert connect(extra={"test_path": "/status/200"}).test_connection()[0]
    assert not connect(extra={"test_path": "/status/401"}).test_connection()[0]
