"""The commands behind the Makefile: `python -m penstock.local demo|up|down|clean|psql|airflow`."""

import os
import shlex
import sys
import time
from collections.abc import Callable

import psycopg2.extensions

from penstock.core.errors import PenstockError
from penstock.local.binaries import program
from penstock.local.errors import LocalError
from penstock.local.layout import Layout
from penstock.local.stack import Stack

INTERRUPTED = 130


def main(arguments: list[str]) -> int:
    """Run one command and return the exit code."""
    if len(arguments) != 1 or arguments[0] not in COMMANDS:
        print(f"usage: python -m penstock.local {'|'.join(COMMANDS)}", file=sys.stderr)
        return 2
    try:
        return COMMANDS[arguments[0]](Stack(Layout.find()))
    except (LocalError, PenstockError, PermissionError) as error:
        print(f"penstock: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\npenstock: interrupted; what was started keeps running (`make down` ends it)", file=sys.stderr)
        return INTERRUPTED


def demo(stack: Stack) -> int:
    """Start everything and run the demo's slices."""
    from penstock.local.demo.run import run_demo

    run_demo(stack)
    return 0


def up(stack: Stack) -> int:
    """Start everything."""
    began = time.monotonic()
    stack.up(lambda text: print(f"{time.monotonic() - began:6.1f} s  {text}", flush=True))
    return 0


def down(stack: Stack) -> int:
    """End everything."""
    stack.down()
    return 0


def clean(stack: Stack) -> int:
    """End everything and delete the data."""
    stack.clean()
    return 0


def psql(stack: Stack) -> int:
    """Open the warehouse, or run the statement in $SQL there and print bare values."""
    if "AIRFLOW_CONN_WAREHOUSE" not in stack.environ:
        stack.start_postgres()
    # In the environment, not in the arguments: those are seen by every user of the machine.
    parts = psycopg2.extensions.parse_dsn(stack.warehouse_dsn)
    names = {
        "host": "PGHOST",
        "port": "PGPORT",
        "user": "PGUSER",
        "password": "PGPASSWORD",
        "dbname": "PGDATABASE",
    }
    names |= {
        "sslmode": "PGSSLMODE",
        "sslrootcert": "PGSSLROOTCERT",
        "sslcert": "PGSSLCERT",
        "sslkey": "PGSSLKEY",
    }
    names |= {"options": "PGOPTIONS", "application_name": "PGAPPNAME"}
    environment = {**os.environ, **{names[key]: value for key, value in parts.items() if key in names}}
    statement = os.environ.get("SQL", "")
    plain = ["-X", "-q", "-A", "-t", "-F", "|", "-v", "ON_ERROR_STOP=1", "-c", statement] if statement else []
    os.execve(program("psql"), ["psql", *plain], environment)  # noqa: S606 - no shell is meant


def airflow(stack: Stack) -> int:
    """Run the Airflow CLI with the arguments in $ARGS."""
    stack.start_postgres()
    command = [sys.executable, "-m", "airflow", *shlex.split(os.environ.get("ARGS", ""))]
    os.execve(sys.executable, command, stack.environment)  # noqa: S606 - no shell is meant


COMMANDS: dict[str, Callable[[Stack], int]] = {
    "demo": demo,
    "up": up,
    "down": down,
    "clean": clean,
    "psql": psql,
    "airflow": airflow,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
