"""The retention of quarantined rows as a task."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from penstock.operators.all_datasets import over_all_datasets

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context
    from psycopg2.extensions import connection as Connection  # noqa: N812

    from penstock.core.contract import Contract


class QuarantineRetentionOperator(BaseOperator):
    """Keeps every contract's `quarantineRetention`: old open rows are discarded, old closed ones deleted.

    Args:
        warehouse_conn_id: Connection of the warehouse.
    """

    def __init__(self, *, warehouse_conn_id: str = "warehouse", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.warehouse_conn_id = warehouse_conn_id

    def execute(self, context: Context) -> dict[str, Any]:  # noqa: ARG002 - Airflow's signature
        """Keep the retention; return rows discarded and deleted, by dataset where there were any.

        Raises:
            PenstockError: A dataset's contract is broken; the retention of all others was kept.
        """
        from penstock.hooks.postgres import WarehouseHook

        with closing(WarehouseHook(self.warehouse_conn_id).session()) as warehouse:
            return over_all_datasets(lambda contract: self._purge(warehouse, contract), self.log.error)

    def _purge(self, warehouse: Connection, contract: Contract) -> dict[str, int] | None:
        from penstock.core.quarantine import purge

        discarded, deleted = purge(warehouse, contract, now=datetime.now(UTC), by="retention")
        if not discarded and not deleted:
            return None
        self.log.info("%s: %d rows discarded, %d deleted", contract.dataset, discarded, deleted)
        return {"discarded": discarded, "deleted": deleted}
