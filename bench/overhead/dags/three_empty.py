"""Three tasks that do nothing, but are run by the executor."""

from airflow.sdk import BaseOperator, Context, dag


class Nothing(BaseOperator):
    """Does nothing."""

    def execute(self, context: Context) -> None:
        """Do nothing."""


@dag(schedule=None, catchup=False)
def three_empty() -> None:
    """Three tasks in a row."""
    Nothing(task_id="extract") >> Nothing(task_id="validate") >> Nothing(task_id="publish")


three_empty()
