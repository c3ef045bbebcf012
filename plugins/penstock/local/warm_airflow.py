"""The Airflow CLI after the libraries that tasks need are loaded: `python -m penstock.local.warm_airflow scheduler`.

The scheduler's workers are forks of it and tasks are forks of those, so what is loaded here no task loads again:
for a short task that is nearly half of its work. Libraries only: the project's own code is read anew by each task.
"""

import importlib

LIBRARIES = (
    "airflow.providers.postgres.hooks.postgres",
    "httpx",
    "jsonschema_rs",
    "pyarrow.csv",
    "pyarrow.parquet",
)


def main() -> None:
    """Load the libraries, then be `airflow`."""
    for name in LIBRARIES:
        importlib.import_module(name)

    from airflow.__main__ import main as airflow

    airflow()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main()
