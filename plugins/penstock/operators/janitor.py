"""The janitor as a task."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context


class JanitorOperator(BaseOperator):
    """Removes stages whose runs will not come back, each with a ledger row, and staging tables that no record names.

    Args:
        days: How long nothing must have changed, days.
        warehouse_conn_id: Connection of the warehouse.
    """

    template_fields: Sequence[str] = ("days",)

    def __init__(self, *, days: int | str = 14, warehouse_conn_id: str = "warehouse", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.days = days
        self.warehouse_conn_id = warehouse_conn_id

    def execute(self, context: Context) -> dict[str, Any]:  # noqa: ARG002 - Airflow's signature
        """Sweep; return what is gone."""
        from penstock.core.janitor import sweep
        from penstock.hooks.postgres import WarehouseHook

        with closing(WarehouseHook(self.warehouse_conn_id).session()) as warehouse:
            swept = sweep(warehouse, now=datetime.now(UTC), age=timedelta(days=int(self.days)), by="janitor")
        for gone in swept.stages:
            self.log.info(
                "%s %s: %d rows that run %s had staged (%s) are gone",
                *(gone.dataset, gone.slice_key, gone.rows, gone.run_id, gone.state),
            )
        for name in swept.tables:
            self.log.info("staging.%s, which no record named, is gone", name)
        return asdict(swept)
