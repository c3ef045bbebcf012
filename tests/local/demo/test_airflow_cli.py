"""Several commands of the Airflow CLI in one process."""

import subprocess
import sys

from tests.integration.platform import Platform


def test_runs_each_command_as_airflow_would(platform: Platform) -> None:
    """Every line is run, its arguments split by tabs, in the order given."""
    done = subprocess.run(
        [sys.executable, "-m", "penstock.local.demo.airflow_cli"],
        input="version\nvariables\tget\tlake_url\n",
        env=platform.stack.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    first, second = lines.index("airflow version"), lines.index("airflow variables get lake_url")
    assert first < second
    assert "3.3.2" in lines[first + 1 : second]
    assert lines[-1].endswith("/lake")
