"""The quarantine keeps what was received, and what people did about it, over repeated loads."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg2.errors
import pytest

from penstock.core.errors import QuarantineError
from penstock.core.mask import EXTRA
from penstock.core.quarantine import discard, export, list_rows, mend, purge, summary

DAY, NEXT = "2026-01-01", "2026-01-02"
NOON = "2026-01-01T12:00:00Z"
TEN = [{"order_id": str(n), "code": "A100" if n < 7 else "bad", "amount": "1.50", "sold_at": NOON} for n in range(10)]
"""Ten orders, of which 7, 8 and 9 have a bad code."""


@pytest.fixture
def orders(build: Any) -> Any:
    """The contract, whose code is masked."""
    masked = {"property": "mask", "value": "partial"}
    return build.contract(build.ORDERS, lambda d: d["schema"][0]["properties"][1].update(customProperties=[masked]))


@pytest.fixture
def load(bench: Any, orders: Any, tmp_path: Any) -> Any:
    """Land, judge and publish records as one slice."""

    def run(records: Any, key: str = DAY) -> Any:
        stage = bench.land(orders, key, records, tmp_path)
        bench.judge(orders, stage)
        return bench.publish(orders, stage)

    return run


def ids(bench: Any, **payload: str) -> list[int]:
    """Numbers of the rows whose payload has these values; of all rows without any."""
    return [id_ for (id_,) in bench.run("SELECT id FROM ops.quarantine WHERE payload @> %s ORDER BY id",
                                        (json.dumps(payload),))]  # fmt: skip


def mended(bench: Any, contract: Any, rows: list[int], **changes: str | None) -> int:
    """Mend rows, in a transaction."""
    with bench.conn, bench.conn.cursor() as cur:
        return mend(cur, contract, rows, changes, by="ann")


def current(bench: Any, key: str = DAY) -> Any:
    """The slice's counts now: loaded, quarantined, filtered."""
    return bench.run("SELECT loaded, quarantined, filtered FROM ops.slice_current WHERE slice_key = %s", (key,))[0]


def test_rows_are_listed_with_their_reasons_and_masked(bench: Any, orders: Any, load: Any) -> None:
    """A page shows rules, slice and payload; masked columns only as the mask allows; the next page goes on."""
    load([*TEN, {"order_id": "x", "code": "A100", "amount": "1", "sold_at": NOON}])
    with bench.conn, bench.conn.cursor() as cur:
        first = list_rows(cur, orders, limit=3)
        rest = list_rows(cur, orders, limit=3, after=first[-1].id)
        by_rule = list_rows(cur, orders, rule="order_id.cast")
        assert list_rows(cur, orders, slice_key=NEXT) == []
        totals = {(s.slice_key, s.rule): s.rows for s in summary(cur, "test/orders")}
    assert len(first) + len(rest) == 4
    assert {row.payload["code"] for row in [*first, *rest]} == {"•••"}
    assert [(row.rules, row.payload["order_id"], row.state) for row in by_rule] == [(["order_id.cast"], "x", "open")]
    assert totals == {(DAY, "code_format"): 3, (DAY, "order_id.cast"): 1}


def test_a_mend_is_kept_beside_what_was_received(bench: Any, orders: Any, load: Any) -> None:
    """The payload stays as it came; a second mend adds to the first; nothing is loaded by it."""
    load(TEN)
    (row,) = ids(bench, order_id="7")
    assert mended(bench, orders, [row], code="A107") == 1
    mended(bench, orders, [row], amount=None)
    with bench.conn, bench.conn.cursor() as cur:
        (found,) = [r for r in list_rows(cur, orders) if r.id == row]
    assert (found.mended_by, found.payload["amount"]) == ("ann", "1.50")
    assert found.mended == {"order_id": "7", "code": "•••", "amount": None, "sold_at": NOON}
    assert bench.one("SELECT mended->>'code' FROM ops.quarantine WHERE id = %s", (row,)) == "A107"
    assert current(bench) == (7, 3, 0)


def test_a_mend_of_what_is_not_there_is_refused(bench: Any, orders: Any, load: Any) -> None:
    """A column that the contract lacks, no column, a row that is not open or of another dataset: nothing changes."""
    load(TEN)
    rows = ids(bench)
    for wrong, changes, said in (
        (rows, {"colour": "red"}, "no column colour"),
        (rows, {}, "no column is to be changed"),
        ([*rows, 10**9], {"code": "A1"}, f"no open row {10**9}"),
    ):
        with pytest.raises(QuarantineError, match=said):
            mended(bench, orders, wrong, **changes)
    assert bench.one("SELECT count(mended) FROM ops.quarantine") == 0


def test_a_discard_moves_rows_from_quarantined_to_filtered(bench: Any, orders: Any, load: Any) -> None:
    """The ledger says how many, who and why, in a row of its own; the table's rows stay."""
    load(TEN)
    assert discard(bench.conn, orders, ids(bench)[:2], by="ann", reason="test orders") == 2
    assert current(bench) == (7, 1, 2)
    assert bench.run("SELECT kind, detail FROM ops.slice_ledger ORDER BY attempt DESC LIMIT 1") == [
        ("discard", {"discarded": 2, "by": "ann", "reason": "test orders"})
    ]
    assert bench.one("SELECT count(*) FROM test.orders") == 7


def test_a_discard_needs_a_reason_and_a_name(bench: Any, orders: Any, load: Any) -> None:
    """Without either nothing happens; rows that are closed cannot be discarded again."""
    load(TEN)
    rows = ids(bench)
    for by, reason in (("ann", "  "), ("", "old")):
        with pytest.raises(QuarantineError, match="for a reason and by somebody"):
            discard(bench.conn, orders, rows, by=by, reason=reason)
    discard(bench.conn, orders, rows[:1], by="ann", reason="old")
    with pytest.raises(QuarantineError, match="no open row"):
        discard(bench.conn, orders, rows, by="ann", reason="old")
    assert current(bench) == (7, 2, 1)


def test_what_was_decided_outlives_a_repeated_load(bench: Any, orders: Any, load: Any) -> None:
    """A discarded row is discarded again, counted as filtered; a mend is still there; `first_seen` stays."""
    load(TEN)
    seen = bench.run("SELECT id, first_seen FROM ops.quarantine ORDER BY id")
    mended(bench, orders, ids(bench, order_id="7"), code="A107")
    discard(bench.conn, orders, ids(bench, order_id="8"), by="ann", reason="test order")
    outcome = load(TEN)
    assert (outcome.loaded, outcome.quarantined, outcome.filtered) == (7, 2, 1)
    assert bench.run("SELECT id, first_seen FROM ops.quarantine ORDER BY id") == seen
    assert bench.run("SELECT payload->>'order_id', state, mended->>'code' FROM ops.quarantine ORDER BY 1") == [
        ("7", "open", "A107"),
        ("8", "discarded", None),
        ("9", "open", None),
    ]
    assert bench.one("SELECT detail->'mends_waiting' FROM ops.slice_ledger ORDER BY id DESC LIMIT 1") == 1


def test_a_row_that_the_source_corrected_leaves_the_quarantine(bench: Any, orders: Any, load: Any) -> None:
    """After a load in which it no longer breaks a rule, nothing of it is open."""
    load(TEN)
    load([{**row, "code": "A100"} for row in TEN])
    assert bench.one("SELECT count(*) FROM ops.quarantine") == 0
    assert current(bench) == (10, 0, 0)


def test_equal_rows_are_kept_one_by_one(bench: Any, orders: Any, load: Any) -> None:
    """Three equal broken rows are three rows, also after a second load; two may be discarded and one stay."""
    load([TEN[9]] * 3)
    load([TEN[9]] * 3)
    assert len(ids(bench)) == 3
    discard(bench.conn, orders, ids(bench)[:2], by="ann", reason="sent three times")
    outcome = load([TEN[9]] * 3)
    assert (outcome.quarantined, outcome.filtered) == (1, 2)


def test_an_export_holds_every_open_row(bench: Any, orders: Any, load: Any) -> None:
    """CSV and JSON lines carry all open rows, more than a page of them, masked unless asked otherwise."""
    load([{**TEN[9], "order_id": str(n)} for n in range(1200)])
    discard(bench.conn, orders, ids(bench, order_id="5"), by="ann", reason="x")
    with bench.conn, bench.conn.cursor() as cur:
        table, lines, raw = io.StringIO(), io.StringIO(), io.StringIO()
        assert export(cur, orders, table, format="csv") == 1199
        assert export(cur, orders, lines, format="jsonl", rule="code_format") == 1199
        assert export(cur, orders, raw, format="jsonl", unmasked=True, slice_key=DAY) == 1199
    rows = list(csv.DictReader(io.StringIO(table.getvalue())))
    assert {row["order_id"] for row in rows} == {str(n) for n in range(1200)} - {"5"}
    assert {(row["code"], row["_rules"], row["_slice"]) for row in rows} == {("•••", "code_format", DAY)}
    assert json.loads(lines.getvalue().splitlines()[0])["payload"]["code"] == "•••"
    assert json.loads(raw.getvalue().splitlines()[0])["payload"]["code"] == "bad"


def test_retention_discards_what_is_old_and_deletes_what_is_closed(bench: Any, build: Any, load: Any) -> None:
    """Old open rows are discarded with a ledger row; closed ones go; young ones and other contracts' stay."""
    load(TEN)
    kept = build.contract(build.ORDERS, build.set_custom("quarantineRetention", "30d"))
    discard(bench.conn, kept, ids(bench, order_id="7"), by="ann", reason="x")
    now = datetime.now(UTC)
    assert purge(bench.conn, build.contract(build.ORDERS), now=now + timedelta(days=400), by="t") == (0, 0)
    assert purge(bench.conn, kept, now=now + timedelta(days=29), by="t") == (0, 0)
    assert purge(bench.conn, kept, now=now + timedelta(days=31), by="t") == (2, 1)
    assert current(bench) == (7, 0, 3)
    assert bench.one("SELECT detail->>'reason' FROM ops.slice_ledger ORDER BY id DESC LIMIT 1") == (
        "nobody mended it within 30 days (quarantineRetention)"
    )


def test_the_tables_own_checks_hold_the_lifecycle(bench: Any, load: Any) -> None:
    """A closed row without a name, a discard without a reason, or a mend by nobody cannot be written."""
    load(TEN)
    for change in (
        "state = 'redriven'",
        "state = 'discarded', closed_by = 'ann'",
        "state = 'discarded', closed_by = 'ann', closed_reason = ''",
        "mended = '{}'",
    ):
        with pytest.raises(psycopg2.errors.CheckViolation):
            bench.run(f"UPDATE ops.quarantine SET {change}")
    assert EXTRA not in bench.one("SELECT payload::text FROM ops.quarantine LIMIT 1")
