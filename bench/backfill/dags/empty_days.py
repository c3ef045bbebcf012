"""Three tasks a day that do nothing, under the same schedule, pool and executor as a slice."""

from airflow.sdk import BaseOperator, Context, dag

from penstock.defaults import DAG_DEFAULTS, daily_slices


class Nothing(BaseOperator):
    """Does nothing."""

    def execute(self, context: Context) -> None:
        """Do nothing."""


@dag(schedule=daily_slices(), **(DAG_DEFAULTS | {"max_active_runs": 8}))
def empty_days() -> None:
    """Three tasks in a row."""
    Nothing(task_id="extract") >> Nothing(task_id="validate") >> Nothing(task_id="publish")


empty_days()
