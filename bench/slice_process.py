"""One slice through Penstock's core, in a process of its own; started by the benchmarks beside it.

A JSON job on standard input, a JSON report on standard output:

    job     {"source": DSN of a Postgres, URL of another database or of an API, or a file's folder in the lake,
             "extract": "postgres" | "database" | "csv" | "api", "warehouse": DSN, "place": table or folder,
             "contract": file, "day": …, "run": …, "readers": number}
    report  {"contract": …, "seconds": …, "extract": …, "validate": …, "publish": … (seconds),
             "loaded": rows, "rules": number, "peak_mb": …}

`seconds` runs from before the servers are connected to until the slice is published. Reading and checking the contract
comes before that, and is reported beside it.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import psycopg2

from penstock.core.contract import Contract, load_contract
from penstock.core.gate.judge import judge, refuse
from penstock.core.ops import ensure_ops
from penstock.core.parallel_read import Readers
from penstock.core.publish import publish
from penstock.core.slice import Slice, day_slice
from penstock.core.source_table import stage_table
from penstock.core.stage import Stage, open_session, stage_of


def peak_mb() -> float:
    """Return the largest resident memory this process has had, in MB (10^6 bytes).

    `ru_maxrss` also remembers the parent, as which a child begins; where Linux tells it for the program alone
    (VmHWM), that is taken.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def extract_postgres(job: dict[str, Any], warehouse: Any, contract: Contract, slice_: Slice, stage: Stage) -> None:
    """Pipe the table by COPY."""
    readers = Readers(
        job.get("readers", 1), lambda: psycopg2.connect(job["source"]), lambda: psycopg2.connect(job["warehouse"])
    )
    with closing(psycopg2.connect(job["source"])) as source:
        stage_table(source, warehouse, contract, slice_, stage, job["place"], readers=readers)


def extract_database(job: dict[str, Any], warehouse: Any, contract: Contract, slice_: Slice, stage: Stage) -> None:
    """Read the table through SQLAlchemy."""
    from sqlalchemy import create_engine

    from penstock.core.source_rows import stage_rows
    from penstock.core.wanted import Wanted

    with create_engine(job["source"]).connect() as source:
        stage_rows(source, warehouse, contract, slice_, stage, Wanted(job["place"]))


def extract_csv(job: dict[str, Any], warehouse: Any, contract: Contract, slice_: Slice, stage: Stage) -> None:
    """Read a CSV that stands in the lake."""
    from penstock.core.source_file import FileFormat, stage_file

    stage_file(warehouse, contract, slice_, stage, Path(job["source"]), FileFormat("csv"), {})


def import_for_api() -> None:
    """Load what a task has loaded when it begins, and what its first request loads: imports are in nobody's time."""
    import httpx
    import pyarrow.compute
    import pyarrow.csv
    import pyarrow.parquet  # noqa: F401

    import penstock.core.land_pages
    import penstock.core.source_lake  # noqa: F401 - loaded before the fork, see plugins/airflow_local_settings.py
    from penstock.hooks.json_api import JsonApiHook

    os.environ["AIRFLOW_CONN_WARM"] = "http://127.0.0.1:1"
    with closing(JsonApiHook("warm")) as hook:
        assert isinstance(hook.client, httpx.Client)  # noqa: S101 - it is made here


class KeptAsJson(dict[str, str]):
    """What is kept from one try to the next: written as JSON, as Airflow's task state store does."""

    def set(self, key: str, value: Any) -> None:
        """Keep a value."""
        self[key] = json.dumps(value)

    def delete(self, key: str) -> None:
        """Forget a value."""
        self.pop(key, None)


def extract_api(job: dict[str, Any], warehouse: Any, contract: Contract, _: Slice, stage: Stage) -> None:
    """Land the pages of an API in the lake, each of them recorded, and stage them from there."""
    from penstock.core.land_pages import Asked, land_pages
    from penstock.core.paging import PageNumber, Plan, Request
    from penstock.core.source_lake import stage_lake
    from penstock.hooks.json_api import JsonApiHook

    os.environ["AIRFLOW_CONN_BENCH"] = job["source"]
    folder = Path(job["place"]) / "lake" / stage.name
    plan = Plan(PageNumber(pages="pages"), "data", "total")
    asked = Asked(Request("/payments"), plan, "bench")
    with closing(JsonApiHook("bench")) as api:
        land_pages(api.ask, asked, folder, KeptAsJson(), open_folder=Path)
    stage_lake(warehouse, contract, stage, folder, {})
    shutil.rmtree(folder)


EXTRACTS: Final[Mapping[str, Callable[..., None]]] = {
    "postgres": extract_postgres,
    "database": extract_database,
    "csv": extract_csv,
    "api": extract_api,
}


def run(job: dict[str, Any]) -> dict[str, float]:
    """Extract, judge and publish one slice, as the three operators do, and report on it."""
    if job.get("extract") == "api":
        import_for_api()
    gc.freeze()  # as SliceOperator does
    first = time.perf_counter()
    contract = load_contract(Path(job["contract"]))
    begin = time.perf_counter()
    slice_ = day_slice(job["day"])
    stage = stage_of(contract.dataset, slice_, job["run"])
    warehouse = psycopg2.connect(job["warehouse"])
    open_session(warehouse)
    ensure_ops(warehouse)
    EXTRACTS[job.get("extract", "postgres")](job, warehouse, contract, slice_, stage)
    staged = time.perf_counter()
    gated = judge(warehouse, contract, slice_, stage)
    refuse(gated, stage, job["contract"])
    judged = time.perf_counter()
    outcome = publish(warehouse, contract, slice_, stage)
    end = time.perf_counter()
    warehouse.close()
    return {
        "contract": begin - first,
        "seconds": end - begin,
        "extract": staged - begin,
        "validate": judged - staged,
        "publish": end - judged,
        "loaded": outcome.loaded,
        "rules": len(gated.verdicts),
        "peak_mb": peak_mb(),
    }


if __name__ == "__main__":
    print(json.dumps(run(json.load(sys.stdin))))
