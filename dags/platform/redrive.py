"""### Re-drive of quarantined rows, one DAG for each dataset

Trigger it after rows were mended (`penstock quarantine mend`) or a rule was changed: the open rows go through the gate
again, those that pass are published into their own slices, and the marts of those slices follow.
**Skipped:** no row passed; the log says how many still break a rule.
**Anything else:** clear the failed task; a row that was published is closed and is never published twice.
"""

from airflow.sdk import DAG, Param

from penstock.defaults import DAG_DEFAULTS
from penstock.operators.redrive import RedriveOperator
from penstock.project import datasets

PARAMS = {
    "slice_key": Param("", type=["null", "string"], description="Only this slice, such as 2010-09-20; empty for all"),
    "mended_only": Param(default=False, type="boolean", description="Only rows that somebody has mended"),
}

for name in datasets():
    with DAG(
        f"redrive_{name.replace('/', '_')}",
        schedule=None,
        is_paused_upon_creation=False,  # a run triggered by hand would wait for somebody to unpause the DAG
        params=PARAMS,
        doc_md=__doc__,
        tags=["platform", "redrive", f"domain:{name.split('/')[0]}"],
        **(DAG_DEFAULTS | {"max_active_runs": 1}),
    ) as dag:
        RedriveOperator(
            task_id="redrive",
            dataset=name,
            slice_key="{{ params.slice_key or '' }}",
            mended_only="{{ params.mended_only }}",
        )
    globals()[dag.dag_id] = dag
