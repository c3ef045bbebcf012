"""Wait for files to come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent


class FilesTrigger(BaseTrigger):
    """Fires with the paths of the files that match and are not known.

    Args:
        path: As `FileExtractOperator` takes it, with the slice filled in.
        known: Paths that do not count.
        seconds: Pause between two looks.
    """

    def __init__(self, path: str, known: Collection[str] = (), seconds: float = 60.0) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.path = path
        self.known = list(known)
        self.seconds = seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return how the triggerer makes it again."""
        return "penstock.triggers.files.FilesTrigger", {
            "path": self.path,
            "known": self.known,
            "seconds": self.seconds,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until there is one; the look itself runs beside the triggerer's loop."""
        from penstock.hooks.files import new_files

        while not (found := await asyncio.to_thread(new_files, self.path, self.known)):
            await asyncio.sleep(self.seconds)
        yield TriggerEvent(found)  # type: ignore[no-untyped-call]
