"""What went wrong in a task: its last error, and where the whole log is."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from penstock.airflow_api import AirflowApi
from penstock.local.demo.work import Run

LONGEST = 600


@dataclass(frozen=True)
class Failure:
    """A task that failed for good."""

    run: Run
    task_id: str
    error: str
    log_file: Path

    def text(self, dataset: str) -> str:
        """Two lines for a person."""
        return f"{dataset} {self.run.key}: task {self.task_id} failed: {self.error}\n  log: {self.log_file}"


def failures_of(run: Run, api: AirflowApi, logs: Path) -> list[Failure]:
    """The failed tasks of `run`; the ones that were only held up by them are left out."""
    found = api.get(f"dags/{run.dag_id}/dagRuns/{run.run_id}/taskInstances", state="failed")
    return [_failure(run, task, logs) for task in found["task_instances"]]


def _failure(run: Run, task: Mapping[str, Any], logs: Path) -> Failure:
    folder = logs / f"dag_id={run.dag_id}" / f"run_id={run.run_id}" / f"task_id={task['task_id']}"
    file = folder / f"attempt={task['try_number']}.log"
    return Failure(run, task["task_id"], last_error(file), file)


def last_error(log_file: Path) -> str:
    """The last error in a task's log, in one paragraph."""
    try:
        lines = log_file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "it left no log; its process may have been killed"
    for line in reversed(lines):
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and event.get("level") in ("error", "critical", "exception"):
            return _describe(event)[:LONGEST]
    return lines[-1][:LONGEST] if lines else "its log is empty"


def _describe(event: Mapping[str, Any]) -> str:
    for detail in event.get("error_detail") or []:
        if detail.get("exc_value"):
            return f"{detail.get('exc_type')}: {detail['exc_value']}"
    return str(event.get("event"))
