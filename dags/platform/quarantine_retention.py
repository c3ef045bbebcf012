"""### Retention of quarantined rows

Each night, for every contract that states `quarantineRetention`: open rows that no load has met and nobody has mended
for that long are discarded (the ledger says so), closed ones are deleted.
**Failed:** clear the task; what is done already is not done twice.
"""

from airflow.sdk import dag

from penstock.defaults import DAG_DEFAULTS, daily_slices
from penstock.operators.quarantine_retention import QuarantineRetentionOperator


@dag(schedule=daily_slices(after="04:30"), doc_md=__doc__, tags=["platform"], **(DAG_DEFAULTS | {"max_active_runs": 1}))
def quarantine_retention() -> None:
    QuarantineRetentionOperator(task_id="purge")


quarantine_retention()
