"""### commerce/customers: the customers that were named on an invoice in one UTC day

Owner: #shop-data. Merged by customer: an older version never overwrites a newer one, in whatever order
the days are loaded.
**Refused slice:** the log of `validate` names the rules and counts.
**Anything else:** clear the failed task; every task replaces its own work.
"""

from airflow.sdk import dag

from penstock.defaults import DAG_DEFAULTS, daily_slices, dataset
from penstock.operators.extract_database import DatabaseExtractOperator
from penstock.operators.publish import PublishOperator
from penstock.operators.validate import ValidateOperator

CUSTOMERS = dataset("commerce/customers")


@dag(schedule=daily_slices(after="02:00"), doc_md=__doc__, tags=["domain:commerce"], **DAG_DEFAULTS)
def commerce_customers() -> None:
    extract = DatabaseExtractOperator(
        task_id="extract", dataset=CUSTOMERS, conn_id="shop", table="public.customer_change"
    )
    validate = ValidateOperator(task_id="validate", dataset=CUSTOMERS)
    publish = PublishOperator(task_id="publish", dataset=CUSTOMERS)
    extract >> validate >> publish


commerce_customers()
