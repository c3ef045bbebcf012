"""The gate as a task."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

from penstock.operators.slices import SliceOperator
from penstock.project import contract_path

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context

    from penstock.core.gate.judge import Gated


class ValidateOperator(SliceOperator):
    """Judges the staged slice by its contract and moves the rows that break it aside.

    Args:
        dataset: `<domain>/<table>`.
    """

    ui_color = "#fef3c7"

    def execute(self, context: Context) -> dict[str, Any]:
        """Judge the slice; return slice, counts and the rules that were broken.

        Raises:
            SliceRefused: A critical rule about the whole slice is broken, or the quarantine budget is exceeded.
        """
        from penstock.core.gate.judge import judge, refuse

        work = self.work(context)
        with closing(self.session(work)) as warehouse:
            gated = judge(
                warehouse,
                work.contract,
                work.slice,
                work.stage,
                dag_id=context["ti"].dag_id,
                beyond_plan=self.judge_beyond_plan,
            )
        self._tell(gated)
        refuse(gated, work.stage, str(contract_path(self.dataset)))
        return {
            "slice": work.slice.key,
            "extracted": gated.extracted,
            "quarantined": gated.quarantined,
            "broken": [str(verdict) for verdict in gated.verdicts if not verdict.success],
        }

    def _tell(self, gated: Gated) -> None:
        for verdict in gated.verdicts:
            level = self.log.info if verdict.success else self.log.warning
            level("%s %s", "kept  " if verdict.success else "BROKEN", verdict)
        self.log.info("%d rows pass, %d go to quarantine", gated.passed, gated.quarantined)
