"""What the demo runs."""

import lzma
from pathlib import Path

import pytest

from include.sources.energy_api import READINGS
from include.sources.shop import INVOICE_LINES
from penstock.local.demo.pipelines import FIRST_DAY, LAST_DAY, PIPELINES, demo_keys
from penstock.local.errors import DemoError
from penstock.local.layout import PROJECT


def test_fourteen_days_by_default() -> None:
    """The demo's range begins with the first bundled day; DAYS makes it longer or shorter."""
    keys = demo_keys({})
    assert (len(keys), keys[0], keys[-1]) == (14, "2010-09-20", "2010-10-03")
    assert demo_keys({"DAYS": "60"})[-1] == "2010-11-18"
    assert demo_keys({"DAYS": ""}) == keys


@pytest.mark.parametrize("days", ["0", "-1", "68", "many", "1.5"])
def test_only_days_that_there_are(days: str) -> None:
    """A number that the bundled data cannot serve is refused with the limit."""
    with pytest.raises(DemoError, match="from 1 to 67"):
        demo_keys({"DAYS": days})


@pytest.mark.parametrize("file", [INVOICE_LINES, READINGS])
def test_the_bundled_data_covers_the_range(file: Path) -> None:
    """Both sources have rows on the first and on the last day that the demo can run."""
    with lzma.open(file, "rt", encoding="utf-8") as text:
        lines = text.read()
    assert FIRST_DAY.isoformat() in lines
    assert LAST_DAY.isoformat() in lines


def test_each_pipeline_has_its_dag_file_and_contract() -> None:
    """The demo's list is the project's: every contract's dataset, in the DAG file of its name."""
    contracts = PROJECT / "include" / "contracts"
    datasets = {path.relative_to(contracts).with_suffix("").as_posix() for path in contracts.rglob("*.yaml")}
    assert {pipeline.dataset for pipeline in PIPELINES} == datasets
    for pipeline in PIPELINES:
        text = (PROJECT / "dags" / f"{pipeline.dataset}.py").read_text(encoding="utf-8")
        assert f"def {pipeline.dag_id}(" in text
