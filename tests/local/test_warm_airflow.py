"""The scheduler that is warmed up for its tasks."""

import subprocess
import sys

from penstock.local.environment import airflow_environment
from penstock.local.layout import PROJECT, Layout
from tests.local.conftest import MakeServer

SHOW = """
import sys
import airflow.__main__ as airflow
from penstock.local import warm_airflow
airflow.main = lambda: print("\\n".join(sys.modules))
warm_airflow.main()
"""


def test_libraries_are_loaded_and_project_code_is_not(make_server: MakeServer) -> None:
    """Tasks find the slow imports done, while a change of the project's code still reaches the next task."""
    server = make_server().start()
    layout = Layout(PROJECT, server.data_dir.parent / "state")
    environment = airflow_environment(layout, metadata_dsn=server.create_database("airflow"), api_port=8080)
    done = subprocess.run(
        [sys.executable, "-c", SHOW], env=environment, capture_output=True, text=True, check=True, cwd=PROJECT
    )
    loaded = set(done.stdout.split())
    assert {"pyarrow.parquet", "airflow.providers.postgres.hooks.postgres"} <= loaded
    assert not [name for name in loaded if name.startswith(("penstock.operators", "penstock.hooks", "penstock.core"))]
