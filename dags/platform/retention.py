"""### Retention of slices

Each night, for every contract that states a retention (`slaProperties`): slices past it are dropped, with their
quarantined rows, and the ledger says so.
**Failed:** readers held a slice, or a dataset's rows do not tell their slice. Clear the task; what is gone is gone.
"""

from airflow.sdk import dag

from penstock.defaults import DAG_DEFAULTS, daily_slices
from penstock.operators.retention import RetentionOperator


@dag(schedule=daily_slices(after="04:00"), doc_md=__doc__, tags=["platform"], **(DAG_DEFAULTS | {"max_active_runs": 1}))
def retention() -> None:
    RetentionOperator(task_id="drop_expired")


retention()
