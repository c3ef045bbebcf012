"""Wait for the file, or a new file, of a slice without holding a worker."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from penstock.operators.slices import SliceOperator, Work

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context


class FilesSensor(SliceOperator):
    """Waits in Airflow's triggerer until a path has its file, or a pattern one that no other slice was loaded from.

    Args:
        dataset: `<domain>/<table>`.
        path: As `FileExtractOperator` takes it, in a folder or in object storage; `{slice}` is the slice's day.
        poll: Pause between two looks.
        wait: For how long to wait; then the task fails.
    """

    template_fields: Sequence[str] = (*SliceOperator.template_fields, "path")
    ui_color = "#e2e8f0"

    def __init__(
        self, *, path: str, poll: timedelta = timedelta(minutes=1), wait: timedelta = timedelta(hours=12), **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.path = path
        self.poll = poll
        self.wait = wait

    def execute(self, context: Context) -> list[str]:
        """Return the files that are there, or leave the waiting to the triggerer."""
        from penstock.hooks.files import new_files
        from penstock.triggers.files import FilesTrigger

        work = self.work(context)
        path = self.path.replace("{slice}", work.slice.key)
        known = self._known(work, path)
        found = new_files(path, known)
        if not found:
            self.log.info("Nothing new matches %s yet", path)
            trigger = FilesTrigger(path, known, self.poll.total_seconds())
            self.defer(trigger=trigger, method_name=self.arrived.__name__, timeout=self.wait)
        return self.arrived(context, found)

    def arrived(self, context: Context, event: list[str]) -> list[str]:  # noqa: ARG002 - Airflow gives it
        """Say what has come."""
        self.log.info("%d files are there: %s", len(event), ", ".join(event[:5]))
        return event

    def _known(self, work: Work, path: str) -> list[str]:
        from penstock.core.file_ledger import loaded_files
        from penstock.hooks.files import is_pattern

        if not is_pattern(path):
            return []
        with closing(self.session(work)) as warehouse, warehouse, warehouse.cursor() as cur:
            return sorted(loaded_files(cur, self.dataset, work.slice.key))
