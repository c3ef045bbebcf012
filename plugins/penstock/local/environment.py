"""The environment that Airflow's components run in on one machine."""

import base64
import json
import os
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path

from penstock.local.layout import Layout
from penstock.local.ports import LOOPBACK
from penstock.local.secrets_store import keep_secret, write_private

ADMIN = "admin"
MOST_WORKERS = 8

# Suited to one small machine; a value that the user exported wins.
TUNING: Mapping[str, str] = {
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",  # by the one person of this machine
    "AIRFLOW__CORE__HOSTNAME_CALLABLE": "socket.gethostname",
    "AIRFLOW__API__WORKERS": "1",
    # Half of the time of a chain of short tasks is the scheduler's sleep between two looks.
    "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.1",
    # The first tasks meet an API server that is still warming up.
    "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "30",
    "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "10",
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "60",
    "AIRFLOW__LOGGING__COLORED_CONSOLE_LOG": "False",
    "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    "SCARF_ANALYTICS": "false",
    "GX_ANALYTICS_ENABLED": "False",
    "PYTHONUNBUFFERED": "1",
}


def airflow_environment(
    layout: Layout, *, metadata_dsn: str, api_port: int, environ: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """What Airflow needs to know, laid over the user's own environment."""
    url = f"http://{LOOPBACK}:{api_port}"
    fixed = {
        "AIRFLOW_HOME": str(layout.airflow),
        "AIRFLOW_CONFIG": str(layout.airflow / "airflow.cfg"),
        "AIRFLOW__CORE__DAGS_FOLDER": environ.get("PENSTOCK_DAGS", str(layout.root / "dags")),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(layout.root / "plugins"),
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__FERNET_KEY": fernet_key(layout),
        "AIRFLOW__CORE__AUTH_MANAGER": (
            "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager"
        ),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{ADMIN}:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(password_file(layout)),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": metadata_dsn.replace("postgresql:", "postgresql+psycopg2:", 1),
        "AIRFLOW__API__HOST": LOOPBACK,
        "AIRFLOW__API__PORT": str(api_port),
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__API__SECRET_KEY": secret(layout, "session-key"),
        "AIRFLOW__API_AUTH__JWT_SECRET": secret(layout, "jwt-secret"),
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(layout.airflow / "logs"),
        "PENSTOCK_HOME": str(layout.home),
        "PYTHONPATH": _joined(str(layout.root / "plugins"), environ.get("PYTHONPATH")),
        "PATH": _joined(str(Path(sys.executable).parent), environ.get("PATH")),
        **_direct_to_loopback(environ),
    }
    parallelism = max(2, min(2 * (os.cpu_count() or 1), MOST_WORKERS))
    tuning = {**TUNING, "AIRFLOW__CORE__PARALLELISM": str(parallelism)}
    return {**tuning, **environ, **fixed}


def secret(layout: Layout, name: str) -> str:
    """A random text of at least 64 bytes, made once."""
    return keep_secret(layout.secrets / name, lambda: secrets.token_urlsafe(64))


def fernet_key(layout: Layout) -> str:
    """The key that connections are encrypted with in the metadata database, made once."""
    return keep_secret(
        layout.secrets / "fernet-key", lambda: base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
    )


def password_file(layout: Layout) -> Path:
    """The file that Airflow reads the UI's passwords from, made once."""
    path = layout.secrets / "passwords.json"
    if not path.exists():
        write_private(path, json.dumps({ADMIN: secrets.token_urlsafe(12)}))
    return path


def admin_password(layout: Layout) -> str:
    """The UI's password."""
    return str(json.loads(password_file(layout).read_text(encoding="utf-8"))[ADMIN])


def _direct_to_loopback(environ: Mapping[str, str]) -> dict[str, str]:
    """Keep requests between the components from a proxy of the user's."""
    return {
        name: ",".join([*([environ[name]] if environ.get(name) else []), LOOPBACK, "localhost"])
        for name in ("NO_PROXY", "no_proxy")
    }


def _joined(first: str, others: str | None) -> str:
    return os.pathsep.join([first, *([others] if others else [])])
