"""The product's operators, in which a fault can happen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from penstock.operators.extract_database import DatabaseExtractOperator
from penstock.operators.publish import PublishOperator
from penstock.operators.slices import SliceOperator
from penstock.operators.validate import ValidateOperator
from tests.faults.faults import Fault
from tests.faults.steps import Steps, counted

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context


class _Faulty(SliceOperator):
    """Runs the operator beside it with the faults that the run's `conf` holds."""

    steps: Steps | None = None

    def execute(self, context: Context) -> Any:
        """Do the operator's own work, step by step."""
        run = context.get("dag_run")
        faults = [Fault(**fault) for fault in (run.conf or {}).get("faults", [])] if run else []
        steps = self.steps = Steps(faults, context["run_id"], self.task_id, context["ti"].try_number)
        work = super().execute
        with counted(steps, self.warehouse_conn_id):
            steps.again = lambda: work(context)
            steps.start_clock()
            try:
                found = work(context)
            except BaseException as error:
                steps.leave(f"{type(error).__name__}: {error}")
                raise
            steps.leave("done")
        return found


class Extract(_Faulty, DatabaseExtractOperator):
    """Extract."""


class Validate(_Faulty, ValidateOperator):
    """Validate."""


class Publish(_Faulty, PublishOperator):
    """Publish."""
