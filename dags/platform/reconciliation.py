"""### Reconciliation of sources, ledger and tables

Each day, for every dataset's newest slices and those that differed before: what a database source has of them now, what
the ledger says was loaded, and what the table holds. What differs is a warning in the log and a row of `ops.finding`,
which closes by itself (docs/operations.md).
**Failed:** a source could not be asked; the others were. Clear the task.
"""

from airflow.sdk import Param, dag

from penstock.defaults import DAG_DEFAULTS, daily_slices
from penstock.operators.reconcile import ReconcileOperator

PARAMS = {"days": Param(30, type="integer", minimum=1, description="Days back from a dataset's newest slice")}


@dag(
    schedule=daily_slices(after="06:00"),
    doc_md=__doc__,
    tags=["platform"],
    params=PARAMS,
    **(DAG_DEFAULTS | {"max_active_runs": 1}),
)
def reconciliation() -> None:
    ReconcileOperator(task_id="reconcile", days="{{ params.days }}")


reconciliation()
