"""The trigger fires when a new file is there, and is made again from what it says of itself."""

from __future__ import annotations

import asyncio
import importlib
from pathlib import Path

from penstock.triggers.files import FilesTrigger


async def _first(trigger: FilesTrigger) -> object:
    async for event in trigger.run():
        return event.payload
    return None


def test_it_fires_when_a_file_comes_that_is_not_known(tmp_path: Path) -> None:
    """The folder comes later, too; a known file does not count."""
    folder = tmp_path / "in"
    known, new = folder / "a.csv", folder / "b.csv"
    trigger = FilesTrigger(str(folder / "*.csv"), [f"file://{known}"], 0.02)

    async def both() -> object:
        waiting = asyncio.create_task(_first(trigger))
        await asyncio.sleep(0.2)
        folder.mkdir()
        known.touch()
        await asyncio.sleep(0.2)
        assert not waiting.done()
        new.touch()
        return await asyncio.wait_for(waiting, 10)

    assert asyncio.run(both()) == [f"file://{new}"]


def test_the_triggerer_can_make_it_again() -> None:
    """By name and arguments."""
    given = FilesTrigger("a/*.csv", ["a/b.csv"], 5.0).serialize()
    module, _, name = given[0].rpartition(".")
    assert getattr(importlib.import_module(module), name)(**given[1]).serialize() == given
