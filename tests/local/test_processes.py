"""Background processes: started once, found again, ended with all they started and nothing else."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from penstock.local.errors import StackError
from penstock.local.processes import Service, end_recorded, read_record

# A process with a child in its session and one in a session of its own, as Airflow's components have them.
FAMILY = """
import subprocess, sys, time
children = [subprocess.Popen(["sleep", "60"]), subprocess.Popen(["sleep", "60"], start_new_session=True)]
print(*(child.pid for child in children), flush=True)
time.sleep(60)
"""


@pytest.fixture
def folders(tmp_path: Path) -> Iterator[tuple[Path, Path, Path]]:
    """Working folder, records and logs; what was recorded is ended after the test."""
    yield tmp_path, tmp_path / "run", tmp_path / "logs"
    end_recorded(sorted((tmp_path / "run").glob("*.json")), grace_seconds=0)


def make(folders: tuple[Path, Path, Path], code: str = "import time; time.sleep(60)", **environment: str) -> Service:
    """A service that runs `code`."""
    return Service("thing", [sys.executable, "-c", code], {**os.environ, **environment}, folders=folders)


def wait_for(path: Path, word: str = "\n") -> str:
    """The text of `path` once it has `word` in it."""
    for _ in range(500):
        if path.exists() and word in (text := path.read_text(encoding="utf-8")):
            return text
        time.sleep(0.02)
    raise AssertionError(f"{word!r} never came")


def lives(pid: int) -> bool:
    """Tell whether a process is there and no zombie."""
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_a_later_command_finds_it(folders: tuple[Path, Path, Path]) -> None:
    """Another object with the same command and settings sees the running process as its own."""
    make(folders).start()
    assert make(folders).is_current()


def test_other_settings_make_it_stale(folders: tuple[Path, Path, Path]) -> None:
    """A changed setting of Airflow means a restart; the user's other variables do not."""
    make(folders, AIRFLOW__API__PORT="1").start()
    assert make(folders, AIRFLOW__API__PORT="1", TERM="other").is_current()
    assert not make(folders, AIRFLOW__API__PORT="2").is_current()
    assert make(folders, AIRFLOW__API__PORT="2").is_alive()


def test_the_whole_family_is_ended(folders: tuple[Path, Path, Path]) -> None:
    """Children go too, also one that left for a session of its own."""
    service = make(folders, FAMILY)
    service.start()
    family = [int(pid) for pid in wait_for(service.log_file).split()]
    end_recorded([service.record_file], grace_seconds=5)
    assert not any(map(lives, family))
    assert not service.is_alive()
    assert not service.record_file.exists()


def test_orphans_of_a_killed_leader_are_ended(folders: tuple[Path, Path, Path]) -> None:
    """After `kill -9` of the leader, what it left behind in its session is still found."""
    service = make(folders, FAMILY)
    service.start()
    inside, outside = (int(pid) for pid in wait_for(service.log_file).split())
    record = read_record(service.record_file)
    assert record is not None
    os.kill(record.pid, 9)
    end_recorded([service.record_file], grace_seconds=1)
    assert not lives(inside)
    os.kill(outside, 9)


def test_a_recycled_process_id_is_never_signalled(folders: tuple[Path, Path, Path]) -> None:
    """A record whose id now belongs to a program started at another time harms nobody."""
    _, records, _ = folders
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as other:
        records.mkdir()
        started = psutil.Process(other.pid).create_time() - 1000
        record = {"pid": other.pid, "started": started, "fingerprint": ""}
        (records / "thing.json").write_text(json.dumps(record), encoding="utf-8")
        assert not make(folders).is_alive()
        end_recorded([records / "thing.json"], grace_seconds=0)
        assert other.poll() is None
        other.kill()


def test_its_end_is_told_with_its_last_words(folders: tuple[Path, Path, Path]) -> None:
    """A process that ended is reported with the end of its log."""
    service = make(folders, "print('no such thing'); raise SystemExit(1)")
    service.start()
    wait_for(service.log_file)
    for _ in range(200):
        if not service.is_alive():
            break
        time.sleep(0.02)
    with pytest.raises(StackError, match="no such thing"):
        service.check_alive()


def test_the_previous_log_is_kept(folders: tuple[Path, Path, Path]) -> None:
    """A restart does not wipe out why it was needed, and logs are for their owner only."""
    for word in ("first", "second"):
        service = make(folders, f"print({word!r}, flush=True)")
        service.start()
        wait_for(service.log_file, word)
    assert service.log_file.with_suffix(".previous.log").read_text(encoding="utf-8") == "first\n"
    assert service.log_file.stat().st_mode & 0o077 == 0
