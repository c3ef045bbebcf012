"""docs/load-modes.md: its contracts are sound, and it names every mode."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from penstock.core.contract import LoadMode, load_contract
from penstock.core.table_lock import LOCK_PAUSES_SECONDS, LOCK_TIMEOUT_SECONDS
from penstock.project import ROOT

PAGE = (ROOT / "docs" / "load-modes.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
HEAD = {"apiVersion": "v3.2.0", "kind": "DataContract", "id": "x", "version": "1.0.0", "status": "active"}


@pytest.mark.parametrize("example", EXAMPLES)
def test_a_contract_of_the_page_is_sound(example: str, tmp_path: Path) -> None:
    """Each example is a contract once it has its head."""
    schema = yaml.safe_load(example)
    file = tmp_path / "warehouse" / f"{schema['schema'][0]['name']}.yaml"
    file.parent.mkdir()
    file.write_text(yaml.safe_dump({**HEAD, "domain": "warehouse", **schema}), encoding="utf-8")
    assert load_contract(file).load_mode.value in example


def test_the_page_names_every_mode() -> None:
    """The first table has a row for each."""
    first = PAGE.split("## What each one needs")[0]
    named = set(re.findall(r"^\| `(\w+)` \|", first, re.MULTILINE)) - {"loadMode"}
    assert named == {mode.value for mode in LoadMode}


def test_the_page_tells_how_long_publish_waits() -> None:
    """One second at a time, five times."""
    assert (LOCK_TIMEOUT_SECONDS, len(LOCK_PAUSES_SECONDS) + 1) == (1, 5)
