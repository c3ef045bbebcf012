"""The little of Airflow's REST API that the command line, the one-machine stack and the demo use."""

import time
from collections.abc import Sequence
from typing import Any, Self
from urllib.parse import quote

import httpx  # noqa: TID253 - no DAG file imports this module

from penstock.core.errors import AirflowApiError

TOKEN_SECONDS = 600.0
PAGE = 100
UNFINISHED = ("queued", "running")


class AirflowApi:
    """A client of the API server at `url`, logged in with a password when first needed.

    Args:
        url: Where the API server is.
        user: Name of an account.
        password: Its password.
        token: A token of Airflow's to use instead of an account.
        via_proxy: Whether the environment's proxy is used: never for a server on this machine.
    """

    def __init__(
        self, url: str, user: str = "", password: str = "", *, token: str | None = None, via_proxy: bool = False
    ) -> None:
        self.url = url.rstrip("/")
        self._account = {"username": user, "password": password}
        self._client = httpx.Client(base_url=self.url, timeout=30.0, trust_env=via_proxy)
        self._token_until = 0.0
        if token is not None:
            self._client.headers["Authorization"] = f"Bearer {token}"
            self._token_until = float("inf")

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
            AirflowApiError: if Airflow refuses one.
        """
        action = {"action": "create", "action_on_existence": "overwrite", "entities": list(entities)}
        found = self._request("PATCH", f"/api/v2/{kind}", json={"actions": [action]})
        errors = (found.get("create") or {}).get("errors") or []
        if errors:
            raise AirflowApiError(f"Airflow refused {kind} of airflow_settings.yaml: {errors[0]}")

    def get(self, path: str, **parameters: Any) -> dict[str, Any]:
        """The answer to GET `/api/v2/<path>`."""
        return self._request("GET", f"/api/v2/{path}", params=parameters)

    def list_runs(self, **selection: Any) -> dict[str, Any]:
        """The runs of several DAGs at once; `selection` as the API's body for it."""
        return self._request("POST", "/api/v2/dags/~/dagRuns/list", json=selection)

    def unfinished_runs(self, dag_id: str) -> list[dict[str, Any]]:
        """All runs of a DAG that are queued or running, oldest first."""
        found: list[dict[str, Any]] = []
        while True:
            page = self.list_runs(
                dag_ids=[dag_id], states=list(UNFINISHED), page_limit=PAGE, page_offset=len(found), order_by="id"
            )["dag_runs"]
            found += page
            if len(page) < PAGE:
                return found

    def run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """A run."""
        return self.get(f"dags/{quote(dag_id)}/dagRuns/{quote(run_id, safe='')}")

    def trigger(self, dag_id: str, **body: Any) -> str | None:
        """Ask for a run and return its id; None if there is a run of that id already.

        Args:
            dag_id: The DAG.
            body: What the API takes: `partition_key`, `dag_run_id`, `conf`, `note`.

        Raises:
            AirflowApiError: if Airflow refuses it.
        """
        path = f"/api/v2/dags/{quote(dag_id)}/dagRuns"
        answer = self._send("POST", path, json={"logical_date": None, **body})
        if answer.status_code == httpx.codes.CONFLICT:
            return None
        return str(self._content(answer, "POST", path)["dag_run_id"])

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
        return self._content(self._send(method, path, **arguments), method, path)

    def _send(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        self._log_in()
        try:
            return self._client.request(method, path, **arguments)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error

    def _content(self, answer: httpx.Response, method: str, path: str) -> dict[str, Any]:
        if answer.is_error:
            raise AirflowApiError(
                f"Airflow's API answered {answer.status_code} to {method} {path}: {answer.text[:500]}",
                status=answer.status_code,
            )
        found = answer.json()
        return found if isinstance(found, dict) else {"items": found}

    def _log_in(self) -> None:
        if time.monotonic() < self._token_until:
            return
        try:
            answer = self._client.post("/auth/token", json=self._account)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        if answer.is_error:
            raise AirflowApiError(
                f"Airflow refused the login of {self._account['username']!r}: {answer.text[:500]}",
                status=answer.status_code,
                next_step="correct the user and the password that Airflow is asked with.",
            )
        self._client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        self._token_until = time.monotonic() + TOKEN_SECONDS

    def _unreachable(self, error: Exception) -> AirflowApiError:
        return AirflowApiError(
            f"Airflow's API at {self.url} cannot be reached: {error}",
            next_step="start its API server, or correct the address.",
        )
