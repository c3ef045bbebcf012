"""Airflow knows the connection types that Penstock adds: a form, a hook, a test."""

from __future__ import annotations

import json
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from airflow.models.connection import Connection
from airflow.providers_manager import ProvidersManager

from penstock.provider import get_provider_info


def test_airflow_finds_it_by_its_entry_point() -> None:
    """The folder beside the package is what a package's metadata is; its name is the provider's."""
    (found,) = entry_points(group="apache_airflow_provider", name="provider_info").select(module="penstock.provider")
    assert found.load() is get_provider_info
    assert found.dist is not None
    assert found.dist.name == get_provider_info()["package-name"]


@pytest.mark.parametrize("item", get_provider_info()["connection-types"], ids=lambda item: item["connection-type"])
def test_each_type_has_a_form_and_a_hook_that_can_test(item: dict[str, object]) -> None:
    """Airflow lists the type with a hook of that very type, and says that it can be tested."""
    name = str(item["connection-type"])
    info = ProvidersManager().hooks[name]
    assert info is not None
    assert (info.connection_type, info.connection_testable) == (name, True)
    assert name in ProvidersManager().field_behaviours


def test_a_connection_is_tested_as_the_ui_does_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow makes the hook by the connection's type and tells what it says, good or bad."""
    given = {"conn_type": "sqlite", "host": str(tmp_path / "none.db")}
    monkeypatch.setenv("AIRFLOW_CONN_LITE", json.dumps(given))
    ok, said = Connection(conn_id="lite", **given).test_connection()
    assert not ok
    assert "connection 'lite' cannot be reached" in said
    (tmp_path / "none.db").touch()
    assert Connection(conn_id="lite", **given).test_connection()[0]
