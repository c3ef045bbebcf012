"""Which of a folder's files a slice takes: none that another slice has loaded, and a changed one is noticed.

What was loaded from which file stands in the ledger row of the slice (`ops.source_file`), so a file counts as loaded
when its rows are published, and not before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from psycopg2.extensions import cursor as Cursor  # noqa: N812

from penstock.core.contract.model import Contract, LoadMode

_BEAR_ROWS_AGAIN = frozenset((LoadMode.MERGE, LoadMode.SCD2))


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file as its folder lists it.

    Attributes:
        path: Its whole path or URL.
        bytes: Its size.
        modified: When it was changed, or its ETag: whatever differs where it was changed.
    """

    path: str
    bytes: int
    modified: str


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a slice does with the files that there are.

    Attributes:
        take: Files to load, in the order of their paths.
        known: How many were loaded with other slices, and are as they were then.
        changed: Files that were loaded with another slice and are no longer what they were, with that slice's key.
    """

    take: list[SourceFile]
    known: int = 0
    changed: Mapping[str, str] = field(default_factory=dict)


def loaded_files(cur: Cursor, dataset: str, slice_key: str) -> dict[str, tuple[int, str, str]]:
    """Return the files that other slices of a dataset were loaded from: size, time of change and slice, by path."""
    cur.execute(
        "SELECT DISTINCT ON (path) path, bytes, modified, slice_key FROM ops.source_file"
        " WHERE dataset = %s AND slice_key <> %s ORDER BY path, loaded_at DESC",
        (dataset, slice_key),
    )
    return {path: (size, modified, key) for path, size, modified, key in cur.fetchall()}


def choose(files: Iterable[SourceFile], loaded: Mapping[str, tuple[int, str, str]], contract: Contract) -> Chosen:
    """Return which files a slice takes.

    A file that has changed since it was loaded is taken again where its rows can come again (`merge`, `scd2`);
    elsewhere it would double them, and is left to the slice that has loaded it.
    """
    take: list[SourceFile] = []
    changed: dict[str, str] = {}
    known = 0
    for file in sorted(files, key=lambda found: found.path):
        before = loaded.get(file.path)
        if before is None:
            take.append(file)
        elif before[:2] == (file.bytes, file.modified):
            known += 1
        else:
            changed[file.path] = before[2]
            if contract.load_mode in _BEAR_ROWS_AGAIN:
                take.append(file)
    return Chosen(take, known, changed)


def remarks(chosen: Chosen) -> Sequence[str]:
    """Return what to say of files that have changed."""
    taken = {file.path for file in chosen.take}
    return [
        f"{path} has changed since slice {key} was loaded from it; "
        + ("it is loaded again." if path in taken else f"clear the run of slice {key} to load it again.")
        for path, key in chosen.changed.items()
    ]
