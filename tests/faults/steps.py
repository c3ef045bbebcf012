"""Inside the task: counts what it says to its servers, and lets a fault happen between two of these steps.

A step is one statement or one commit of a session. The sessions are psycopg2's own, of a subclass that counts.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final
from unittest.mock import patch

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extensions import cursor as Cursor  # noqa: N812

from penstock.hooks.postgres import CheckedPostgresHook
from tests.faults import control
from tests.faults.faults import Fault

ADMIN: Final = {"warehouse": "FAULTS_WAREHOUSE", "source": "FAULTS_SOURCE"}
FULL_FUNCTION: Final = (
    "CREATE FUNCTION pg_temp.disk_is_full() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
    " IF nextval('pg_temp.faults_rows') > %s THEN"
    " RAISE 'could not extend file: No space left on device' USING ERRCODE = '53100'; END IF; RETURN NEW; END $$"
)
FULL_NOW: Final = "DO $$ BEGIN RAISE 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$"
RESTART_SECONDS: Final = 60.0


class Steps:
    """The steps of one task, and the faults that happen between them.

    Attributes:
        seen: Role and first words of each step.
    """

    def __init__(self, faults: Sequence[Fault], run_id: str, task: str, try_number: int) -> None:
        self.faults = [f for f in faults if (f.task, f.try_number) == (task, try_number)]
        self.pauses = any(fault.kind == "pause" for fault in faults)
        self.run_id, self.task, self.try_number = run_id, task, try_number
        self.seen: list[tuple[str, str]] = []
        self.open: list[Counted] = []
        self.again: Callable[[], object] | None = None
        self.child_of: int | None = None
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def step(self, session: Counted, what: str, act: Callable[[], Any]) -> Any:
        """Take one step, with what is to happen before and after it."""
        with self._lock:
            self._counts[session.role] += 1
            number = self._counts[session.role]
            self.seen.append((session.role, what))
        self._meet(session, number, "before", what)
        found = act()
        self._meet(session, number, "after", what)
        return found

    def start_clock(self) -> None:
        """Let the faults that belong to an instant happen then."""
        for fault in self.faults:
            if not fault.step and fault.kind != "pause":
                threading.Thread(target=self._at_instant, args=(fault,), daemon=True).start()

    def _meet(self, session: Counted, number: int, when: str, what: str) -> None:
        for fault in [f for f in self.faults if (f.role, f.step, f.when) == (session.role, number, when)]:
            self.faults.remove(fault)
            note = control.note(self.run_id, self.task, self.try_number, fault.kind, fault.role, number)
            if fault.kind in ("twin", "zombie"):
                self._fork(fault, note)
            elif fault.kind == "disk_full":
                session.fill_disk(what)
            else:
                self._act(fault, [session])

    def _at_instant(self, fault: Fault) -> None:
        time.sleep(fault.seconds)
        control.note(self.run_id, self.task, self.try_number, fault.kind, fault.role, 0)
        self._act(fault, [session for session in self.open if session.role == fault.role])

    def _act(self, fault: Fault, sessions: list[Counted]) -> None:
        if fault.kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif fault.kind == "kill_supervisor":
            os.kill(os.getppid(), signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)
        elif fault.kind in ("drop_warehouse", "drop_source"):
            for session in sessions:
                control.ask(
                    "SELECT pg_terminate_backend(%s, 5000)",
                    (session.info.backend_pid,),
                    os.environ[ADMIN[session.role]],
                )
        elif fault.kind == "restart":
            ((number,),) = control.ask("INSERT INTO request DEFAULT VALUES RETURNING id")
            control.wait_for("SELECT 1 FROM request WHERE id = %s AND done", (number,), RESTART_SECONDS)
        elif fault.kind == "pause":
            time.sleep(fault.seconds)

    def _fork(self, fault: Fault, note: int) -> None:
        """Make a second process of this one: a twin that does the task from the start, or a zombie that goes on."""
        if os.fork():
            if fault.kind == "zombie":
                os.kill(os.getpid(), signal.SIGKILL)
            return
        self.child_of, self.faults = note, []
        kept = {session.fileno() for session in self.open if not session.closed} if fault.kind == "zombie" else set()
        _leave_airflow(kept)
        if fault.kind == "zombie":
            self._sleep_as_zombie(fault)
            return
        self.open.clear()
        time.sleep(fault.seconds)
        assert self.again is not None
        try:
            self.again()
        except BaseException as error:
            self.leave(f"{type(error).__name__}: {error}")
        self.leave("done")

    def _sleep_as_zombie(self, fault: Fault) -> None:
        if self.pauses:
            paused = "SELECT 1 FROM injected WHERE run_id = %s AND kind = 'pause'"
            control.wait_for(paused, (self.run_id,), fault.seconds)
        else:
            time.sleep(fault.seconds)

    def leave(self, how: str) -> None:
        """End a twin or a zombie without a word to Airflow."""
        if self.child_of is not None:
            with suppress(psycopg2.Error):
                control.note_end(self.child_of, how[:500])
            os._exit(0)


def _leave_airflow(kept: set[int]) -> None:
    """Cut every tie to the supervisor: its pipes must end with the process that it knows."""
    os.setsid()
    nowhere = os.open(os.devnull, os.O_RDWR)
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - numbers, not paths
        number = int(name)
        if number not in kept and number != nowhere:
            with suppress(OSError):
                os.dup2(nowhere, number)
    from airflow.sdk.execution_time import task_runner

    task_runner.SUPERVISOR_COMMS = None  # type: ignore[assignment]


class Counted(Connection):
    """A session whose steps are counted."""

    steps: Steps
    role: str

    def cursor(self, *args: Any, **kwargs: Any) -> Any:
        """Return a cursor whose statements are counted."""
        return super().cursor(*args, cursor_factory=CountedCursor, **kwargs)

    def commit(self) -> None:
        """Commit: a step."""
        self.steps.step(self, "COMMIT", super().commit)

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        """End the transaction as psycopg2 does; a commit is a step."""
        end = super().__exit__
        if kind is None:
            self.steps.step(self, "COMMIT", lambda: end(None, None, None))
        else:
            end(kind, error, trace)

    def fill_disk(self, what: str) -> None:
        """Let the server find its disk full: in the midst of a COPY, else at once.

        Raises:
            psycopg2.errors.DiskFull: Unless the coming COPY does.
        """
        with super().cursor() as cur:
            if not what.startswith("COPY staging"):
                cur.execute(FULL_NOW)
            table = what.split()[1]
            cur.execute("CREATE TEMPORARY SEQUENCE faults_rows")
            cur.execute(FULL_FUNCTION, (100,))
            cur.execute(
                f"CREATE TRIGGER full BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION pg_temp.disk_is_full()"
            )


class CountedCursor(Cursor):
    """A cursor whose statements are steps."""

    def execute(self, query: Any, values: Any = None) -> None:
        """Execute: a step."""
        run = super().execute
        self._session.steps.step(self._session, self._text(query), lambda: run(query, values))

    def copy_expert(self, query: Any, file: Any, size: int = 8192) -> None:
        """COPY: a step."""
        run = super().copy_expert
        self._session.steps.step(self._session, self._text(query), lambda: run(query, file, size))

    @property
    def _session(self) -> Counted:
        found = self.connection
        assert isinstance(found, Counted)
        return found

    def _text(self, query: Any) -> str:
        if isinstance(query, bytes):
            query = query.decode("utf-8", "replace")
        text = query if isinstance(query, str) else query.as_string(self.connection)
        return " ".join(text.replace('"', "").split())[:90]


@contextmanager
def counted(steps: Steps, warehouse_conn_id: str) -> Iterator[None]:
    """Have every session that the operators open counted."""

    def connect(hook: CheckedPostgresHook, conn_args: dict[str, Any]) -> Connection:
        role = "warehouse" if hook.get_conn_id() == warehouse_conn_id else "source"
        session: Counted = plain(hook, {**conn_args, "connection_factory": Counted})
        session.steps, session.role = steps, role
        steps.open.append(session)
        return session

    plain = CheckedPostgresHook._create_connection
    with patch.object(CheckedPostgresHook, "_create_connection", connect):
        yield
