"""COPY from one Postgres into another through an operating-system pipe: bytes are moved, never parsed."""

from __future__ import annotations

import os
import threading

from psycopg2.extensions import cursor as Cursor  # noqa: N812
from psycopg2.sql import Composable

_BLOCK_BYTES = 1 << 18


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
            target.copy_expert(copy_in, incoming, size=_BLOCK_BYTES)
    except BaseException as error:
        target_error = error
    sender.join()
    if sender.error is not None and not (target_error and _is_broken_pipe(sender.error)):
        raise sender.error
    if target_error is not None:
        raise target_error
    if sender.rows != target.rowcount:
        raise ConnectionError(f"the source sent {sender.rows} rows, the warehouse took {target.rowcount}")
    return target.rowcount


def _is_broken_pipe(error: BaseException) -> bool:
    """Tell whether the sender failed only because the receiver had gone."""
    return isinstance(error, BrokenPipeError) or "Broken pipe" in str(error)
