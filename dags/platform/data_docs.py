"""### Great Expectations' Data Docs of the latest validations

Written each night to the folder in the Airflow Variable `data_docs_folder` (`.penstock/data-docs` without one), and at
any time by `make docs-site`.
**Failed:** clear the task; it writes the whole site anew.
"""

from airflow.sdk import dag

from penstock.defaults import DAG_DEFAULTS, daily_slices
from penstock.operators.data_docs import DataDocsOperator


@dag(schedule=daily_slices(after="05:00"), doc_md=__doc__, tags=["platform"], **(DAG_DEFAULTS | {"max_active_runs": 1}))
def data_docs() -> None:
    DataDocsOperator(task_id="build")


data_docs()
