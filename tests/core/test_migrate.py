"""Plan and apply: after it the table is as a fresh one would be, and no value that can stay is lost."""

from __future__ import annotations

import os
import random
import re
import threading
from collections.abc import Callable
from typing import Any

import pytest
from psycopg2.sql import SQL, Identifier

from penstock.core import migrate
from penstock.core.contract.ddl import ensure_table, table_name
from penstock.core.contract.shape import TableShape, read_shape
from penstock.core.errors import MigrationRefused, PublishBlocked, SchemaMismatch
from penstock.core.migrate import Migration, apply, plan
from penstock.core.source_table import widens

Document = dict[str, Any]
Edit = Callable[[Document], Any]
DAYS = ("2024-03-01", "2024-03-02")
PAIRS = int(os.environ.get("PENSTOCK_MIGRATE_PAIRS", "60"))


def planned(bench: Any, contract: Any) -> Migration:
    """The plan."""
    with bench.conn, bench.conn.cursor() as cur:
        return plan(cur, contract)


def applied(bench: Any, contract: Any, **options: Any) -> Migration:
    """The plan, done."""
    return apply(bench.conn, contract, by="tester", **options)


def shape(bench: Any, contract: Any) -> TableShape:
    """The shape of a contract's table."""
    with bench.conn, bench.conn.cursor() as cur:
        found = read_shape(cur, table_name(contract))
    assert found is not None
    return found


def columns(document: Document) -> list[Document]:
    """The properties of a document's table."""
    found: list[Document] = document["schema"][0]["properties"]
    return found


def put(name: str, /, **fields: Any) -> Edit:
    """Edit: set fields of a column."""
    return lambda document: next(item for item in columns(document) if item["name"] == name).update(fields)


def add(**fields: Any) -> Edit:
    """Edit: add a column."""
    return lambda document: columns(document).append(fields)


def drop(name: str) -> Edit:
    """Edit: take a column out."""

    def edit(document: Document) -> None:
        document["schema"][0]["properties"] = [item for item in columns(document) if item["name"] != name]

    return edit


def rename(old: str, new: str) -> Edit:
    """Edit: rename a column in the warehouse; the source goes on sending it under the old name."""
    return put(
        old, name=new, physicalName=old, customProperties=[{"property": "renamedFrom", "value": old}], quality=[]
    )


@pytest.fixture
def orders(bench: Any, build: Any) -> Any:
    """A published table with two slices of three rows, of which one is in quarantine."""
    contract = build.contract(build.ORDERS)
    for day, first in (("2024-03-01", 1), ("2024-03-02", 11)):
        bench.fill(
            "orders",
            "order_id bigint, code text, amount numeric(8,2), sold_at timestamptz",
            [
                (first, "A100", "1.50", f"{day} 01:00Z"),
                (first + 1, "B200", None, f"{day} 23:30Z"),
                (first + 2, "wrong", "2.00", f"{day} 03:00Z"),
            ],
        )
        bench.load(contract, day, "src.orders")
    return contract


# --- what is planned ---------------------------------------------------------------------------------------------


def words(migration: Migration) -> str:
    """All that a plan says."""
    return "\n".join(
        f"{step.words}{' !' if step.destructive else ''}{f' BLOCKED {step.blocked}' if step.blocked else ''}"
        for step in migration.steps
    )


PLANS: dict[str, tuple[list[Edit], str]] = {
    "nothing": ([], ""),
    "a rule": ([put("amount", quality=[])], ""),
    "a new column": ([add(name="colour", logicalType="string")], "add colour (text)"),
    "a new required column": (
        [add(name="colour", logicalType="string", required=True)],
        "add colour (text, required) BLOCKED 4 rows would have no value; add it as optional, load it, then require it",
    ),
    "a column less": ([drop("amount")], "drop amount (numeric(8,2)) with 2 values !"),
    "a wider type": (
        [put("amount", physicalType="numeric(12,2)")],
        "widen amount from numeric(8,2) to numeric(12,2)",
    ),
    "a narrower type that holds": (
        [put("amount", physicalType="numeric(3,1)", quality=[])],
        "change amount from numeric(8,2) to numeric(3,1), rewriting 2 values !",
    ),
    "a narrower type that does not": (
        [put("amount", physicalType="integer", quality=[])],
        (
            "change amount from numeric(8,2) to integer, rewriting 2 values !"
            " BLOCKED 2 of 2 values do not convert; mend or load them first"
        ),
    ),
    "required": ([put("amount", required=True)], "require amount BLOCKED 2 rows have no value"),
    "not required": ([put("code", required=False)], "let code be NULL"),
    "another name": ([rename("amount", "price")], "rename amount to price"),
    "a comment": ([put("code", description="A code.")], "comment on code"),
    "a key that repeats": (
        [put("order_id", primaryKey=False), put("code", primaryKey=True)],
        "drop the unique index of 2 partitions\nlet order_id be NULL\nmake (code) unique in each partition",
    ),
    "another partitioning": (
        [lambda d: d["schema"][0].update(customProperties=[
            {"property": "loadMode", "value": "merge"}, {"property": "cursor", "value": "sold_at"}])],
        "make (order_id) the primary key\ncopy 4 rows into a new table, in one piece",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", list(PLANS))
def test_the_plan_says_what_would_change_and_changes_nothing(bench: Any, build: Any, orders: Any, name: str) -> None:
    """One change of the contract: one line, with the figures that matter; the table stays as it is."""
    edits, said = PLANS[name]
    before = shape(bench, orders), bench.checksum("test.orders")
    assert words(planned(bench, build.contract(build.ORDERS, *edits))) == said
    assert (shape(bench, orders), bench.checksum("test.orders")) == before


def test_a_missing_table_is_made_and_recorded(bench: Any, build: Any) -> None:
    """Without a table the plan is the table, and `apply` makes just what the first publish would."""
    contract = build.contract(build.ORDERS)
    assert words(planned(bench, contract)) == "create the table test.orders with 4 columns"
    applied(bench, contract)
    assert planned(bench, contract).steps == ()
    assert bench.run("SELECT dataset, made_by, destructive FROM ops.schema_change") == [
        ("test/orders", "tester", False)
    ]
    assert bench.one("SELECT hash FROM ops.contract_version") == contract.hash


# --- what is refused ---------------------------------------------------------------------------------------------


def test_values_are_lost_only_with_leave(bench: Any, build: Any, orders: Any) -> None:
    """A destructive plan is refused without the flag, naming what would go, and done with it."""
    contract = build.contract(build.ORDERS, drop("amount"))
    with pytest.raises(MigrationRefused, match=r"drop amount .* with 2 values.*--allow-destructive"):
        applied(bench, contract)
    assert "amount" in shape(bench, contract).columns
    applied(bench, contract, allow_destructive=True)
    assert "amount" not in shape(bench, contract).columns
    assert bench.one("SELECT destructive FROM ops.schema_change WHERE change LIKE 'drop amount%'") is True


def test_what_is_blocked_is_never_done(bench: Any, build: Any, orders: Any) -> None:
    """Rows that do not convert stop the whole migration, also the steps that could be taken."""
    contract = build.contract(build.ORDERS, put("amount", physicalType="integer"), add(name="x", logicalType="date"))
    with pytest.raises(MigrationRefused, match="2 of 2 values do not convert"):
        applied(bench, contract, allow_destructive=True)
    assert "x" not in shape(bench, contract).columns
    assert bench.run("SELECT FROM ops.schema_change WHERE made_by = 'tester'") == []


def test_a_view_is_named(bench: Any, build: Any, orders: Any) -> None:
    """Postgres would refuse to change what a view reads; the plan says so before, with the view's name."""
    bench.run("CREATE VIEW test.report AS SELECT amount FROM test.orders")
    for edits in ([drop("amount")], [put("amount", physicalType="numeric(12,2)")], PLANS["another partitioning"][0]):
        (blocked,) = planned(bench, build.contract(build.ORDERS, *edits)).blocked
        assert "test.report" in str(blocked.blocked)
    contract = build.contract(build.ORDERS, rename("amount", "price"), put("code", required=False))
    assert planned(bench, contract).blocked == ()
    applied(bench, contract)
    assert bench.run("SELECT count(*) FROM test.report") == [(4,)]


def test_a_key_must_be_unique(bench: Any, build: Any, orders: Any) -> None:
    """Rows that repeat the new key block it, with their number; the key may stand over all slices."""
    merge = PLANS["another partitioning"][0]
    by_code = [put("order_id", primaryKey=False), put("code", primaryKey=True)]
    migration = planned(bench, build.contract(build.ORDERS, *merge, *by_code))
    assert "make (code) the primary key BLOCKED 2 rows repeat the key of another" in words(migration)


def test_a_table_in_use_is_left_alone(bench: Any, build: Any, orders: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that does not end makes `apply` give up after the time-out, told as such, and nothing has changed."""
    monkeypatch.setattr(migrate, "LOCK_TIMEOUT_SECONDS", 0.2)
    reader = bench.connect()
    with reader.cursor() as cur:
        cur.execute("SELECT count(*) FROM test.orders")
        with pytest.raises(PublishBlocked, match="in use for more than"):
            applied(bench, build.contract(build.ORDERS, add(name="colour", logicalType="string")))
    reader.rollback()
    assert "colour" not in shape(bench, orders).columns


def test_what_postgres_alone_knows_is_told_as_a_refusal(bench: Any, build: Any, orders: Any) -> None:
    """Whatever else hangs on a column (here a function's own index) ends as a refusal, with nothing changed."""
    bench.run("CREATE INDEX ON test.orders ((amount + 1))")
    contract = build.contract(build.ORDERS, put("amount", physicalType="text", quality=[]))
    with pytest.raises(MigrationRefused, match="Postgres refused the change, and nothing was changed"):
        applied(bench, contract, allow_destructive=True)
    assert shape(bench, contract).columns["amount"].type == "numeric(8,2)"


# --- what is done ------------------------------------------------------------------------------------------------


def test_a_slice_is_refused_until_the_table_fits_and_published_then(bench: Any, build: Any, orders: Any) -> None:
    """The way of a contract's change: publish refuses, names the command, and goes on after it."""
    contract = build.contract(build.ORDERS, add(name="colour", logicalType="string"))
    fields = "order_id bigint, code text, amount numeric(8,2), sold_at timestamptz, colour text"
    bench.fill("orders", fields, [(21, "A100", 1, "2024-03-03 01:00Z", "red")])
    with pytest.raises(SchemaMismatch, match="penstock plan test/orders"):
        bench.load(contract, "2024-03-03", "src.orders", "run-x")
    applied(bench, contract)
    assert bench.load(contract, "2024-03-03", "src.orders", "run-x").loaded == 1
    assert bench.run("SELECT count(*), count(colour) FROM test.orders") == [(5, 1)]


def test_quarantined_rows_follow_a_rename(bench: Any, build: Any, orders: Any) -> None:
    """Their payload carries the new name, and the fingerprint is that of a row received under it."""
    applied(bench, build.contract(build.ORDERS, rename("code", "kod")))
    rows = bench.run("SELECT payload ? 'code', payload ->> 'kod', fingerprint = md5(payload::text) FROM ops.quarantine")
    assert rows == [(False, "wrong", True)] * 2


def test_a_rebuild_keeps_owner_grants_and_slices(bench: Any, build: Any, orders: Any) -> None:
    """From partitions to one piece and back: rows, owner and grants stay, and each row is in its slice's partition."""
    bench.run("DROP ROLE IF EXISTS reader_of_orders; CREATE ROLE reader_of_orders")
    bench.run(
        "GRANT SELECT ON test.orders TO reader_of_orders WITH GRANT OPTION; GRANT SELECT ON test.orders TO PUBLIC"
    )
    acl = "SELECT relacl::text, relowner FROM pg_class WHERE oid = 'test.orders'::regclass"
    rows = "SELECT order_id, code, amount, sold_at FROM test.orders ORDER BY 1"
    before, kept = bench.run(rows), bench.run(acl)
    try:
        applied(bench, build.contract(build.ORDERS, *PLANS["another partitioning"][0]))
        assert (bench.run(rows), bench.run(acl)) == (before, kept)
        assert bench.run("SELECT count(*) FROM pg_inherits WHERE inhparent = 'test.orders'::regclass") == [(0,)]
        applied(bench, orders)
        assert (bench.run(rows), bench.run(acl)) == (before, kept)
        places = bench.run("SELECT DISTINCT tableoid::regclass::text, sold_at::date::text FROM test.orders ORDER BY 1")
        assert places == [("test.orders_p20240301", "2024-03-01"), ("test.orders_p20240302", "2024-03-02")]
        assert len(shape(bench, orders).partitions) == 2
        assert bench.staged_tables() == []
    finally:
        bench.run("DROP OWNED BY reader_of_orders; DROP ROLE reader_of_orders")


def test_two_who_apply_at_once(bench: Any, build: Any, orders: Any) -> None:
    """The second waits for the first and finds nothing left to do."""
    contract = build.contract(build.ORDERS, add(name="colour", logicalType="string"))
    done: list[int] = []
    sessions = [bench.connect() for _ in range(2)]
    threads = [
        threading.Thread(target=lambda conn=conn: done.append(len(apply(conn, contract, by="both").steps)))
        for conn in sessions
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == [0, 1]


def test_columns_that_came_by_themselves(bench: Any, build: Any, orders: Any) -> None:
    """Such a column is no difference, whatever the policy; once the contract names it, it is its own."""
    bench.run("ALTER TABLE test.orders ADD COLUMN note text")
    bench.run(
        "INSERT INTO ops.evolved_column (dataset, name, source_name, type, slice_key, run_id)"
        " VALUES ('test/orders', 'note', 'Note', 'text', '2024-03-01', 'run')"
    )
    for policy in ("evolve", "discard"):
        migration = planned(bench, build.contract(build.ORDERS, build.set_custom("schemaPolicy", policy)))
        assert [step.words for step in migration.steps if "comment" not in step.words] == []
    named = add(name="remark", physicalName="Note", logicalType="string", description="A note.",
                customProperties=[{"property": "renamedFrom", "value": "note"}])  # fmt: skip
    applied(bench, build.contract(build.ORDERS, named))
    assert bench.run("SELECT FROM ops.evolved_column") == []
    assert shape(bench, orders).columns["remark"].comment == "A note."
    assert "note" not in shape(bench, orders).columns


# --- any two contracts -------------------------------------------------------------------------------------------

VALUES = {
    "text": ["1", "2", "2.50", "x y", "true", "2024-03-01", "{a,b}", '{"a": 1}', "é"],
    "integer": [0, 1, 2, -7, 2147483647],
    "bigint": [0, 1, 2, 9007199254740993],
    "numeric(8,2)": ["0.00", "1.50", "999999.99"],
    "numeric(10,3)": ["0.125", "1.500", "2.000"],
    "numeric": ["1", "1.5", "12345678901234567890.123456789"],
    "boolean": [True, False],
    "date": ["2024-02-29", "1999-12-31"],
    "jsonb": ['{"a": 1}', "[1]", '"x"'],
    "text[]": ["{a,b}", "{}"],
}


LOGICAL = {"text": "string", "bigint": "integer", "numeric": "number", "jsonb": "object", "text[]": "array"}


def random_document(rng: random.Random) -> Document:
    """A contract over `id`, `at`, `day` and some of c1 to c4; each table holds them in the order of the contract."""
    properties: list[Document] = [
        {"name": "id", "logicalType": "integer", "physicalType": rng.choice(("integer", "bigint", "text"))},
        {"name": "at", "logicalType": "timestamp", "physicalType": "timestamptz", "required": True},
        {"name": "day", "logicalType": "date", "required": True},
    ]
    for number in range(1, 5):
        if rng.random() < 0.75:
            type_ = rng.choice(list(VALUES))
            item = {"name": f"c{number}", "logicalType": LOGICAL.get(type_.split("(")[0], type_), "physicalType": type_}
            properties.append(item | {"required": rng.random() < 0.3})
    for item in properties:
        if rng.random() < 0.3:
            item["description"] = f"It's {rng.randint(0, 9)}."
    properties[0]["primaryKey"] = True
    if rng.random() < 0.3:
        properties[2]["primaryKey"] = True
    custom = rng.choice(
        (
            {"loadMode": "merge", "cursor": "at"},
            {"loadMode": "replace_partition", "partitionBy": "at"},
            {"loadMode": "replace_partition", "partitionBy": "day"},
        )
    )
    table = {
        "name": "any",
        "properties": properties,
        "customProperties": [{"property": name, "value": value} for name, value in custom.items()],
    }
    if rng.random() < 0.5:
        table["description"] = f"Table {rng.randint(0, 9)}"
    head = {"apiVersion": "v3.2.0", "kind": "DataContract", "id": "any", "version": "1.0.0", "status": "active"}
    return {**head, "domain": "test", "schema": [table]}


def with_rename(rng: random.Random, before: Document, after: Document) -> None:
    """Rename one column of `before` that `after` does not have, if there is one."""
    olds = {item["name"] for item in columns(before)} - {item["name"] for item in columns(after)}
    news = [item for item in columns(after) if item["name"] not in {item["name"] for item in columns(before)}]
    if olds and news and rng.random() < 0.7:
        news[0]["customProperties"] = [{"property": "renamedFrom", "value": sorted(olds)[0]}]


def fill(bench: Any, rng: random.Random, contract: Any, day: str, first: int) -> str:
    """A source table with three good rows of a day, under the contract's types."""
    rows = []
    for number in range(first, first + 3):
        known = {"id": number, "at": f"{day} 0{number % 9}:00Z", "day": day}
        rows.append(
            tuple(
                known.get(column.name)
                or (None if not column.required and rng.random() < 0.3 else rng.choice(VALUES[column.type]))
                for column in contract.columns
            )
        )
    types = ", ".join(f'"{column.source_name}" {column.type}' for column in contract.columns)
    return str(bench.fill("any", types, rows))


def as_text(bench: Any, names: list[str]) -> list[tuple[Any, ...]]:
    """The rows with the text of these columns, in order; decimals without zeros at their end."""
    rows = bench.run(
        SQL("SELECT {} FROM test.any ORDER BY id::bigint").format(
            SQL(", ").join(SQL("{}::text").format(Identifier(name)) for name in names)
        )
    )
    return [tuple(re.sub(r"(\.\d*?)0+$", r"\1", value).rstrip(".") if value and re.fullmatch(r"-?\d+\.\d+", value)
                  else value for value in row) for row in rows]  # fmt: skip


def test_any_two_contracts(bench: Any, build: Any) -> None:
    """A table with rows of one contract, brought to another: it is as a fresh table, and its values are the same.

    Where something is blocked nothing has changed; then the values that stand against it are taken away and it is
    done. At the end another slice is published into it.
    """
    blocked = 0
    for seed in range(PAIRS):
        rng = random.Random(seed)  # noqa: S311 - not a secret
        documents = random_document(rng), random_document(rng)
        with_rename(rng, *documents)
        bench.run("DROP SCHEMA IF EXISTS test, fresh CASCADE")
        bench.run("TRUNCATE ops.stage, ops.slice_ledger, ops.quarantine, ops.rule_result")
        before = build.contract(documents[0])
        for position, day in enumerate(DAYS):
            bench.load(before, day, fill(bench, rng, before, day, 1 + 10 * position), f"run-{seed}-{position}")
        assert bench.one("SELECT count(*) FROM test.any") == 6, seed
        after = build.contract(documents[1])
        migration = planned(bench, after)
        if migration.blocked:
            blocked += 1
            kept = shape(bench, before), bench.checksum("test.any")
            with pytest.raises(MigrationRefused):
                applied(bench, after, allow_destructive=True)
            assert (shape(bench, before), bench.checksum("test.any")) == kept, seed
            bench.run("TRUNCATE test.any")
        sources = {column.name: column.renamed_from or column.name for column in after.columns}
        found = shape(bench, before).columns
        stay = [name for name, old in sources.items() if old in found]
        values = as_text(bench, [sources[name] for name in stay])
        applied(bench, after, allow_destructive=True)

        assert planned(bench, after).steps == (), seed
        fresh = build.contract({**documents[1], "domain": "fresh"})
        with bench.conn, bench.conn.cursor() as cur:
            ensure_table(cur, fresh)
        mine, theirs = shape(bench, after), shape(bench, fresh)
        assert dict(mine.columns) == dict(theirs.columns), seed
        assert (mine.key, mine.partition_by, mine.comment) == (theirs.key, theirs.partition_by, theirs.comment), seed
        for partition in mine.partitions:
            with bench.conn, bench.conn.cursor() as cur:
                part = read_shape(cur, partition)
            assert part is not None
            assert {n: (c.type, c.not_null) for n, c in part.columns.items()} == {
                n: (c.type, c.not_null) for n, c in mine.columns.items()
            }, seed
        exact = [n for n in range(len(stay)) if widens(found[sources[stay[n]]].type, mine.columns[stay[n]].type)]
        now = as_text(bench, stay)
        assert [[row[n] for n in exact] for row in now] == [[row[n] for n in exact] for row in values], seed
        assert [[v is None for v in row] for row in now] == [[v is None for v in row] for row in values], seed

        day = "2024-03-05"
        assert bench.load(after, day, fill(bench, rng, after, day, 21), f"run-{seed}-x").loaded == 3, seed
    assert PAIRS < 20 or 0 < blocked < PAIRS
