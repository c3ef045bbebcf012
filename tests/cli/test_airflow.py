"""Where the command line looks for Airflow."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from penstock.cli.airflow import airflow_api
from penstock.core.errors import AirflowApiError
from penstock.local.ports import free_port


class Healthy(BaseHTTPRequestHandler):
    """Answers as an API server does that is up, and keeps the token it is asked with."""

    asked: list[str | None] = []  # noqa: RUF012 - one server at a time

    def do_GET(self) -> None:
        """Answer."""
        self.asked.append(self.headers.get("Authorization"))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"metadatabase": {"status": "healthy"}}')

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[str]:
    """The address of a server that says it is up."""
    found = HTTPServer(("127.0.0.1", 0), Healthy)
    thread = threading.Thread(target=found.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{found.server_port}"
    finally:
        found.shutdown()
        thread.join()
        found.server_close()


@pytest.fixture
def nowhere(tmp_path: Path) -> dict[str, str]:
    """An environment without a local stack."""
    return {"PENSTOCK_HOME": str(tmp_path / "none"), "NO_PROXY": "127.0.0.1"}


def test_the_environment_says_where_and_who(server: str, nowhere: dict[str, str]) -> None:
    """An address with an account or a token is used, and the token is sent."""
    account = {"PENSTOCK_AIRFLOW_USER": "me", "PENSTOCK_AIRFLOW_PASSWORD": "secret-4711"}
    with airflow_api(nowhere | {"PENSTOCK_AIRFLOW_URL": server} | account) as api:
        assert api.url == server
    with airflow_api(nowhere | {"PENSTOCK_AIRFLOW_URL": f"{server}/", "PENSTOCK_AIRFLOW_TOKEN": "t0ken"}) as api:
        api.get("dags")
    assert Healthy.asked[-1] == "Bearer t0ken"


def test_what_is_missing_is_named(server: str, nowhere: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """No address, no account, no answer: each error names the variable to set."""
    monkeypatch.setenv("PENSTOCK_HOME", nowhere["PENSTOCK_HOME"])
    with (
        pytest.raises(AirflowApiError, match=r"Nobody says where .* export PENSTOCK_AIRFLOW_URL"),
        airflow_api(nowhere),
    ):
        pass
    with (
        pytest.raises(AirflowApiError, match="export PENSTOCK_AIRFLOW_USER and PENSTOCK_AIRFLOW_PASSWORD"),
        airflow_api(nowhere | {"PENSTOCK_AIRFLOW_URL": server}),
    ):
        pass
    away = f"http://127.0.0.1:{free_port(29100)}"
    with (
        pytest.raises(AirflowApiError, match=f"{away} does not answer"),
        airflow_api(nowhere | {"PENSTOCK_AIRFLOW_URL": away, "PENSTOCK_AIRFLOW_TOKEN": "x"}),
    ):
        pass
