"""COPY from one Postgres into another through an operating-system pipe: bytes are moved, never parsed."""

from __future__ import annotations

import os
import select
import threading
from contextlib import suppress
from typing import IO

import psycopg2
from psycopg2.extensions import cursor as Cursor  # noqa: N812
from psycopg2.sql import Composable

_BLOCK_BYTES = 1 << 18
_GRACE_SECONDS = 0.2


class _Sender(threading.Thread):
    """Runs the source's COPY TO in a thread of its own and closes its end of the pipe, come what may."""

    def __init__(self, source: Cursor, statement: Composable, write_end: int) -> None:
        super().__init__(name="copy-out", daemon=True)
        self._source, self._statement, self._write_end = source, statement, write_end
        self.rows = 0
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            with os.fdopen(self._write_end, "wb", buffering=_BLOCK_BYTES) as out:
                self._source.copy_expert(self._statement, out, size=_BLOCK_BYTES)
            self.rows = self._source.rowcount
        except BaseException as error:
            self.error = error


class _Incoming:
    """The read end of the pipe, which ends early once the target speaks up.

    During COPY a server says something only to fail (or, hardly ever, to report a changed setting; then the counts
    differ, and the copy fails too). The driver would notice only after it had sent the last row.
    """

    def __init__(self, pipe: IO[bytes], target: Cursor) -> None:
        self._pipe = pipe
        self._target = target.connection.fileno()
        self._either = select.poll()
        self._either.register(pipe, select.POLLIN)
        self._either.register(self._target, select.POLLIN)

    def read(self, size: int = -1) -> bytes:
        """Read a block; empty at the end, and once there is no use in sending more."""
        speaks = any(descriptor == self._target for descriptor, _ in self._either.poll())
        return b"" if speaks else self._pipe.read(size)

    def readline(self, size: int = -1) -> bytes:
        """Never called; the driver checks for it."""
        return self.read(size)


def pipe_copy(source: Cursor, copy_out: Composable, target: Cursor, copy_in: Composable) -> int:
    """Copy a query's rows from one server into a table on another; in the caller's two transactions.

    Args:
        source: Cursor on the source.
        copy_out: `COPY (…) TO STDOUT …`.
        target: Cursor on the target.
        copy_in: `COPY … FROM STDIN …` in the same format.

    Returns:
        The number of rows, on which both servers agree.

    Raises:
        psycopg2.Error: Either side failed; the source's error wins, for a source that breaks off also
            leaves the target with a truncated stream.
        ConnectionError: The servers counted different numbers of rows.
    """
    read_end, write_end = os.pipe()
    sender = _Sender(source, copy_out, write_end)
    sender.start()
    target_error: BaseException | None = None
    try:
        with os.fdopen(read_end, "rb", buffering=_BLOCK_BYTES) as incoming:
            target.copy_expert(copy_in, _Incoming(incoming, target), size=_BLOCK_BYTES)
    except BaseException as error:
        target_error = error
    cancelled = target_error is not None and _break_off(sender, source)
    sender.join()
    if sender.error is not None and not cancelled:
        raise sender.error
    if target_error is not None:
        raise target_error
    if sender.rows != target.rowcount:
        raise ConnectionError(f"the source sent {sender.rows} rows, the warehouse took {target.rowcount}")
    return target.rowcount


def _break_off(sender: _Sender, source: Cursor) -> bool:
    """Stop a source whose rows nobody takes any more.

    Its server would otherwise run the query to the end, and the driver would read all of that before it rolls back.

    Returns:
        Whether it had to be told; a source that failed first, or was done, ends by itself within the grace.
    """
    sender.join(_GRACE_SECONDS)
    if not sender.is_alive() and not (sender.error and _is_broken_pipe(sender.error)):
        return False
    with suppress(psycopg2.Error):
        source.connection.cancel()
    return True


def _is_broken_pipe(error: BaseException) -> bool:
    """Tell whether the sender failed only because the receiver had gone."""
    return isinstance(error, BrokenPipeError) or "Broken pipe" in str(error)
