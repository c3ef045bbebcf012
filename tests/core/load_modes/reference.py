"""What each load mode means, said once more in Python: the tables of the tests are held to this.

It is written from the description of the modes and shares no code with them: rows are tuples in memory, and nothing
is clever. `Reference.load` takes the rows that a source gives for a slice and tells where each of them went.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

Mode = Literal["append", "replace_partition", "merge", "scd2", "snapshot"]
Moment = tuple[int | None, str]
MODES: tuple[Mode, ...] = ("append", "replace_partition", "merge", "scd2", "snapshot")


class Row(NamedTuple):
    """A row of the source."""

    id: int | None
    grade: str | None
    at: str
    gone: bool | None = None


def as_text(row: Row) -> tuple[str, str]:
    """What decides between two rows of one key and moment, in the order in which Postgres sorts their text."""
    return row.grade or "", {None: "", False: "f", True: "t"}[row.gone]


@dataclass(frozen=True)
class Variant:
    """A load mode with what the contract says beside it."""

    mode: Mode
    key: bool = True
    cursor: bool = True
    tombstone: Literal["hard", "soft"] | None = None

    def __str__(self) -> str:
        said = [self.mode, *(name for name in ("key", "cursor") if getattr(self, name))]
        return "-".join([*said, *([self.tombstone] if self.tombstone else [])])

    @property
    def partitioned(self) -> bool:
        """Whether each slice has a partition of its own."""
        return self.mode in ("append", "replace_partition", "snapshot")


class Went(NamedTuple):
    """Where the rows of one load went."""

    extracted: int
    loaded: int
    quarantined: int
    deduplicated: int
    filtered: int


@dataclass
class Reference:
    """The warehouse as it should be.

    Attributes:
        variant: How slices are published.
        parts: By slice, the rows of its partition.
        rows: By key and moment, the rows of the one table; of merge at most one per key.
        tombs: By slice, keys and moments of the hard deletes that it told of.
        aside: By slice, the rows in quarantine.
    """

    variant: Variant
    parts: dict[str, Counter[Row]] = field(default_factory=dict)
    rows: dict[Moment, Row] = field(default_factory=dict)
    tombs: dict[str, set[Moment]] = field(default_factory=dict)
    aside: dict[str, Counter[Row]] = field(default_factory=dict)

    def is_mark(self, row: Row) -> bool:
        """Whether a row only says that its key is to leave the table."""
        return self.variant.tombstone == "hard" and row.gone is True

    def split(self, slice_key: str, rows: list[Row]) -> tuple[list[Row], list[Row]]:
        """The gate: what passes, and what is set aside."""
        keys = Counter(row.id for row in rows)
        passed, aside = [], []
        for row in rows:
            sound = row.grade in set("ABCDE") or (row.grade is None and self.is_mark(row))
            if self.variant.key:
                sound = sound and row.id is not None and (self.variant.cursor or keys[row.id] == 1)
            if self.variant.mode == "replace_partition":
                sound = sound and row.at.startswith(slice_key)
            (passed if sound else aside).append(row)
        return passed, aside

    def load(self, slice_key: str, rows: list[Row]) -> Went:
        """Publish a slice."""
        passed, aside = self.split(slice_key, rows)
        before, now, left = self.aside.get(slice_key, Counter()), Counter(aside), 0
        if self.variant.mode == "append":  # adds, and takes nothing away: not out of the quarantine either
            left = (before - now).total()
            now |= before
        self.aside[slice_key] = now
        loaded, marks, kept = (self._partition if self.variant.partitioned else self._versions)(slice_key, passed)
        came = len(rows) + kept + left
        return Went(came, loaded, now.total(), came - loaded - now.total() - marks, marks)

    def _newest(self, rows: list[Row], by: Callable[[Row], object]) -> list[Row]:
        """Of equal rows the newest; a delete before a row of its moment, and then what is greatest as text."""
        found: dict[object, Row] = {}
        for row in sorted(rows, key=lambda row: (row.at, self.is_mark(row), as_text(row))):
            found[by(row)] = row
        return list(found.values())

    # --- append, replace_partition, snapshot: a slice is its partition ---

    def _partition(self, slice_key: str, passed: list[Row]) -> tuple[int, int, int]:
        appends, before = self.variant.mode == "append", self.parts.get(slice_key, Counter())
        if self.variant.key:
            passed = self._newest(passed, by=lambda row: row.id)
        marks = {row for row in passed if self.is_mark(row)}
        new, kept = Counter(row for row in passed if not self.is_mark(row)), Counter[Row]()
        said = {(row.id, row.at) for row in marks}
        self.tombs[slice_key] = said | self.tombs.get(slice_key, set()) if appends else said
        if appends and not self.variant.key:
            kept = before - new
        elif appends:
            there = {row.id: row for row in new}
            kept = Counter(
                row for row in before if row.id not in there or (self.variant.cursor and there[row.id].at < row.at)
            )
        if self.variant.key and self.variant.cursor:
            new, kept = (Counter(row for row in part if not self.is_dead(row, slice_key)) for part in (new, kept))
        part = new + kept
        if self.variant.key and self.variant.cursor:
            part = Counter(self._newest(list(part), by=lambda row: row.id))
        self.parts[slice_key] = part
        return part.total(), sum(self.is_mark(row) for row in passed), kept.total()

    # --- merge, scd2: a key has its versions, whichever slice brought them ---

    def _versions(self, slice_key: str, passed: list[Row]) -> tuple[int, int, int]:
        merges = self.variant.mode == "merge"
        newest = self._newest(passed, by=lambda row: row.id if merges else (row.id, row.at))
        self.tombs[slice_key] = {(row.id, row.at) for row in newest if self.is_mark(row)}
        self.rows = {moment: row for moment, row in self.rows.items() if not self.is_dead(row)}
        loaded = 0
        for row in newest:
            others = [moment for moment in self.rows if merges and moment[0] == row.id]
            if self.is_mark(row) or self.is_dead(row) or any(at > row.at for _, at in others):
                continue
            for moment in others:
                del self.rows[moment]
            self.rows[row.id, row.at] = row
            loaded += 1
        return loaded, len(self.tombs[slice_key]), 0

    def is_dead(self, row: Row, slice_key: str | None = None) -> bool:
        """Whether a row was deleted: then or later; of all versions only the one of that very moment is no version."""
        tombs = {tomb for key, told in self.tombs.items() if slice_key in (None, key) for tomb in told}
        if self.variant.mode == "scd2":
            return (row.id, row.at) in tombs
        return any(key == row.id and at >= row.at for key, at in tombs)

    # --- what users see ---

    def table(self) -> Counter[tuple[object, ...]]:
        """The rows of the table; of partitioned modes with their slice, of scd2 with their validity."""
        if self.variant.partitioned:
            return Counter({(*row, key): n for key, part in self.parts.items() for row, n in part.items()})
        if self.variant.mode == "merge":
            return Counter(tuple(row) for row in self.rows.values())
        moments = set(self.rows).union(*self.tombs.values())
        ends = {
            moment: min((at for key, at in moments if key == moment[0] and at > moment[1]), default=None)
            for moment in moments
        }
        return Counter((*row, row.at, ends[moment]) for moment, row in self.rows.items())

    def quarantine(self) -> Counter[tuple[str, Row]]:
        """Every row set aside, with its slice."""
        return Counter({(key, row): n for key, rows in self.aside.items() for row, n in rows.items()})
