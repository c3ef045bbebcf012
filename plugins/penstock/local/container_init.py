"""Make the databases of a cluster ready: `python -m penstock.local.container_init`, the service `init` of compose.

Airflow's database is migrated, the admin's account made, `airflow_settings.yaml` loaded, and the warehouse looked at
before a first slice fails on it. Each part may be repeated; a failing one ends with a message and exit code 1.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import psycopg2

from penstock.core.ops import ensure_ops
from penstock.local.connections import libpq_dsn
from penstock.local.errors import LocalError, StackError
from penstock.local.layout import PROJECT
from penstock.local.settings_file import Settings, read_settings

ADMIN = "admin"
OLDEST_POSTGRES = 160000
WAREHOUSE = "AIRFLOW_CONN_WAREHOUSE"
PASSWORD = "AIRFLOW_ADMIN_PASSWORD"  # noqa: S105 - the name of a variable


def main(environ: Mapping[str, str] = os.environ) -> int:
    """Make everything ready and return the exit code."""
    try:
        prepare_warehouse(_needed(environ, WAREHOUSE))
        airflow("db", "migrate")
        if environ.get("AIRFLOW__CORE__AUTH_MANAGER", "").endswith("FabAuthManager"):  # others know no accounts
            make_admin(_needed(environ, PASSWORD))
        load_settings(read_settings(PROJECT / "airflow_settings.yaml", {}), environ)
    except LocalError as error:
        print(f"penstock: {error}", file=sys.stderr)
        return 1
    return 0


def prepare_warehouse(connection: str) -> None:
    """Make Penstock's own tables in the warehouse.

    Args:
        connection: the Airflow connection, as a URI or JSON.

    Raises:
        LocalError: if it is not a Postgres that Penstock can work with.
    """
    try:
        with closing(psycopg2.connect(libpq_dsn("warehouse", connection), connect_timeout=20)) as warehouse:
            if warehouse.server_version < OLDEST_POSTGRES:
                raise StackError(
                    f"the warehouse is Postgres {warehouse.server_version // 10000}: 16 or newer is needed"
                )
            ensure_ops(warehouse)
    except psycopg2.OperationalError as error:
        raise StackError(f"the warehouse of {WAREHOUSE} cannot be reached: {error}".strip()) from error
    except psycopg2.errors.InsufficientPrivilege as error:
        raise StackError(
            f"the role of {WAREHOUSE} may not create schemas in the warehouse: {error}".strip()
            + "\nGRANT CREATE, CONNECT, TEMPORARY ON DATABASE … TO … (docs/production.md)"
        ) from error


def make_admin(password: str) -> None:
    """Make the first account, or give it `password` if it exists: what `.env` says is what opens the door."""
    who = ("--username", ADMIN)
    name = ("--firstname", "Penstock", "--lastname", "Admin", "--email", "admin@localhost")
    airflow("users", "create", *who, *name, "--role", "Admin", "--password", password)
    airflow("users", "reset-password", *who, "--password", password)


def load_settings(settings: Settings, environ: Mapping[str, str]) -> None:
    """Load what the environment does not say already; connections and variables that Airflow has stay as they are."""
    connections = {
        entry["connection_id"]: {key: value for key, value in entry.items() if key != "connection_id"}
        for entry in settings.connections
        if f"AIRFLOW_CONN_{entry['connection_id'].upper()}" not in environ
    }
    pools = {
        entry["name"]: {"slots": entry["slots"], "description": entry["description"], "include_deferred": False}
        for entry in settings.pools
    }
    variables = {
        entry["key"]: entry["value"]
        for entry in settings.variables
        if f"AIRFLOW_VAR_{entry['key'].upper()}" not in environ
    }
    _import("connections", connections)
    _import("pools", pools)
    _import("variables", variables, "--action-on-existing-key", "skip")


def airflow(*arguments: str) -> None:
    """Run the Airflow CLI.

    Raises:
        StackError: if it fails; its own words stand above.
    """
    if subprocess.call([sys.executable, "-m", "airflow", *arguments]) != 0:
        raise StackError(f"`airflow {' '.join(arguments[:2])}` failed")


def _import(kind: str, entries: Mapping[str, object], *options: str) -> None:
    if not entries:
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{kind}.json"
        file.write_text(json.dumps(entries), encoding="utf-8")
        airflow(kind, "import", *options, str(file))


def _needed(environ: Mapping[str, str], name: str) -> str:
    value = environ.get(name)
    if not value:
        raise StackError(f"{name} is not set: run `make env`, it writes .env")
    return value


if __name__ == "__main__":
    sys.exit(main())
