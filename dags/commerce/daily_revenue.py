"""### commerce/daily_revenue: revenue by country of one UTC day, a mart over commerce/order_lines

Owner: #shop-data. Runs by itself for each day that order_lines publishes; to rebuild days, backfill order_lines.
**Refused slice:** the log of `validate` names the rules and counts; the cause is in order_lines or in the SQL.
**Anything else:** clear the failed task; every task replaces its own work.
"""

from airflow.sdk import dag

from penstock.defaults import DAG_DEFAULTS, dataset, follows
from penstock.operators.extract_sql import SqlExtractOperator
from penstock.operators.publish import PublishOperator
from penstock.operators.validate import ValidateOperator

DAILY_REVENUE = dataset("commerce/daily_revenue")


@dag(schedule=follows("commerce/order_lines"), doc_md=__doc__, tags=["domain:commerce", "mart"], **DAG_DEFAULTS)
def commerce_daily_revenue() -> None:
    extract = SqlExtractOperator(task_id="extract", dataset=DAILY_REVENUE, sql="commerce/daily_revenue.sql")
    validate = ValidateOperator(task_id="validate", dataset=DAILY_REVENUE)
    publish = PublishOperator(task_id="publish", dataset=DAILY_REVENUE)
    extract >> validate >> publish


commerce_daily_revenue()
