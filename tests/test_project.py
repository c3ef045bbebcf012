"""Where the project's files are."""

import os
from pathlib import Path

import pytest

from penstock import project
from penstock.core.errors import ContractError


def test_finds_every_bundled_contract() -> None:
    """Each contract of the project is found by the name of its dataset."""
    files = sorted(project.CONTRACTS.glob("*/*.yaml"))
    assert files
    for path in files:
        name = f"{path.parent.name}/{path.stem}"
        assert project.contract_path(name) == path
        assert project.contract_of(name).dataset == name


def test_reads_a_contract_again_when_its_file_has_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that lives long judges by the contract as it is now."""
    text = project.contract_path("commerce/customers").read_text(encoding="utf-8")
    path = tmp_path / "commerce" / "customers.yaml"
    path.parent.mkdir()
    path.write_text(text, encoding="utf-8")
    monkeypatch.setattr(project, "CONTRACTS", tmp_path)
    assert project.contract_of("commerce/customers").version == "1.0.0"
    path.write_text(text.replace("version: 1.0.0", "version: 1.1.0"), encoding="utf-8")
    os.utime(path, ns=(1, 1))
    assert project.contract_of("commerce/customers").version == "1.1.0"


def test_missing_contract_names_the_file() -> None:
    """A dataset without a contract is told by the file that is missing."""
    with pytest.raises(ContractError, match=r"commerce/nothing\.yaml: the file: does not exist"):
        project.contract_of("commerce/nothing")


def test_remembers_what_is_sound_and_stumbles_over_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken contract does not keep Airflow from starting; it stops its own DAG's import, later."""
    folder = tmp_path / "commerce"
    folder.mkdir()
    text = project.contract_path("commerce/customers").read_text(encoding="utf-8")
    (folder / "customers.yaml").write_text(text, encoding="utf-8")
    (folder / "broken.yaml").write_text("kind: nonsense", encoding="utf-8")
    monkeypatch.setattr(project, "CONTRACTS", tmp_path)
    read = project._load.cache_info().misses
    project.remember_contracts()
    assert project._load.cache_info().misses == read + 2
    project.contract_of("commerce/customers")
    assert project._load.cache_info().misses == read + 2
