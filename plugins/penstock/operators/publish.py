"""Publish as a task."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset

from penstock.operators.slices import SliceOperator

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context


class PublishOperator(SliceOperator):
    """Makes the gated slice visible in one transaction, and tells the marts that follow the dataset.

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
        with closing(self.warehouse.session()) as warehouse:
            outcome = publish(warehouse, work.contract, work.slice, work.stage, dag_id=context["ti"].dag_id)
        summary = {"slice": work.slice.key, **asdict(outcome)}
        self.log.info("Published %s", summary)
        event = context["outlet_events"][Asset(self.dataset)]
        event.extra = summary
        if not context.get("partition_key"):
            # A bare manual run has no key; without this its marts would not follow.
            event.add_partitions(work.slice.key)
        return summary
