"""A slice is loaded again from the lake, from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from penstock.cli import replaying
from penstock.core.lake import LakeWriter, land_file
from penstock.project import contract_of

READINGS, DAY = "energy/power_readings", "2010-09-20"
RECORD = {column.source_name: "1" for column in contract_of(READINGS).columns} | {
    "read_at": f"{DAY}T12:00:00Z",
    "voltage": "230",
}
DAG_FILE = f"""
from airflow.sdk import dag
from penstock.defaults import DAG_DEFAULTS, daily_slices
from penstock.operators.{{module}} import {{operator}}
from penstock.operators.publish import PublishOperator
from penstock.operators.validate import ValidateOperator

@dag(schedule=daily_slices(), **DAG_DEFAULTS)
def readings():
    extract = {{operator}}(task_id="extract", dataset="{READINGS}", {{arguments}})
    extract >> ValidateOperator(task_id="v", dataset="{READINGS}") >> PublishOperator(task_id="p", dataset="{READINGS}")

readings()
"""


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The slice's folder in an empty lake; the folder of DAG files is the test's own."""
    monkeypatch.setenv("AIRFLOW_VAR_LAKE_URL", str(tmp_path / "lake"))
    monkeypatch.setattr(replaying, "DAGS", tmp_path / "dags")
    (tmp_path / "dags").mkdir()
    return tmp_path / "lake" / READINGS / DAY


def test_records_are_replayed(cli: Any, query: Any, lake: Path) -> None:
    """What became of the rows is said, and where they are from; the ledger says who asked for it. No DAG is needed."""
    writer = LakeWriter(lake / "abc-1", "energy_api:/v1/readings")
    writer.write([RECORD, RECORD | {"read_at": f"{DAY}T12:01:00Z", "voltage": "0"}])
    writer.close()
    said = cli("replay", READINGS, DAY, "--by", "ann")
    assert (said.code, said.out) == (
        0,
        f"{READINGS} {DAY}: 2 rows from the lake, 1 loaded, 1 in quarantine, 0 deduplicated, 0 filtered\n",
    ), said.err
    assert "abc-1, landed 20" in said.err
    assert "from energy_api:/v1/readings" in said.err
    assert query("SELECT detail ->> 'replayed_by' FROM ops.slice_current") == [("ann",)]
    assert query("SELECT voltage::text FROM energy.power_readings") == [("230.000",)]


def test_a_file_is_read_as_its_dag_says(cli: Any, query: Any, lake: Path, tmp_path: Path) -> None:
    """The delimiter stands in the DAG file alone. A DAG without a file, and one that is not there, cannot say."""
    body = "\n".join((";".join(RECORD), ";".join(RECORD.values()), ""))
    land_file(lake / "abc-1", "readings.csv", [body.encode()])
    assert "No DAG" in cli("replay", READINGS, DAY).err
    for module, operator, arguments in (
        ("extract_api", "ApiExtractOperator", 'conn_id="energy_api", endpoint="/"'),
        ("extract_file", "FileExtractOperator", 'path="readings.csv", delimiter=";"'),
    ):
        text = DAG_FILE.format(module=module, operator=operator, arguments=arguments)
        (tmp_path / "dags" / "readings.py").write_text(text, encoding="utf-8")
        said = cli("replay", READINGS, DAY, "--json")
        if module == "extract_api":
            assert said.code == 1
            assert "holds a file, and ApiExtractOperator of the DAG readings reads none" in said.err
    done = json.loads(said.out)
    assert (done["slice_key"], done["extracted"], done["loaded"]) == (DAY, 1, 1)
    assert done["lake"].endswith("/abc-1")


def test_a_lake_without_the_slice_is_told(cli: Any, query: Any, lake: Path) -> None:
    """Nothing is staged; nor for a key that is no day."""
    said = cli("replay", READINGS, DAY)
    assert said.code == 1
    assert "no whole attempt" in said.err
    assert cli("replay", READINGS, "2010-9-20").code == 1
