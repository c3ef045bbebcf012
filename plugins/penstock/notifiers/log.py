"""Tell the log about a failed task, in one line that can be searched for."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseNotifier

from penstock.core.errors import PenstockError

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context

log = logging.getLogger(__name__)


def describe_failure(context: Context) -> dict[str, Any]:
    """Return what a person needs to know first about a failed task.

    Returns:
        `dag`, `task`, `run`, `try_number`, `dataset`, `slice`, `error` (the error's class), `message` and
        `next_step`; a value that is not known is None.
    """
    error = context.get("exception")
    ti = context["ti"]
    known = error if isinstance(error, PenstockError) else None
    return {
        "dag": ti.dag_id,
        "task": ti.task_id,
        "run": context["run_id"],
        "try_number": ti.try_number,
        "dataset": getattr(context.get("task"), "dataset", None),
        "slice": (known and known.slice_key) or context.get("partition_key"),
        "error": type(error).__name__ if isinstance(error, BaseException) else None,
        "message": known.message if known else str(error),
        "next_step": known.next_step if known else "read the task's log; clear the task once the cause is mended.",
    }


class LogNotifier(BaseNotifier):
    """Writes one line at level ERROR for each task that has failed for good."""

    def notify(self, context: Context) -> None:
        """Write the line."""
        facts = describe_failure(context)
        log.error("Task failed for good: %s", " ".join(f"{name}={value!r}" for name, value in facts.items()))
