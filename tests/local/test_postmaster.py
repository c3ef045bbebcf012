"""The processes of a Postgres server."""

from pathlib import Path

from penstock.local.postmaster import LOCK_FILE, clear_stale_lock, is_ready, kill_server_over, server_over
from tests.local.conftest import MakeServer


def test_no_server_no_trouble(tmp_path: Path) -> None:
    """Where there is no cluster, or a lock file of garbage, there is no server, and nothing to kill."""
    assert server_over(tmp_path / "none") is None
    (tmp_path / LOCK_FILE).write_text("garbage\n", encoding="utf-8")
    assert server_over(tmp_path) is None
    assert not is_ready(tmp_path)
    kill_server_over(tmp_path)
    clear_stale_lock(tmp_path)
    assert not (tmp_path / LOCK_FILE).exists()


def test_the_lock_of_a_living_server_stays(make_server: MakeServer) -> None:
    """A server's lock file is only removed when the server is gone."""
    server = make_server().start()
    clear_stale_lock(server.cluster)
    assert server_over(server.cluster) == server.pid()
    kill_server_over(server.cluster)
    assert server_over(server.cluster) is None
