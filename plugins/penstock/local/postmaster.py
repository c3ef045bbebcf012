"""The processes of a Postgres server: make its cluster, spawn it, find it again, end it."""

import os
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import psutil

from penstock.local.binaries import ServerUser
from penstock.local.errors import PostgresError
from penstock.local.ports import LOOPBACK

SUPERUSER = "penstock"
LOCK_FILE = "postmaster.pid"
READY_LINE = 7

SETTINGS: Mapping[str, str] = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "work_mem": "32MB",
    "maintenance_work_mem": "256MB",
    "max_wal_size": "4GB",
    "min_wal_size": "256MB",
    "checkpoint_timeout": "15min",
    # Compiling a plan costs more than the short queries of Airflow and of a slice take.
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %d ",
    "log_checkpoints": "off",
    # A container's /dev/shm is often 64 MB: too small for the memory that parallel queries share there.
    "dynamic_shared_memory_type": "mmap",
}
# For tests only: the loss of power would lose data, `kill -9` would not.
NOT_DURABLE: Mapping[str, str] = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


def initialise(initdb: Path, cluster: Path, *, user: ServerUser, password_file: Path, durable: bool) -> None:
    """Make a new cluster in the empty folder `cluster`.

    Raises:
        PostgresError: with what initdb said.
    """
    options = {
        "--pgdata": str(cluster),
        "--username": SUPERUSER,
        "--pwfile": str(password_file),
        "--auth": "scram-sha-256",
        "--encoding": "UTF8",
        # The builtin provider sorts the same on every machine and version of libc.
        "--locale-provider": "builtin",
        "--builtin-locale": "C.UTF-8",
        "--locale": "C",
    }
    command = [str(initdb), *(f"{name}={value}" for name, value in options.items()), "--no-instructions"]
    done = subprocess.run(  # type: ignore[call-overload]
        [*command, *([] if durable else ["--no-sync"])],
        cwd="/",
        env=_environment(),
        capture_output=True,
        text=True,
        check=False,
        **user.popen_arguments(),
    )
    if done.returncode != 0:
        raise PostgresError(f"initdb failed in {cluster}:\n{done.stdout}{done.stderr}".rstrip())


def spawn(
    postgres: Path, cluster: Path, *, user: ServerUser, settings: Mapping[str, str], log_file: Path
) -> subprocess.Popen[bytes]:
    """Start the server over `cluster` in a session of its own: Ctrl-C in the terminal is not meant for it."""
    arguments = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    descriptor = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "ab") as log:
        child: subprocess.Popen[bytes] = subprocess.Popen(  # type: ignore[call-overload]
            [str(postgres), "-D", str(cluster), *arguments],
            cwd="/",
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            umask=0o077,
            **user.popen_arguments(),
        )
    return child


def server_over(cluster: Path) -> int | None:
    """The process id of the living server over this very cluster; never a recycled process id."""
    with suppress(psutil.Error, ValueError, IndexError):
        process = psutil.Process(int(_lock_file_lines(cluster)[0]))
        if process.status() != psutil.STATUS_ZOMBIE and str(cluster) in process.cmdline():
            return process.pid
    return None


def is_ready(cluster: Path) -> bool:
    """Tell whether the server over `cluster` lives and accepts connections."""
    lines = _lock_file_lines(cluster)
    ready = len(lines) > READY_LINE and lines[READY_LINE].strip() == "ready"
    return ready and server_over(cluster) is not None


def clear_stale_lock(cluster: Path) -> None:
    """Remove the lock file of a server that is dead, or whose process id is now another program's.

    Postgres refuses to start while *any* process has that id, a zombie included. It stays safe from backends
    that outlive their server: those hold the cluster's shared memory, which it checks for itself.
    """
    if server_over(cluster) is None:
        (cluster / LOCK_FILE).unlink(missing_ok=True)


def kill_server_over(cluster: Path) -> None:
    """End a server whose data is about to be deleted."""
    pid = server_over(cluster)
    if pid is not None:
        with suppress(ProcessLookupError, psutil.Error):
            os.kill(pid, signal.SIGQUIT)
            psutil.Process(pid).wait(timeout=10)


def _lock_file_lines(cluster: Path) -> list[str]:
    with suppress(FileNotFoundError, NotADirectoryError):
        return (cluster / LOCK_FILE).read_text(encoding="utf-8").splitlines()
    return []


def _environment() -> dict[str, str]:
    """A bare environment: the user's PG* variables and locale are not meant for this server."""
    return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
