"""docs/production.md says nothing that this project or Airflow does not know."""

import re
import shlex
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import yaml

from penstock.local.container_init import prepare_warehouse
from penstock.local.dotenv_file import assignments, fill
from tests.compose_file import COMPOSE, ROOT, read_compose
from tests.test_containers import compose_clients, write

DOC = (ROOT / "docs" / "production.md").read_text(encoding="utf-8")
EXAMPLE = (ROOT / ".env.example").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The code blocks of the page in `language`."""
    return re.findall(rf"^```{language}\n(.*?)^```$", DOC, re.MULTILINE | re.DOTALL)


COMMANDS = [shlex.split(line, comments=True) for block in blocks("sh") for line in block.splitlines()]


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    """The services of the compose file."""
    found = read_compose(assignments(fill("", EXAMPLE)))["services"]
    assert isinstance(found, dict)
    return found


def test_commands_are_of_three_kinds() -> None:
    """There are commands, and each is one that a test below looks at."""
    assert len(COMMANDS) > 10
    assert {tuple(command[:1]) for command in COMMANDS} == {("make",), ("docker",)}


def test_make_targets_exist() -> None:
    """Each `make` command names a target of the Makefile."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert {command[1] for command in COMMANDS if command[0] == "make"} <= targets


def test_compose_commands_name_services(services: dict[str, Any]) -> None:
    """Each command of compose is addressed to a service of the file, and databases are entered as their own users."""
    for command in COMMANDS:
        if command[:2] != ["docker", "compose"]:
            continue
        if command[2] == "exec":
            service, *inside = [word for word in command[3:] if word != "-T"]
            assert service in services, command
            if inside[0] == "pg_dump":
                environment = services[service]["environment"]
                assert inside[inside.index("--username") + 1] == environment["POSTGRES_USER"]
                assert environment["POSTGRES_DB"] in inside
        elif command[2] == "logs":
            assert command[3] in services, command
        elif "--scale" in command:
            assert command[command.index("--scale") + 1].split("=")[0] in services
        else:
            assert command[2:] in (["build"], ["up", "--detach"], ["ps"], ["down"]), command


def test_airflow_commands_parse() -> None:
    """Airflow's own parser accepts each `airflow` command of the page."""
    from airflow.cli.cli_parser import get_parser

    found = [command[command.index("airflow") + 1 :] for command in COMMANDS if command[4:5] == ["airflow"]]
    assert len(found) == 7
    for arguments in found:
        get_parser().parse_args(arguments)


def test_airflow_options_exist() -> None:
    """Each AIRFLOW__SECTION__OPTION of the page and of the compose file is one that Airflow reads."""
    from airflow.configuration import conf

    known = conf.configuration_description
    names = set(re.findall(r"AIRFLOW__([A-Z_]+?)__([A-Z_]+)", DOC + COMPOSE.read_text(encoding="utf-8")))
    assert len(names) > 15
    for section, option in names:
        assert option.lower() in known[section.lower()]["options"], f"AIRFLOW__{section}__{option}"


def test_variables_exist() -> None:
    """Each variable of .env that the page names is in .env.example."""
    named = set(re.findall(r"`(PENSTOCK_[A-Z_]+|COMPOSE_[A-Z_]+|AIRFLOW_[A-Z]+_[A-Z_]+)[`=]", DOC))
    assert len(named) >= 5
    assert {name for name in named if "__" not in name} <= assignments(EXAMPLE).keys()


def test_statements_run(warehouse: str) -> None:
    """Each statement for the warehouse runs on one that was just made ready."""
    prepare_warehouse(warehouse)
    owner, *others = blocks("sql")
    assert "CREATE ROLE" in owner  # run by the test of the topology
    with closing(psycopg2.connect(warehouse)) as connection, connection.cursor() as cursor:
        for block in others:
            cursor.execute(block)


def test_override_takes_the_bundled_warehouse_away(services: dict[str, Any], tmp_path: Path) -> None:
    """With the override of the page the rest starts without the bundled warehouse; a compose client agrees."""
    (override,) = blocks("yaml")
    changed = yaml.safe_load(override)["services"]
    assert changed.keys() == {"warehouse"}
    for name, service in services.items():
        for other, wanted in service.get("depends_on", {}).items():
            assert other not in changed or wanted["required"] is False, name
    (tmp_path / "docker-compose.yaml").write_text(COMPOSE.read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "docker-compose.override.yaml").write_text(override, encoding="utf-8")
    write(tmp_path / ".env", assignments(fill("", EXAMPLE)))
    for client in compose_clients():
        command = [*client, "--project-directory", str(tmp_path), "config", "--services"]
        done = subprocess.run(command, check=True, cwd=tmp_path, capture_output=True, text=True)
        assert "worker" in done.stdout.split()
        assert "warehouse" not in done.stdout.split()
