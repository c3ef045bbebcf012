"""Where everything of the one-machine stack lives."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Layout:
    """The project's folder, and that of its run-time state: `.penstock`, or what `PENSTOCK_HOME` says."""

    root: Path
    home: Path

    @classmethod
    def find(cls, environ: Mapping[str, str] = os.environ) -> "Layout":
        """The layout of the checkout this file is in."""
        home = environ.get("PENSTOCK_HOME")
        return cls(PROJECT, Path(home).absolute() if home else PROJECT / ".penstock")

    @property
    def postgres(self) -> Path:
        """The embedded Postgres: cluster, password, log."""
        return self.home / "postgres"

    @property
    def airflow(self) -> Path:
        """AIRFLOW_HOME."""
        return self.home / "airflow"

    @property
    def secrets(self) -> Path:
        """Keys and passwords, each in a file with mode 0600."""
        return self.home / "secrets"

    @property
    def logs(self) -> Path:
        """What the components say; the logs of tasks are below `airflow/logs`."""
        return self.home / "logs"

    @property
    def records(self) -> Path:
        """Which processes were started."""
        return self.home / "run"
