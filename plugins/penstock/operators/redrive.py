"""Re-drive as a task."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset
from airflow.sdk.exceptions import AirflowSkipException

from penstock.operators.slices import SliceOperator
from penstock.project import contract_of

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context

    from penstock.core.redrive import Redriven


class RedriveOperator(SliceOperator):
    """Sends a dataset's quarantined rows through the gate again and publishes those that pass.

    The Asset event names each slice that changed, so that the marts of those slices follow. Where no row could be
    published the task is skipped, and nothing follows.

    Args:
        dataset: `<domain>/<table>`; also the name of the Asset that the task updates.
        slice_key: Only this slice; empty for all that have open rows.
        mended_only: Only rows that somebody has mended; true, false, or the text of either.
    """

    template_fields: Sequence[str] = (*SliceOperator.template_fields, "slice_key", "mended_only")
    ui_color = "#ede9fe"

    def __init__(
        self, *, dataset: str, slice_key: str | None = None, mended_only: bool | str = False, **kwargs: Any
    ) -> None:
        kwargs.setdefault("outlets", [Asset(dataset)])
        super().__init__(dataset=dataset, **kwargs)
        self.slice_key = slice_key
        self.mended_only = mended_only

    def execute(self, context: Context) -> dict[str, Any]:
        """Re-drive slice by slice; return the counts of each.

        Raises:
            AirflowSkipException: No row could be published.
        """
        found: list[Any] = [asdict(redriven) for redriven in self._redrive(context)]
        changed = [item["slice_key"] for item in found if item["considered"] > item["still_open"]]
        if not changed:
            still = sum(item["still_open"] for item in found)
            raise AirflowSkipException(f"No row was published; {still} were re-driven and still break a rule")
        event = context["outlet_events"][Asset(self.dataset)]
        event.extra = {"redriven": found}
        for key in changed:
            event.add_partitions(key)
        return {"redriven": found}

    def _redrive(self, context: Context) -> list[Redriven]:
        from penstock.core.redrive import redrive, slices_with_open_rows
        from penstock.core.slice import day_slice

        contract, mended_only = contract_of(self.dataset), str(self.mended_only).lower() == "true"
        done = []
        with closing(self.warehouse.session()) as warehouse:
            with warehouse, warehouse.cursor() as cur:
                keys = slices_with_open_rows(cur, contract, mended_only=mended_only, slice_key=self.slice_key or None)
            for key in keys:
                done.append(
                    redrive(
                        warehouse,
                        contract,
                        day_slice(key),
                        run_id=context["run_id"],
                        by=_who(context),
                        mended_only=mended_only,
                        dag_id=context["ti"].dag_id,
                        beyond_plan=self.judge_beyond_plan,
                    )
                )
                self.log.info("Re-driven: %s", done[-1])
        return done


def _who(context: Context) -> str:
    """Return who triggered the run, as far as Airflow knows."""
    return getattr(context.get("dag_run"), "triggering_user_name", None) or context["run_id"]
