"""The connection types that Penstock adds to Airflow: their forms in the web UI, and the hooks that test them.

Airflow finds this by the entry point in `plugins/penstock.dist-info`.
"""

from __future__ import annotations

from typing import Any

_TEXT = {"type": ["string", "null"]}
_TLS = {
    "ssl_ca": {"label": "TLS: file of the authorities", "schema": _TEXT},
    "ssl_cert": {"label": "TLS: file of the client's certificate", "schema": _TEXT},
    "ssl_key": {"label": "TLS: file of the client's key", "schema": _TEXT},
    "ssl_verify_identity": {
        "label": "TLS: hold the server's name to its certificate",
        "schema": {"type": ["boolean", "null"], "default": False},
    },
}


def get_provider_info() -> dict[str, Any]:
    """Return what Airflow asks of a provider."""
    server: dict[str, Any] = {
        "conn-fields": _TLS,
        "ui-field-behaviour": {"hidden-fields": [], "relabeling": {"schema": "Database"}, "placeholders": {}},
    }
    file: dict[str, Any] = {
        "ui-field-behaviour": {
            "hidden-fields": ["login", "password", "port", "schema", "extra"],
            "relabeling": {"host": "File"},
            "placeholders": {"host": "/data/source.db, or a path below the project"},
        }
    }
    types = (
        ("mysql", "DatabaseHook", "MySQL", server),
        ("mariadb", "MariaDbHook", "MariaDB", server),
        ("sqlite", "SqliteHook", "SQLite", file),
    )
    return {
        "package-name": "penstock",
        "name": "Penstock",
        "description": "Connections of Penstock's sources.",
        "connection-types": [
            {
                "connection-type": name,
                "hook-class-name": f"penstock.hooks.database.{hook}",
                "hook-name": title,
                **form,
            }
            for name, hook, title, form in types
        ],
    }
