"""What is said of a failed task."""

import json
from pathlib import Path

from penstock.local.demo.failures import Failure, last_error
from penstock.local.demo.work import Run


def write(tmp_path: Path, *events: object) -> Path:
    """A task's log with these events."""
    path = tmp_path / "attempt=1.log"
    lines = [event if isinstance(event, str) else json.dumps(event) for event in events]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_the_last_error_is_the_exception(tmp_path: Path) -> None:
    """The exception's type and text are told, not the events around it, nor lines that are no events."""
    detail = [{"exc_type": "SliceRefused", "exc_value": "12 of 100 rows break amount_positive"}]
    path = write(
        tmp_path,
        {"event": "first", "level": "error"},
        {"event": "Task failed with exception", "level": "error", "error_detail": detail},
        {"event": "cleaning up", "level": "info"},
        "no event",
        "[1]",
    )
    assert last_error(path) == "SliceRefused: 12 of 100 rows break amount_positive"


def test_without_an_exception_the_event_is_told(tmp_path: Path) -> None:
    """An error that is only an event, and a log without errors, still say something."""
    assert last_error(write(tmp_path, {"event": "killed by signal 9", "level": "critical"})) == "killed by signal 9"
    assert last_error(write(tmp_path, "just text")) == "just text"
    assert "empty" in last_error(write(tmp_path))


def test_no_log_is_told_as_such(tmp_path: Path) -> None:
    """A process that was killed before it could write leaves no log."""
    assert "no log" in last_error(tmp_path / "none.log")


def test_a_failure_names_dataset_slice_task_and_log() -> None:
    """Everything needed to look further is in its two lines."""
    run = Run("commerce_order_lines", "run", "2010-09-20", "failed")
    text = Failure(run, "validate", "SliceRefused: too many", Path("/logs/attempt=1.log")).text("commerce/order_lines")
    assert text == (
        "commerce/order_lines 2010-09-20: task validate failed: SliceRefused: too many\n  log: /logs/attempt=1.log"
    )
