"""Background processes that outlive the command that started them, and can be found and ended by a later one.

Each runs in a session of its own, so Ctrl-C in the terminal does not reach it and all its descendants can be
found. A record (process id and start time) says what was started: an id that has since become another
program's is never signalled.
"""

import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import psutil

from penstock.local.errors import StackError
from penstock.local.secrets_store import write_private

# Start times are computed from the boot time, which moves a little when the clock is set.
START_TOLERANCE_SECONDS = 2.0
STRAGGLER_SECONDS = 2.0
KILL_SECONDS = 5.0
LOG_TAIL_BYTES = 3000
# Settings that a running process was started with and would have to be restarted for.
FINGERPRINTED = ("AIRFLOW", "PENSTOCK_", "ENERGY_API_")


@dataclass(frozen=True)
class Record:
    """What is known of a started process."""

    pid: int
    started: float
    fingerprint: str


class Service:
    """One background process with its record and its log.

    Args:
        name: names the record and the log file.
        command: the program and its arguments.
        environment: the whole environment of the process.
        version: changes when the process would have to be restarted for another reason, such as new code.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        folders: tuple[Path, Path, Path],
        version: str = "",
    ) -> None:
        self.name = name
        self.command = list(command)
        self.environment = dict(environment)
        self.cwd, records, logs = folders
        self.record_file = records / f"{name}.json"
        self.log_file = logs / f"{name}.log"
        relevant = sorted((key, value) for key, value in environment.items() if key.startswith(FINGERPRINTED))
        self.fingerprint = sha256(json.dumps([self.command, relevant, version]).encode()).hexdigest()
        self._child: subprocess.Popen[bytes] | None = None

    @staticmethod
    def runs(record_file: Path) -> bool:
        """Tell whether the process recorded in `record_file` runs."""
        record = read_record(record_file)
        return record is not None and _leader(record) is not None

    def is_current(self) -> bool:
        """Tell whether the process runs, and was started as it would be now."""
        record = read_record(self.record_file)
        return record is not None and record.fingerprint == self.fingerprint and _leader(record) is not None

    def is_alive(self) -> bool:
        """Tell whether the process runs."""
        if self._child is not None and self._child.poll() is not None:
            return False
        return self.runs(self.record_file)

    def check_alive(self) -> None:
        """Make sure that the process runs.

        Raises:
            StackError: with the end of its log.
        """
        if not self.is_alive():
            raise StackError(f"{self.name} ended; {self.log_file} says:\n{self.log_tail()}")

    def start(self) -> None:
        """Start the process, its output going to its log; the previous log is kept beside it."""
        for folder in (self.record_file.parent, self.log_file.parent):
            folder.mkdir(parents=True, exist_ok=True)
        if self.log_file.exists():
            self.log_file.replace(self.log_file.with_suffix(".previous.log"))
        descriptor = os.open(self.log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "ab") as log:
            self._child = subprocess.Popen(
                self.command,
                cwd=self.cwd,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        started = psutil.Process(self._child.pid).create_time()
        record = {"pid": self._child.pid, "started": started, "fingerprint": self.fingerprint}
        write_private(self.record_file, json.dumps(record))

    def log_tail(self) -> str:
        """The end of the log, from a line's beginning."""
        with suppress(FileNotFoundError):
            text = self.log_file.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace")
            return text.strip() if len(text) < LOG_TAIL_BYTES else text.partition("\n")[2].strip()
        return ""


def read_record(path: Path) -> Record | None:
    """The record in `path`, if there is a sound one."""
    with suppress(FileNotFoundError, ValueError, KeyError, TypeError):
        found = json.loads(path.read_text(encoding="utf-8"))
        return Record(int(found["pid"]), float(found["started"]), str(found["fingerprint"]))
    return None


def end_recorded(record_files: Sequence[Path], *, grace_seconds: float) -> None:
    """End the recorded processes with all they started: asked first, all at once, then killed."""
    records = [record for path in record_files if (record := read_record(path))]
    members = [member for record in records for member in _members(record)]
    # The leaders first: a scheduler whose workers were sent away before it waits for them in vain.
    leaders = [leader for record in records if (leader := _leader(record))]
    _send(leaders, signal.SIGTERM)
    _wait(leaders, grace_seconds)
    # What was started between the look and the signal is found now.
    members += [member for record in records for member in _members(record)]
    _send(members, signal.SIGTERM)
    _wait(members, min(grace_seconds, STRAGGLER_SECONDS))
    _send(members, signal.SIGKILL)
    _wait(members, KILL_SECONDS)
    for path in record_files:
        path.unlink(missing_ok=True)


def _send(processes: Sequence[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        # psutil itself checks the start time once more before it signals.
        with suppress(psutil.Error):
            process.send_signal(number)


def _wait(processes: Sequence[psutil.Process], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and any(_lives(process) for process in processes):
        time.sleep(0.05)


def _lives(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def _leader(record: Record) -> psutil.Process | None:
    """The recorded process if it lives: its id alone might be another program's by now."""
    with suppress(psutil.Error):
        process = psutil.Process(record.pid)
        same = abs(process.create_time() - record.started) < START_TOLERANCE_SECONDS
        return process if same and _lives(process) else None
    return None


def _members(record: Record) -> list[psutil.Process]:
    """The recorded process and everything it started that lives, also where it is dead itself.

    Children stay in its session; those that left for another one are found as descendants. A session keeps
    its number reserved while any member lives, so members of a dead leader's session are its own unless they
    are older than it.
    """
    leader = _leader(record)
    found: dict[int, psutil.Process] = {}
    if leader is not None:
        with suppress(psutil.Error):
            found.update((process.pid, process) for process in [leader, *leader.children(recursive=True)])
    elif psutil.pid_exists(record.pid):
        reused = psutil.Process(record.pid)
        with suppress(psutil.Error):
            if reused.status() != psutil.STATUS_ZOMBIE:
                return []
    for process in psutil.process_iter():
        with suppress(psutil.Error, ProcessLookupError, PermissionError):
            older = process.create_time() < record.started - START_TOLERANCE_SECONDS
            if os.getsid(process.pid) == record.pid and not older:
                found[process.pid] = process
    return list(found.values())
