"""What DAG files share, and the DAG files themselves."""

import os
import subprocess
import sys

import pytest

from penstock.core.errors import ContractError
from penstock.defaults import DAG_DEFAULTS, POOL, daily_slices, dataset, follows
from penstock.local.settings_file import read_settings
from penstock.project import ROOT

DAG_FILES = sorted((ROOT / "dags").glob("*/*.py"))
LIMIT_MS = 50


def test_every_task_retries_with_backoff_and_is_reported() -> None:
    """The defaults carry retries, exponential back-off, the retry policy and the notifier."""
    arguments = DAG_DEFAULTS["default_args"]
    assert arguments["retries"] >= 1
    assert arguments["retry_exponential_backoff"] > 1
    assert type(arguments["retry_policy"]).__name__ == "SliceRetryPolicy"
    assert [type(callback).__name__ for callback in arguments["on_failure_callback"]] == ["LogNotifier"]


def test_the_pool_of_all_tasks_is_among_the_settings() -> None:
    """A task whose pool does not exist would wait for ever: every way to start loads this file."""
    assert DAG_DEFAULTS["default_args"]["pool"] == POOL
    pools = {pool["name"]: pool["slots"] for pool in read_settings(ROOT / "airflow_settings.yaml", {}).pools}
    assert pools[POOL] >= DAG_DEFAULTS["max_active_runs"]


def test_dataset_checks_its_contract() -> None:
    """A dataset without a sound contract stops the import of its DAG."""
    assert dataset("commerce/order_lines") == "commerce/order_lines"
    with pytest.raises(ContractError):
        dataset("commerce/nothing")


def test_schedules() -> None:
    """Producers run on daily slices, marts on the assets they read."""
    assert daily_slices(after="02:00").after == "02:00"
    both = follows("commerce/order_lines", "commerce/customers").asset_condition
    assert {asset.name for asset in both.objects} == {"commerce/order_lines", "commerce/customers"}


_COLD_IMPORTS = """
import gc, os, sys, time
import airflow.sdk
from airflow.sdk import DAG, Asset, BaseNotifier, BaseOperator, PartitionedAssetTimetable, dag
import airflow.sdk.definitions.retry_policy, airflow.timetables.trigger
gc.collect()
gc.freeze()  # a pass over Airflow's own objects is not the DAG file's cost
for path in 6 * sys.argv[1:]:
    if os.fork():
        os.wait()
        continue
    began = time.process_time()
    exec(compile(open(path).read(), path, "exec"), {"__name__": "dag_file"})
    print("took", path, 1000 * (time.process_time() - began), flush=True)
    os._exit(0)
"""


def test_dag_files_import_in_milliseconds() -> None:
    """Beyond Airflow's own import, a cold import of each DAG file takes less than 50 ms of processor time.

    Processor time, and the best of six: the claim is about what the file imports, not about the machine's load.
    """
    done = subprocess.run(
        [sys.executable, "-c", _COLD_IMPORTS, *map(str, DAG_FILES)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "plugins")},
        capture_output=True,
        text=True,
        check=True,
    )
    best: dict[str, float] = {}
    for line in done.stdout.splitlines():
        if line.startswith("took "):
            _, path, took = line.split()
            best[path] = min(float(took), best.get(path, float("inf")))
    assert best.keys() == set(map(str, DAG_FILES))
    assert {path: took for path, took in best.items() if took >= LIMIT_MS} == {}
