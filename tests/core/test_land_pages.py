"""Whatever kills a read: its rows land once each, in order, and a page at most is asked for again."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue, TypeAdapter

from penstock.core.errors import PagingError, SchemaMismatch, SourceError
from penstock.core.lake import MANIFEST, decode, read_parts
from penstock.core.land_pages import Asked, Landed, forget, land_pages
from penstock.core.paging import Answer, Cursor, Plan, Request
from penstock.project import ROOT
from tests.paged_source import NAMED, TOLD, PagedServer, PagedSource


class Killed(Exception):
    """Stands for the end of the process."""


_JSON: TypeAdapter[Any] = TypeAdapter(JsonValue)


class MemoryStore:
    """Keeps values as JSON, and fails when it is told to."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.fail_after = -1
        self.largest = 0

    def get(self, key: str) -> Any:
        """Return a value, or None."""
        return json.loads(self.values[key]) if key in self.values else None

    def set(self, key: str, value: Any) -> None:
        """Keep a value."""
        self.fail_after -= 1
        if self.fail_after == 0:
            raise Killed
        self.values[key] = json.dumps(_JSON.validate_python(value))  # as Airflow does: a tuple is no JSON
        self.largest = max(self.largest, len(self.values[key]))

    def delete(self, key: str) -> None:
        """Forget a value."""
        self.values.pop(key, None)


def asked(**plan: Any) -> Asked:
    """A request for all rows."""
    return Asked(Request("/rows"), Plan(**plan), "test:/rows")


def land(source: Any, store: Any, folder: Path, try_number: int = 1, what: Asked | None = None) -> Landed:
    """One try."""
    begun = folder / f"try-{try_number}"
    return land_pages(source, what or asked(), begun, store, try_number=try_number, open_folder=Path)


def landed_ids(folder: Any) -> list[str]:
    """The keys of all rows of an attempt; its folder holds its parts, its manifest and nothing else."""
    manifest = json.loads((Path(str(folder)) / MANIFEST).read_text())
    assert {path.name for path in Path(str(folder)).iterdir()} == {MANIFEST, *(p["file"] for p in manifest["parts"])}
    found = [row["id"] for part in read_parts(folder, {"id": "id"}) for row in part.to_pylist()]
    assert manifest["rows"] == len(found)
    return found


@settings(deadline=None, max_examples=60)
@given(way=st.sampled_from(TOLD), kills=st.lists(st.integers(1, 12), max_size=5), at_store=st.booleans())
def test_a_try_goes_on_after_the_last_landed_page(
    way: str, kills: list[int], at_store: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Killed while it asks, or between part and record: the folder stays, and a page at most is repeated per kill."""
    source, store, folder = PagedSource(way, 20, 2), MemoryStore(), tmp_path_factory.mktemp("lake")
    landed = None
    for number, kill in enumerate([*kills, 0], start=1):
        left = [kill]

        def fetch(request: Request, left: list[int] = left) -> Answer:
            left[0] -= 1
            if left[0] == 0 and not at_store:
                raise Killed
            return source(request)

        store.fail_after = kill if at_store and kill else -1
        try:
            landed = land(fetch, store, folder, number)
            break
        except Killed:
            continue
    assert landed is not None
    assert landed_ids(landed.folder) == [row["id"] for row in source.rows]
    assert landed.pages == 10
    assert len(source.asked) <= 10 + len(kills)


def test_what_is_kept_stays_small(tmp_path: Path) -> None:
    """The record of a page does not grow with the pages: whole blocks of parts are kept beside it."""
    source, store = PagedSource("cursor", 300, 1), MemoryStore()
    store.fail_after = 290
    with pytest.raises(Killed):
        land(source, store, tmp_path)
    assert store.largest < 10_000
    landed = land(source, store, tmp_path, 2)
    assert landed.before > 250
    assert landed_ids(landed.folder) == [row["id"] for row in source.rows]
    assert len(source.asked) == 301


def test_a_read_that_landed_everything_asks_for_nothing(tmp_path: Path) -> None:
    """Killed after the last page, before it was staged: the next try writes the manifest and is done."""
    source, store = PagedSource("page number", 5), MemoryStore()
    first = land(source, store, tmp_path)
    requests = len(source.asked)
    second = land(source, store, tmp_path, 2)
    assert len(source.asked) == requests
    assert str(second.folder) == str(first.folder)
    forget(store)
    assert str(land(source, store, tmp_path, 3).folder) != str(first.folder)


def test_a_read_that_asks_otherwise_begins_anew(tmp_path: Path) -> None:
    """What was landed for another request, or for other paths, is not mixed in."""
    source, store = PagedSource("page number", 5), MemoryStore()
    store.fail_after = 2
    with pytest.raises(Killed):
        land(source, store, tmp_path)
    other = Asked(Request("/rows", {"since": "2026-01-02"}), Plan(), "test:/rows")
    landed = land(source, store, tmp_path, 2, other)
    assert landed.before == 0
    assert landed.folder == tmp_path / "try-2"


def test_an_old_try_that_comes_back_overwrites_nothing(tmp_path: Path) -> None:
    """Its part has another name, so the digest in its successor's manifest still fits."""
    store = MemoryStore()
    source = PagedSource("page number", 9)
    store.fail_after = 2
    with pytest.raises(Killed):
        land(source, store, tmp_path)
    landed = land(source, store, tmp_path, 2)
    (Path(str(landed.folder)) / "part-00002-1.parquet").write_bytes(b"late")
    assert sum(part.num_rows for part in read_parts(landed.folder, {"id": "id"})) == 9


def test_nothing_is_there_without_a_manifest(tmp_path: Path) -> None:
    """A read that fails in the middle leaves parts, and no attempt that could be staged."""

    def fetch(request: Request) -> Answer:
        return Answer({"data": [{"id": "1"}], "next_cursor": "x"})

    with pytest.raises(PagingError):
        land(fetch, MemoryStore(), tmp_path)
    with pytest.raises(SourceError, match="missing"):
        list(read_parts(tmp_path / "try-1", {"id": "id"}))


def test_data_that_came_as_keys_are_no_rows(tmp_path: Path) -> None:
    """Fields without end are stopped while they are read, with their number."""
    body = [{f"k{page}-{number}": "1" for number in range(3000)} for page in range(3)]
    numbers = iter(range(3))

    def fetch(_: Request) -> Answer:
        number = next(numbers)
        return Answer({"data": [body[number]], "next": f"c{number}"})

    with pytest.raises(SchemaMismatch, match="more than 5,000 fields"):
        land(fetch, MemoryStore(), tmp_path, what=asked(paging=Cursor("next")))


# --- SIGKILL, real processes, a real server ----------------------------------------------------------------------

SCRIPT = """
import json, os, sys
from pathlib import Path
import httpx
from penstock.core.lake import decode
from penstock.core.land_pages import Asked, land_pages
from penstock.core.paging import Answer, Plan, Request

url, folder, number = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])

class FileStore:
    def path(self, key): return folder / f"state-{key}.json"
    def get(self, key): return json.loads(self.path(key).read_text()) if self.path(key).exists() else None
    def set(self, key, value):
        new = folder / f"new-{number}"
        new.write_text(json.dumps(value))
        os.replace(new, self.path(key))
    def delete(self, key): self.path(key).unlink(missing_ok=True)

client = httpx.Client(base_url=url, trust_env=False)
def fetch(request):
    response = client.get(request.url, params=request.query or None)
    links = {name: link["url"] for name, link in response.links.items()}
    return Answer(decode(response.content), str(response.url), dict(response.headers), links)

landed = land_pages(fetch, Asked(Request("/rows"), Plan(), "t"), folder / f"try-{number}", FileStore(),
                    try_number=number, open_folder=Path)
print(landed.folder)
"""


@pytest.fixture
def served() -> Iterator[PagedServer]:
    """400 rows in pages of 2."""
    server = PagedServer(PagedSource("link header", 400, 2))
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("seed", range(3))
def test_killed_at_any_instant_every_row_lands_once(served: PagedServer, tmp_path: Path, seed: int) -> None:
    """SIGKILL after a random time, five times: all rows, in order, and at most one request repeated per kill."""
    chance, kills = random.Random(seed), 0  # noqa: S311
    environment: Mapping[str, str] = {**os.environ, "PYTHONPATH": str(ROOT / "plugins")}
    for number in range(1, 100):
        command = [sys.executable, "-c", SCRIPT, served.url, str(tmp_path), str(number)]
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)
        assert process.stdout is not None
        if kills < 5:
            done = len(served.source.asked)
            until = time.monotonic() + 60
            while len(served.source.asked) == done and process.poll() is None and time.monotonic() < until:
                time.sleep(0.002)
            time.sleep(chance.random() * 0.25)
            process.kill()
            kills += 1
        out, _ = process.communicate(timeout=120)
        if process.returncode == 0:
            folder = Path(decode(json.dumps(out.decode().strip()).encode()))
            break
        assert process.returncode == -9
    assert landed_ids(folder) == [row["id"] for row in served.source.rows]
    assert len(served.source.asked) <= 200 + kills


def test_the_named_ways_go_on_too(tmp_path: Path) -> None:
    """A way that no answer tells is gone on with as the DAG names it."""
    for way, paging in NAMED.items():
        source, store = PagedSource(way, 10), MemoryStore()
        store.fail_after = 3
        folder = tmp_path / way
        with pytest.raises(Killed):
            land(source, store, folder, what=asked(paging=paging))
        landed = land(source, store, folder, 2, asked(paging=paging))
        assert landed_ids(landed.folder) == [row["id"] for row in source.rows]
        assert landed.before == 2
