"""Quarantined rows go back through the same gate into their own slice, and every row stays accounted for."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.core.errors import SchemaMismatch, StageMissing
from penstock.core.gate.judge import judge
from penstock.core.quarantine import discard, mend
from penstock.core.redrive import Redriven, redrive, slices_with_open_rows
from penstock.core.slice import day_slice
from penstock.core.stage import open_session

DAY, NEXT = "2026-01-01", "2026-01-02"
NOON = "2026-01-01T12:00:00Z"


def order(number: int | str, code: str = "A100", amount: str = "1.50", sold_at: str = NOON) -> dict[str, str]:
    """A record of an order."""
    return {"order_id": str(number), "code": code, "amount": amount, "sold_at": sold_at}


@dataclass
class Orders:
    """A dataset with helpers that read like what a user does."""

    bench: Any
    contract: Any
    folder: Path

    def load(self, records: list[dict[str, Any]], key: str = DAY) -> Any:
        """Land, judge and publish a slice."""
        stage = self.bench.land(self.contract, key, records, self.folder)
        self.bench.judge(self.contract, stage)
        return self.bench.publish(self.contract, stage)

    def mend(self, where: dict[str, str], **changes: str | None) -> int:
        """Mend the rows whose payload has these values."""
        ids = [id_ for (id_,) in self.bench.run("SELECT id FROM ops.quarantine WHERE payload @> %s AND state = 'open'",
                                                (json.dumps(where),))]  # fmt: skip
        with self.bench.conn, self.bench.conn.cursor() as cur:
            return mend(cur, self.contract, ids, changes, by="ann")

    def redrive(self, key: str = DAY, run_id: str = "again", **options: Any) -> Redriven:
        """Re-drive a slice."""
        return redrive(self.bench.conn, self.contract, day_slice(key), run_id=run_id, by="ann", **options)

    def counts(self, key: str = DAY) -> tuple[int, ...]:
        """The slice now: extracted, loaded, quarantined, deduplicated, filtered."""
        ((*found,),) = self.bench.run(
            "SELECT extracted, loaded, quarantined, deduplicated, filtered FROM ops.slice_current WHERE slice_key = %s",
            (key,),
        )
        return tuple(found)

    def open(self) -> dict[str, list[str]]:
        """Rules by order of the open rows."""
        return dict(self.bench.run("SELECT payload->>'order_id', rules FROM ops.quarantine WHERE state = 'open'"))

    def table(self) -> list[tuple[Any, ...]]:
        """What users see."""
        return self.bench.run("SELECT order_id, code, amount::text FROM test.orders ORDER BY 1")


@pytest.fixture
def orders(bench: Any, build: Any, tmp_path: Path) -> Orders:
    """A dataset that replaces partitions."""
    return Orders(bench, build.contract(build.ORDERS), tmp_path)


def test_mended_rows_are_published_into_their_slice(orders: Orders) -> None:
    """`quarantined` falls and `loaded` rises in a ledger row of its own; the rows are in the table."""
    orders.load([order(1), order(2, "bad"), order("x", "bad"), order(4, amount="9999")])
    assert orders.counts() == (4, 1, 3, 0, 0)
    orders.mend({"order_id": "2"}, code="A102")
    orders.mend({"order_id": "x"}, order_id="3", code="A103")
    assert orders.redrive() == Redriven(DAY, considered=3, loaded=2, deduplicated=0, still_open=1)
    assert orders.counts() == (4, 3, 1, 0, 0)
    assert orders.table() == [(1, "A100", "1.50"), (2, "A102", "1.50"), (3, "A103", "1.50")]
    assert orders.open() == {"4": ["amount_range"]}
    kind, run_id, detail = orders.bench.run(
        "SELECT kind, run_id, detail FROM ops.slice_ledger ORDER BY id DESC LIMIT 1"
    )[0]
    assert (kind, run_id) == ("redrive", "again")
    assert detail == {"by": "ann", "considered": 3, "loaded": 2, "deduplicated": 0, "filtered": 0, "still_open": 1}
    closed = orders.bench.run(
        "SELECT DISTINCT state, closed_by, closed_reason FROM ops.quarantine WHERE state <> 'open'"
    )
    assert closed == [("redriven", "ann", "published by again")]
    assert orders.bench.staged_tables() == []


def test_rows_are_judged_again_by_the_contract_of_today(orders: Orders, build: Any) -> None:
    """Without a mend, a row that the contract now allows is published; one that it does not gets its new reasons."""
    orders.load([order(1), order(2, "bad", amount="5000"), order(3, "bad", amount="500")])
    loosened = build.edited(build.ORDERS, lambda d: d["schema"][0]["properties"][1].pop("quality"))
    orders.contract = build.contract(loosened)
    assert orders.redrive() == Redriven(DAY, considered=2, loaded=1, deduplicated=0, still_open=1)
    assert orders.open() == {"2": ["amount_range"]}


def test_only_what_is_asked_for_is_redriven(orders: Orders) -> None:
    """By id, or only mended rows; without any such row nothing is written."""
    orders.load([order(1), order(2, "bad"), order(3, "bad")])
    assert orders.redrive(mended_only=True) == Redriven(DAY, 0, 0, 0, 0)
    orders.mend({}, code="A1")  # still no code
    orders.mend({"order_id": "3"}, code="A103")
    (two,) = [id_ for (id_,) in orders.bench.run("SELECT id FROM ops.quarantine WHERE payload->>'order_id' = '2'")]
    assert orders.redrive(ids=[two]).still_open == 1
    with orders.bench.conn, orders.bench.conn.cursor() as cur:
        assert slices_with_open_rows(cur, orders.contract, mended_only=True) == [DAY]
    assert orders.redrive(mended_only=True).loaded == 1
    kinds = orders.bench.run("SELECT kind FROM ops.slice_ledger ORDER BY id")
    assert kinds == [("load",), ("redrive",)]


def test_a_key_that_is_published_already_stays_out(orders: Orders) -> None:
    """A row mended to a key that the slice holds, or to one that another mended row has, breaks the key's rule."""
    orders.load([order(1), order(2, "bad"), order(3, "bad"), order(4, "bad")])
    orders.mend({"order_id": "2"}, code="A100", order_id="1")
    orders.mend({"order_id": "3"}, code="A100", order_id="9")
    orders.mend({"order_id": "4"}, code="A100", order_id="9")
    assert orders.redrive().still_open == 3
    assert orders.open() == {"2": ["primary_key.taken"], "3": ["primary_key"], "4": ["primary_key"]}
    assert orders.counts() == (4, 1, 3, 0, 0)


def test_rules_about_the_slice_are_not_asked_of_a_few_rows(orders: Orders, build: Any) -> None:
    """A mean, a number of rows or the budget that the whole slice kept do not stop its mended rows."""
    whole = build.expectation("enough", "expect_table_row_count_to_be_between", min_value=3)
    share = build.expectation("mostly", "expect_column_values_to_be_in_set", value_set=["A100"], mostly=0.6)
    orders.contract = build.contract(
        build.ORDERS,
        build.add_quality(whole),
        build.add_quality(share, "code"),
        build.set_custom("quarantineBudget", "50%"),
    )
    orders.load([order(1), order(2), order(3), order(4, amount="9999")])
    orders.mend({"order_id": "4"}, amount="9")
    assert orders.redrive().loaded == 1


def test_a_row_cannot_be_mended_into_another_slice(orders: Orders) -> None:
    """A time outside the slice breaks the rule that says so: the row stays, and no partition gets a stranger."""
    orders.load([order(1), order(2, "bad")])
    orders.mend({"order_id": "2"}, code="A100", sold_at="2026-01-02T00:00:00Z")
    assert orders.redrive().still_open == 1
    assert orders.open() == {"2": ["sold_at.in_slice"]}


def test_a_mend_survives_a_repeated_load(orders: Orders) -> None:
    """After the slice was loaded anew its mended row is open with the mend, and the next re-drive publishes it."""
    records = [order(1), order(2, "bad")]
    orders.load(records)
    orders.mend({"order_id": "2"}, code="A102")
    orders.redrive()
    before = (orders.table(), orders.counts())
    orders.load(records)
    assert orders.counts() == (2, 1, 1, 0, 0)
    assert orders.redrive(run_id="third", mended_only=True).loaded == 1
    assert (orders.table(), orders.counts()) == before


def test_a_repeated_redrive_changes_nothing(orders: Orders) -> None:
    """A retry of a run that had already published finds nothing open and writes nothing."""
    orders.load([order(1), order(2, "bad")])
    orders.mend({"order_id": "2"}, code="A102")
    orders.redrive()
    before = (orders.table(), orders.counts(), orders.bench.one("SELECT count(*) FROM ops.slice_ledger"))
    assert orders.redrive() == Redriven(DAY, 0, 0, 0, 0)
    assert (orders.table(), orders.counts(), orders.bench.one("SELECT count(*) FROM ops.slice_ledger")) == before


def test_the_newest_version_of_a_key_wins(bench: Any, build: Any, tmp_path: Path) -> None:
    """With a cursor, a mended row that is newer takes the place of a published one; an older one is a duplicate."""
    contract = build.contract(build.ORDERS, build.set_custom("cursor", "sold_at"))
    orders = Orders(bench, contract, tmp_path)
    records = [
        order(1),
        order(2),
        order(1, "bad", sold_at="2026-01-01T13:00:00Z"),
        order(2, "bad", sold_at="2026-01-01T09:00:00Z"),
    ]
    orders.load(records)
    orders.mend({"code": "bad"}, code="A999")
    assert orders.redrive() == Redriven(DAY, considered=2, loaded=0, deduplicated=2, still_open=0)
    assert orders.table() == [(1, "A999", "1.50"), (2, "A100", "1.50")]
    assert orders.counts() == (4, 2, 0, 2, 0)


def test_a_merged_dataset_takes_its_mended_rows(bench: Any, build: Any, tmp_path: Path) -> None:
    """A new key is inserted, a newer version updates, an older one is a duplicate; the ledger balances."""
    contract = build.contract(build.PEOPLE)
    people = Orders(bench, contract, tmp_path)
    people.load([{"person_id": "1", "city": "Rome", "changed_at": NOON}])
    people.load([
        {"person_id": "1", "city": "?", "changed_at": "2026-01-02T10:00:00Z"},
        {"person_id": "2", "city": "?", "changed_at": "2026-01-02T10:00:00Z"},
        {"person_id": "1", "city": "?", "changed_at": "2026-01-02T09:00:00Z"},
    ], NEXT)  # fmt: skip
    people.mend({"city": "?"}, city="Oslo")
    assert people.redrive(NEXT) == Redriven(NEXT, considered=3, loaded=2, deduplicated=1, still_open=0)
    assert bench.run("SELECT person_id, city FROM test.people ORDER BY 1") == [(1, "Oslo"), (2, "Oslo")]
    assert people.counts(NEXT) == (3, 2, 0, 1, 0)


def test_typed_rows_come_back_as_they_were(bench: Any, build: Any) -> None:
    """A row that was never text (it came by binary COPY) loses nothing in the quarantine and on the way back."""
    columns = {"a": "numeric(38,12)", "b": "double precision", "c": "bytea", "d": "timestamptz", "e": "jsonb",
               "f": "text[]", "g": "interval", "h": "text", "i": "uuid", "j": "boolean", "k": "date"}  # fmt: skip
    properties = [{"name": name, "logicalType": "string", "physicalType": type_} for name, type_ in columns.items()]

    def widen(document: Any) -> None:
        document["schema"][0]["properties"] += properties

    contract = build.contract(build.ORDERS, widen)
    values = ("12345678901234567890123456.123456789012", 0.1 + 0.2, b"\x00\xff'", "2026-01-01T12:00:00.123456+02:00",
              '{"x": [1.10, null, "ü"]}', ["a,b", 'say "x"', None, ""], "1 mon 2 days 03:04:05.6",
              "a'b\\c\n%s", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", True, "2026-01-01")  # fmt: skip
    definition = "order_id bigint, code text, amount numeric(8,2), sold_at timestamptz, " + ", ".join(
        f"{name} {type_}" for name, type_ in columns.items()
    )
    bench.load(contract, DAY, bench.fill("orders", definition, [(1, "bad", "1.00", NOON, *values)]))
    orders = Orders(bench, contract, Path())
    orders.mend({"code": "bad"}, code="A100")
    assert orders.redrive().loaded == 1
    names = ", ".join(columns)
    assert bench.run(f"SELECT {names} FROM test.orders") == bench.run(f"SELECT {names} FROM src.orders")


def test_a_load_meanwhile_makes_it_start_again(orders: Orders, monkeypatch: Any) -> None:
    """Rows that another run changed after they were staged are staged anew, so that none is published twice."""
    records = [order(1), order(2, "bad"), order(3, "bad")]
    orders.load(records)
    orders.mend({}, code="A102")
    others = Orders(orders.bench, orders.contract, orders.folder)
    calls = []

    def judged(*args: Any, **kwargs: Any) -> Any:
        if not calls:
            others.load(records[:2])  # the source has dropped order 3
        calls.append(1)
        return judge(*args, **kwargs)

    monkeypatch.setattr("penstock.core.redrive.judge", judged)
    assert orders.redrive() == Redriven(DAY, considered=1, loaded=1, deduplicated=0, still_open=0)
    assert len(calls) == 2
    assert orders.counts() == (2, 2, 0, 0, 0)


def test_a_quarantine_that_never_rests_is_an_error(orders: Orders, monkeypatch: Any) -> None:
    """After three tries the error says what to do; nothing was published."""
    orders.load([order(1), order(2, "bad")])
    orders.mend({}, code="A102")

    def judged(*args: Any, **kwargs: Any) -> Any:
        orders.mend({}, code="A103")
        return judge(*args, **kwargs)

    monkeypatch.setattr("penstock.core.redrive.judge", judged)
    with pytest.raises(StageMissing, match=r"quarantine changed.*clear the task `redrive`"):
        orders.redrive()
    assert orders.counts() == (2, 1, 1, 0, 0)


def test_a_slice_without_its_partition_says_so(orders: Orders) -> None:
    """Somebody dropped the partition by hand: the error names it and the way out."""
    orders.load([order(1), order(2, "bad")])
    orders.mend({}, code="A102")
    orders.bench.run("DROP TABLE test.orders_p20260101")
    with pytest.raises(SchemaMismatch, match=r"no partition test\.orders_p20260101"):
        orders.redrive()


def test_redrives_and_loads_at_the_same_time(orders: Orders) -> None:
    """1,000 mended rows are re-driven while the same and other slices are loaded: balanced, no row twice, none lost."""
    days = [f"2026-01-0{n}" for n in range(1, 5)]

    def records(day: str, first: int) -> list[dict[str, str]]:
        at = f"{day}T12:00:00Z"
        return [order(first + n, "A100" if n % 2 else "bad", sold_at=at) for n in range(500)]

    batches = {day: records(day, 10_000 * position) for position, day in enumerate(days)}
    for day in days:
        orders.load(batches[day], day)
    assert orders.mend({}, code="A555") == 1000
    failures: list[BaseException] = []

    def work(day: str, number: int) -> None:
        mine = Orders(_Own(orders.bench), orders.contract, orders.folder)
        try:
            for turn in range(3):
                mine.redrive(day, run_id=f"redrive-{number}-{turn}")
        except BaseException as error:
            failures.append(error)

    def reload(day: str) -> None:
        mine = Orders(_Own(orders.bench), orders.contract, orders.folder)
        try:
            for _ in range(2):
                mine.load(batches[day], day)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(day, number)) for number, day in enumerate(days)]
    threads += [threading.Thread(target=reload, args=(day,)) for day in days]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    for day in days:
        orders.redrive(day, run_id="last")
        assert orders.counts(day) == (500, 500, 0, 0, 0)
    assert orders.bench.run("SELECT count(*), count(DISTINCT order_id) FROM test.orders") == [(2000, 2000)]
    assert orders.bench.staged_tables() == []


class _Own:
    """The bench's flow over a connection of one's own."""

    def __init__(self, bench: Any) -> None:
        self.__dict__.update(bench.__dict__)
        self._class = type(bench)
        self.conn = bench.connect()
        open_session(self.conn)
        self._runs = 1000 + id(self) % 1_000_000

    def __getattr__(self, name: str) -> Any:
        return getattr(self._class, name).__get__(self)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("load"), st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=6)),
        st.tuples(st.just("mend"), st.tuples(st.integers(0, 5), st.booleans())),
        st.tuples(st.just("discard"), st.integers(0, 5)),
        st.tuples(st.just("redrive"), st.booleans()),
    ),
    max_size=8,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_the_ledger_is_true_whatever_people_do(bench: Any, build: Any, tmp_path: Path, steps: list[Any]) -> None:
    """After any order of loads, mends, discards and re-drives the ledger's counts are those of table and quarantine."""
    bench.reset("test", "staging")
    bench.run("CREATE SCHEMA staging")
    orders = Orders(bench, build.contract(build.ORDERS), tmp_path)
    orders.load([order(1), order(2, "bad")])
    for number, (what, value) in enumerate(steps):
        if what == "load":
            orders.load([order(n, "A100" if good else "bad") for n, good in value])
        elif what == "mend":
            orders.mend({"order_id": str(value[0])}, code="A777" if value[1] else "worse")
        elif what == "redrive":
            orders.redrive(run_id=f"r{number}", mended_only=value)
        else:
            ids = [
                i
                for (i,) in bench.run(
                    "SELECT id FROM ops.quarantine WHERE payload->>'order_id' = %s AND state = 'open'", (str(value),)
                )
            ]
            if ids:
                discard(bench.conn, orders.contract, ids, by="ann", reason="x")
        extracted, loaded, quarantined, deduplicated, filtered = orders.counts()
        assert loaded == bench.one("SELECT count(*) FROM test.orders")
        assert quarantined == bench.one("SELECT count(*) FROM ops.quarantine WHERE state = 'open'")
        assert extracted == loaded + quarantined + deduplicated + filtered
        assert bench.staged_tables() == []
