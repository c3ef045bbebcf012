"""The contracts' retention as a task."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from penstock.core.errors import PublishBlocked
from penstock.operators.all_datasets import over_all_datasets

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context
    from psycopg2.extensions import connection as Connection  # noqa: N812

    from penstock.core.contract import Contract


class RetentionOperator(BaseOperator):
    """Drops the slices that are past their contract's retention, each in a transaction of its own.

    Args:
        warehouse_conn_id: Connection of the warehouse.
    """

    def __init__(self, *, warehouse_conn_id: str = "warehouse", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.warehouse_conn_id = warehouse_conn_id

    def execute(self, context: Context) -> dict[str, Any]:
        """Drop them; return by dataset how many slices and rows went, where there were any.

        Raises:
            PublishBlocked: Readers held a slice; all others that are past their retention are gone.
            RemovalRefused: A dataset's rows do not tell their slice, or something depends on them.
        """
        from penstock.hooks.postgres import WarehouseHook

        dag_id = context["ti"].dag_id
        with closing(WarehouseHook(self.warehouse_conn_id).session()) as warehouse:
            return over_all_datasets(lambda contract: self._drop_expired(warehouse, contract, dag_id), self.log.error)

    def _drop_expired(self, warehouse: Connection, contract: Contract, dag_id: str) -> dict[str, int] | None:
        from penstock.core.removal import drop_slice, expired_slices

        if contract.retention is None:
            return None
        with warehouse, warehouse.cursor() as cur:
            slices = expired_slices(cur, contract, now=datetime.now(UTC))
        reason, rows, blocked = f"its retention of {contract.retention.days} days is over", 0, None
        for slice_ in slices:
            try:
                dropped = drop_slice(warehouse, contract, slice_, by="retention", reason=reason, dag_id=dag_id)
            except PublishBlocked as error:
                blocked = error
                continue
            rows += dropped.rows
            self.log.info("%s %s: %d rows are gone: %s", contract.dataset, slice_.key, dropped.rows, reason)
        if blocked:
            raise blocked
        return {"slices": len(slices), "rows": rows} if slices else None
