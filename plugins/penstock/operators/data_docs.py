"""Great Expectations' Data Docs as a task."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from airflow.sdk import BaseOperator

from penstock.project import DATA_DOCS, EXPECTATIONS, ROOT, contract_of, datasets

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context

FOLDER_VARIABLE: Final = "data_docs_folder"


class DataDocsOperator(BaseOperator):
    """Writes the Data Docs of every dataset's latest validations.

    Args:
        folder: Where to write; empty for the Airflow Variable `data_docs_folder`. A relative one lies below the
            project.
        warehouse_conn_id: Connection of the warehouse.
    """

    template_fields: Sequence[str] = ("folder",)

    def __init__(self, *, folder: str = "", warehouse_conn_id: str = "warehouse", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.folder = folder
        self.warehouse_conn_id = warehouse_conn_id

    def execute(self, context: Context) -> str:  # noqa: ARG002 - Airflow's signature
        """Write the site; return its first page."""
        from airflow.sdk import Variable

        from penstock.core.data_docs import build_site
        from penstock.hooks.postgres import WarehouseHook

        folder = Path(self.folder or Variable.get(FOLDER_VARIABLE, default=str(DATA_DOCS)))
        with closing(WarehouseHook(self.warehouse_conn_id).session()) as warehouse, warehouse.cursor() as cur:
            page = build_site(cur, [contract_of(name) for name in datasets()], ROOT / folder, EXPECTATIONS)
        self.log.info("The Data Docs begin at %s", page)
        return str(page)
