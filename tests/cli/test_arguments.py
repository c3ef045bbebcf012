"""Arguments that several commands take."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.cli.arguments import contracts_of
from penstock.core.errors import ContractError


def test_none_named_means_all(contracts: Path) -> None:
    """Every contract of the project, or just those that are named."""
    assert "commerce/order_lines" in [contract.dataset for contract in contracts_of(None)]
    assert [contract.dataset for contract in contracts_of(["commerce/customers"])] == ["commerce/customers"]


def test_a_missing_contract_is_told(contracts: Path) -> None:
    """A name without a file is an error, not an empty answer."""
    with pytest.raises(ContractError, match="does not exist"):
        contracts_of(["commerce/nothing"])
