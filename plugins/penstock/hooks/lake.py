"""Where the lake is."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from penstock.core.stage import Stage
from penstock.project import ROOT

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath

LAKE_VARIABLE: Final = "lake_url"
DEFAULT_LAKE: Final = ".penstock/lake"


def lake_root() -> ObjectStoragePath:
    """Return the lake's root: the Airflow Variable `lake_url`, any URL that Airflow's object storage knows.

    A value without a scheme is a folder, and a relative one lies below the project.
    """
    from airflow.sdk import ObjectStoragePath, Variable

    url = Variable.get(LAKE_VARIABLE, default=DEFAULT_LAKE)
    return ObjectStoragePath(url if "://" in url else f"file://{ROOT / url}")


def attempt_folder(stage: Stage, try_number: int) -> ObjectStoragePath:
    """Return the folder of one try at a slice; no two tries share one, so nothing in the lake is ever overwritten."""
    run = hashlib.sha256(stage.run_id.encode()).hexdigest()[:12]
    return lake_root() / stage.dataset / stage.slice_key / f"{run}-{try_number}"
