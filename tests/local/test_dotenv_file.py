"""`make env`: the .env of docker-compose.yaml."""

import stat
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from penstock.local import dotenv_file
from penstock.local.dotenv_file import assignments
from tests.compose_file import ROOT, read_compose

EXAMPLE = (ROOT / ".env.example").read_text(encoding="utf-8")


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that `make env` takes for the project."""
    monkeypatch.setattr(dotenv_file, "ROOT", tmp_path)
    (tmp_path / ".env.example").write_text(EXAMPLE, encoding="utf-8")
    return tmp_path


def test_make_env_writes_what_compose_needs(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The file is complete, its owner's alone, and no secret is shown while it is made."""
    dotenv_file.main()
    path = checkout / ".env"
    values = assignments(path.read_text(encoding="utf-8"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    read_compose(values)
    Fernet(values["AIRFLOW_FERNET_KEY"])
    assert min(len(values["AIRFLOW_JWT_SECRET"]), len(values["AIRFLOW_API_SECRET_KEY"])) >= 64
    said = capsys.readouterr().out
    assert not [name for name, value in values.items() if value and value in said]


def test_make_env_twice_differs_between_checkouts(checkout: Path) -> None:
    """Secrets are fresh each time, and no two are the same."""
    dotenv_file.main()
    first = assignments((checkout / ".env").read_text(encoding="utf-8"))
    (checkout / ".env").unlink()
    dotenv_file.main()
    second = assignments((checkout / ".env").read_text(encoding="utf-8"))
    made = [name for name, value in first.items() if value]
    assert not [name for name in made if first[name] == second[name]]
    assert len({first[name] for name in made}) == len(made)


def test_make_env_keeps_what_is_set(checkout: Path) -> None:
    """Run again, it changes nothing that is set, fills what is empty, and adds what a newer version needs."""
    (checkout / ".env").write_text(
        "# mine\nWAREHOUSE_PASSWORD=kept\nAIRFLOW_FERNET_KEY=\nOWN=thing\nAIRFLOW_CONN_SHOP=postgresql://elsewhere/shop\n",
        encoding="utf-8",
    )
    dotenv_file.main()
    text = (checkout / ".env").read_text(encoding="utf-8")
    values = assignments(text)
    assert text.startswith("# mine\nWAREHOUSE_PASSWORD=kept\n")
    assert (values["OWN"], values["AIRFLOW_CONN_SHOP"]) == ("thing", "postgresql://elsewhere/shop")
    assert values["AIRFLOW_CONN_WAREHOUSE"] == "postgresql://penstock:kept@warehouse:5432/warehouse"
    assert values["AIRFLOW_FERNET_KEY"]
    assert values.keys() == assignments(EXAMPLE).keys() | {"OWN"}
    dotenv_file.main()
    assert (checkout / ".env").read_text(encoding="utf-8") == text
