"""Each way in which a source can drift from its contract has one outcome, by the contract's `schemaPolicy`."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import Any

import pytest

from penstock.core.contract.ddl import ensure_table
from penstock.core.drift import MAX_EVOLVED, Evolved, decide, evolved_columns, safe_name, with_evolved
from penstock.core.errors import PublishBlocked, SchemaMismatch, StageMissing
from penstock.core.lake import land_file
from penstock.core.publish import publish
from penstock.core.slice import day_slice
from penstock.core.source_file import FileFormat, stage_file

DAY, NEXT = "2026-01-01", "2026-01-02"
POLICIES = ("discard", "freeze", "evolve", "quarantine")
KINDS = ("lake", "csv", "jsonl", "table")
SOUND = {"order_id": "1", "code": "A100", "amount": "1.00", "sold_at": f"{DAY}T12:00:00Z"}
TYPES = {"order_id": "bigint", "code": "text", "amount": "numeric(8,2)", "sold_at": "timestamptz", "size": "integer"}


class Feed:
    """One source of a dataset, of any kind, for the whole flow."""

    def __init__(self, bench: Any, folder: Path, kind: str) -> None:
        self.bench, self.folder, self.kind = bench, folder, kind

    def extract(self, contract: Any, records: list[dict[str, str | None]], key: str = DAY) -> Any:
        """Stage records through this kind of source."""
        if self.kind == "lake":
            return self.bench.land(contract, key, records, self.folder)
        names = list(dict.fromkeys(name for record in records for name in record))
        if self.kind == "table":
            columns = ", ".join(f'"{name}" {TYPES.get(name, "text")}' for name in names)
            rows = [tuple(record.get(name) for name in names) for record in records]
            return self.bench.extract(contract, key, self.bench.fill("orders", columns, rows))
        if self.kind == "csv":
            lines = [names, *([record.get(name) or "" for name in names] for record in records)]
            body = "".join(",".join(line) + "\n" for line in lines)
        else:
            pairs = [
                [f'"{k}": ' + ("null" if v is None else f'"{v}"') for k, v in record.items()] for record in records
            ]
            body = "".join("{" + ", ".join(items) + "}\n" for items in pairs)
        stage = self.bench.stage(contract, key)
        form = FileFormat("csv" if self.kind == "csv" else "jsonl")
        land_file(self.folder / stage.name, "test", [body.encode()])
        stage_file(self.bench.conn, contract, day_slice(key), stage, self.folder / stage.name, form, {})
        return stage

    def load(self, contract: Any, records: list[dict[str, str | None]], key: str = DAY) -> Any:
        """The whole flow."""
        stage = self.extract(contract, records, key)
        assert self.bench.judge(contract, stage).refusals == []
        return self.bench.publish(contract, stage)


@pytest.fixture(params=KINDS)
def feed(request: Any, bench: Any, tmp_path: Path) -> Feed:
    """A source of each kind."""
    return Feed(bench, tmp_path, request.param)


def by_policy(build: Any, policy: str, *edits: Any) -> Any:
    """The contract under a policy."""
    return build.contract(build.ORDERS, build.set_custom("schemaPolicy", policy), *edits)


WITH_SIZE: list[dict[str, str | None]] = [SOUND | {"size": "7"}, SOUND | {"order_id": "2", "size": None}]


# --- unknown fields


def test_discard_leaves_unknown_fields_out_and_records_them(feed: Feed, build: Any) -> None:
    """`discard`: both rows are loaded, and the ledger names the field."""
    assert feed.load(by_policy(build, "discard"), WITH_SIZE).loaded == 2
    assert feed.bench.one("SELECT detail->'left_out' FROM ops.slice_ledger") == ["size"]


def test_freeze_refuses_unknown_fields(feed: Feed, build: Any) -> None:
    """`freeze`: the extract fails and names the field; nothing is staged."""
    with pytest.raises(SchemaMismatch, match=r"\[test/orders 2026-01-01\].*does not name: size"):
        feed.extract(by_policy(build, "freeze"), WITH_SIZE)
    assert feed.bench.staged_tables() == []


def test_quarantine_sets_rows_aside_that_hold_something_unknown(feed: Feed, build: Any) -> None:
    """`quarantine`: the row with a value goes there, with the value; the one without is loaded."""
    outcome = feed.load(by_policy(build, "quarantine"), WITH_SIZE)
    assert (outcome.loaded, outcome.quarantined) == (1, 1)
    (found,) = feed.bench.run("SELECT rules, payload->'$extra', payload->>'code' FROM ops.quarantine")
    assert found == (["row.unknown_fields"], {"size": "7"}, "A100")


def test_evolve_adds_a_nullable_column_and_records_it(feed: Feed, build: Any) -> None:
    """`evolve`: text from text, the source's own type from Postgres; both rows are loaded, all is recorded."""
    contract = by_policy(build, "evolve")
    assert feed.load(contract, WITH_SIZE).loaded == 2
    type_ = "integer" if feed.kind == "table" else "text"
    assert feed.bench.run("SELECT order_id, size::text FROM test.orders ORDER BY 1") == [(1, "7"), (2, None)]
    assert feed.bench.run("SELECT name, source_name, type, slice_key FROM ops.evolved_column") == [
        ("size", "size", type_, DAY)
    ]
    (change,) = feed.bench.run("SELECT change, statement, destructive, slice_key FROM ops.schema_change")
    assert change == (
        f"add column size ({type_}) for the source's field size",
        f'ALTER TABLE "test"."orders" ADD COLUMN "size" {type_}',
        False,
        DAY,
    )
    assert feed.bench.one("SELECT detail->'evolved'->0->>'name' FROM ops.slice_ledger") == "size"
    # later slices have the column, whether they send the field or not
    assert feed.load(contract, [SOUND | {"sold_at": f"{NEXT}T12:00:00Z"}], NEXT).loaded == 1
    assert feed.bench.run("SELECT size::text FROM test.orders WHERE sold_at >= %s", (NEXT,)) == [(None,)]
    assert feed.bench.one("SELECT count(*) FROM ops.schema_change") == 1


# --- missing fields


@pytest.mark.parametrize("policy", POLICIES)
def test_a_required_field_that_no_record_has_is_refused(feed: Feed, build: Any, policy: str) -> None:
    """Under every policy, with its name."""
    record = {name: value for name, value in SOUND.items() if name != "code"}
    with pytest.raises(SchemaMismatch, match="sends no field code"):
        feed.extract(by_policy(build, policy), [record])


@pytest.mark.parametrize("policy", POLICIES)
def test_a_nullable_field_that_no_record_has_is_null_unless_frozen(feed: Feed, build: Any, policy: str) -> None:
    """`freeze` refuses; the others load NULL and record it."""
    record = {name: value for name, value in SOUND.items() if name != "amount"}
    contract = by_policy(build, policy)
    if policy == "freeze":
        with pytest.raises(SchemaMismatch, match="sends no field amount"):
            feed.extract(contract, [record])
        return
    assert feed.load(contract, [record]).loaded == 1
    assert feed.bench.run("SELECT amount FROM test.orders") == [(None,)]
    assert feed.bench.one("SELECT detail->'missing' FROM ops.slice_ledger") == ["amount"]


@pytest.mark.parametrize("kind", ["lake", "jsonl"])
@pytest.mark.parametrize("policy", POLICIES)
def test_a_slice_without_records_is_no_drift(bench: Any, build: Any, tmp_path: Path, policy: str, kind: str) -> None:
    """Where nothing came, no field is missing."""
    assert Feed(bench, tmp_path, kind).load(by_policy(build, policy), []).loaded == 0


# --- renamed fields


def test_a_renamed_field_is_asked_about(feed: Feed, build: Any) -> None:
    """A missing and a similar unknown field at once: the error, or the record, asks whether it is the same."""
    renamed = {("Order-Code" if name == "code" else name): value for name, value in SOUND.items()}
    with pytest.raises(SchemaMismatch, match="Was code renamed to Order-Code"):
        feed.extract(by_policy(build, "discard"), [renamed])
    renamed = {("amount_eur" if name == "amount" else name): value for name, value in SOUND.items()}
    assert feed.load(by_policy(build, "discard"), [renamed]).loaded == 1
    (question,) = feed.bench.one("SELECT detail->'renamed' FROM ops.slice_ledger")
    assert question == "Was amount renamed to amount_eur? Then set `physicalName: amount_eur`."


def test_fields_that_do_not_look_alike_are_not_paired(bench: Any, build: Any) -> None:
    """Only what is similar is asked about, each field once."""
    contract = by_policy(build, "discard")
    fields = dict.fromkeys(["order_id", "code", "sold_at", "colour", "Amount", "amounts"])
    assert decide(contract, fields, bench.stage(contract, DAY)).renamed == (("Amount", "amount"),)


# --- types


@pytest.mark.parametrize(
    ("source_type", "value", "outcome"),
    [
        ("smallint", "7", "loaded"),  # narrower: every value fits
        ("text", "7.00", "loaded"),  # wider: each value is looked at
        ("text", "much", "text"),
        ("numeric", "7.001", "too many digits"),
        ("double precision", "1e9", "out of range"),
        ("boolean", "true", "boolean"),
        ("date", "2026-01-01", "ISO date"),
    ],
)
def test_a_source_column_of_another_type(bench: Any, build: Any, source_type: str, value: str, outcome: str) -> None:
    """What fits the contract's type is loaded; a row whose value does not is quarantined, and takes none with it."""
    rows = [(1, "A100", value, SOUND["sold_at"]), (2, "A100", None, SOUND["sold_at"])]
    source = bench.fill("orders", f"order_id bigint, code text, amount {source_type}, sold_at timestamptz", rows)
    found = bench.load(by_policy(build, "freeze"), DAY, source)
    assert found.loaded == (2 if outcome == "loaded" else 1)
    if outcome != "loaded":
        assert bench.one("SELECT details->0->>'value_class' FROM ops.quarantine") == outcome


def test_an_evolved_column_keeps_its_type(bench: Any, build: Any, tmp_path: Path) -> None:
    """When the source widens it later, what does not fit is quarantined like any other value."""
    contract = by_policy(build, "evolve")
    feed = Feed(bench, tmp_path, "table")
    feed.load(contract, [SOUND | {"size": "7"}])
    columns = "order_id bigint, code text, amount numeric(8,2), sold_at timestamptz, size bigint"
    rows = [(1, "A100", 1, f"{NEXT} 12:00Z", 3_000_000_000), (2, "A100", 1, f"{NEXT} 12:00Z", 8)]
    outcome = bench.load(contract, NEXT, bench.fill("orders", columns, rows))
    assert (outcome.loaded, outcome.quarantined) == (1, 1)
    assert bench.one("SELECT rules FROM ops.quarantine") == ["size.cast"]


# --- evolve, further


def test_names_become_safe_and_stay_apart() -> None:
    """lower_snake, letters first, never a name that is taken, never longer than a contract's names."""
    cases = {
        "Größe (cm)": "gr_e_cm",
        "unitPrice": "unit_price",
        "2nd": "f_2nd",
        "": "field",
        "💶": "field",
        "a" * 99: "a" * 40,
    }
    for field, name in cases.items():
        assert safe_name(field, set()) == name
        assert re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name)
    assert safe_name("Code", {"code", "code_2"}) == "code_3"
    assert safe_name("a" * 99, {"a" * 40}) == "a" * 38 + "_2"


def test_a_nasty_name_is_a_column_like_any_other(bench: Any, build: Any, tmp_path: Path) -> None:
    """A field called like SQL, and one like a column that there is."""
    records = [SOUND | {'x"; DROP TABLE test.orders; --': "1", "Code": "b"}]
    assert Feed(bench, tmp_path, "lake").load(by_policy(build, "evolve"), records).loaded == 1
    assert bench.run("SELECT code, code_2, x_drop_table_test_orders FROM test.orders") == [("A100", "b", "1")]


def test_data_that_came_as_keys_is_no_schema(bench: Any, build: Any, tmp_path: Path) -> None:
    """More new fields than a slice may bring along: refused, before the table has hundreds of columns."""
    records = [SOUND | {f"k{number}": "x" for number in range(MAX_EVOLVED + 1)}]
    with pytest.raises(SchemaMismatch, match=f"{MAX_EVOLVED + 1} new fields"):
        Feed(bench, tmp_path, "lake").extract(by_policy(build, "evolve"), records)


def test_a_stage_from_before_the_evolution_is_published_with_null(bench: Any, build: Any, tmp_path: Path) -> None:
    """Two slices are staged; the one that evolves is published first, the other fits all the same."""
    contract, feed = by_policy(build, "evolve"), Feed(bench, tmp_path, "lake")
    early = feed.extract(contract, [SOUND | {"sold_at": f"{NEXT}T12:00:00Z"}], NEXT)
    judged = feed.extract(contract, [SOUND | {"sold_at": "2026-01-03T12:00:00Z"}], "2026-01-03")
    bench.judge(contract, judged)
    feed.load(contract, WITH_SIZE)
    bench.judge(contract, early)
    assert [bench.publish(contract, stage).loaded for stage in (early, judged)] == [1, 1]
    assert bench.one("SELECT count(*) FROM test.orders WHERE size IS NULL") == 3


def test_a_merged_table_evolves_too(bench: Any, build: Any, tmp_path: Path) -> None:
    """The new column is filled by later versions of a row, and kept NULL in the others."""
    contract = build.contract(build.PEOPLE, build.set_custom("schemaPolicy", "evolve"))
    person = {"person_id": "1", "city": "Bonn", "changed_at": f"{DAY}T12:00:00Z"}
    feed = Feed(bench, tmp_path, "lake")
    feed.load(contract, [person, person | {"person_id": "2"}])
    feed.load(contract, [person | {"changed_at": f"{NEXT}T12:00:00Z", "mail": "a@b"}], NEXT)
    assert bench.run("SELECT person_id, mail FROM test.people ORDER BY 1") == [(1, "a@b"), (2, None)]


def test_two_slices_evolve_at_once(bench: Any, build: Any, tmp_path: Path) -> None:
    """Both bring along the same column (and one another): each is published, every column is added once."""
    contract, feed = by_policy(build, "evolve"), Feed(bench, tmp_path, "lake")
    days = [f"2026-01-{day:02d}" for day in range(1, 7)]
    stages = []
    for number, day in enumerate(days):
        record = (
            SOUND | {"sold_at": f"{day}T12:00:00Z", "size": str(number)} | ({"colour": "red"} if number % 2 else {})
        )
        stages.append(feed.extract(contract, [record], day))
        bench.judge(contract, stages[-1])
    connections = [bench.connect() for _ in stages]
    outcomes: list[Any] = [None] * len(stages)

    def work(number: int) -> None:
        stage = stages[number]
        outcomes[number] = publish(connections[number], contract, day_slice(stage.slice_key), stage)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(stages))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [outcome and outcome.loaded for outcome in outcomes] == [1] * len(stages)
    assert bench.run("SELECT size, colour FROM test.orders ORDER BY sold_at") == [
        (str(number), "red" if number % 2 else None) for number in range(len(stages))
    ]
    assert bench.one("SELECT count(*) FROM ops.schema_change WHERE change LIKE 'add column%%'") == 2


def test_a_reader_keeps_a_table_from_evolving_for_a_while_only(
    bench: Any, build: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Publish waits for readers no longer than it may, changes nothing, and works once they are gone."""
    monkeypatch.setattr("penstock.core.table_lock.LOCK_TIMEOUT_SECONDS", 0.2)
    monkeypatch.setattr("penstock.core.table_lock.LOCK_PAUSES_SECONDS", (0.1,))
    contract, feed = by_policy(build, "evolve"), Feed(bench, tmp_path, "lake")
    feed.load(contract, [SOUND])
    stage = feed.extract(contract, WITH_SIZE)
    bench.judge(contract, stage)
    reader = bench.connect()
    with reader.cursor() as cur:
        cur.execute("SELECT count(*) FROM test.orders")
    with pytest.raises(PublishBlocked):
        bench.publish(contract, stage)
    assert evolved_of(bench) == []
    reader.rollback()
    assert bench.publish(contract, stage).loaded == 2
    assert evolved_of(bench) == [("size",)]


def test_readers_wait_for_new_columns_and_not_for_the_rows(
    bench: Any, build: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the rows of a slice with a new column are put in place, the table has the column and can be read."""
    contract, feed = by_policy(build, "evolve"), Feed(bench, tmp_path, "lake")
    feed.load(contract, [SOUND])
    stage = feed.extract(contract, WITH_SIZE)
    bench.judge(contract, stage)
    reader, seen = bench.connect(), []

    def read_meanwhile(*arguments: Any) -> None:
        ensure_table(*arguments)
        with reader, reader.cursor() as cur:
            cur.execute("SET LOCAL lock_timeout = '200ms'")
            cur.execute("SELECT size FROM test.orders")
            seen.extend(cur.fetchall())

    monkeypatch.setattr("penstock.core.publish.ensure_table", read_meanwhile)
    assert bench.publish(contract, stage).loaded == 2
    assert seen == [(None,)]


def evolved_of(bench: Any) -> Any:
    """Names of the columns that were taken in."""
    return bench.run("SELECT name FROM ops.evolved_column")


def test_one_field_in_two_types_asks_for_another_extract(bench: Any, build: Any, tmp_path: Path) -> None:
    """Two slices stage a new field in different types: the second must be extracted again, and is then cast."""
    contract = by_policy(build, "evolve")
    text = Feed(bench, tmp_path, "lake").extract(contract, [SOUND | {"size": "x"}])
    table = Feed(bench, tmp_path, "table")
    number = table.extract(contract, [SOUND | {"sold_at": f"{NEXT} 12:00Z", "size": "7"}], NEXT)
    for stage in (text, number):
        bench.judge(contract, stage)
    bench.publish(contract, text)
    with pytest.raises(StageMissing, match=r"new fields size.*clear the task `extract`"):
        bench.publish(contract, number)
    assert table.load(contract, [SOUND | {"sold_at": f"{NEXT} 12:00Z", "size": "7"}], NEXT).loaded == 1
    assert bench.run("SELECT size FROM test.orders ORDER BY sold_at") == [("x",), ("7",)]


def test_a_contract_may_take_an_evolved_column_over(bench: Any, build: Any, tmp_path: Path) -> None:
    """Once the contract names it, the column is the contract's own; under another policy it is still loaded."""
    feed = Feed(bench, tmp_path, "lake")
    feed.load(by_policy(build, "evolve"), WITH_SIZE)
    assert feed.load(by_policy(build, "freeze"), WITH_SIZE).loaded == 2
    assert bench.one("SELECT count(size) FROM test.orders") == 1

    def adopt(document: Any) -> None:
        document["schema"][0]["properties"].append({"name": "size", "logicalType": "string"})

    contract = by_policy(build, "freeze", adopt)
    with bench.conn, bench.conn.cursor() as cur:
        assert with_evolved(cur, contract) == contract
        assert evolved_columns(cur, "test/orders") == [Evolved("size", "size", "text")]
    assert feed.load(contract, WITH_SIZE).loaded == 2


# --- the document


def test_the_document_names_every_test() -> None:
    """Each row of docs/drift.md names the test that shows it, and every test of an outcome is named."""
    text = (Path(__file__).parents[2] / "docs" / "drift.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(test_\w+)`", text))
    here = {name for name, item in globals().items() if name.startswith("test_") and callable(item)}
    assert named <= here
    assert here - named <= {
        "test_the_document_names_every_test",
        "test_fields_that_do_not_look_alike_are_not_paired",
        "test_readers_wait_for_new_columns_and_not_for_the_rows",
    }
