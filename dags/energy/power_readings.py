"""### energy/power_readings: one UTC day of a household's meter readings from the energy API

Owner: #energy-data. The pool `energy_api` keeps the number of callers polite; the API's 429 and 503 are sat out.
**Refused slice:** the log of `validate` names the rules and counts.
**Anything else:** clear the failed task; what the API sent lies in the lake, each try in a folder of its own.
"""

from airflow.sdk import dag

from penstock.defaults import DAG_DEFAULTS, daily_slices, dataset
from penstock.operators.extract_api import ApiExtractOperator
from penstock.operators.publish import PublishOperator
from penstock.operators.validate import ValidateOperator

POWER_READINGS = dataset("energy/power_readings")


@dag(schedule=daily_slices(after="01:00"), doc_md=__doc__, tags=["domain:energy"], **DAG_DEFAULTS)
def energy_power_readings() -> None:
    extract = ApiExtractOperator(
        task_id="extract",
        dataset=POWER_READINGS,
        conn_id="energy_api",
        endpoint="/v1/readings",
        pool="energy_api",
    )
    validate = ValidateOperator(task_id="validate", dataset=POWER_READINGS)
    publish = PublishOperator(task_id="publish", dataset=POWER_READINGS)
    extract >> validate >> publish


energy_power_readings()
