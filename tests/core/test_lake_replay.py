"""A slice comes again from the lake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from penstock.core.errors import SliceRefused, SourceError
from penstock.core.lake import LakeWriter, land_file
from penstock.core.lake_attempts import newest_attempt
from penstock.core.lake_replay import Replayed, replay, stage_records
from penstock.core.slice import day_slice
from penstock.core.source_file import FileFormat, stage_file

DAY = "2026-01-01"
NOON = f"{DAY}T12:00:00Z"
RECORDS = [
    {"order_id": "1", "code": "A100", "amount": "1.50", "sold_at": NOON},
    {"order_id": "2", "code": "broken", "amount": "1.50", "sold_at": NOON},
    {"order_id": "3", "code": "A100", "amount": "much", "sold_at": NOON},
]


def land(folder: Path, records: list[dict[str, str]]) -> None:
    """Land records."""
    writer = LakeWriter(folder, "shop:/orders")
    writer.write(records)
    writer.close()


def again(bench: Any, contract: Any, folder: Path, restage: Any = stage_records, run_id: str = "replay-1") -> Replayed:
    """Replay the newest attempt below a folder."""
    landed = newest_attempt(folder)
    return replay(bench.conn, contract, day_slice(DAY), landed, restage, run_id=run_id, by="ann")


def test_rows_come_back_as_they_were(bench: Any, build: Any, tmp_path: Path) -> None:
    """Table and quarantine after a replay are those after the load, whatever became of the table meanwhile."""
    contract = build.contract(build.ORDERS)
    stage = bench.land(contract, DAY, RECORDS, tmp_path)
    bench.judge(contract, stage)
    loaded = bench.publish(contract, stage)
    before = bench.checksum("test.orders"), bench.quarantine(contract.dataset)
    bench.run("DELETE FROM test.orders")
    done = again(bench, contract, tmp_path)
    assert done.outcome == loaded
    assert (loaded.loaded, loaded.quarantined) == (1, 2)
    assert (bench.checksum("test.orders"), bench.quarantine(contract.dataset)) == before
    assert bench.staged_tables() == []


def test_the_ledger_tells_of_the_replay(bench: Any, build: Any, tmp_path: Path) -> None:
    """Who, from which folder; how the rows were asked for when they were landed is kept, so that it makes no gap."""
    contract = build.contract(build.ORDERS)
    land(tmp_path / "a-1", RECORDS)
    first = again(bench, contract, tmp_path)
    assert first.as_json()["loaded"] == 1
    bench.run("""UPDATE ops.slice_ledger SET detail = detail || '{"code": "c0de", "conn_id": "shop"}'""")
    again(bench, contract, tmp_path, run_id="replay-2")
    ((kind, run_id, detail),) = bench.run("SELECT kind, run_id, detail FROM ops.slice_current")
    assert (kind, run_id) == ("load", "replay-2")
    assert {name: detail.get(name) for name in ("source", "lake", "replayed_by", "code", "conn_id")} == {
        "source": "shop:/orders",
        "lake": str(tmp_path / "a-1"),
        "replayed_by": "ann",
        "code": "c0de",
        "conn_id": "shop",
    }


def test_a_file_is_read_as_it_is_told(bench: Any, build: Any, tmp_path: Path) -> None:
    """Its bytes lie in the lake; how they are read is the caller's to say."""
    contract = build.contract(build.ORDERS)
    land_file(tmp_path / "a-1", "orders.csv", [f"order_id,code,amount,sold_at\n1,A100,1.50,{NOON}\n".encode()])

    def csv(conn: Any, contract: Any, slice_: Any, stage: Any, folder: Any, detail: Any) -> Any:
        return stage_file(conn, contract, slice_, stage, folder, FileFormat("csv"), detail)

    assert again(bench, contract, tmp_path, csv).outcome.loaded == 1


def test_a_refused_or_torn_replay_leaves_what_is_published(bench: Any, build: Any, tmp_path: Path) -> None:
    """A contract that has become stricter refuses the slice; a part that was changed is not staged."""
    contract = build.contract(build.ORDERS)
    land(tmp_path / "a-1", RECORDS)
    again(bench, contract, tmp_path)
    before = bench.checksum("test.orders")
    strict = build.contract(build.ORDERS, build.set_custom("quarantineBudget", "0"))
    with pytest.raises(SliceRefused):
        again(bench, strict, tmp_path, run_id="replay-2")
    (tmp_path / "a-1" / "part-00001.parquet").write_bytes(b"torn")
    with pytest.raises(SourceError, match="not the file that was landed"):
        again(bench, contract, tmp_path, run_id="replay-3")
    assert bench.checksum("test.orders") == before
    assert bench.run("SELECT run_id FROM ops.slice_current") == [("replay-1",)]
