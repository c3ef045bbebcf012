"""Airflow imports this file as it starts; it does one thing: what tasks need is loaded before the fork.

A task runs in a process forked from the executor's worker. What the worker has imported, the task has too, at once and
in shared memory; the Postgres provider's hook alone would cost each task a quarter of a second of processor time
(`bench/overhead.py` measures it). So a change to Penstock's own code needs a restart of scheduler and workers, as a
change to any plugin does; contracts and DAG files do not.
"""

import importlib
import sys

# The components that fork: tasks (scheduler with LocalExecutor, Celery worker) and the parsing of DAG files.
if {"scheduler", "celery", "dag-processor"} & set(sys.argv[:3]):
    for module in (
        "airflow.timetables.trigger",
        "httpx",
        "jsonschema_rs",
        "penstock.core.gate.judge",
        "penstock.core.publish",
        "penstock.core.redrive",
        "penstock.core.source_file",
        "penstock.core.source_lake",
        "penstock.core.source_query",
        "penstock.core.source_table",
        "penstock.defaults",
        "penstock.hooks.postgres",
        "penstock.operators.publish",
        "penstock.timetable",
        "pyarrow.csv",
        "pyarrow.parquet",
    ):
        importlib.import_module(module)

    from penstock.project import remember_contracts

    remember_contracts()
