"""Where the project keeps its files, and the contracts among them."""

from __future__ import annotations

import contextlib
import os
from functools import lru_cache
from pathlib import Path
from typing import Final

from penstock.core.contract import Contract, load_contract
from penstock.core.errors import ContractError
from penstock.core.gate.custom import folder_beside

ROOT: Final = Path(__file__).resolve().parents[2]
CONTRACTS: Final = Path(os.environ.get("PENSTOCK_CONTRACTS", ROOT / "include" / "contracts"))
EXPECTATIONS: Final = folder_beside(CONTRACTS)
DATA_DOCS: Final = ROOT / ".penstock" / "data-docs"
SQL: Final = Path(os.environ.get("PENSTOCK_SQL", ROOT / "include" / "sql"))
DAGS: Final = Path(os.environ.get("PENSTOCK_DAGS", ROOT / "dags"))


def contract_path(name: str) -> Path:
    """Return the file of a dataset's contract."""
    return CONTRACTS / f"{name}.yaml"


@lru_cache(maxsize=256)
def _load(path: Path, changed: int) -> Contract:  # noqa: ARG001 - the key by which a changed file is read again
    return load_contract(path)


def contract_of(name: str) -> Contract:
    """Return the contract of a dataset, read again only when its file has changed.

    Raises:
        ContractError: The contract is broken or missing.
    """
    path = contract_path(name)
    return _load(path, path.stat().st_mtime_ns if path.exists() else 0)


def datasets() -> list[str]:
    """Return the names of all datasets that have a contract, sound or not, in order."""
    return sorted(f"{path.parent.name}/{path.stem}" for path in CONTRACTS.glob("*/*.yaml"))


def remember_contracts() -> None:
    """Read every sound contract ahead, for the processes that will be forked from this one."""
    for name in datasets():
        with contextlib.suppress(ContractError):
            contract_of(name)
