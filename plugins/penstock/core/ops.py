"""The platform's own tables in the warehouse."""

from __future__ import annotations

from importlib.resources import files
from typing import Final

from psycopg2.extensions import connection as Connection  # noqa: N812 - a class, named as one
from psycopg2.extensions import cursor as Cursor  # noqa: N812

MIGRATIONS: Final = ("001_tables.sql", "002_lifecycles.sql", "003_operations.sql", "004_files.sql")
"""Files of the folder `ops_schema`, in the order in which they are applied; the first makes version 1."""

VERSION: Final = len(MIGRATIONS)


def ensure_ops(conn: Connection) -> None:
    """Create the schemas `ops` and `staging`, or bring them up to this code's version; commits.

    Two tasks that find them missing at once do not collide: the second waits and finds them made. A database that a
    newer version has made is left as it is.
    """
    with conn, conn.cursor() as cur:
        if _version(cur) >= VERSION:
            return
        cur.execute("SELECT pg_advisory_xact_lock(hashtextextended('penstock ops', 0))")
        done = _version(cur)
        for version, name in enumerate(MIGRATIONS[done:], start=done + 1):
            cur.execute(files("penstock.core").joinpath("ops_schema", name).read_text(encoding="utf-8"))
            cur.execute("INSERT INTO ops.schema_version VALUES (%s)", (version,))


def _version(cur: Cursor) -> int:
    """Return the version that a database has, 0 for none."""
    # Not to_regclass(), which may remember from before the lock that there is no such schema.
    cur.execute("SELECT count(*) FROM pg_tables WHERE (schemaname, tablename) = ('ops', 'schema_version')")
    if cur.fetchone() == (0,):
        return 0
    cur.execute("SELECT coalesce(max(version), 0) FROM ops.schema_version")
    row = cur.fetchone()
    return row[0] if row else 0
