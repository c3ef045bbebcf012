"""Where everything of the one-machine stack lives."""

import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from penstock.local.errors import LocalError

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

    def remove(self) -> None:
        """Delete the run-time state; in a folder that the user named, only what the stack made there.

        Raises:
            LocalError: if some of it belongs to another user.
        """
        names = ["postgres", "airflow", "secrets", "logs", "run", "lake", "ports.json", "lock"]
        is_ours = self.home == self.root / ".penstock"
        for path in [self.home] if is_ours else [self.home / name for name in names]:
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
            if path.exists():
                raise LocalError(f"{path} could not be deleted: remove it as the user it belongs to")
        with suppress(OSError):
            self.home.rmdir()

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
