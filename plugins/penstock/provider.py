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
_API = {
    "auth": {
        "label": "Who we are",
        "schema": {
            "type": ["string", "null"],
            "enum": [None, "none", "basic", "bearer", "api_key", "oauth2", "jwt", "hmac"],
        },
        "description": ["Empty: by login and password, or by the password as a bearer token"],
    },
    "header": {"label": "API key: its header", "schema": _TEXT},
    "query": {"label": "API key: its query parameter", "schema": _TEXT},
    "token_url": {"label": "OAuth2: address of the token", "schema": _TEXT},
    "scope": {"label": "OAuth2: scope", "schema": _TEXT},
    "ca": {"label": "TLS: file of the authorities", "schema": _TEXT},
    "client_cert": {"label": "TLS: file of the client's certificate", "schema": _TEXT},
    "client_key": {"label": "TLS: file of the client's key", "schema": _TEXT},
    "requests_per_second": {"label": "Requests per second, at most", "schema": {"type": ["number", "null"]}},
    "test_path": {"label": "Path that Test asks for", "schema": _TEXT},
    "user_agent": {"label": "Web pages: who we say we are", "schema": _TEXT},
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
    api: dict[str, Any] = {
        "conn-fields": _API,
        "ui-field-behaviour": {
            "hidden-fields": [],
            "relabeling": {"schema": "Scheme", "password": "Password, token or key"},
            "placeholders": {"schema": "https", "host": "api.example.org"},
        },
    }
    types = (
        ("mysql", "database.DatabaseHook", "MySQL", server),
        ("mariadb", "database.MariaDbHook", "MariaDB", server),
        ("sqlite", "database.SqliteHook", "SQLite", file),
        ("http", "json_api.JsonApiHook", "HTTP", api),
    )
    return {
        "package-name": "penstock",
        "name": "Penstock",
        "description": "Connections of Penstock's sources.",
        "connection-types": [
            {
                "connection-type": name,
                "hook-class-name": f"penstock.hooks.{hook}",
                "hook-name": title,
                **form,
            }
            for name, hook, title, form in types
        ],
    }
