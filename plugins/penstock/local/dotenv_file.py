"""Write `.env` for docker-compose.yaml with fresh secrets: `python -m penstock.local.dotenv_file`, or `make env`.

The standard library only: it runs before anything is installed.
"""

from __future__ import annotations

import base64
import re
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path

from penstock.local.secrets_store import write_private

ROOT = Path(__file__).resolve().parents[3]
EMPTY = re.compile(r"^([A-Z][A-Z0-9_]*)=$", re.MULTILINE)
ASSIGNED = re.compile(r"^([A-Z][A-Z0-9_]*)=(.*)$", re.MULTILINE)


def main() -> None:
    """Write `.env` from `.env.example`; what an existing one says stays, what it leaves empty is filled in."""
    path = ROOT / ".env"
    template = (ROOT / ".env.example").read_text(encoding="utf-8")
    found = path.read_text(encoding="utf-8") if path.exists() else ""
    text = fill(found, template)
    write_private(path, text)
    before, after = assignments(found), assignments(text)
    new = [name for name, value in after.items() if value and not before.get(name)]
    sys.stdout.write(f"{path}: {', '.join(new)} set\n" if new else f"{path}: complete, nothing changed\n")


def fill(found: str, template: str) -> str:
    """The text of `.env`: `found`, then what only `template` has; empty values that can be made are made.

    Args:
        found: the present text, empty where there is none.
        template: the text of `.env.example`.
    """
    missing = [f"{name}=" for name in assignments(template) if name not in assignments(found)]
    text = found.rstrip("\n") + "\n" + "\n".join(missing) + "\n" if found and missing else found or template
    made = fresh_values(assignments(text))
    return EMPTY.sub(lambda match: f"{match[1]}={made.get(match[1], '')}", text)


def assignments(text: str) -> dict[str, str]:
    """The values that `text` sets, by name."""
    return dict(ASSIGNED.findall(text))


def fresh_values(given: Mapping[str, str]) -> dict[str, str]:
    """A value for each name that `make env` fills in; the connections agree with the passwords in `given`."""
    # Passwords in hexadecimal: they go into URLs, and one that began with "-" would be taken for an option.
    values = {
        "AIRFLOW_ADMIN_PASSWORD": secrets.token_hex(12),
        "AIRFLOW_FERNET_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "AIRFLOW_JWT_SECRET": secrets.token_urlsafe(64),
        "AIRFLOW_API_SECRET_KEY": secrets.token_urlsafe(64),
        "METADATA_PASSWORD": secrets.token_hex(24),
        "REDIS_PASSWORD": secrets.token_hex(24),
        "WAREHOUSE_PASSWORD": secrets.token_hex(24),
        "SHOP_PASSWORD": secrets.token_hex(24),
        "ENERGY_API_TOKEN": secrets.token_hex(24),
    }
    known = {**values, **{name: value for name, value in given.items() if value}}
    values["AIRFLOW_CONN_WAREHOUSE"] = f"postgresql://penstock:{known['WAREHOUSE_PASSWORD']}@warehouse:5432/warehouse"
    values["AIRFLOW_CONN_SHOP"] = f"postgresql://penstock:{known['SHOP_PASSWORD']}@shop:5432/shop"
    values["AIRFLOW_CONN_ENERGY_API"] = f"http://:{known['ENERGY_API_TOKEN']}@energy-api:8090"
    return values


if __name__ == "__main__":
    main()
