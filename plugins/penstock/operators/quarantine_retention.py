"""The retention of quarantined rows as a task."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from penstock.project import contract_of, datasets

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context


class QuarantineRetentionOperator(BaseOperator):
    """Keeps every contract's `quarantineRetention`: old open rows are discarded, old closed ones deleted.

    Args:
        warehouse_conn_id: Connection of the warehouse.
    """

    def __init__(self, *, warehouse_conn_id: str = "warehouse", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.warehouse_conn_id = warehouse_conn_id

    def execute(self, context: Context) -> dict[str, Any]:  # noqa: ARG002 - Airflow's signature
        """Keep the retention; return rows discarded and deleted, by dataset where there were any."""
        from penstock.core.quarantine import purge
        from penstock.hooks.postgres import WarehouseHook

        found = {}
        with closing(WarehouseHook(self.warehouse_conn_id).session()) as warehouse:
            for name in datasets():
                counts = purge(warehouse, contract_of(name), now=datetime.now(UTC), by="retention")
                if any(counts):
                    found[name] = {"discarded": counts[0], "deleted": counts[1]}
                    self.log.info("%s: %d rows discarded, %d deleted", name, *counts)
        return found
