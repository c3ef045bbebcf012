"""The attempts at a slice that lie in the lake: which are whole, and which is the newest."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol

from penstock.core.errors import SourceError
from penstock.core.lake import MANIFEST, LakePath

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class LakeFolder(LakePath, Protocol):
    """A folder of the lake that can be listed; `pathlib.Path` and Airflow's `ObjectStoragePath` are such."""

    @property
    def name(self) -> str:
        """The last part of the path."""
        ...

    def __truediv__(self, key: str) -> LakeFolder: ...

    def iterdir(self) -> Iterator[LakeFolder]:
        """List what is in the folder."""
        ...

    def stat(self) -> Any:
        """Tell size and time of the last change, as `st_size` and `st_mtime`."""
        ...

    def is_file(self) -> bool:
        """Tell whether it is a file that is there."""
        ...


@dataclass(frozen=True, slots=True)
class Landed:
    """A whole attempt.

    Attributes:
        folder: Its folder.
        at: When its manifest was written, by the clock of the store.
        manifest: What the manifest says.
    """

    folder: LakeFolder
    at: datetime
    manifest: Mapping[str, Any]

    @property
    def is_file(self) -> bool:
        """Whether it is a file that was kept byte by byte, and not records."""
        return "parts" not in self.manifest


def changed_at(path: LakeFolder) -> datetime:
    """Return when a file was written, by the clock of the store."""
    moment = path.stat().st_mtime
    return moment.astimezone(UTC) if isinstance(moment, datetime) else _EPOCH + timedelta(seconds=moment)


def listed(folder: LakeFolder) -> list[LakeFolder]:
    """Return what is in a folder, in the order of the names; nothing where there is no folder."""
    try:
        return sorted(folder.iterdir(), key=lambda path: path.name)
    except (FileNotFoundError, NotADirectoryError):
        return []


def whole_attempts(slice_folder: LakeFolder) -> list[Landed]:
    """Return the whole attempts at a slice, the newest first.

    A folder without a manifest is no attempt: its try is at work, or was killed.

    Args:
        slice_folder: `<lake>/<dataset>/<slice>`.

    Raises:
        SourceError: A manifest cannot be read as one.
    """
    found = [_landed(folder) for folder in listed(slice_folder) if (folder / MANIFEST).is_file()]
    return sorted(found, key=lambda one: (one.at, one.folder.name), reverse=True)


def _landed(folder: LakeFolder) -> Landed:
    path = folder / MANIFEST
    with path.open("rb") as file:
        body = file.read()
    try:
        manifest = json.loads(body)
    except ValueError as error:
        raise SourceError(f"{path} is not a whole manifest.") from error
    if not isinstance(manifest, dict) or not manifest.keys() & {"parts", "file", "files"}:
        raise SourceError(f"{path} is not a whole manifest.")
    return Landed(folder, changed_at(path), manifest)


def newest_attempt(slice_folder: LakeFolder) -> Landed:
    """Return the newest whole attempt at a slice.

    Raises:
        SourceError: There is none, or a manifest cannot be read as one.
    """
    found = whole_attempts(slice_folder)
    if not found:
        raise SourceError(
            f"The lake holds no whole attempt at the slice in {slice_folder}.",
            next_step="load the slice from its source: trigger the DAG with its partition key.",
        )
    return found[0]
