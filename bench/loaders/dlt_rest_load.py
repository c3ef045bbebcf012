"""Load an API by dlt's `rest_api` source into Postgres: pages by number, as its manual shows."""

from __future__ import annotations

import os

import dlt
from dlt.destinations import postgres
from dlt.sources.helpers.rest_client.paginators import PageNumberPaginator
from dlt.sources.rest_api import rest_api_source
from loader import Job, main


def load(job: Job) -> None:
    """Run a pipeline that replaces the table."""
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    os.environ["NORMALIZE__WORKERS"] = os.environ["LOAD__WORKERS"] = str(os.cpu_count())
    schema, _, name = job.target.partition(".")
    paginator = PageNumberPaginator(base_page=1, page_param="page", total_path="pages")
    endpoint = {"path": job.table, "data_selector": "data", "paginator": paginator}
    source = rest_api_source(
        {"client": {"base_url": job.source}, "resources": [{"name": name, "endpoint": endpoint}]}  # type: ignore[typeddict-item]
    )
    pipeline = dlt.pipeline(
        pipeline_name="bench", pipelines_dir=job.folder, destination=postgres(job.warehouse), dataset_name=schema
    )
    done = pipeline.run(source, write_disposition="replace", loader_file_format=job.options["file_format"])
    done.raise_on_failed_jobs()


if __name__ == "__main__":
    main(load)
