"""Which slices should be loaded again, and why."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from penstock.core import gaps
from penstock.core.contract import Contract
from penstock.core.gaps import Change, Gap, SliceState, Today, Why
from penstock.core.reconcile import Figures
from penstock.core.slice import day_slice

NOW = datetime(2026, 1, 10, 12, tzinfo=UTC)
DAYS = [f"2026-01-{day:02d}" for day in range(1, 6)]


def _today(contract: Contract, **more: Any) -> Today:
    return Today(contract, frozenset((contract.hash,)), **more)


def _found(bench: Any, today: Today, first: str, last: str, changes: Any = None) -> list[Gap]:
    slices = gaps.slices_between(day_slice(first), day_slice(last))
    with bench.conn, bench.conn.cursor() as cur:
        states = gaps.read_states(cur, today.contract.dataset, slices, today.producers)
    return gaps.find_gaps(states, today, now=NOW, changes=changes)


def _reasons(found: list[Gap]) -> dict[str, list[str]]:
    return {gap.slice_key: [why.value for why in gap.why] for gap in found}


@pytest.fixture
def orders(build: Any) -> Contract:
    """A contract of orders, by partitions."""
    contract: Contract = build.contract(build.ORDERS)
    return contract


def _record(bench: Any, contract: Contract, key: str, kind: str = "load", **more: Any) -> None:
    """Write a row of the ledger as an attempt of some kind would."""
    row = {"status": "published", "contract_hash": contract.hash, "detail": "{}", "extracted": 0, "withheld": 0} | more
    bench.run(
        "INSERT INTO ops.slice_ledger (kind, dataset, slice_key, attempt, status, run_id, load_mode, extracted, loaded,"
        " quarantined, deduplicated, filtered, withheld, extract_seconds, validate_seconds, publish_seconds,"
        " contract_version, contract_hash, detail)"
        " SELECT %(kind)s, %(dataset)s, %(key)s, 1 + coalesce(max(attempt), 0),"
        " %(status)s, 'r', 'replace_partition', 0, 0, 0, 0, 0, 0, 0, 0, 0, '1', %(contract_hash)s, %(detail)s"
        " FROM ops.slice_ledger WHERE dataset = %(dataset)s AND slice_key = %(key)s",
        row | {"kind": kind, "dataset": contract.dataset, "key": key},
    )


def test_tells_what_was_never_loaded_and_what_was_refused(bench: Any, orders: Contract) -> None:
    """A slice without a publish is `never`; one whose load was refused after its last publish is `refused`."""
    _record(bench, orders, DAYS[0])
    _record(bench, orders, DAYS[1], status="refused")
    _record(bench, orders, DAYS[2])
    _record(bench, orders, DAYS[2], status="refused")
    _record(bench, orders, DAYS[3], status="refused")
    _record(bench, orders, DAYS[3])
    found = _found(bench, _today(orders), DAYS[0], DAYS[4])
    assert _reasons(found) == {DAYS[1]: ["refused"], DAYS[2]: ["refused"], DAYS[4]: ["never"]}
    assert [gap.attempt for gap in found] == [1, 2, 0]


def test_expired_stage_is_no_refusal(bench: Any, orders: Contract) -> None:
    """What the janitor removes says nothing of the rows that are published; a slice that has none was never loaded."""
    _record(bench, orders, DAYS[0])
    _record(bench, orders, DAYS[0], kind="expire", status="refused")
    _record(bench, orders, DAYS[1], kind="expire", status="refused")
    assert _reasons(_found(bench, _today(orders), DAYS[0], DAYS[1])) == {DAYS[1]: ["never"]}


def test_dropped_slice_is_no_gap_until_somebody_loads_it_again(bench: Any, orders: Contract) -> None:
    """Dropped on purpose: whatever contract or code it had; a refused load after that is one."""
    _record(bench, orders, DAYS[0], contract_hash="older", detail='{"code": "older"}')
    _record(bench, orders, DAYS[0], kind="drop")
    today = _today(orders, code="now")
    assert _found(bench, today, DAYS[0], DAYS[0]) == []
    _record(bench, orders, DAYS[0], status="refused")
    assert _reasons(_found(bench, today, DAYS[0], DAYS[0])) == {DAYS[0]: ["refused"]}


def test_slice_past_retention_is_no_gap(build: Any) -> None:
    """What retention takes away, or would, is not asked for again."""
    contract = build.contract(
        build.ORDERS, lambda d: d.update(slaProperties=[{"property": "retention", "value": 8, "unit": "d"}])
    )
    states = [SliceState(day_slice(key)) for key in DAYS]
    found = gaps.find_gaps(states, _today(contract), now=datetime(2026, 1, 10, tzinfo=UTC))
    assert [gap.slice_key for gap in found] == DAYS[1:]


def test_older_contract_and_older_code_are_told_by_the_load(bench: Any, orders: Contract) -> None:
    """The slice's last load counts, not a re-drive after it; rows from before the digest was recorded are no gap."""
    _record(bench, orders, DAYS[0], contract_hash="older", detail='{"code": "now"}')
    _record(bench, orders, DAYS[0], kind="redrive")
    _record(bench, orders, DAYS[1], detail='{"code": "older"}')
    _record(bench, orders, DAYS[2])
    _record(bench, orders, DAYS[3], contract_hash="older", detail='{"code": "older"}')
    found = _reasons(_found(bench, _today(orders, code="now"), DAYS[0], DAYS[3]))
    assert found == {DAYS[0]: ["contract"], DAYS[1]: ["code"], DAYS[3]: ["contract", "code"]}


def test_contract_that_differs_only_for_people_is_the_same(bench: Any, build: Any) -> None:
    """A new description, version, owner or mask makes no slice an old one; a rule or a type does."""
    before = build.contract(build.ORDERS)
    bench.run(
        "INSERT INTO ops.contract_version (dataset, hash, version, document) VALUES (%s, %s, '1', %s)",
        (before.dataset, before.hash, psycopg2.extras.Json(dict(before.document))),
    )

    def described(document: Any) -> None:
        document["version"] = "9.9.9"
        document["schema"][0]["description"] = "Other words"
        column = document["schema"][0]["properties"][-1]
        column["description"] = "Other words"
        column.setdefault("customProperties", []).append({"property": "mask", "value": "redact"})

    def known(contract: Contract) -> frozenset[str]:
        with bench.conn, bench.conn.cursor() as cur:
            return gaps.versions_like(cur, contract)

    for_people = build.contract(build.ORDERS, described)
    assert for_people.hash != before.hash
    assert known(for_people) == {for_people.hash, before.hash}
    other = build.contract(build.ORDERS, build.set_custom("quarantineBudget", "77%"))
    assert known(other) == {other.hash}


def test_what_is_for_rows_is_kept_whole() -> None:
    """Only what is for people is left out of the comparison, however deep."""
    document = {
        "version": "1",
        "schema": [
            {
                "name": "t",
                "description": "d",
                "customProperties": [{"property": "mask", "value": "x"}, {"property": "loadMode", "value": "merge"}],
                "properties": [{"name": "description", "logicalType": "string", "description": "d", "tags": ["a"]}],
            }
        ],
    }
    before = copy.deepcopy(document)
    assert gaps.for_rows(document) == {
        "schema": [
            {
                "name": "t",
                "customProperties": [{"property": "loadMode", "value": "merge"}],
                "properties": [{"name": "description", "logicalType": "string"}],
            }
        ]
    }
    assert document == before


def test_mart_is_a_gap_when_its_producer_has_published_anew(bench: Any, orders: Contract) -> None:
    """Compared by attempts: what the mart has read, and what there is; it waits where there is nothing to read."""
    today = _today(orders, producers=("above/one",))
    for key in DAYS[:3]:
        bench.run(
            "INSERT INTO ops.slice_ledger (kind, dataset, slice_key, attempt, status, run_id, load_mode, extracted,"
            " loaded, quarantined, deduplicated, filtered, withheld, extract_seconds, validate_seconds,"
            " publish_seconds, contract_version, contract_hash) VALUES ('load', 'above/one', %s, 2, 'published', 'r',"
            " 'merge', 0, 0, 0, 0, 0, 0, 0, 0, 0, '1', 'h')",
            (key,),
        )
    _record(bench, orders, DAYS[0], detail='{"producers": {"above/one": 2}}')
    _record(bench, orders, DAYS[1], detail='{"producers": {"above/one": 1}}')
    found = _found(bench, today, DAYS[0], DAYS[3])
    assert _reasons(found) == {DAYS[1]: ["changed"], DAYS[2]: ["never"], DAYS[3]: ["never"]}
    assert [gap.waits_for for gap in found] == [(), (), ("above/one",)]
    assert [gap.loadable for gap in found] == [True, True, False]


def test_mart_keeps_what_its_producer_has_dropped(bench: Any, orders: Contract, build: Any) -> None:
    """A producer's slice that retention has taken is nothing to read anew: it would empty the mart's."""
    above = build.contract(build.PEOPLE)
    for key in DAYS[:2]:
        _record(bench, above, key)
    _record(bench, orders, DAYS[0], detail='{"producers": {"test/people": 1}}')
    for key in DAYS[:2]:
        _record(bench, above, key, kind="drop")
    found = _found(bench, _today(orders, producers=("test/people",)), DAYS[0], DAYS[1])
    assert _reasons(found) == {DAYS[1]: ["never"]}
    assert [gap.loadable for gap in found] == [False]


def test_table_that_differs_is_a_gap_until_the_slice_is_loaded(bench: Any, orders: Contract) -> None:
    """An open finding of reconciliation is a reason, for as long as nothing was loaded since it was seen."""
    for key in DAYS[:4]:
        _record(bench, orders, key)
    for key, kind in ((DAYS[0], "table_differs"), (DAYS[1], "source_changed"), (DAYS[2], "table_differs")):
        bench.run("INSERT INTO ops.finding (dataset, slice_key, kind) VALUES (%s, %s, %s)", (orders.dataset, key, kind))
    bench.run("UPDATE ops.finding SET closed_at = now() WHERE slice_key = %s", (DAYS[2],))
    assert _reasons(_found(bench, _today(orders), DAYS[0], DAYS[3])) == {DAYS[0]: ["table"]}
    _record(bench, orders, DAYS[0])
    assert _found(bench, _today(orders), DAYS[0], DAYS[3]) == []


def test_old_slices_of_a_source_that_shows_only_today_are_not_loadable(orders: Contract) -> None:
    """A load would fill them with what the source has now: only the newest slice is as it should be."""
    today = _today(orders, reads_now=True, newest=day_slice(DAYS[4]))
    found = gaps.find_gaps([SliceState(day_slice(key)) for key in DAYS], today, now=NOW)
    assert [gap.loadable for gap in found] == [False] * 4 + [True]


def test_range_of_slices_has_both_ends() -> None:
    """From one slice to another, over a leap day; none when the last is before the first."""
    found = [slice_.key for slice_ in gaps.slices_between(day_slice("2024-02-28"), day_slice("2024-03-01"))]
    assert found == ["2024-02-28", "2024-02-29", "2024-03-01"]
    assert gaps.slices_between(day_slice("2024-02-02"), day_slice("2024-02-01")) == []


def test_source_that_has_changed_since_is_found_by_one_query_for_a_table(bench: Any, build: Any) -> None:
    """The recorded figures of each slice against what its own source has now; slices without figures are left out."""
    contract = build.contract(build.PEOPLE, build.set_custom("loadMode", "merge"))
    cursor = contract.column(contract.cursor).source_name
    bench.run(f"CREATE TABLE src.people ({cursor} timestamptz)")
    for key, count in zip(DAYS, (2, 0, 1, 5, 3), strict=True):
        bench.run(f"INSERT INTO src.people SELECT '{key} 08:00+00' FROM generate_series(1, {count})")

    def state(key: str, **detail: Any) -> SliceState:
        return SliceState(day_slice(key), detail={"conn_id": "shop", "source": "src.people"} | detail)

    opened: list[str] = []

    @contextmanager
    def open_source(conn_id: str) -> Iterator[Connection]:
        opened.append(conn_id)
        with closing(psycopg2.connect(bench.dsn)) as connection:
            yield connection

    states = [
        state(DAYS[0], source_rows=2),
        state(DAYS[1], source_rows=0),
        state(DAYS[2], source_rows=0),
        state(DAYS[3]),
        state(DAYS[4], source_rows=1),
        SliceState(day_slice("2026-01-06"), detail={"source": "somewhere.else", "source_rows": 7}),
    ]
    found = gaps.changes_at_source(contract, states, open_source)
    assert found == {DAYS[2]: Change(Figures(0), Figures(1)), DAYS[4]: Change(Figures(1), Figures(3))}
    assert opened == ["shop"]
    gap_of = gaps.find_gaps([state(DAYS[2])], _today(contract), now=NOW, changes=found)
    assert gap_of[0].why == (Why.NEVER,)  # nothing was loaded, so nothing can have changed since


def test_gap_is_told_to_machines_whole() -> None:
    """All that is known of a gap is in its JSON."""
    gap = Gap(DAYS[0], (Why.CHANGED,), 3, Change(Figures(1), Figures(2, "x")), ("a/b",), reads_now=True)
    assert gap.as_json() == {
        "slice": DAYS[0],
        "why": ["changed"],
        "source": {"then": {"rows": 1, "checksum": None}, "now": {"rows": 2, "checksum": "x"}},
        "waits_for": ["a/b"],
        "reads_now": True,
    }


def test_first_slice_is_the_oldest_of_all_named(bench: Any, orders: Contract) -> None:
    """A mart's range begins where its producer's does."""
    with bench.conn, bench.conn.cursor() as cur:
        assert gaps.first_slice(cur, [orders.dataset]) is None
    _record(bench, orders, DAYS[3])
    with bench.conn, bench.conn.cursor() as cur:
        found = gaps.first_slice(cur, [orders.dataset, "other/one"])
    assert found == day_slice(DAYS[3])
    assert found.end - found.start == timedelta(days=1)
