"""Load a table by pandas as its documentation advises for large ones: chunks from a cursor at the server, and COPY.

`method` of `to_sql` is either "multi" (many rows in one INSERT) or "copy", the callable from pandas' own manual that
hands a chunk to COPY as CSV.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pandas as pd
import sqlalchemy
from loader import Job, main


def copy(table: Any, conn: Any, keys: list[str], rows: Iterator[tuple[Any, ...]]) -> None:
    """Insert a chunk by COPY FROM STDIN."""
    buffer = StringIO()
    csv.writer(buffer).writerows(rows)
    buffer.seek(0)
    columns = ", ".join(f'"{key}"' for key in keys)
    with conn.connection.cursor() as cur:
        cur.copy_expert(f'COPY "{table.schema}"."{table.name}" ({columns}) FROM STDIN WITH CSV', buffer)


def load(job: Job) -> None:
    """Read and write in chunks."""
    source = sqlalchemy.create_engine(job.source.replace("postgresql:", "postgresql+psycopg2:", 1))
    target = sqlalchemy.create_engine(job.warehouse.replace("postgresql:", "postgresql+psycopg2:", 1))
    schema, _, name = job.target.partition(".")
    method = copy if job.options["method"] == "copy" else job.options["method"]
    with source.connect().execution_options(stream_results=True) as reading, target.begin() as writing:
        query = sqlalchemy.text(f"SELECT * FROM {job.table}")
        for chunk in pd.read_sql(query, reading, chunksize=job.options["chunk_rows"]):
            chunk.to_sql(name, writing, schema=schema, if_exists="append", index=False, method=method)


if __name__ == "__main__":
    main(load)
