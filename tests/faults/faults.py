"""What a fault is: plain data that travels to the task in the run's `conf`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

KINDS: Final = {
    "kill": "SIGKILL of the task's process",
    "kill_supervisor": "SIGKILL of the task's process and its supervisor",
    "drop_warehouse": "the warehouse's connection is cut",
    "drop_source": "the source's connection is cut",
    "disk_full": "the stage's disk is full (SQLSTATE 53100)",
    "restart": "Postgres crashes and restarts (immediate)",
    "twin": "the same attempt runs twice, at once or later",
    "zombie": "a replaced attempt goes on",
}
TASKS: Final = ("extract", "validate", "publish")


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault.

    Attributes:
        kind: One of `KINDS`, or `pause`, which holds a replacement up while the zombie that it replaces goes on.
        task: The task it happens in.
        role: `warehouse` or `source`: whose session counts the steps.
        step: Number of the step, from 1; 0 for a random instant.
        when: `before` or `after` the step.
        try_number: The try it happens in.
        seconds: For a random instant: how long after the start. For `pause`: how long. For `twin`: how long it sleeps
            before it starts. For `zombie`: how long it sleeps, or, if there is a pause in the run, at most waits for
            that.
    """

    kind: str
    task: str
    role: str = "warehouse"
    step: int = 0
    when: str = "before"
    try_number: int = 1
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return asdict(self)
