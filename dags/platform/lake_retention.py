"""### Retention of the lake

Each night, below the folder of every dataset that has a contract: what killed tries left, attempts that a newer one has
replaced, and slices past the contract's retention go. The newest whole attempt at a slice stays until then.
**Failed:** clear the task; what is gone is gone.
"""

from airflow.sdk import Param, dag

from penstock.defaults import DAG_DEFAULTS, daily_slices
from penstock.operators.lake_retention import LakeRetentionOperator

PARAMS = {"days": Param(14, type="integer", minimum=1, description="Days in which nothing has changed an attempt")}


@dag(
    schedule=daily_slices(after="05:15"),
    doc_md=__doc__,
    tags=["platform"],
    params=PARAMS,
    **(DAG_DEFAULTS | {"max_active_runs": 1}),
)
def lake_retention() -> None:
    LakeRetentionOperator(task_id="sweep", days="{{ params.days }}")


lake_retention()
