"""docker-compose.yaml as compose reads it, for machines without a compose client."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
COMPOSE = ROOT / "docker-compose.yaml"
VARIABLE = re.compile(r"\$\$|\$\{(?P<name>[A-Z][A-Z0-9_]*)(?::(?P<kind>[-?])(?P<text>[^}]*))?\}")


class MissingVariable(ValueError):
    """What compose says when a variable marked `:?` is unset or empty."""


def read_compose(environ: Mapping[str, str], path: Path = COMPOSE) -> dict[str, Any]:
    """The file with anchors, merges and variables resolved.

    Raises:
        MissingVariable: one that the file requires is unset or empty.
    """
    found = _resolve(yaml.safe_load(path.read_text(encoding="utf-8")), environ)
    assert isinstance(found, dict)
    return found


def variables_in(text: str) -> dict[str, bool]:
    """The variables that the text of a compose file names; True where one is required."""
    found: dict[str, bool] = {}
    for match in VARIABLE.finditer(text):
        if match["name"]:
            found[match["name"]] = found.get(match["name"], False) or match["kind"] == "?"
    return found


def _resolve(node: Any, environ: Mapping[str, str]) -> Any:
    if isinstance(node, dict):
        return {key: _resolve(value, environ) for key, value in node.items()}
    if isinstance(node, list):
        return [_resolve(value, environ) for value in node]
    return VARIABLE.sub(lambda match: _value(match, environ), node) if isinstance(node, str) else node


def _value(match: re.Match[str], environ: Mapping[str, str]) -> str:
    if match["name"] is None:
        return "$"
    value = environ.get(match["name"], "")
    if not value and match["kind"] == "?":
        raise MissingVariable(f"{match['name']} {match['text']}")
    return value or (match["text"] if match["kind"] == "-" else "")
