"""Jobs of an API that makes its answer ready first: submit, ask how it stands, read the result."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Literal

from penstock.core.errors import SourceError
from penstock.core.paging import Answer, Request
from penstock.core.paging.page import found_at, linked, position_at

MARK: Final = "{job}"
_LONGEST_ID: Final = 512

State = Literal["waiting", "done"]


@dataclass(frozen=True, slots=True)
class Job:
    """How an API is asked for a job.

    Attributes:
        id: Where the answer to the submission holds the job's id.
        status: Path of how the job stands, below the connection's host; `{job}` is its id.
        state: Where its answer says how the job stands.
        done: What it says then when the result is there.
        failed: What it says when there will be none; anything else is to be waited for.
        result: Path of the result with `{job}`, or where the status holds the result's URL.
        every: Pause between two questions.
        patience: For how long to ask; then the task fails.
    """

    status: str
    result: str
    id: str = "id"
    state: str = "status"
    done: tuple[str, ...] = ("done", "completed", "succeeded", "success", "finished")
    failed: tuple[str, ...] = ("failed", "error", "cancelled", "canceled", "aborted", "expired")
    every: timedelta = timedelta(seconds=30)
    patience: timedelta = timedelta(hours=12)

    def number(self, answer: Answer) -> str:
        """Return the job's id from the answer to its submission.

        Raises:
            SourceError: There is none.
        """
        found: Any = found_at(answer, self.id)
        if not isinstance(found, str) or not found or len(found) > _LONGEST_ID or not found.isprintable():
            raise SourceError(f"The answer to the submission has no job at {self.id!r} but {str(found)[:80]!r}.")
        return found

    def question(self, number: str) -> Request:
        """Return the request for how a job stands."""
        return Request(_filled(self.status, number))

    def stands(self, answer: Answer) -> State:
        """Tell whether the result is there.

        Raises:
            SourceError: There will be none, or the answer does not say how the job stands.
        """
        said = found_at(answer, self.state)
        text = str(said).strip().lower()
        if said is None or isinstance(said, dict | list):
            raise SourceError(f"At {self.state!r} the answer does not say how the job stands.")
        if text in self.failed:
            raise SourceError(
                f"The source gave the job up: {text}.",
                next_step="nothing at first: the next try submits the job anew; if it goes on, ask the source's owner.",
            )
        return "done" if text in self.done else "waiting"

    def result_of(self, number: str, answer: Answer) -> Request:
        """Return the request for a job's result.

        Raises:
            SourceError: The status does not tell where it is.
            PagingError: It is at another host.
        """
        if MARK in self.result:
            return Request(_filled(self.result, number))
        url = position_at(answer, self.result)
        if url is None:
            raise SourceError(f"The job is done, and at {self.result!r} nothing tells where its result is.")
        return Request(linked(answer, url))


def _filled(path: str, number: str) -> str:
    from urllib.parse import quote

    return path.replace(MARK, quote(number, safe=""))
