"""What all operators on a slice share: which slice of which dataset the run stands for."""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator

from penstock.core.slice import Slice, resolve_slice
from penstock.project import EXPECTATIONS, contract_of

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context
    from psycopg2.extensions import connection as Connection  # noqa: N812
    from psycopg2.sql import Identifier

    from penstock.core.contract import Contract, Rule
    from penstock.core.drift import Extracted
    from penstock.core.gate.plan import Verdict
    from penstock.core.lake import LakePath
    from penstock.core.stage import Stage
    from penstock.hooks.postgres import WarehouseHook


@dataclass(frozen=True, slots=True)
class Work:
    """The slice of the run, with its contract and the names of its stage."""

    contract: Contract
    slice: Slice
    stage: Stage


class SliceOperator(BaseOperator):
    """Base of the operators on one slice of one dataset.

    Args:
        dataset: `<domain>/<table>`.
        warehouse_conn_id: Connection of the warehouse.
    """

    template_fields: Sequence[str] = ("dataset",)
    not_code: ClassVar[Sequence[str]] = ()
    """Arguments that say how fast rows are read, not which: see `penstock.operators.code`."""

    def __init__(self, *, dataset: str, warehouse_conn_id: str = "warehouse", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dataset = dataset
        self.warehouse_conn_id = warehouse_conn_id

    @cached_property
    def warehouse(self) -> WarehouseHook:
        """Hook of the warehouse."""
        from penstock.hooks.postgres import WarehouseHook

        return WarehouseHook(self.warehouse_conn_id)

    def work(self, context: Context) -> Work:
        """Resolve the run's slice.

        Raises:
            SliceError: The run names no slice.
            ContractError: The contract is broken.
        """
        from penstock.core.attempts import Try
        from penstock.core.stage import stage_of

        # What Airflow has loaded stays as long as this process: looking through it again and again for garbage took
        # half the time of an extract that makes many objects.
        gc.freeze()
        start, end = context.get("data_interval_start"), context.get("data_interval_end")
        contract = contract_of(self.dataset)
        slice_ = resolve_slice(
            partition_key=context.get("partition_key"),
            interval=(start, end) if start and end else None,
            now=datetime.now(UTC),
        )
        self.log.info("%s, slice %s (%s to %s)", self.dataset, slice_.key, slice_.start, slice_.end)
        ti = context["ti"]
        by = Try(self.task_id, ti.try_number, str(ti.id))
        return Work(contract, slice_, stage_of(self.dataset, slice_, context["run_id"], by))

    def session(self, work: Work) -> Connection:
        """Connect to the warehouse for this try of the task; earlier ones lose their sessions. The caller closes.

        Raises:
            StageBusy: A later try is at work, or this very one in another process.
            CredentialsError: The server refused the user or the password.
            SourceUnavailable: The server could not be reached.
        """
        from penstock.core.attempts import take_over

        connection = self.warehouse.session()
        try:
            ended = take_over(connection, work.stage)
        except BaseException:
            connection.close()
            raise
        if ended:
            self.log.warning("Ended %d sessions of an earlier try of this task", ended)
        return connection

    @cached_property
    def asked(self) -> dict[str, Any]:
        """What is kept with the rows, in stage and ledger, of how they were asked for: `code`, and `conn_id` if any."""
        from penstock.operators.code import code_of

        conn_id = getattr(self, "conn_id", None)
        return {"code": code_of(self)} | ({"conn_id": conn_id} if conn_id else {})

    def reads_now(self, contract: Contract) -> bool:  # noqa: ARG002 - for those that differ
        """Tell whether an extract reads its source as it is at the time, whichever slice it is for."""
        return False

    def stage_landed(
        self,
        warehouse: Connection,  # noqa: ARG002 - for those that land files
        contract: Contract,
        slice_: Slice,
        stage: Stage,  # noqa: ARG002
        folder: LakePath,
        detail: Mapping[str, Any],  # noqa: ARG002
    ) -> Extracted:
        """Stage what an earlier attempt landed in a folder of the lake, as this extract reads it; commits.

        Raises:
            SourceError: The extract lands no file, or the lake's file is not what was landed.
        """
        from penstock.core.errors import SourceError

        raise SourceError(
            f"{folder} holds a file, and {type(self).__name__} of the DAG {self.dag_id} reads none.",
            dataset=contract.dataset,
            slice_key=slice_.key,
            next_step="load the slice from its source: trigger the DAG with its partition key.",
        )

    @property
    def producers(self) -> Sequence[str]:
        """The datasets that the DAG runs after, where it is a mart's."""
        dag = self.get_dag()
        return sorted(_asset_names(getattr(dag.timetable, "asset_condition", None))) if dag else []

    def judge_beyond_plan(self, table: Identifier, rules: Sequence[Rule]) -> list[Verdict]:
        """Ask Great Expectations itself for the verdicts on rules that the gate's plan does not cover."""
        from penstock.core.gate.gx import judge_with_gx

        self.log.info("Great Expectations itself judges %s", ", ".join(rule.id for rule in rules))
        url = self.warehouse.sqlalchemy_url.render_as_string(hide_password=False)
        return judge_with_gx(url, table, rules, EXPECTATIONS)


def _asset_names(condition: Any) -> set[str]:
    """Return the names of the assets in a condition such as `a & (b | c)`."""
    if hasattr(condition, "objects"):
        return {name for part in condition.objects for name in _asset_names(part)}
    return {condition.name} if hasattr(condition, "name") else set()
