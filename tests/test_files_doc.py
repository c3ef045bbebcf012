"""docs/files.md: its DAG loads its contract from a packed log, and what it says of kinds is true."""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import pytest

from penstock import defaults, project
from penstock.core.compression import ENDS, FREE_BYTES, MAX_RATIO
from penstock.core.contract import load_contract
from penstock.core.record_files import LOGS
from penstock.core.source_file import KINDS, FileKind
from penstock.hooks import files
from tests.operators.contexts import Query, context_of

PAGE = (project.ROOT / "docs" / "files.md").read_text(encoding="utf-8")
DAG, SENSOR, HOOK = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
(CONTRACT,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
LINE = '10.0.0.{} - - [05/Jan/2026:13:55:{:02} +0000] "GET /{} HTTP/1.1" 200 {} "-" "x"\n'


def test_the_dag_of_the_page_loads_its_contract(query: Query, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The three tasks of the DAG: the visits are there, the line that is none is in quarantine."""
    path = tmp_path / "web" / "visits.yaml"
    path.parent.mkdir()
    path.write_text(CONTRACT, encoding="utf-8")
    (tmp_path / "data").mkdir()
    text = "".join(LINE.format(n, n, n, "-" if n == 1 else n) for n in range(1, 41)) + "garbage\n"
    (tmp_path / "data" / "access-2026-01-05.log.gz").write_bytes(gzip.compress(text.encode()))

    def contract_of(dataset: str) -> Any:
        assert dataset == "web/visits"
        return load_contract(path)

    monkeypatch.setenv("AIRFLOW_VAR_LAKE_URL", str(tmp_path / "lake"))
    monkeypatch.setattr(files, "ROOT", tmp_path)
    monkeypatch.setattr(defaults, "contract_of", contract_of)
    monkeypatch.setattr("penstock.operators.slices.contract_of", contract_of)
    module = ModuleType("web_visits")
    exec(DAG, vars(module))  # noqa: S102 - what the page says
    dag = module.web_visits()
    for name in ("extract", "validate", "publish"):
        dag.get_task(name).execute(context_of("web/visits", "2026-01-05"))
    assert query("SELECT count(*), count(bytes), min(visited_at)::text, min(path) FROM web.visits") == [
        (40, 39, "2026-01-05 13:55:01+00", "/1")
    ]
    assert query("SELECT rules, payload->'$extra' FROM ops.quarantine WHERE dataset = 'web/visits'") == [
        (["row.malformed"], {"$line": "garbage"})
    ]


def test_the_sensor_of_the_page(query: Query, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says which file is there."""
    monkeypatch.setattr(files, "ROOT", tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "access-2026-01-05.log.gz").touch()
    monkeypatch.setattr("penstock.operators.slices.contract_of", lambda _: None)
    names: dict[str, Any] = {}
    exec(SENSOR, names)  # noqa: S102 - what the page says
    assert names["arrived"].execute(context_of("web/visits", "2026-01-05")) == ["data/access-2026-01-05.log.gz"]


def test_the_hook_of_the_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It prints each file that matches, with its size."""
    monkeypatch.setattr(files, "ROOT", tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.gz").write_bytes(b"12345")
    (tmp_path / "data" / "b.csv").touch()
    exec(HOOK, {})  # noqa: S102 - what the page says
    assert capsys.readouterr().out.split()[1:] == ["5", "bytes"]


def test_the_page_names_what_there_is() -> None:
    """Kinds, ends, compressions, patterns and bounds."""
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]*)\|", PAGE, re.MULTILINE))
    assert rows.pop("format").strip() == "ends in"
    assert set(rows) == set(get_args(FileKind))
    assert {(end, kind) for kind, ends in rows.items() for end in re.findall(r"`(\.\w+)`", ends)} == set(KINDS.items())
    assert all(f"`{end}`" in PAGE for end in ENDS)
    assert all(f"`{name}`" in PAGE for name in LOGS)
    assert f"{FREE_BYTES >> 20} MiB, and {MAX_RATIO} times its size" in PAGE
