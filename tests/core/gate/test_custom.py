"""Expectations of the project itself, found without importing them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from penstock.core.errors import ContractError
from penstock.core.gate.custom import custom_types, folder_beside, import_custom, snake_case
from penstock.project import EXPECTATIONS

TYPE = "expect_column_values_to_be_trimmed"


def test_types_are_found_by_syntax(tmp_path: Path) -> None:
    """Classes over GX's classes are types, others are not; a new file is seen at once, and nothing is imported."""
    assert custom_types(tmp_path / "none") == {}
    assert custom_types(EXPECTATIONS) == {TYPE: EXPECTATIONS / "trimmed.py"}
    (tmp_path / "a.py").write_text("import nowhere\nclass ExpectX(gx.expectations.ExpectColumnMaxToBeBetween): ...\n")
    (tmp_path / "b.py").write_text("class Helper: ...\nclass Metric(ColumnMapMetricProvider): ...\n")
    assert list(custom_types(tmp_path)) == ["expect_x"]


def test_types_are_named_as_great_expectations_names_them() -> None:
    """The snake case is GX's own."""
    from great_expectations.util import camel_to_snake

    for name in ("ExpectColumnValuesToBeTrimmed", "ExpectAToBeB", "ExpectIBANValid", "ExpectColumn2Values"):
        assert snake_case(name) == camel_to_snake(name), name


def test_a_contract_may_name_them(build: Any) -> None:
    """`check` knows the types in `expectations` beside the contracts, and no others."""
    item = build.expectation("t", TYPE)
    with pytest.raises(ContractError, match="has no expectation 'expect_column_values_to_be_trimmed'"):
        build.contract(build.ORDERS, build.add_quality(item, "code"))
    folder = folder_beside(build.folder)
    folder.mkdir()
    (folder / "own.py").write_text("class ExpectColumnValuesToBeTrimmed(ColumnMapExpectation): ...\n")
    contract = build.contract(build.ORDERS, build.add_quality(item, "code"))
    assert TYPE in [rule.expectation for rule in contract.rules]


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    """Neither a syntax error nor an error at import is a riddle."""
    (tmp_path / "bad.py").write_text("class :\n")
    with pytest.raises(ContractError, match=r"bad\.py:1: is not Python"):
        custom_types(tmp_path)
    (tmp_path / "bad.py").write_text("import nowhere_at_all\n")
    with pytest.raises(ContractError, match=r"bad\.py: cannot be imported: ModuleNotFoundError"):
        import_custom(tmp_path)
    assert "penstock_custom_expectations.bad" not in sys.modules
