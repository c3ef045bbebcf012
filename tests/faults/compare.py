"""Holds the warehouse that the faults have met against one that they have not."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from tests.faults.control import ask
from tests.faults.datasets import DATASETS

_DAY: Final = {"append": "loaded_on", "snapshot": "loaded_on"}
_COUNTS: Final = "extracted, loaded, quarantined, deduplicated, filtered, withheld"

Rows = dict[tuple[str, str], Counter[tuple[str, int]]]


@dataclass(slots=True)
class Warehouse:
    """What a warehouse holds, by dataset and slice, so that nothing in it depends on times, ids or order.

    Attributes:
        rows: Checksum of each row of tables, quarantine and tombstones, with how often it is there.
        ledger: Status, counts and run of each attempt that was published or refused, in order.
        stages: Names of the tables and records of stages.
        locks: Advisory locks that are held.
    """

    rows: Rows = field(default_factory=dict)
    ledger: dict[tuple[str, str], list[tuple[str, tuple[int, ...], str]]] = field(default_factory=dict)
    stages: list[str] = field(default_factory=list)
    locks: int = 0


def read(dsn: str) -> Warehouse:
    """Read all that is to be compared."""
    found = Warehouse()
    for which in DATASETS:
        day = _DAY.get(which.mode, "(at AT TIME ZONE 'UTC')::date")
        _count(found, which.name, "table", dsn, f"SELECT {day}::text, {_HASH}, count(*) FROM {which.published} AS t")
    for which in DATASETS:
        _count(
            found, which.name, "quarantine", dsn,
            f"SELECT slice_key, {_HASH}, count(*) FROM (SELECT slice_key, rules, payload, details, fingerprint,"
            f" occurrence, state FROM ops.quarantine WHERE dataset = '{which.name}') AS t",
        )  # fmt: skip
        _count(
            found, which.name, "tombstone", dsn,
            f"SELECT slice_key, {_HASH}, count(*) FROM (SELECT * FROM ops.tombstone"
            f" WHERE dataset = '{which.name}') AS t",
        )  # fmt: skip
    statement = f"SELECT dataset, slice_key, status, run_id, {_COUNTS} FROM ops.slice_ledger ORDER BY id"
    for dataset, key, status, run_id, *counts in ask(statement, dsn=dsn):
        found.ledger.setdefault((dataset, key), []).append((status, tuple(counts), run_id))
    staged = "SELECT tablename FROM pg_tables WHERE schemaname = 'staging' UNION SELECT name FROM ops.stage ORDER BY 1"
    found.stages = [name for (name,) in ask(staged, dsn=dsn)]
    locks = "SELECT count(*) FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database WHERE locktype = 'advisory'"
    ((found.locks,),) = ask(f"{locks} AND datname = current_database()", dsn=dsn)
    return found


_HASH: Final = "hashtextextended(t::text, 0)"


def _count(found: Warehouse, dataset: str, where: str, dsn: str, query: str) -> None:
    for key, digest, count in ask(f"{query} GROUP BY 1, 2", dsn=dsn):
        found.rows.setdefault((dataset, key), Counter())[where, digest] += count


@dataclass(frozen=True, slots=True)
class Difference:
    """How a slice differs from what it would be without faults.

    Attributes:
        lost: Rows that are missing, in table, quarantine and tombstones.
        doubled: Rows that are there too often, or should not be there.
        remarks: What else is wrong: the ledger, a stage that was left.
    """

    lost: int
    doubled: int
    remarks: tuple[str, ...]

    @property
    def none(self) -> bool:
        """Whether it does not differ."""
        return not (self.lost or self.doubled or self.remarks)


def difference(disturbed: Warehouse, twin: Warehouse, slice_: tuple[str, str], stage: str) -> Difference:
    """Compare one slice.

    Args:
        disturbed: What the faults have met.
        twin: What they have not.
        slice_: Dataset and key.
        stage: Name of the stage that the run had.
    """
    here, there = (which.rows.get(slice_, Counter()) for which in (disturbed, twin))
    remarks = []
    attempts = disturbed.ledger.get(slice_, [])
    wanted = [counts for _, counts, _ in twin.ledger[slice_]]
    if [status for status, _, _ in attempts] != ["published"]:
        remarks.append(f"the ledger has {[status for status, _, _ in attempts]}")
    elif [counts for _, counts, _ in attempts] != wanted:
        remarks.append(f"the ledger counts {attempts[0][1]}, and should {wanted[0]}")
    remarks += [f"{name} is left in staging" for name in disturbed.stages if name.startswith(stage)]
    return Difference((there - here).total(), (here - there).total(), tuple(remarks))
