"""The shape of a table is what its catalog says."""

from __future__ import annotations

from typing import Any

from psycopg2.sql import Identifier

from penstock.core.contract.shape import ColumnShape, TableShape, read_shape

ODD = Identifier("src", 'an "odd" table')


def read(bench: Any, table: Identifier = ODD) -> TableShape | None:
    """The shape of a table."""
    with bench.conn, bench.conn.cursor() as cur:
        return read_shape(cur, table)


def test_a_table_that_is_not_there(bench: Any) -> None:
    """None, in a schema that is there and in one that is not."""
    assert read(bench) is None
    assert read(bench, Identifier("nowhere", "t")) is None


def test_all_of_a_table(bench: Any) -> None:
    """Types as Postgres spells them, NOT NULL, comments, the key in its own order; a dropped column is gone."""
    bench.run(
        'CREATE TABLE src."an ""odd"" table" (a int, b numeric(8,2), gone int, c text[] NOT NULL, PRIMARY KEY (c, a))'
    )
    bench.run('ALTER TABLE src."an ""odd"" table" DROP COLUMN gone')
    bench.run("""COMMENT ON TABLE src."an ""odd"" table" IS 'It''s a table'""")
    bench.run("""COMMENT ON COLUMN src."an ""odd"" table".b IS '100 %'""")
    found = read(bench)
    assert found is not None
    assert dict(found.columns) == {
        "a": ColumnShape("integer", True, None),
        "b": ColumnShape("numeric(8,2)", False, "100 %"),
        "c": ColumnShape("text[]", True, None),
    }
    assert (found.key, found.partition_by, found.comment) == (("c", "a"), None, "It's a table")


def test_a_partitioned_table(bench: Any) -> None:
    """The partitioning column and the partitions are known; without a key there is none."""
    bench.run("CREATE TABLE src.parts (a int, day date) PARTITION BY RANGE (day)")
    bench.run("CREATE TABLE src.one PARTITION OF src.parts FOR VALUES FROM ('2024-03-01') TO ('2024-03-02')")
    found = read(bench, Identifier("src", "parts"))
    assert found is not None
    assert (found.key, found.key_name, found.partition_by) == ((), None, "day")
    assert found.partitions == (Identifier("src", "one"),)
