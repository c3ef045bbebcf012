"""Publish as a task."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset

from penstock.operators.slices import SliceOperator, Work

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context
    from psycopg2.extensions import connection as Connection  # noqa: N812

    from penstock.core.ledger import Outcome


class PublishOperator(SliceOperator):
    """Makes the gated slice visible in one transaction, and tells the marts that follow the dataset.

    Where people have mended rows of the slice before, these are re-driven at once, so that a repeated load does not
    undo their work.

    Args:
        dataset: `<domain>/<table>`; also the name of the Asset that the task updates.
    """

    ui_color = "#ede9fe"

    def __init__(self, *, dataset: str, **kwargs: Any) -> None:
        kwargs.setdefault("outlets", [Asset(dataset)])
        super().__init__(dataset=dataset, **kwargs)

    def execute(self, context: Context) -> dict[str, Any]:
        """Publish the slice; return slice and counts, which the Asset event carries too."""
        from penstock.core.publish import publish

        work = self.work(context)
        with closing(self.session(work)) as warehouse:
            outcome = publish(warehouse, work.contract, work.slice, work.stage, dag_id=context["ti"].dag_id)
            outcome = self._redrive_mends(warehouse, work, context["ti"].dag_id) or outcome
        summary = {"slice": work.slice.key, **asdict(outcome)}
        self.log.info("Published %s", summary)
        event = context["outlet_events"][Asset(self.dataset)]
        event.extra = summary
        if not context.get("partition_key"):
            # A bare manual run has no key; without this its marts would not follow.
            event.add_partitions(work.slice.key)
        return summary

    def _redrive_mends(self, warehouse: Connection, work: Work, dag_id: str) -> Outcome | None:
        """Put back what people have mended of a slice that was loaded again; return its counts then."""
        from penstock.core.ledger import current_outcome
        from penstock.core.redrive import redrive, slices_with_open_rows

        with warehouse, warehouse.cursor() as cur:
            if not slices_with_open_rows(cur, work.contract, mended_only=True, slice_key=work.slice.key):
                return None
        redriven = redrive(
            warehouse,
            work.contract,
            work.slice,
            run_id=f"{work.stage.run_id} mends",
            by="publish",
            mended_only=True,
            dag_id=dag_id,
            beyond_plan=self.judge_beyond_plan,
        )
        self.log.info("Mended rows of an earlier load were re-driven: %s", redriven)
        with warehouse, warehouse.cursor() as cur:
            return current_outcome(cur, self.dataset, work.slice.key)
