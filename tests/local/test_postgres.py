"""The embedded Postgres: durable, alone, and found again."""

import multiprocessing
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from penstock.local import binaries
from penstock.local.binaries import reachable_install, server_user, shelter_for
from penstock.local.errors import PostgresError
from penstock.local.ports import LOOPBACK
from penstock.local.postgres import EmbeddedPostgres
from tests.local.conftest import MakeServer

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


def run(dsn: str, statement: str) -> list[tuple[object, ...]]:
    """Run one statement and commit."""
    with closing(psycopg2.connect(dsn)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that has nothing to do with Postgres."""
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def test_kill_9_loses_no_committed_row(make_server: MakeServer) -> None:
    """A committed row survives `kill -9` of the server, and the next start gives the same address."""
    server = make_server(durable=True).start()
    dsn = server.create_database("warehouse")
    run(dsn, "CREATE TABLE kept AS SELECT generate_series(1, 1000) AS number")
    pid = server.pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    server.start()
    assert server.pid() != pid
    assert server.dsn("warehouse") == dsn
    assert run(dsn, "SELECT count(*) FROM kept") == [(1000,)]


def test_a_restart_keeps_port_and_data(make_server: MakeServer) -> None:
    """Another object over the same folder, as in a later command, finds the same server with its data."""
    server = make_server().start()
    dsn = server.create_database("warehouse")
    run(dsn, "CREATE TABLE kept AS SELECT 1 AS number")
    server.stop()
    assert not server.is_running()
    later = EmbeddedPostgres(server.data_dir, durable=False).start()
    assert later.create_database("warehouse") == dsn
    assert run(dsn, "SELECT number FROM kept") == [(1,)]
    pid = server.pid()
    assert server.start().pid() == pid


def test_a_taken_port_is_left_to_its_owner(make_server: MakeServer) -> None:
    """Where somebody else has taken the port meanwhile, the server moves, with its data."""
    server = make_server().start()
    run(server.create_database("warehouse"), "CREATE TABLE kept AS SELECT 1 AS number")
    taken = server.port
    server.stop()
    with socket.create_server((LOOPBACK, taken)):
        server.start()
        assert server.port != taken
        assert run(server.dsn("warehouse"), "SELECT number FROM kept") == [(1,)]


def test_stop_ends_this_server_only(make_server: MakeServer) -> None:
    """Stopping one server leaves another one of the same user alone."""
    first, second = make_server("first").start(), make_server("second").start()
    first.stop()
    assert not first.is_running()
    assert run(second.dsn("postgres"), "SELECT 1") == [(1,)]


def test_a_recycled_process_id_is_nobody_of_ours(make_server: MakeServer, sleeper: subprocess.Popen[bytes]) -> None:
    """A stale lock file that names another program's id neither blocks the start nor gets that program killed."""
    server = make_server().start()
    server.stop()
    (server.cluster / "postmaster.pid").write_text(f"{sleeper.pid}\n{server.cluster}\n", encoding="utf-8")
    server.stop()
    assert sleeper.poll() is None
    assert server.start().is_running()
    assert sleeper.poll() is None


def test_two_starts_at_once_make_one_server(make_server: MakeServer) -> None:
    """Commands started at the same moment agree on one cluster and one server."""
    servers = [make_server() for _ in range(3)]
    threads = [threading.Thread(target=server.start) for server in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({server.pid() for server in servers} - {None}) == 1


def test_secrets_are_for_their_owner_only(make_server: MakeServer) -> None:
    """No file with a secret can be read by another user, and the server wants the password."""
    server = make_server().start()
    for name in ("password", "state.json", "server.log"):
        assert (server.data_dir / name).stat().st_mode & 0o077 == 0, name
    assert server.cluster.stat().st_mode & 0o077 == 0
    wrong = server.dsn("postgres").replace(server.password, "wrong")
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        psycopg2.connect(wrong)


def test_a_lost_password_is_not_papered_over(make_server: MakeServer) -> None:
    """Without its password a cluster is useless, but it is the user who decides to delete it."""
    server = make_server().start()
    server.stop()
    (server.data_dir / "password").unlink()
    with pytest.raises(PostgresError, match="make clean"):
        server.start()
    assert server.cluster.is_dir()


def test_any_name_makes_a_database(make_server: MakeServer) -> None:
    """Names are quoted; a name given twice is one database; without a name each call makes a new one."""
    server = make_server().start()
    name = 'Odd "name" with %s'
    dsn = server.create_database(name)
    assert server.create_database(name) == dsn
    assert run(dsn, "SELECT current_database()") == [(name,)]
    assert server.create_database() != server.create_database()
    server.drop_database(name)
    with pytest.raises(psycopg2.OperationalError, match="does not exist"):
        psycopg2.connect(dsn)


def test_a_broken_setting_is_reported(home: Path) -> None:
    """A server that cannot start says why, at once."""
    server = EmbeddedPostgres(home / "postgres", durable=False, settings={"shared_buffers": "nonsense"})
    with pytest.raises(PostgresError, match="shared_buffers"):
        server.start()


@needs_root
def test_root_may_work_where_nobody_else_can(make_server: MakeServer, tmp_path: Path) -> None:
    """In a folder closed to the server's user, as below /root, data goes to /var/tmp and goes away with `remove`."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    server = make_server(below=closed).start()
    shelter = shelter_for(server.data_dir)
    assert server.cluster.is_relative_to(shelter)
    assert run(server.dsn("postgres"), "SELECT 1") == [(1,)]
    server.remove()
    assert not shelter.exists()
    assert not server.data_dir.exists()


@needs_root
def test_binaries_closed_to_the_server_are_copied(
    make_server: MakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A venv below /root does not stop root: the server runs from a copy of the binaries."""
    original = binaries.bundled_install()
    site_packages = tmp_path / "closed" / "site-packages"
    site_packages.parent.mkdir(mode=0o700)
    site_packages.mkdir()
    for found in original.parent.parent.glob(f"{binaries.PACKAGE}*"):
        (site_packages / found.name).symlink_to(found)
    monkeypatch.setattr(binaries, "bundled_install", lambda: site_packages / binaries.PACKAGE / binaries.INSTALL)
    server = make_server().start()
    pid = server.pid()
    program = Path(f"/proc/{pid}/exe").resolve() if Path("/proc").is_dir() else None
    assert program is None or program.is_relative_to(shelter_for(server.data_dir))
    assert run(server.dsn("postgres"), "SELECT 1") == [(1,)]


@needs_root
def test_an_ordinary_user_needs_no_root(home: Path) -> None:
    """The whole life of a server, from nothing to removed, needs no privilege."""
    user = server_user()
    install = reachable_install(home / "install", user)
    mine = home / "mine"
    mine.mkdir()
    user.own(mine)
    try:
        child = multiprocessing.get_context("fork").Process(target=_live, args=(user, install, mine / "postgres"))
        child.start()
        child.join(60)
        assert child.exitcode == 0
        assert list(mine.iterdir()) == []
    finally:
        EmbeddedPostgres(home / "install").remove()


def _live(user: binaries.ServerUser, install: Path, data_dir: Path) -> None:
    assert user.uid is not None
    assert user.gid is not None
    os.setgroups([])
    os.setgid(user.gid)
    os.setuid(user.uid)
    binaries.bundled_install = lambda: install
    server = EmbeddedPostgres(data_dir, first_port=26632).start()
    try:
        assert run(server.create_database("warehouse"), "SELECT 1") == [(1,)]
        assert server.cluster.stat().st_uid == user.uid
    finally:
        server.remove()
