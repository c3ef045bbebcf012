"""Wait for a job of an API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from datetime import timedelta
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent


class ApiJobTrigger(BaseTrigger):
    """Fires when a job is no longer to be waited for: it is done, it was given up, or the source does not answer.

    The task asks once more itself, so that its own log tells which.

    Args:
        conn_id: HTTP connection.
        path: Of how the job stands, with its id.
        state: Where the answer says it.
        done: What it says when the result is there.
        failed: What it says when there will be none.
        seconds: Pause between two questions.
    """

    def __init__(
        self, conn_id: str, path: str, state: str, done: Sequence[str], failed: Sequence[str], seconds: float
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.conn_id = conn_id
        self.path = path
        self.state = state
        self.done = list(done)
        self.failed = list(failed)
        self.seconds = seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return how the triggerer makes it again."""
        names = ("conn_id", "path", "state", "done", "failed", "seconds")
        return "penstock.triggers.api_job.ApiJobTrigger", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Ask until there is something to tell; the question itself runs beside the triggerer's loop."""
        while await asyncio.to_thread(self._is_waiting):
            await asyncio.sleep(self.seconds)
        yield TriggerEvent(None)  # type: ignore[no-untyped-call]

    def _is_waiting(self) -> bool:
        from penstock.core.api_job import Job
        from penstock.core.errors import PenstockError
        from penstock.core.paging import Request
        from penstock.hooks.json_api import JsonApiHook

        job = Job("", "", "", self.state, tuple(self.done), tuple(self.failed), timedelta(seconds=self.seconds))
        try:
            with closing(JsonApiHook(self.conn_id)) as api:
                return job.stands(api.ask(Request(self.path))) == "waiting"
        except PenstockError:
            return False
