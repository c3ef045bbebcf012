"""Which runs are missing, and how they are made: `airflow backfill create`, and clearing what failed before."""

import subprocess
import sys
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from penstock.airflow_api import AirflowApi
from penstock.local.demo.pipelines import PIPELINES
from penstock.local.errors import DemoError
from penstock.local.stack import Stack

UNFINISHED = ("queued", "running")
MAX_ACTIVE_RUNS = "4"
PAGE = 100


@dataclass(frozen=True)
class Run:
    """A run of a DAG for a slice."""

    dag_id: str
    run_id: str
    key: str | None
    state: str

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> "Run":
        """The run in an answer of Airflow's API."""
        return cls(found["dag_id"], found["dag_run_id"], found["partition_key"], found["state"])


@dataclass(frozen=True)
class Backfill:
    """A call of `airflow backfill create`."""

    dag_id: str
    first: str
    last: str
    reprocess: str

    def arguments(self) -> list[str]:
        """The command's arguments, without `airflow`."""
        span = ["--from-date", self.first, "--to-date", self.last]
        limits = ["--reprocess-behavior", self.reprocess, "--max-active-runs", MAX_ACTIVE_RUNS]
        return ["backfill", "create", "--dag-id", self.dag_id, *span, *limits]


@dataclass
class Work:
    """What has to be started so that every slice gets published."""

    backfills: list[Backfill] = field(default_factory=list)
    clear: list[Run] = field(default_factory=list)


def plan_work(keys: Sequence[str], published: Mapping[str, Collection[str]], runs: Sequence[Run]) -> Work:
    """What is missing, given the published slices and the runs, oldest first, that Airflow has.

    A slice without a run is backfilled; a failed run is cleared, so that it goes on where it failed; a run that
    succeeded for a slice the warehouse does not have (another warehouse than then) is backfilled anew. A mart
    cannot be backfilled itself: its producer is, once nothing else is on its way.
    """
    work = Work()
    by_slice: dict[tuple[str, str | None], list[Run]] = defaultdict(list)
    for run in runs:
        by_slice[run.dag_id, run.key].append(run)
    again: dict[str, set[str]] = defaultdict(set)
    fresh: dict[str, set[str]] = defaultdict(set)
    is_quiet = all(run.state not in UNFINISHED for run in runs if run.key in keys)
    for pipeline in PIPELINES:
        producer = pipeline.follows or pipeline.dataset
        for key in keys:
            found = by_slice[pipeline.dag_id, key]
            if key in published[pipeline.dataset] or any(run.state in UNFINISHED for run in found):
                continue
            if found and found[-1].state == "failed":
                work.clear.append(found[-1])
            elif pipeline.follows is None:
                (again if found else fresh)[producer].add(key)
            elif is_quiet and key in published[producer]:
                again[producer].add(key)
    work.backfills = [
        Backfill(pipeline.dag_id, min(wanted), max(wanted), "completed" if again[pipeline.dataset] else "none")
        for pipeline in PIPELINES
        if (wanted := again[pipeline.dataset] | fresh[pipeline.dataset])
    ]
    return work


def list_runs(api: AirflowApi) -> list[Run]:
    """The runs of the demo's DAGs, oldest first."""
    found: list[Run] = []
    while True:
        page = api.list_runs(
            dag_ids=[pipeline.dag_id for pipeline in PIPELINES], page_limit=PAGE, page_offset=len(found), order_by="id"
        )
        found += [Run.of(run) for run in page["dag_runs"]]
        if len(page["dag_runs"]) < PAGE:
            return found


def start_work(work: Work, stack: Stack, api: AirflowApi) -> None:
    """Clear the failed runs and create the backfills, except where a DAG has one under way already.

    Raises:
        DemoError: if the Airflow CLI refuses a backfill.
    """
    for run in work.clear:
        api.clear_failed(run.dag_id, run.run_id)
    backfills = [backfill for backfill in work.backfills if not api.has_active_backfill(backfill.dag_id)]
    if not backfills:
        return
    # The CLI takes seconds to load: one process runs the commands one after the other.
    lines = "\n".join("\t".join(backfill.arguments()) for backfill in backfills)
    done = subprocess.run(
        [sys.executable, "-m", "penstock.local.demo.airflow_cli"],
        input=lines,
        env=stack.environment,
        cwd=stack.layout.root,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise DemoError(f"`airflow backfill create` failed:\n{(done.stdout + done.stderr).strip()[-3000:]}")
