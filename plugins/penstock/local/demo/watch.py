"""Watching the runs until every slice is published, or it is clear that some will not be."""

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from penstock.airflow_api import AirflowApi
from penstock.local.demo.failures import Failure, failures_of
from penstock.local.demo.ledger import Ledger
from penstock.local.demo.pipelines import PIPELINES
from penstock.local.demo.progress import View
from penstock.local.demo.work import UNFINISHED, Run
from penstock.local.errors import DemoError
from penstock.local.stack import Stack

LOOK_SECONDS = 1.0
ASK_SECONDS = 3.0
# A mart's run is made some moments after its producer's is over.
QUIET_SECONDS = 20.0
# Longer than the longest pause between two tries of a task that gets anywhere.
STALL_SECONDS = 300.0
DATASET_OF = {pipeline.dag_id: pipeline.dataset for pipeline in PIPELINES}


class Watch:
    """What is seen of the demo's runs over time."""

    def __init__(self, stack: Stack, api: AirflowApi, ledger: Ledger, keys: Sequence[str], view: View) -> None:
        self.stack, self.api, self.ledger, self.view = stack, api, ledger, view
        self.keys = list(keys)
        self.failures: dict[str, list[Failure]] = {}
        self._unfinished = 1
        self._moved = self._busy = time.monotonic()
        self._last: object = None

    def until_done(self) -> bool:
        """Watch; True when every slice is published, False when nothing runs any more and some are missing.

        Raises:
            DemoError: if nothing moves for a long time.
            StackError: if a component of Airflow ends.
        """
        asked = 0.0
        while True:
            published = self.ledger.published(self.keys)
            now = time.monotonic()
            if now - asked >= ASK_SECONDS:
                asked = now
                self._ask()
                self._check_stall(published)
            done = {dataset: len(found) for dataset, found in published.items()}
            self.view.show(done, self._failed_slices())
            if all(count == len(self.keys) for count in done.values()):
                return True
            if self._unfinished:
                self._busy = now
            elif now - self._busy > QUIET_SECONDS:
                return False
            time.sleep(LOOK_SECONDS)

    def _ask(self) -> None:
        """Ask Airflow how many runs are unfinished, and which have failed since."""
        self.stack.check_alive()
        dag_ids = list(DATASET_OF)
        unfinished = self.api.list_runs(dag_ids=dag_ids, states=list(UNFINISHED), page_limit=100)
        self._unfinished = sum(run["partition_key"] in self.keys for run in unfinished["dag_runs"])
        failed = self.api.list_runs(dag_ids=dag_ids, states=["failed"], page_limit=100, order_by="-id")
        runs = [run for found in failed["dag_runs"] if (run := Run.of(found)).key in self.keys]
        self.failures = {run.run_id: self.failures.get(run.run_id) or self._report(run) for run in runs}

    def _report(self, run: Run) -> list[Failure]:
        found = failures_of(run, self.api, self.stack.layout.airflow / "logs")
        for failure in found:
            self.view.say(failure.text(DATASET_OF[run.dag_id]))
        return found

    def _failed_slices(self) -> Counter[str]:
        return Counter(DATASET_OF[found[0].run.dag_id] for found in self.failures.values() if found)

    def _check_stall(self, published: dict[str, set[str]]) -> None:
        finished = [
            self.api.get("dags/~/dagRuns/~/taskInstances", state=state, limit=1)["total_entries"]
            for state in ("success", "failed", "up_for_retry")
        ]
        seen = (published, finished)
        if seen != self._last:
            self._last, self._moved = seen, time.monotonic()
        elif time.monotonic() - self._moved > STALL_SECONDS:
            sick = [f"{name} is {status}" for name, status in self.api.health().items() if status != "healthy"]
            raise DemoError(
                f"nothing has moved for {STALL_SECONDS:.0f} s"
                + (f"; {', '.join(sick)}" if sick else "")
                + f".\nLook at {self.stack.url} and at the logs in {self._logs()}; `make demo` goes on from here."
            )

    def _logs(self) -> Path:
        return self.stack.layout.logs
