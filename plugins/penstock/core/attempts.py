"""One try of a task at a time works on a stage.

Airflow replaces a try that it takes for dead: its process was killed, or nothing was heard of it. The old try may
yet go on, for a while or after a long sleep, and its session may stand in a transaction that the new one would wait
for. So each session of a slice's task carries its try in its name, as `pg_stat_activity` shows it. A new try ends the
sessions of those before it. An old one that comes back finds the name or the record of its successor, and stops.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from psycopg2.extensions import connection as Connection  # noqa: N812

from penstock.core.errors import StageBusy

if TYPE_CHECKING:
    from penstock.core.stage import Stage

TRIES: Final = "tries"
"""In the detail of stage and ledger: which tries have extracted and judged the rows."""
_END_MILLISECONDS: Final = 5000


@dataclass(frozen=True, slots=True)
class Try:
    """One try of a task.

    Attributes:
        task_id: The task.
        number: Number of the try, from 1.
        id: Airflow's id of the try, a UUID of version 7: later ones are greater.
    """

    task_id: str
    number: int
    id: str

    def as_detail(self) -> dict[str, Any]:
        """Return what is kept of it with the rows."""
        return {"number": self.number, "id": self.id}


def take_over(conn: Connection, stage: Stage) -> int:
    """Give a session the name of its try, and end the sessions of the tries before it; commits.

    Returns:
        How many were ended.

    Raises:
        StageBusy: A later try is at work, or this very try in another process.
    """
    mine = stage.by
    if mine is None:
        return 0
    digest = stage.name.rpartition("_")[2]
    with conn, conn.cursor() as cur:
        # One after another: of two processes that do one try at once the second sees the first one's name.
        lock = f"penstock {digest} {mine.task_id}"
        cur.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (lock,))
        cur.execute("SET application_name = %s", (f"penstock {digest} {mine.number} {mine.task_id}",))
        cur.execute(
            "SELECT a.pid, split_part(a.application_name, ' ', 3)::integer"
            " FROM pg_stat_activity AS a, pg_stat_activity AS me"
            " WHERE me.pid = pg_backend_pid() AND a.pid <> me.pid AND a.datid = me.datid AND a.usesysid = me.usesysid"
            " AND split_part(a.application_name, ' ', 2) = %s AND a.application_name ~ '^penstock [0-9a-f]+ [0-9]+ '"
            " AND split_part(a.application_name, ' ', 4) = split_part(me.application_name, ' ', 4)",
            (digest,),
        )
        others = cur.fetchall()
        for pid, number in others:
            if number >= mine.number:
                raise _busy(stage, mine, f"try {number} is at work (session {pid})")
        for pid, _ in others:
            cur.execute("SELECT pg_terminate_backend(%s, %s)", (pid, _END_MILLISECONDS))
    return len(others)


def refuse_superseded(stage: Stage, task: str, detail: Mapping[str, Any]) -> None:
    """Stop a try whose work was done, or begun, by its successor or by itself in another process.

    The latter is a twin that came late: the executor's broker delivered the task again, and the first process had
    gone by then. What follows the task works on the rows already, so the twin must leave them alone. (A try that was
    lost amid its work is given another number.) For a successor both the try's number and its id must say so: a run
    that is deleted and made again under the same id counts its tries from 1, and the clocks that ids come from may
    differ a little.

    Args:
        stage: The stage, with the try.
        task: `extract` or `validate`.
        detail: What is recorded of the rows.

    Raises:
        StageBusy: A later try, or this very one, has left its record.
    """
    mine, recorded = stage.by, detail.get(TRIES, {}).get(task)
    if mine is None or recorded is None:
        return
    if recorded == mine.as_detail():
        raise _busy(stage, mine, "another process has done, or begun, the work of this very try")
    if recorded["number"] > mine.number and recorded["id"] > mine.id:
        raise _busy(stage, mine, f"try {recorded['number']} has done its work")


def need_own(stage: Stage, task: str, detail: Mapping[str, Any]) -> None:
    """Stop a try whose work another one has begun anew.

    Raises:
        StageBusy: The record is not this try's.
    """
    mine, recorded = stage.by, detail.get(TRIES, {}).get(task)
    if mine and recorded != mine.as_detail():
        raise _busy(stage, mine, "another try has begun the work anew")


def with_try(stage: Stage, task: str, detail: Mapping[str, Any]) -> dict[str, Any]:
    """Return a detail in which the try is recorded, if there is one."""
    if stage.by is None:
        return dict(detail)
    return {**detail, TRIES: {**detail.get(TRIES, {}), task: stage.by.as_detail()}}


def _busy(stage: Stage, mine: Try, why: str) -> StageBusy:
    return StageBusy(
        f"Try {mine.number} of task {mine.task_id} stops: {why}.",
        dataset=stage.dataset,
        slice_key=stage.slice_key,
        next_step="nothing: the other try does the work, or the task is retried.",
    )
