"""### commerce/order_lines: one UTC day of invoice lines from the shop's database

Owner: #shop-data. **Refused slice:** the log of `validate` names the rules and counts; look at the rows it set aside,
then mend the source and clear `extract`, or change the contract and clear `validate`.
**Anything else:** clear the failed task; every task replaces its own work.
"""

from airflow.sdk import dag

from penstock.defaults import DAG_DEFAULTS, daily_slices, dataset
from penstock.operators.extract_database import DatabaseExtractOperator
from penstock.operators.publish import PublishOperator
from penstock.operators.validate import ValidateOperator

ORDER_LINES = dataset("commerce/order_lines")


@dag(schedule=daily_slices(after="02:00"), doc_md=__doc__, tags=["domain:commerce"], **DAG_DEFAULTS)
def commerce_order_lines() -> None:
    extract = DatabaseExtractOperator(
        task_id="extract", dataset=ORDER_LINES, conn_id="shop", table="public.invoice_line"
    )
    validate = ValidateOperator(task_id="validate", dataset=ORDER_LINES)
    publish = PublishOperator(task_id="publish", dataset=ORDER_LINES)
    extract >> validate >> publish


commerce_order_lines()
