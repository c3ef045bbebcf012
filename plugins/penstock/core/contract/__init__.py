"""The contract: ODCS 3.2 YAML in, one checked `Contract` out, and what is compiled from it."""

from penstock.core.contract.load import check_all, load_contract
from penstock.core.contract.model import (
    Budget,
    Column,
    Contract,
    Deletes,
    LoadMode,
    Reconcile,
    Rule,
    SchemaPolicy,
    Severity,
)

__all__ = [
    "Budget",
    "Column",
    "Contract",
    "Deletes",
    "LoadMode",
    "Reconcile",
    "Rule",
    "SchemaPolicy",
    "Severity",
    "check_all",
    "load_contract",
]
