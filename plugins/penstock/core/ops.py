"""The platform's own tables in the warehouse."""

from __future__ import annotations

from importlib.resources import files
from typing import Final

from psycopg2.extensions import connection as Connection  # noqa: N812 - a class, named as one

VERSION: Final = 1


def ensure_ops(conn: Connection) -> None:
    """Create the schemas `ops` and `staging` where they are missing or older than this code; commits.

    Two tasks that find them missing at once do not collide: the second waits and finds them made.
    """
    with conn, conn.cursor() as cur:
        cur.execute("SELECT to_regclass('ops.schema_version') IS NOT NULL")
        if cur.fetchone() == (True,):
            cur.execute("SELECT coalesce(max(version), 0) >= %s FROM ops.schema_version", (VERSION,))
            if cur.fetchone() == (True,):
                return
        cur.execute("SELECT pg_advisory_xact_lock(hashtextextended('penstock ops', 0))")
        cur.execute(files("penstock.core").joinpath("ops.sql").read_text(encoding="utf-8"))
        cur.execute("INSERT INTO ops.schema_version VALUES (%s) ON CONFLICT DO NOTHING", (VERSION,))
