"""`airflow_settings.yaml`, the Astro CLI's file, as the entities of Airflow's bulk API."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from penstock.local.connections import parse_connection
from penstock.local.errors import StackError

CONNECTION_FIELDS = ("conn_type", "host", "schema", "login", "password", "port", "extra")


@dataclass(frozen=True)
class Endpoint:
    """Where a service that the stack runs itself is, in place of what the file says."""

    host: str
    port: int
    password: str
    login: str | None = None


@dataclass(frozen=True)
class Settings:
    """What the file holds."""

    connections: list[dict[str, Any]]
    pools: list[dict[str, Any]]
    variables: list[dict[str, Any]]


def read_settings(path: Path, local: Mapping[str, Endpoint], state: Path | None = None) -> Settings:
    """Read `path` for a stack on this machine.

    The connections named in `local` are made to point to those services, and a variable that names a folder in
    `.penstock` to that folder in `state`, where that is given.

    Raises:
        StackError: if the file is not in the expected format.
    """
    try:
        section = (yaml.safe_load(path.read_text(encoding="utf-8")) or {}).get("airflow") or {}
        # The Astro CLI's template comes with one nameless entry of each kind.
        return Settings(
            [_connection(entry, local) for entry in section.get("connections") or [] if entry.get("conn_id")],
            [_pool(entry) for entry in section.get("pools") or [] if entry.get("pool_name")],
            [_variable(entry, state) for entry in section.get("variables") or [] if entry.get("variable_name")],
        )
    except FileNotFoundError:
        return Settings([], [], [])
    except (yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise StackError(f"{path} is not in the Astro CLI's format: {error!r}") from error


def _connection(entry: Mapping[str, Any], local: Mapping[str, Endpoint]) -> dict[str, Any]:
    name = entry["conn_id"]
    found = _from_uri(entry["conn_uri"]) if entry.get("conn_uri") else _from_fields(entry)
    if name in local:
        here = local[name]
        found |= {"host": here.host, "port": here.port, "password": here.password}
        found |= {"login": here.login} if here.login else {}
    return {"connection_id": name, **{key: value for key, value in found.items() if value not in (None, "")}}


def _from_fields(entry: Mapping[str, Any]) -> dict[str, Any]:
    found = {field: entry.get(f"conn_{field.removeprefix('conn_')}") for field in CONNECTION_FIELDS}
    if isinstance(found["extra"], dict):
        found["extra"] = json.dumps(found["extra"])
    return found


def _from_uri(uri: str) -> dict[str, Any]:
    parts = parse_connection(uri)
    found: dict[str, Any] = {field: getattr(parts, field) for field in CONNECTION_FIELDS}
    found["extra"] = json.dumps(parts.extra) if parts.extra else None
    return found


def _pool(entry: Mapping[str, Any]) -> dict[str, Any]:
    description = entry.get("pool_description") or ""
    return {"name": entry["pool_name"], "slots": int(entry["pool_slot"]), "description": description}


def _variable(entry: Mapping[str, Any], state: Path | None) -> dict[str, Any]:
    value = str(entry.get("variable_value") or "")
    inside = value.removeprefix(".penstock/")
    return {"key": entry["variable_name"], "value": value if state is None or inside == value else str(state / inside)}
