"""A slice of 100 rows a day: extract, validate, publish."""

from airflow.sdk import dag

from penstock.defaults import DAG_DEFAULTS, daily_slices, dataset
from penstock.operators.extract_database import DatabaseExtractOperator
from penstock.operators.publish import PublishOperator
from penstock.operators.validate import ValidateOperator

HUNDRED = dataset("bench/hundred")


@dag(schedule=daily_slices(), **(DAG_DEFAULTS | {"max_active_runs": 8}))
def hundred_days() -> None:
    """One UTC day."""
    extract = DatabaseExtractOperator(task_id="extract", dataset=HUNDRED, conn_id="shop", table="public.hundred")
    validate = ValidateOperator(task_id="validate", dataset=HUNDRED)
    publish = PublishOperator(task_id="publish", dataset=HUNDRED)
    extract >> validate >> publish


hundred_days()
