"""One DAG for each load mode, of operators in which a fault can happen."""

from datetime import timedelta

from airflow.sdk import dag

from penstock.defaults import DAG_DEFAULTS, daily_slices, dataset
from tests.faults.datasets import DATASETS, Dataset
from tests.faults.operators import Extract, Publish, Validate

SETTINGS = DAG_DEFAULTS | {
    "max_active_runs": 64,
    "default_args": DAG_DEFAULTS["default_args"]
    | {"retries": 8, "retry_delay": timedelta(seconds=1), "retry_exponential_backoff": 0.0},
}


def faulty(which: Dataset) -> None:
    """Make the DAG of one dataset."""

    @dag(dag_id=which.dag_id, schedule=daily_slices(), **SETTINGS)
    def load() -> None:
        name = dataset(which.name)
        extract = Extract(task_id="extract", dataset=name, conn_id="source", table=which.table)
        extract >> Validate(task_id="validate", dataset=name) >> Publish(task_id="publish", dataset=name)

    load()


for found in DATASETS:
    faulty(found)
