"""A task that is killed amid the pages of an API goes on after the last one it landed, through a real scheduler."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.integration.platform import PATIENCE_SECONDS, Platform

DAG, DATASET, DAY = "energy_power_readings", "energy/power_readings", "2010-10-09"


@contextmanager
def _one_request_a_second(platform: Platform) -> Iterator[None]:
    """Have the API's connection asked for a page a second."""

    def keep(extra: str | None) -> None:
        body = {"connection_id": "energy_api", "conn_type": "http", "extra": extra}
        platform.request("PATCH", "connections/energy_api", params={"update_mask": "extra"}, json=body)

    before: dict[str, Any] = platform.request("GET", "connections/energy_api")
    keep(json.dumps({"requests_per_second": 1}))
    try:
        yield
    finally:
        keep(before["extra"])


def _first_page(folder: Path) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    while not list(folder.glob("part-*.parquet")):
        assert time.monotonic() < until, f"no page in {folder}"
        time.sleep(0.02)
    time.sleep(0.3)  # it is recorded a moment after its part is written


def test_a_killed_extract_goes_on_after_its_last_page(platform: Platform) -> None:
    """The second try lands the rest in the first one's folder: three pages, each once, and every row is published."""
    with _one_request_a_second(platform):
        run = platform.trigger(DAG, partition_key=DAY)
        attempt = f"{hashlib.sha256(run.encode()).hexdigest()[:12]}-1"
        folder = platform.stack.layout.home / "lake" / DATASET / DAY / attempt
        _first_page(folder)
        landed = len(list(folder.glob("part-*.parquet")))
        pid = f"SELECT pid FROM task_instance WHERE (dag_id, run_id, task_id) = ('{DAG}', '{run}', 'extract')"
        ((killed,),) = platform.query(pid, "airflow")
        os.kill(killed, signal.SIGKILL)
        assert platform.wait_for_run(DAG, run) == "success"
    assert landed < 3
    assert platform.tasks(DAG, run)["extract"]["try_number"] == 2
    log = platform.log(DAG, run, "extract")
    assert f"Going on after page {landed} (" in log
    assert f"Landed 3 pages ({landed} of them by earlier tries, 0 unchanged) and staged 1440 rows" in log
    assert len(list(folder.glob("part-*.parquet"))) == 3
    assert platform.ledger(DATASET)[DAY][0] == 1440
