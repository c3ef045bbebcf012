"""What a person is told of a failed task."""

import logging
from types import SimpleNamespace
from typing import Any

import pytest

from penstock.core.errors import SliceRefused
from penstock.notifiers.log import LogNotifier, describe_failure

REFUSED = SliceRefused("7 of 10 rows", dataset="commerce/orders", slice_key="2010-09-20", next_step="raise the budget")


def _context(error: BaseException) -> Any:
    return {
        "exception": error,
        "run_id": "manual__1",
        "partition_key": "2010-09-20",
        "ti": SimpleNamespace(dag_id="commerce_orders", task_id="validate", try_number=1),
        "task": SimpleNamespace(dataset="commerce/orders"),
    }


def test_names_dataset_slice_error_and_next_step() -> None:
    """All that is needed at 3 a.m. is there, without the traceback."""
    facts = describe_failure(_context(REFUSED))
    assert (facts["dataset"], facts["slice"], facts["error"]) == ("commerce/orders", "2010-09-20", "SliceRefused")
    assert (facts["message"], facts["next_step"]) == ("7 of 10 rows", "raise the budget")


def test_knows_dataset_and_slice_of_any_error() -> None:
    """An error that is not Penstock's is told with dataset and slice all the same, and with a next step."""
    facts = describe_failure(_context(RuntimeError("boom")))
    assert (facts["dataset"], facts["slice"], facts["message"]) == ("commerce/orders", "2010-09-20", "boom")
    assert facts["next_step"]


def test_writes_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """The notifier writes one line at level ERROR."""
    with caplog.at_level(logging.ERROR):
        LogNotifier().notify(_context(REFUSED))
    assert len(caplog.records) == 1
    assert "slice='2010-09-20'" in caplog.text
