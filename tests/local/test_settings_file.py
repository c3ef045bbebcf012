"""`airflow_settings.yaml`."""

from pathlib import Path

import pytest
import yaml

from penstock.local.errors import StackError
from penstock.local.layout import PROJECT
from penstock.local.settings_file import Endpoint, read_settings

LOCAL = {
    "warehouse": Endpoint("127.0.0.1", 15432, "w", "penstock"),
    "shop": Endpoint("127.0.0.1", 15432, "w", "penstock"),
    "energy_api": Endpoint("127.0.0.1", 8090, "token"),
}


def write(tmp_path: Path, text: str) -> Path:
    """A settings file with `text`."""
    path = tmp_path / "airflow_settings.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_projects_file_points_to_the_local_services() -> None:
    """Every connection of the project gets the address and password of the service that runs here."""
    settings = read_settings(PROJECT / "airflow_settings.yaml", LOCAL)
    found = {entry["connection_id"]: entry for entry in settings.connections}
    assert set(found) == set(LOCAL)
    for name, here in LOCAL.items():
        assert (found[name]["host"], found[name]["port"], found[name]["password"]) == (
            here.host,
            here.port,
            here.password,
        )
    assert found["shop"]["schema"] == "shop"
    assert [pool["name"] for pool in settings.pools] == ["slices", "energy_api"]
    assert settings.variables == [{"key": "lake_url", "value": ".penstock/lake"}]


def test_the_projects_file_holds_no_password() -> None:
    """Secrets are not in the repository."""
    found = yaml.safe_load((PROJECT / "airflow_settings.yaml").read_text(encoding="utf-8"))
    assert [entry["conn_password"] for entry in found["airflow"]["connections"]] == [None, None, None]


def test_the_astro_template_means_nothing(tmp_path: Path) -> None:
    """The file that `astro dev init` writes has one nameless entry of each kind, which is none."""
    path = write(
        tmp_path,
        "airflow:\n  connections:\n    - conn_id:\n      conn_type:\n      conn_extra:\n        example: 1\n"
        "  pools:\n    - pool_name:\n      pool_slot:\n      pool_description:\n"
        "  variables:\n    - variable_name:\n      variable_value:\n",
    )
    settings = read_settings(path, {})
    assert (settings.connections, settings.pools, settings.variables) == ([], [], [])


def test_uri_and_extras(tmp_path: Path) -> None:
    """A connection may be given as a URI, and extras as a mapping, as the Astro CLI takes them."""
    path = write(
        tmp_path,
        "airflow:\n  connections:\n    - conn_id: a\n      conn_uri: postgres://u:p@h:1/d?sslmode=require\n"
        "    - conn_id: b\n      conn_type: http\n      conn_extra: {x: 1}\n",
    )
    first, second = read_settings(path, {}).connections
    assert first == {
        "connection_id": "a",
        "conn_type": "postgres",
        "host": "h",
        "schema": "d",
        "login": "u",
        "password": "p",
        "port": 1,
        "extra": '{"sslmode": "require"}',
    }
    assert second == {"connection_id": "b", "conn_type": "http", "extra": '{"x": 1}'}


@pytest.mark.parametrize("text", ["airflow: [1]", "{", "airflow:\n  pools:\n    - pool_name: a\n      pool_slot: x\n"])
def test_a_broken_file_is_named(tmp_path: Path, text: str) -> None:
    """The error says which file."""
    with pytest.raises(StackError, match=r"airflow_settings\.yaml"):
        read_settings(write(tmp_path, text), {})


def test_no_file_is_no_settings(tmp_path: Path) -> None:
    """The file may be missing."""
    assert read_settings(tmp_path / "none.yaml", {}).connections == []


def test_lake_lies_with_the_state_of_the_stack(tmp_path: Path) -> None:
    """A stack whose state is elsewhere keeps its lake there, so that `make clean` removes it."""
    settings = read_settings(PROJECT / "airflow_settings.yaml", LOCAL, tmp_path)
    assert {"key": "lake_url", "value": str(tmp_path / "lake")} in settings.variables
