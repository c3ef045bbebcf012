"""The lake's retention as a task."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from penstock.operators.all_datasets import over_all_datasets

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context
    from psycopg2.extensions import connection as Connection  # noqa: N812

    from penstock.core.contract import Contract


class LakeRetentionOperator(BaseOperator):
    """Removes from the lake what nobody finished, what a newer attempt has replaced, and slices past their retention.

    What lies in the lake of datasets that have no contract any more is left alone, and so is what is not named as a
    slice is.

    Args:
        days: How long nothing must have changed an attempt that is unfinished or replaced, days.
        warehouse_conn_id: Connection of the warehouse, whose ledger tells what slices are published from.
    """

    template_fields: Sequence[str] = ("days",)

    def __init__(self, *, days: int | str = 14, warehouse_conn_id: str = "warehouse", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.days = days
        self.warehouse_conn_id = warehouse_conn_id

    def execute(self, context: Context) -> dict[str, dict[str, int]]:  # noqa: ARG002 - Airflow's signature
        """Remove them; return by dataset how many attempts and files went, where any did.

        Raises:
            ContractError: A contract is broken; the other datasets have had their turn.
        """
        from penstock.hooks.postgres import WarehouseHook

        with closing(WarehouseHook(self.warehouse_conn_id).session()) as warehouse:
            return over_all_datasets(lambda contract: self._sweep(warehouse, contract), self.log.error)

    def _sweep(self, warehouse: Connection, contract: Contract) -> dict[str, int] | None:
        from penstock.core.gaps import is_past_retention
        from penstock.core.lake_attempts import slices_in
        from penstock.core.lake_retention import published_from, sweep_slice
        from penstock.hooks.lake import lake_root

        with warehouse, warehouse.cursor() as cur:
            published = published_from(cur, contract.dataset)
        now, gone = datetime.now(UTC), []
        for slice_, folder in slices_in(lake_root() / contract.dataset):
            gone += sweep_slice(
                folder,
                now=now,
                age=timedelta(days=int(self.days)),
                expired=is_past_retention(contract, slice_, now),
                published=published.get(slice_.key),
            )
        for one in gone:
            self.log.info("%s with %d files is gone: %s", one.folder, one.files, one.why)
        return {"attempts": len(gone), "files": sum(one.files for one in gone)} if gone else None
