"""The environment of Airflow's components."""

import base64
import json
from pathlib import Path

from penstock.local.environment import admin_password, airflow_environment
from penstock.local.layout import Layout


def make(tmp_path: Path, **environ: str) -> dict[str, str]:
    """The environment for a user who has exported `environ`."""
    layout = Layout(tmp_path, tmp_path / "state")
    return airflow_environment(layout, metadata_dsn="postgresql://u:p@h/airflow", api_port=8123, environ=environ)


def test_secrets_are_long_kept_and_private(tmp_path: Path) -> None:
    """Keys are long enough for Airflow, the same on the next start, and nobody else's to read."""
    first, second = make(tmp_path), make(tmp_path)
    assert first == second
    assert len(first["AIRFLOW__API_AUTH__JWT_SECRET"].encode()) >= 64
    assert len(base64.urlsafe_b64decode(first["AIRFLOW__CORE__FERNET_KEY"])) == 32
    for path in (tmp_path / "state" / "secrets").iterdir():
        assert path.stat().st_mode & 0o077 == 0, path.name


def test_the_user_tunes_but_does_not_redirect(tmp_path: Path) -> None:
    """An exported tuning or connection wins; the home, database and port of this stack are its own."""
    found = make(
        tmp_path,
        AIRFLOW__CORE__PARALLELISM="3",
        AIRFLOW_CONN_WAREHOUSE="postgres://x",
        AIRFLOW_HOME="/elsewhere",
        AIRFLOW__DATABASE__SQL_ALCHEMY_CONN="sqlite://",
    )
    assert found["AIRFLOW__CORE__PARALLELISM"] == "3"
    assert found["AIRFLOW_CONN_WAREHOUSE"] == "postgres://x"
    assert found["AIRFLOW_HOME"] == str(tmp_path / "state" / "airflow")
    assert found["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] == "postgresql+psycopg2://u:p@h/airflow"


def test_loopback_needs_no_proxy(tmp_path: Path) -> None:
    """A proxy of the user's is not asked for what is on this machine; what it already left out stays so."""
    assert make(tmp_path)["no_proxy"] == "127.0.0.1,localhost"
    assert make(tmp_path, NO_PROXY="corp.example")["NO_PROXY"] == "corp.example,127.0.0.1,localhost"


def test_the_password_is_the_one_airflow_reads(tmp_path: Path) -> None:
    """What is shown at the end of the demo opens the UI."""
    found = make(tmp_path)
    file = Path(found["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"])
    assert json.loads(file.read_text(encoding="utf-8")) == {
        "admin": admin_password(Layout(tmp_path, tmp_path / "state"))
    }
