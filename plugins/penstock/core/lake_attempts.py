"""The attempts at a slice that lie in the lake: which are whole, and which is the newest."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol

from penstock.core.errors import SliceError, SourceError
from penstock.core.lake import MANIFEST, LakePath
from penstock.core.slice import Slice, day_slice

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

    def is_dir(self) -> bool:
        """Tell whether it is a folder that is there."""
        ...

    def unlink(self, missing_ok: bool = False) -> None:
        """Remove the file."""
        ...

    def rmdir(self) -> None:
        """Remove the empty folder."""
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


def slices_in(dataset_folder: LakeFolder) -> Iterator[tuple[Slice, LakeFolder]]:
    """Go through the slices that lie in a dataset's folder of the lake; what is not named as one is passed over."""
    for folder in listed(dataset_folder):
        try:
            slice_ = day_slice(folder.name)
        except SliceError:
            continue
        yield slice_, folder


def whole_attempts(slice_folder: LakeFolder) -> list[Landed]:
    """Return the whole attempts at a slice, the newest first.

    A folder without a manifest is no attempt: its try is at work, or was killed.

    Args:
        slice_folder: `<lake>/<dataset>/<slice>`.

    Raises:
        SourceError: A manifest cannot be read as one.
    """
    return newest_first([landed_in(folder) for folder in listed(slice_folder) if (folder / MANIFEST).is_file()])


def newest_first(attempts: Iterable[Landed]) -> list[Landed]:
    """Return attempts in order, the newest first."""
    return sorted(attempts, key=lambda one: (one.at, one.folder.name), reverse=True)


def landed_in(folder: LakeFolder) -> Landed:
    """Return the attempt in a folder.

    Raises:
        FileNotFoundError: The folder has no manifest.
        SourceError: The manifest cannot be read as one.
    """
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
