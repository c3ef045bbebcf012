"""A file is read block by block from wherever it is, and each failure is told apart."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from penstock.core.errors import CredentialsError, PenstockError, SourceError, SourceThrottled, SourceUnavailable
from penstock.hooks import files
from penstock.hooks.files import read_blocks

BODY = bytes(range(256)) * 9000  # more than two blocks


class Handler(BaseHTTPRequestHandler):
    """Answers with the status that stands in the path; a 200 with a body."""

    def do_GET(self) -> None:
        """Answer."""
        status = int(self.path.rsplit("/", 1)[1])
        self.send_response(status)
        body = BODY if status == 200 else b"no"
        if status == 302:
            self.send_header("Location", "/200")
        if status == 429:
            self.send_header("Retry-After", "7")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a web server."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    found = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=found.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{found.server_port}"
    found.shutdown()
    thread.join()
    found.server_close()


def test_the_same_bytes_from_everywhere(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path below the project, an absolute one, a URL of the object storage, a web address and a redirect."""
    (tmp_path / "in file.bin").write_bytes(BODY)
    monkeypatch.setattr(files, "ROOT", tmp_path)
    path = tmp_path / "in file.bin"
    for source in ("in file.bin", str(path), f"file://{path}", f"{server}/200", f"{server}/302"):
        blocks = list(read_blocks(source))
        assert b"".join(blocks) == BODY
        assert len(blocks) > 1


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (404, SourceError),
        (410, SourceError),
        (401, CredentialsError),
        (403, CredentialsError),
        (429, SourceThrottled),
        (500, SourceUnavailable),
        (503, SourceUnavailable),
        (418, SourceError),
    ],
)
def test_each_refusal_of_a_server_is_told_apart(server: str, status: int, error: type[PenstockError]) -> None:
    """The URL and the status are named; only what another try can help is retried."""
    with pytest.raises(error, match=f"{server}/{status}") as caught:
        list(read_blocks(f"{server}/{status}"))
    assert type(caught.value) is error
    if isinstance(caught.value, SourceThrottled):
        assert caught.value.retry_after == 7


def test_a_missing_file_is_named_and_retried(tmp_path: Path) -> None:
    """It may only be late."""
    with pytest.raises(SourceError, match=r"no file .*late\.csv.*Next: ") as caught:
        list(read_blocks(str(tmp_path / "late.csv")))
    assert caught.value.retryable


def test_a_server_that_is_away_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """No connection is a reason to try again."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with pytest.raises(SourceUnavailable, match=r"No answer from http://127\.0\.0\.1:9/x"):
        list(read_blocks("http://127.0.0.1:9/x"))
