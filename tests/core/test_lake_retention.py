"""What leaves the lake, and what never does."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.core.lake import LakeWriter
from penstock.core.lake_attempts import newest_attempt
from penstock.core.lake_retention import GRACE, Removed, published_from, sweep_slice
from penstock.core.ledger import Attempt, Outcome, record_attempt
from penstock.core.slice import day_slice
from penstock.core.stage import stage_of

NOW = datetime(2026, 3, 1, tzinfo=UTC)
AGE = timedelta(days=14)


def land(folder: Path, days: float, *, whole: bool = True) -> None:
    """Land a record, as if so many days ago; without a manifest where it is not whole."""
    writer = LakeWriter(folder, "test")
    writer.write([{"a": "1"}])
    if whole:
        writer.close()
    at = (NOW - timedelta(days=days)).timestamp()
    for path in folder.iterdir():
        os.utime(path, (at, at))
    os.utime(folder, (at, at))


def sweep(folder: Path, *, expired: bool = False, published: str | None = None) -> dict[str, str]:
    """Sweep; return why each folder went."""
    gone = sweep_slice(folder, now=NOW, age=AGE, expired=expired, published=published)
    return {Path(one.folder).name: one.why for one in gone}


def left(folder: Path) -> set[str]:
    """Names of the attempts that are left."""
    return {path.name for path in folder.iterdir()}


def test_what_a_try_left_behind_goes(tmp_path: Path) -> None:
    """A folder without a manifest, with a torn one, or with nothing, once nothing changed it for so long."""
    for name, days in (("old", 15), ("young", 13), ("torn", 15), ("empty", 15)):
        land(tmp_path / name, days, whole=name == "torn")
    at = (NOW - timedelta(days=15)).timestamp()
    (tmp_path / "torn" / "manifest.json").write_text('{"format": 1, "par')
    (tmp_path / "empty" / "part-00001.parquet").unlink()
    for path in (tmp_path / "torn" / "manifest.json", tmp_path / "empty"):
        os.utime(path, (at, at))
    (tmp_path / "stray").write_text("x")
    assert sweep(tmp_path) == dict.fromkeys(("empty", "old", "torn"), "unfinished")
    assert left(tmp_path) == {"young", "stray"}
    assert sweep(tmp_path / "none") == {}


def test_a_try_that_still_writes_is_left_alone(tmp_path: Path) -> None:
    """Its first parts are old, its last one is not."""
    land(tmp_path / "a-1", 30, whole=False)
    (tmp_path / "a-1" / "part-00002.parquet").write_bytes(b"x")
    moment = (NOW - timedelta(hours=1)).timestamp()
    os.utime(tmp_path / "a-1" / "part-00002.parquet", (moment, moment))
    assert sweep(tmp_path) == sweep(tmp_path, expired=True) == {}


def test_the_newest_whole_attempt_stays_for_ever(tmp_path: Path) -> None:
    """What it replaced goes, but not the attempt that the slice is published from."""
    for name, days in (("a-1", 400), ("b-1", 300), ("c-1", 200)):
        land(tmp_path / name, days)
    assert sweep(tmp_path, published="s3://bucket/lake/d/t/2026-01-01/a-1") == {"b-1": "replaced"}
    assert sweep(tmp_path) == {"a-1": "replaced"}
    assert sweep(tmp_path) == {}
    assert left(tmp_path) == {"c-1"}


def test_a_replaced_attempt_is_left_to_its_readers(tmp_path: Path) -> None:
    """It goes when the newer one has been there for a day, and it itself is as old as the sweep asks."""
    land(tmp_path / "a-1", 400)
    land(tmp_path / "b-1", 0.5)
    assert sweep(tmp_path) == {}
    land(tmp_path / "b-1", 2)
    land(tmp_path / "c-1", 13)
    assert sweep(tmp_path) == {"a-1": "replaced"}
    assert left(tmp_path) == {"b-1", "c-1"}


def test_all_of_an_expired_slice_goes(tmp_path: Path) -> None:
    """But what was landed a moment ago: somebody loads the slice again."""
    land(tmp_path / "a-1", 400)
    land(tmp_path / "b-1", 2, whole=False)
    land(tmp_path / "c-1", 0.5)
    assert sweep(tmp_path, expired=True, published="a-1") == {"a-1": "expired", "b-1": "expired"}
    assert left(tmp_path) == {"c-1"}


def test_nothing_goes_where_the_store_tells_no_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow says 1970 then, which is older than anything."""
    land(tmp_path / "a-1", 400)
    land(tmp_path / "b-1", 300)
    land(tmp_path / "c-1", 300, whole=False)
    real = Path.stat

    def stat(self: Path, **kwargs: Any) -> Any:
        found = real(self, **kwargs)
        return SimpleNamespace(st_mtime=0, st_mode=found.st_mode)

    monkeypatch.setattr(Path, "stat", stat)
    assert sweep(tmp_path) == sweep(tmp_path, expired=True) == {}


def test_a_removal_that_is_killed_leaves_no_whole_attempt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The manifest goes first; the next sweep removes the rest."""
    land(tmp_path / "a-1", 400)
    land(tmp_path / "b-1", 300)
    real = Path.unlink

    def unlink(self: Path) -> None:
        if self.name.startswith("part-"):
            raise KeyboardInterrupt
        real(self)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", unlink)
        with pytest.raises(KeyboardInterrupt):
            sweep(tmp_path)
    assert newest_attempt(tmp_path).folder.name == "b-1"
    at = (NOW - AGE - timedelta(days=1)).timestamp()
    os.utime(tmp_path / "a-1", (at, at))
    assert sweep(tmp_path) == {"a-1": "unfinished"}


@settings(deadline=None, max_examples=40)
@given(
    attempts=st.lists(st.tuples(st.floats(0, 40), st.booleans()), max_size=5),
    published=st.none() | st.integers(0, 4).map("a-{}".format),
)
def test_what_a_replay_would_take_never_goes(
    attempts: list[tuple[float, bool]], published: str | None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever lies in a slice, the newest whole attempt is the same after a sweep; nothing goes that is young."""
    folder = tmp_path_factory.mktemp("lake")
    for number, (days, whole) in enumerate(attempts):
        land(folder / f"a-{number}", days, whole=whole)
    before = newest_attempt(folder).folder if any(whole for _, whole in attempts) else None
    gone = sweep(folder, published=published)
    assert before is None or newest_attempt(folder).folder == before
    assert published not in {name for name, why in gone.items() if why != "unfinished"}
    assert all(attempts[int(name[2:])][0] > AGE.days - 0.001 for name in gone)
    assert sweep(folder, published=published) == {}


def test_the_ledger_knows_what_slices_are_published_from(bench: Any, build: Any) -> None:
    """The folder of the latest load that came from the lake, whatever was done to the slice since."""
    contract, nothing = build.contract(build.ORDERS), Outcome(0, 0, 0, 0, 0)
    attempts = (
        Attempt(nothing, detail={"lake": "l/a-1"}),
        Attempt(nothing, detail={"lake": "l/b-1"}),
        Attempt(nothing, status="refused", detail={"lake": "l/c-1"}),
        Attempt(nothing, kind="redrive"),
        Attempt(nothing, kind="drop"),
    )
    with bench.conn, bench.conn.cursor() as cur:
        assert published_from(cur, contract.dataset) == {}
        for number, attempt in enumerate(attempts):
            record_attempt(cur, stage_of(contract.dataset, day_slice("2026-01-01"), f"r{number}"), contract, attempt)
        assert published_from(cur, contract.dataset) == {"2026-01-01": "l/b-1"}


def test_what_went_is_told(tmp_path: Path) -> None:
    """Folder, number of files, and why."""
    land(tmp_path / "a-1", 30)
    land(tmp_path / "b-1", GRACE.days + 1)
    gone = sweep_slice(tmp_path, now=NOW, age=AGE, expired=False, published=None)
    assert gone == [Removed(str(tmp_path / "a-1"), 2, "replaced")]
