"""### The janitor of the staging schema

Each night: stages that nothing has changed for so many days go, for their runs will not come back; the ledger has a
row for each. So do staging tables that no record names.
**Failed:** clear the task; what is done already is not done twice.
"""

from airflow.sdk import Param, dag

from penstock.defaults import DAG_DEFAULTS, daily_slices
from penstock.operators.janitor import JanitorOperator

PARAMS = {"days": Param(14, type="integer", minimum=1, description="Days in which nothing has changed a stage")}


@dag(
    schedule=daily_slices(after="04:45"),
    doc_md=__doc__,
    tags=["platform"],
    params=PARAMS,
    **(DAG_DEFAULTS | {"max_active_runs": 1}),
)
def janitor() -> None:
    JanitorOperator(task_id="sweep", days="{{ params.days }}")


janitor()
