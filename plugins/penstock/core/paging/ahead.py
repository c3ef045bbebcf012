"""Ask for pages before their turn, where requests for them can be told without the answers before them."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from penstock.core.paging.kinds import Offset, PageNumber, Paging
from penstock.core.paging.page import Answer, Fetch, Request, count_at


def pages_left(paging: Paging, request: Request, answer: Answer, rows: int, left: int | None) -> int:
    """Return how many pages are sure to come after an answer; 0 where the source does not say.

    Args:
        paging: How the source pages.
        request: What was asked.
        answer: What came.
        rows: Rows in it.
        left: How many rows are still to come; None where the source does not say.
    """
    if isinstance(paging, PageNumber) and paging.pages:
        return max(0, count_at(answer, paging.pages) - (paging.number(request) - paging.first_page + 1))
    return -(-left // rows) if left is not None and left > 0 and rows else 0


def coming(paging: Paging, following: Request, rows: int, number: int) -> Sequence[Request]:
    """Return the next requests in their order, as far as they can be told; the first is the one that follows.

    Args:
        paging: How the source pages.
        following: The request for the next page.
        rows: Rows in a page.
        number: How many requests at most.
    """
    found = [following]
    while len(found) < number:
        last = found[-1]
        if isinstance(paging, PageNumber):
            found.append(last.with_parameter(paging.page, paging.number(last) + 1))
        elif isinstance(paging, Offset):
            found.append(last.with_parameter(paging.offset, paging.position(last) + rows))
        else:
            break
    return found


class Ahead:
    """Sends requests from several threads; each answer is handed out once, to whoever asks for it.

    Args:
        fetch: Sends one request; is called from several threads at once.
        at_once: Requests under way at most; with 1 each is sent when it is asked for.
    """

    def __init__(self, fetch: Fetch, at_once: int) -> None:
        self._fetch = fetch
        self.at_once = at_once
        self._pool = ThreadPoolExecutor(at_once, thread_name_prefix="page") if at_once > 1 else None
        self._sent: dict[str, Future[Answer]] = {}

    def fetch(self, request: Request) -> Answer:
        """Return the answer to a request, whether it was sent before or not."""
        sent = self._sent.pop(request.key, None)
        return sent.result() if sent else self._fetch(request)

    def expect(self, requests: Sequence[Request]) -> None:
        """Send what will soon be asked for, and forget what was sent and is not among it."""
        if self._pool is None:
            return
        wanted = {request.key: request for request in requests}
        for key in self._sent.keys() - wanted.keys():
            self._sent.pop(key).cancel()
        for key, request in wanted.items():
            if key not in self._sent and len(self._sent) < self.at_once:
                self._sent[key] = self._pool.submit(self._fetch, request)

    def close(self) -> None:
        """Send nothing more; wait for what is under way."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
