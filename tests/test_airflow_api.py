"""The client of Airflow's REST API, against the real one."""

import pytest

from penstock.airflow_api import AirflowApi
from penstock.core.errors import AirflowApiError
from penstock.local.ports import free_port
from tests.integration.platform import DAGS, Platform


def test_reads_and_changes_airflow(platform: Platform) -> None:
    """It logs in by itself, reads, sees every component healthy and loads settings, again and again."""
    with platform.stack.api() as api:
        assert api.is_up()
        platform.wait("every component", lambda: set(api.health().values()) == {"healthy"})
        assert {dag["dag_id"] for dag in api.get("dags")["dags"]} >= set(DAGS)
        for slots in (1, 3):
            api.bulk_overwrite("pools", [{"name": "tested", "slots": slots, "description": ""}])
        assert api.get("pools/tested")["slots"] == 3


def test_refusals_are_told(platform: Platform) -> None:
    """A wrong login and a wrong path are errors that show Airflow's own words, and never the password."""
    with AirflowApi(platform.stack.url, "admin", "wrong-5561") as api:
        with pytest.raises(AirflowApiError, match="refused the login of 'admin'") as caught:
            api.get("dags")
        assert "wrong-5561" not in str(caught.value)
    with platform.stack.api() as api, pytest.raises(AirflowApiError, match="answered 404"):
        api.get("dags/nothing")


def test_server_that_is_away_is_not_up() -> None:
    """Asking costs no more than a moment and no exception."""
    with AirflowApi(f"http://127.0.0.1:{free_port(29000)}", "admin", "x") as api:
        assert not api.is_up()
