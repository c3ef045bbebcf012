"""What people put on a published table outlives every publish: views, grants, indexes, policies, triggers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg2
import psycopg2.errors
import psycopg2.extensions
import pytest

from penstock.core.errors import SchemaMismatch
from penstock.core.publish import publish
from penstock.core.slice import day_slice
from tests.core.load_modes.reference import Reference, Row, Variant
from tests.core.load_modes.tables import DAYS, PLAIN, document, load, seen, staged

DAY, NEXT, _ = DAYS
FIRST = [Row(1, "A", f"{DAY} 07:00", False), Row(2, "B", f"{DAY} 07:00", False)]
SECOND = [Row(1, "B", f"{DAY} 23:00", False), Row(2, "B", f"{DAY} 07:00", False), Row(3, "A", f"{DAY} 00:00", False)]
OTHER = [Row(1, "C", f"{NEXT} 07:00", False)]
READER = "penstock_reader"


@pytest.fixture
def reader(bench: Any) -> Iterator[str]:
    """A role that may connect and nothing else."""
    bench.run(f"DROP ROLE IF EXISTS {READER}")
    bench.run(f"CREATE ROLE {READER}")
    yield READER
    bench.run("RESET ROLE")
    bench.run(f"DROP OWNED BY {READER}; DROP ROLE {READER}")


class Table:
    """A table of one mode, with the reference beside it."""

    def __init__(self, bench: Any, build: Any, variant: Variant) -> None:
        self.bench = bench
        self.variant = variant
        self.contract = build.contract(document(variant))
        self.reference = Reference(variant)
        self.runs = 0
        self.load(DAY, FIRST)

    def load(self, key: str, rows: list[Row]) -> None:
        """Load a slice."""
        self.runs += 1
        self.reference.load(key, rows)
        load(self.bench.conn, self.contract, key, rows, f"run-{self.runs}")

    def load_all(self) -> None:
        """Load the slice again with other rows, then another slice, then both once more."""
        for key, rows in ((DAY, SECOND), (NEXT, OTHER), (DAY, SECOND), (NEXT, [])):
            self.load(key, rows)
        assert seen(self.bench, self.variant) == self.reference.table()

    @property
    def partitions(self) -> list[str]:
        """The partitions that the table has after `load_all`."""
        return ["test.items_p20260101", "test.items_p20260102"] if self.variant.partitioned else []

    @property
    def count(self) -> int:
        """Rows that the table must have now."""
        return self.reference.table().total()


@pytest.fixture(params=PLAIN, ids=str)
def table(request: pytest.FixtureRequest, bench: Any, build: Any) -> Table:
    """A table of each mode, with one slice loaded."""
    return Table(bench, build, request.param)


def test_views_stay_and_show_the_new_rows(table: Table) -> None:
    """A view, a view on it and a materialised view are as they were, and what they read is what was published last."""
    run = table.bench.run
    run("CREATE VIEW test.counts AS SELECT count(*) AS n FROM test.items")
    run("CREATE VIEW test.doubled AS SELECT 2 * n AS n FROM test.counts")
    run("CREATE MATERIALIZED VIEW test.kept AS SELECT count(*) AS n FROM test.items")
    table.load_all()
    assert run("SELECT n FROM test.doubled") == [(2 * table.count,)]
    assert run("SELECT n FROM test.kept") == [(2,)]
    run("REFRESH MATERIALIZED VIEW test.kept")
    assert run("SELECT n FROM test.kept") == [(table.count,)]


def test_grants_stay(table: Table, reader: str) -> None:
    """A role that may read some columns still may, and still may not read the others; what it may change it may."""
    run = table.bench.run
    run(f"GRANT USAGE ON SCHEMA test TO {reader}; GRANT SELECT (id, grade) ON test.items TO {reader}")
    run(f"GRANT DELETE ON test.items TO {reader} WITH GRANT OPTION")
    before = run("SELECT relacl::text FROM pg_class WHERE oid = 'test.items'::regclass")
    table.load_all()
    assert run("SELECT relacl::text FROM pg_class WHERE oid = 'test.items'::regclass") == before
    run(f"SET ROLE {reader}")
    assert len(run("SELECT id, grade FROM test.items")) == table.count
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        run("SELECT at FROM test.items")


def test_row_level_security_stays(table: Table, reader: str) -> None:
    """A policy hides the same rows of what is published next."""
    run = table.bench.run
    run(f"GRANT USAGE ON SCHEMA test TO {reader}; GRANT SELECT ON test.items TO {reader}")
    run("ALTER TABLE test.items ENABLE ROW LEVEL SECURITY")
    run(f"CREATE POLICY bs ON test.items TO {reader} USING (grade = 'B')")
    table.load_all()
    run(f"SET ROLE {reader}")
    assert {grade for (grade,) in run("SELECT grade FROM test.items")} == {"B"}


def test_comments_stay(table: Table) -> None:
    """What people wrote on table and column is not written over."""
    run = table.bench.run
    run("COMMENT ON TABLE test.items IS 'ours'; COMMENT ON COLUMN test.items.grade IS 'ours, too'")
    table.load_all()
    said = "SELECT obj_description('test.items'::regclass), col_description('test.items'::regclass, 2)"
    assert run(said) == [("ours", "ours, too")]


INDEXES = {
    "plain": "CREATE INDEX plain ON test.items (grade)",
    "partial": "CREATE INDEX partial ON test.items (id) WHERE grade = 'B'",
    "expression": "CREATE INDEX expression ON test.items (lower(grade), (at AT TIME ZONE 'UTC') DESC) INCLUDE (gone)",
    'with " USING hash': 'CREATE INDEX "with "" USING hash" ON test.items USING hash (grade)',
}


PARTS = "SELECT 'test.items'::regclass AS relid UNION SELECT relid FROM pg_partition_tree('test.items')"


def test_indexes_stay(table: Table) -> None:
    """Indexes of the table, partial ones and those on expressions, are there and valid for every slice."""
    for statement in INDEXES.values():
        table.bench.run(statement)
    table.load_all()
    tables = ["test.items", *table.partitions]
    assert table.bench.run(
        f"SELECT t.relid::regclass::text, coalesce(p.relname, c.relname), i.indisvalid FROM ({PARTS}) AS t"
        " JOIN pg_index AS i ON i.indrelid = t.relid JOIN pg_class AS c ON c.oid = i.indexrelid"
        " LEFT JOIN pg_inherits AS h ON h.inhrelid = c.oid LEFT JOIN pg_class AS p ON p.oid = h.inhparent"
        " WHERE coalesce(p.relname, c.relname) = ANY (%s) ORDER BY 1, 2",
        (list(INDEXES),),
    ) == [(name, index, True) for name in tables for index in sorted(INDEXES)]


def test_indexes_are_built_before_readers_have_to_wait(table: Table) -> None:
    """To attach a slice builds nothing: the parts of the table's indexes are the stage's, made before the lock."""
    for statement in INDEXES.values():
        table.bench.run(statement)
    stage = staged(table.bench.conn, table.contract, NEXT, OTHER, "watched")
    made: list[str] = []

    class Watching(psycopg2.extensions.cursor):
        def execute(self, query: Any, vars: Any = None) -> None:  # noqa: A002 - its name
            text = query if isinstance(query, str) else query.as_string(self)
            super().execute(query, vars)
            made.append(text)

    table.bench.conn.cursor_factory = Watching
    try:
        publish(table.bench.conn, table.contract, day_slice(NEXT), stage)
    finally:
        table.bench.conn.cursor_factory = None
    attached = [number for number, text in enumerate(made) if "ATTACH PARTITION" in text]
    built = [number for number, text in enumerate(made) if text.startswith("CREATE") and "INDEX ON" in text]
    if table.variant.partitioned:
        assert len(attached) == 1
        assert len(built) >= len(INDEXES)
        assert max(built) < attached[0]


def test_a_unique_index_of_the_user_holds(table: Table) -> None:
    """A slice that would break it is refused with its name and changes nothing; without the index it is published."""
    place = {"replace_partition": ", at", "append": ", day", "snapshot": ", day"}.get(table.variant.mode, "")
    table.bench.run(f"CREATE UNIQUE INDEX ours ON test.items (id, grade{place or ', at'})")
    table.load(DAY, FIRST)
    table.bench.run("DROP INDEX test.ours")
    table.bench.run(f"CREATE UNIQUE INDEX ours ON test.items (grade{place or ', at'})")
    rows = [Row(1, "B", f"{DAY} 07:00", False), Row(2, "B", f"{DAY} 07:00", False)]
    stage = staged(table.bench.conn, table.contract, DAY, rows, "broken")
    before = seen(table.bench, table.variant), table.bench.checksum("ops.slice_ledger")
    with pytest.raises(SchemaMismatch, match=r"test\.items does not take the slice.*unique"):
        publish(table.bench.conn, table.contract, day_slice(DAY), stage)
    assert (seen(table.bench, table.variant), table.bench.checksum("ops.slice_ledger")) == before
    table.bench.run("DROP INDEX test.ours")
    publish(table.bench.conn, table.contract, day_slice(DAY), stage)
    table.reference.load(DAY, rows)
    assert seen(table.bench, table.variant) == table.reference.table()


def test_triggers_stay(table: Table) -> None:
    """Triggers of the table, for rows and for statements, are there and enabled; those for rows on each partition."""
    run = table.bench.run
    run("CREATE FUNCTION test.nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'")
    run("CREATE TRIGGER rowwise AFTER INSERT OR UPDATE ON test.items FOR EACH ROW EXECUTE FUNCTION test.nothing()")
    run("CREATE TRIGGER whole AFTER INSERT ON test.items FOR EACH STATEMENT EXECUTE FUNCTION test.nothing()")
    table.load_all()
    found = run(
        f"SELECT t.relid::regclass::text, tgname, tgenabled FROM ({PARTS}) AS t"
        " JOIN pg_trigger ON tgrelid = t.relid WHERE NOT tgisinternal ORDER BY 1, 2"
    )
    here = [("test.items", "rowwise", "O"), ("test.items", "whole", "O")]
    assert found == [*here, *((part, "rowwise", "O") for part in table.partitions)]


def test_constraints_stay(table: Table) -> None:
    """A check and a foreign key that people added to the table hold for what is published next."""
    run = table.bench.run
    run("CREATE TABLE test.grades (grade text PRIMARY KEY); INSERT INTO test.grades VALUES ('A'), ('B'), ('C')")
    run("ALTER TABLE test.items ADD CONSTRAINT small CHECK (id < 100)")
    run("ALTER TABLE test.items ADD CONSTRAINT known FOREIGN KEY (grade) REFERENCES test.grades")
    table.load_all()
    for name, bad in (("small", Row(100, "A", f"{DAY} 07:00")), ("known", Row(4, "D", f"{DAY} 07:00"))):
        with pytest.raises(SchemaMismatch, match=rf'constraint "{name}"'):
            load(table.bench.conn, table.contract, DAY, [bad], f"bad-{bad.id}")
    assert seen(table.bench, table.variant) == table.reference.table()
    held = run(f"SELECT count(*) FROM pg_constraint WHERE conname IN ('small', 'known') AND conrelid IN ({PARTS})")
    assert held == [(2 * (1 + len(table.partitions)),)]


# --- what stands in the way --------------------------------------------------------------------------------------


def test_a_view_on_a_partition_is_named_and_not_dropped(bench: Any, build: Any) -> None:
    """Somebody who looks at a slice's partition itself, not at the table, is told of, and keeps the view."""
    table = Table(bench, build, Variant("replace_partition"))
    bench.run("CREATE VIEW test.one_day AS SELECT * FROM test.items_p20260101")
    with pytest.raises(SchemaMismatch, match=r"other objects depend on it"):
        table.load(DAY, SECOND)
    assert bench.one("SELECT count(*) FROM test.one_day") == len(FIRST)


@pytest.mark.parametrize("variant", [variant for variant in PLAIN if variant.partitioned], ids=str)
def test_a_default_partition_stays_empty(bench: Any, build: Any, variant: Variant) -> None:
    """Rows of slices go to the slices' own partitions, never to a default one that somebody made."""
    table = Table(bench, build, variant)
    bench.run("CREATE TABLE test.rest PARTITION OF test.items DEFAULT")
    table.load_all()
    assert bench.one("SELECT count(*) FROM test.rest") == 0


@pytest.mark.parametrize("variant", [variant for variant in PLAIN if variant.partitioned], ids=str)
def test_rows_of_a_slice_in_a_default_partition_are_told_of(bench: Any, build: Any, variant: Variant) -> None:
    """Rows that somebody put into the default partition and that belong to a slice are neither doubled nor lost."""
    table = Table(bench, build, variant)
    bench.run("CREATE TABLE test.rest PARTITION OF test.items DEFAULT")
    day = "" if variant.mode == "replace_partition" else f", '{NEXT}'"
    bench.run(f"INSERT INTO test.items VALUES (7, 'A', '{NEXT} 07:00', false{day})")
    before = seen(bench, variant)
    with pytest.raises(SchemaMismatch, match=r"default partition .*rest"):
        load(bench.conn, table.contract, NEXT, OTHER, "blocked")
    assert seen(bench, variant) == before
    bench.run("DELETE FROM test.rest")
    table.load(NEXT, OTHER)
    assert seen(bench, variant) == table.reference.table()
