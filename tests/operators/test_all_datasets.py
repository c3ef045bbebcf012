"""A task over all datasets: each has its turn, and what went wrong is told at the end."""

from pathlib import Path
from typing import Any

import pytest

from penstock import project
from penstock.core.errors import ContractError, SchemaMismatch
from penstock.operators.all_datasets import over_all_datasets


def test_results_by_dataset() -> None:
    """Every dataset's contract is handed over; a result that is None is left out."""
    names = project.datasets()
    assert over_all_datasets(lambda contract: contract.dataset, print) == {name: name for name in names}
    assert over_all_datasets(lambda _: None, print) == {}


def test_a_failure_comes_last(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A dataset that fails, or whose contract is broken, is logged and stops nobody; the first failure is raised."""
    said: list[Any] = []
    turns = []

    def work(contract: Any) -> None:
        turns.append(contract.dataset)
        if len(turns) == 1:
            raise SchemaMismatch("no such table", dataset=contract.dataset)

    with pytest.raises(SchemaMismatch, match="no such table"):
        over_all_datasets(work, lambda *words: said.append(words))
    assert turns == project.datasets()
    assert [words[1] for words in said] == turns[:1]
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "broken.yaml").write_text("kind: DataContract\n", encoding="utf-8")
    monkeypatch.setattr(project, "CONTRACTS", tmp_path)
    with pytest.raises(ContractError):
        over_all_datasets(work, lambda *words: said.append(words))
