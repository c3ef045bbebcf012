"""What leaves the lake: attempts that nobody finished, that a newer one has replaced, or whose slice is past retention.

Nothing goes that a try may be writing, or somebody reading: it must not have been changed for some time, and what
replaced it must have been there for some time.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from psycopg2.extensions import cursor as Cursor  # noqa: N812

from penstock.core.errors import SourceError
from penstock.core.lake import MANIFEST
from penstock.core.lake_attempts import LakeFolder, Landed, changed_at, landed_in, listed, newest_first

GRACE: Final = timedelta(days=1)
"""For how long an attempt is left to those who may be reading it, or are about to stage it."""

_UNKNOWN: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""When a file was changed in a store that does not tell it."""

Why = Literal["unfinished", "replaced", "expired"]


@dataclass(frozen=True, slots=True)
class Removed:
    """An attempt that was removed.

    Attributes:
        folder: Its folder.
        files: How many files it had.
        why: `unfinished`: it has no whole manifest; `replaced`: by a newer attempt; `expired`: its slice is past the
            contract's retention.
    """

    folder: str
    files: int
    why: Why


def published_from(cur: Cursor, dataset: str) -> dict[str, str]:
    """Return by slice the folder of the lake that the slice was last published from, where it was from one."""
    cur.execute(
        "SELECT DISTINCT ON (slice_key) slice_key, detail ->> 'lake' FROM ops.slice_ledger WHERE dataset = %s"
        " AND (status, kind) = ('published', 'load') AND detail ->> 'lake' IS NOT NULL ORDER BY slice_key, id DESC",
        (dataset,),
    )
    return dict(cur.fetchall())


def sweep_slice(
    slice_folder: LakeFolder, *, now: datetime, age: timedelta, expired: bool, published: str | None
) -> list[Removed]:
    """Remove the attempts at a slice that are of no more use.

    The newest whole attempt stays, and the one that the slice was published from, until the retention is over.

    Args:
        slice_folder: `<lake>/<dataset>/<slice>`.
        now: The present, with a time zone.
        age: How long nothing must have changed an attempt that is unfinished or replaced.
        expired: Whether the slice is past its contract's retention: then all go that are left in peace.
        published: Folder that the slice was last published from, if it was from one.
    """
    whole, unfinished = _surveyed(slice_folder)
    if expired:
        gone = [_remove(folder, now - GRACE, "expired") for folder in (*unfinished, *(one.folder for one in whole))]
        return [one for one in gone if one]
    gone = [_remove(folder, now - age, "unfinished") for folder in unfinished]
    if whole and _told_before(whole[0].at, now - GRACE):
        replaced = [one.folder for one in whole[1:] if published is None or one.folder.name != _name(published)]
        gone += [_remove(folder, now - age, "replaced") for folder in replaced]
    return [one for one in gone if one]


def _remove_folder(folder: LakeFolder) -> int:
    """Remove an attempt and return how many files it had; the manifest goes first, so that what is left is none."""
    files = sorted(listed(folder), key=lambda path: path.name != MANIFEST)
    for path in files:
        path.unlink()
    with suppress(FileNotFoundError, NotADirectoryError):  # an object store has no folder without files
        folder.rmdir()
    return len(files)


def _surveyed(slice_folder: LakeFolder) -> tuple[list[Landed], list[LakeFolder]]:
    """Return a slice's whole attempts, the newest first, and the folders of all others."""
    whole, unfinished = [], []
    for folder in listed(slice_folder):
        if not folder.is_dir():
            continue
        try:
            whole.append(landed_in(folder))
        except (SourceError, FileNotFoundError):  # torn, or not written yet
            unfinished.append(folder)
    return newest_first(whole), unfinished


def _name(folder: str) -> str:
    return folder.rstrip("/").rpartition("/")[2]


def _told_before(at: datetime, since: datetime) -> bool:
    """Tell whether a time of change is known, and lies before a moment."""
    return _UNKNOWN < at < since


def _remove(folder: LakeFolder, since: datetime, why: Why) -> Removed | None:
    """Remove an attempt that nothing has changed since; None for one that something has."""
    files = listed(folder)
    last_first = reversed(files or [folder])  # of a try at work, the last part is the newest
    if not all(_told_before(changed_at(path), since) for path in last_first):
        return None
    return Removed(str(folder), _remove_folder(folder), why)
