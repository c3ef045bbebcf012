"""The little of Airflow's REST API that the stack and the demo use."""

import time
from collections.abc import Sequence
from typing import Any, Self
from urllib.parse import quote

import httpx  # noqa: TID253 - no DAG file imports this module

from penstock.local.errors import StackError

TOKEN_SECONDS = 600.0


class AirflowApi:
    """A client of the API server at `url`, logged in with a password when first needed."""

    def __init__(self, url: str, user: str, password: str) -> None:
        self._account = {"username": user, "password": password}
        # Never through a proxy of the user's: the server is on this machine.
        self._client = httpx.Client(base_url=url, timeout=30.0, trust_env=False)
        self._token_until = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def is_up(self) -> bool:
        """Tell whether the server answers and reaches its database."""
        try:
            answer = self._client.get("/api/v2/monitor/health", timeout=5.0)
            return bool(answer.json()["metadatabase"]["status"] == "healthy")
        except (httpx.HTTPError, ValueError, KeyError, TypeError):
            return False

    def health(self) -> dict[str, str | None]:
        """The status of each component by name, as the UI shows it."""
        answer = self._client.get("/api/v2/monitor/health", timeout=5.0).json()
        return {name: (found or {}).get("status") for name, found in answer.items()}

    def bulk_overwrite(self, kind: str, entities: Sequence[dict[str, Any]]) -> None:
        """Create the `entities` of `kind` (connections, pools, variables), or make the existing ones so.

        Raises:
            StackError: if Airflow refuses one.
        """
        action = {"action": "create", "action_on_existence": "overwrite", "entities": list(entities)}
        found = self._request("PATCH", f"/api/v2/{kind}", json={"actions": [action]})
        errors = (found.get("create") or {}).get("errors") or []
        if errors:
            raise StackError(f"Airflow refused {kind} of airflow_settings.yaml: {errors[0]}")

    def get(self, path: str, **parameters: Any) -> dict[str, Any]:
        """The answer to GET `/api/v2/<path>`."""
        return self._request("GET", f"/api/v2/{path}", params=parameters)

    def list_runs(self, **selection: Any) -> dict[str, Any]:
        """The runs of several DAGs at once; `selection` as the API's body for it."""
        return self._request("POST", "/api/v2/dags/~/dagRuns/list", json=selection)

    def clear_failed(self, dag_id: str, run_id: str) -> None:
        """Let the failed tasks of a run, and what they held up, run again."""
        body = {"dry_run": False, "only_failed": True}
        self._request("POST", f"/api/v2/dags/{dag_id}/dagRuns/{quote(run_id)}/clear", json=body)

    def has_active_backfill(self, dag_id: str) -> bool:
        """Tell whether a backfill of `dag_id` is under way: Airflow allows one at a time."""
        found = self.get("backfills", dag_id=dag_id, limit=100, order_by="-id")
        return any(backfill["completed_at"] is None for backfill in found["backfills"])

    def unpause(self, dag_id: str) -> None:
        """Let the scheduler start runs of `dag_id`."""
        body = {"is_paused": False}
        self._request("PATCH", f"/api/v2/dags/{dag_id}", params={"update_mask": "is_paused"}, json=body)

    def _request(self, method: str, path: str, **arguments: Any) -> dict[str, Any]:
        self._log_in()
        answer = self._client.request(method, path, **arguments)
        if answer.is_error:
            raise StackError(f"Airflow's API answered {answer.status_code} to {method} {path}: {answer.text[:500]}")
        found = answer.json()
        return found if isinstance(found, dict) else {"items": found}

    def _log_in(self) -> None:
        if time.monotonic() < self._token_until:
            return
        answer = self._client.post("/auth/token", json=self._account)
        if answer.is_error:
            raise StackError(f"Airflow refused the login of {self._account['username']!r}: {answer.text[:500]}")
        self._client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        self._token_until = time.monotonic() + TOKEN_SECONDS
