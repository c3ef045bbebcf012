"""Reconciliation as a task."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from penstock.operators.all_datasets import over_all_datasets

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context
    from psycopg2.extensions import connection as Connection  # noqa: N812

    from penstock.core.contract import Contract
    from penstock.core.reconcile import Reconciled


class ReconcileOperator(BaseOperator):
    """Compares source, ledger and table of every dataset's newest slices, and of those that differed before.

    What differs is logged as a warning and kept in `ops.finding`.

    Args:
        days: How many days back from a dataset's newest slice.
        warehouse_conn_id: Connection of the warehouse.
    """

    template_fields: Sequence[str] = ("days",)

    def __init__(self, *, days: int | str = 30, warehouse_conn_id: str = "warehouse", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.days = days
        self.warehouse_conn_id = warehouse_conn_id

    def execute(self, context: Context) -> dict[str, Any]:  # noqa: ARG002 - Airflow's signature
        """Reconcile; return by dataset how many slices were looked at, asked for at the source, and found to differ.

        Raises:
            PenstockError: A source could not be asked; the other datasets were reconciled.
        """
        from penstock.hooks.postgres import WarehouseHook

        with closing(WarehouseHook(self.warehouse_conn_id).session()) as warehouse:
            return over_all_datasets(lambda contract: self._reconcile(warehouse, contract), self.log.error)

    def _reconcile(self, warehouse: Connection, contract: Contract) -> dict[str, int] | None:
        from penstock.core.reconcile import reconcile
        from penstock.hooks.database import DatabaseHook

        done = reconcile(warehouse, contract, lambda conn_id: DatabaseHook(conn_id).open(), days=int(self.days))
        self._tell(contract, done)
        if not done.slices:
            return None
        new = sum(finding.new for finding in done.findings)
        counts = {"findings": len(done.findings), "new": new, "closed": done.closed}
        return {"slices": done.slices, "asked": done.asked, **counts}

    def _tell(self, contract: Contract, done: Reconciled) -> None:
        for finding in done.findings:
            self.log.warning("%s. Next: %s", finding, finding.next_step)
        self.log.info(
            "%s: %d slices, %d asked for at the source, %d differ, %d differ no more",
            contract.dataset,
            done.slices,
            done.asked,
            len(done.findings),
            done.closed,
        )
