"""Load a table by dlt's `sql_table` into Postgres, with the settings that its manual names for speed.

The manual's advice: an Arrow backend of `sql_database` (`pyarrow` or `connectorx`), so that rows are not normalised
one by one; and, for Postgres, a file format that is copied (`csv`, or `parquet` through ADBC) instead of INSERTs.
"""

from __future__ import annotations

import os

import dlt
from dlt.destinations import postgres
from dlt.sources.credentials import ConnectionStringCredentials
from dlt.sources.sql_database import sql_table

from loader import Job, main


def load(job: Job) -> None:
    """Run a pipeline that replaces the table."""
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    os.environ["NORMALIZE__WORKERS"] = os.environ["LOAD__WORKERS"] = str(os.cpu_count())
    schema, _, name = job.target.partition(".")
    from_schema, _, from_table = job.table.partition(".")
    rows = sql_table(
        credentials=ConnectionStringCredentials(job.source),
        table=from_table,
        schema=from_schema,
        backend=job.options["backend"],
        chunk_size=job.options["chunk_rows"],
        reflection_level="full_with_precision",
        backend_kwargs={"return_type": "arrow"} if job.options["backend"] == "connectorx" else {"tz": "UTC"},
    )
    pipeline = dlt.pipeline(
        pipeline_name="bench", pipelines_dir=job.folder, destination=postgres(job.warehouse), dataset_name=schema
    )
    done = pipeline.run(
        rows, table_name=name, write_disposition="replace", loader_file_format=job.options["file_format"]
    )
    done.raise_on_failed_jobs()


if __name__ == "__main__":
    main(load)
