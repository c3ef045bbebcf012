"""Land the pages of an API in the lake, so that a try that was killed is gone on with after its last landed page.

After each page, what is needed to go on is kept in a store that outlives the try: the next request, and the parts that
were written. It is kept after the part is: a try that is killed between the two asks for one page again. Part files
carry the number of their try, so a try that was only taken for dead overwrites nothing of its successor's.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from penstock.core.errors import SchemaMismatch
from penstock.core.known_pages import known_pages, page_detail
from penstock.core.lake import LakePath, LakeWriter
from penstock.core.nested import Shape
from penstock.core.paging import Fetch, Page, Plan, Progress, Request, begin, read_pages

_KEY: Final = "pages"
_BLOCK: Final = "parts-"
_PARTS_PER_BLOCK: Final = 50
_MOST_FIELDS: Final = 5000


class Store(Protocol):
    """Keeps JSON values by key from one try of a task to the next; Airflow's task state store has this form."""

    def get(self, key: str) -> Any:
        """Return the value, or None."""
        ...

    def set(self, key: str, value: Any) -> None:
        """Keep a value."""
        ...

    def delete(self, key: str) -> None:
        """Forget a value; none need be there."""
        ...


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of an API.

    Attributes:
        request: The request, without any paging.
        plan: How its answers are read.
        source: What to name as the source in the manifest.
        shape: How rows are made of its records.
        at_once: Requests that may be under way at once.
        hidden: Query parameters that are secrets, and are taken out of links that the source sends.
    """

    request: Request
    plan: Plan
    source: str
    shape: Shape = field(default_factory=Shape)
    at_once: int = 1
    hidden: frozenset[str] = frozenset()

    @property
    def digest(self) -> str:
        """A text that differs where anything is asked otherwise."""
        told = [begin(self.request, self.plan).as_json(), self.source, self.shape.paths, self.shape.explode]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Landed:
    """What was landed.

    Attributes:
        folder: The attempt's folder, with its manifest.
        rows: Rows in it.
        pages: Pages that were read, over all tries.
        before: Pages that an earlier try had read.
        unchanged: Pages that have not changed since an earlier attempt landed them.
    """

    folder: LakePath
    rows: int
    pages: int
    before: int
    unchanged: int = 0


@dataclass(frozen=True, slots=True)
class _Saved:
    """What the store holds: small, whatever was landed; whole blocks of parts stand under keys of their own."""

    asked: str
    folder: str
    progress: Progress
    fields: list[str]
    blocks: int
    parts: list[dict[str, Any]]

    def as_json(self) -> dict[str, Any]:
        return {
            "asked": self.asked,
            "folder": self.folder,
            "progress": self.progress.as_json(),
            "fields": self.fields,
            "blocks": self.blocks,
            "parts": self.parts,
        }


def _saved(store: Store, asked: Asked) -> _Saved | None:
    """Return what an earlier try left, if it asked for the same."""
    value = store.get(_KEY)
    if not isinstance(value, dict) or value.get("asked") != asked.digest:
        return None
    blocks = [store.get(f"{_BLOCK}{number}") for number in range(value["blocks"])]
    if any(block is None for block in blocks):  # expired before the other key
        return None
    parts = [part for block in blocks for part in block] + value["parts"]
    return _Saved(**{**value, "progress": Progress.from_json(value["progress"]), "parts": parts})


def forget(store: Store) -> None:
    """Let the next try begin anew: what was landed is staged, or was not what it should be."""
    store.delete(_KEY)


def land_pages(
    fetch: Fetch,
    asked: Asked,
    folder: LakePath,
    store: Store,
    *,
    try_number: int = 1,
    open_folder: Callable[[str], LakePath],
    say: Callable[[str], None] | None = None,
    earlier: LakePath | None = None,
) -> Landed:
    """Land all pages and write the manifest; go on where an earlier try stopped.

    With one request at once a kill costs one page at most, that was read and not recorded; with more, as many pages.

    Args:
        fetch: Sends one request.
        asked: What is asked for.
        folder: The folder of a read that begins anew.
        store: What outlives a try.
        try_number: Number of the try, from 1.
        open_folder: Makes a path of the text of a folder.
        say: Takes what people should know.
        earlier: Folder of an attempt whose pages need not be sent again where they have not changed.

    Raises:
        SourceError: The source did not send what was asked for.
        PagingError: The pages go round or have no end, or nothing tells how to page.
    """
    saved = _saved(store, asked)
    if saved:
        folder = open_folder(saved.folder)
        progress = saved.progress
        if say:
            say(f"Going on after page {progress.pages:,} ({progress.rows:,} rows), which an earlier try landed")
    else:
        progress = begin(asked.request, asked.plan)
    writer = LakeWriter(folder, asked.source, f"-{try_number}", *((saved.parts, saved.fields) if saved else ([], [])))
    if saved:
        _clear(folder, len(saved.parts) + 1, try_number)
    before, blocks, unchanged = progress.pages, saved.blocks if saved else 0, 0
    known = known_pages(earlier, asked.digest)
    recall = known.recall if known else lambda _: None
    for page in read_pages(fetch, progress, hidden=asked.hidden, say=say, at_once=asked.at_once, recall=recall):
        if page.unchanged and known:
            writer.take(known.folder, known.part(page.request))
            unchanged += 1
        else:
            writer.write(asked.shape.rows(page.rows), page_detail(page))
        progress = page.progress
        blocks = _save(store, asked, folder, writer, page, blocks)
    writer.close({"asked": asked.digest, "plan": progress.plan.as_json()})
    return Landed(folder, writer.rows, progress.pages, before, unchanged)


def _save(store: Store, asked: Asked, folder: LakePath, writer: LakeWriter, page: Page, blocks: int) -> int:
    """Keep what is needed to go on after a page; return how many blocks of parts are whole."""
    fields: Sequence[str] = writer.fields
    if len(fields) > _MOST_FIELDS:
        raise SchemaMismatch(
            f"The rows have more than {_MOST_FIELDS:,} fields: data came as keys.",
            next_step="name the path to the rows, `records=`, or ask the source's owner.",
        )
    parts = writer.parts[blocks * _PARTS_PER_BLOCK :]
    if len(parts) > _PARTS_PER_BLOCK:  # a whole block is kept before anything refers to it
        store.set(f"{_BLOCK}{blocks}", parts[:_PARTS_PER_BLOCK])
        blocks, parts = blocks + 1, parts[_PARTS_PER_BLOCK:]
    store.set(_KEY, _Saved(asked.digest, str(folder), page.progress, list(fields), blocks, parts).as_json())
    return blocks


def _clear(folder: LakePath, number: int, try_number: int) -> None:
    """Remove the part that an earlier try may have written and not recorded."""
    for other in range(1, try_number + 1):
        (folder / LakeWriter.part_name(number, f"-{other}")).unlink(missing_ok=True)
