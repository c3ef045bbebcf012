"""Where Airflow's REST API is: what the environment says, else the one-machine stack."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from penstock.cli.connections import has_local_stack
from penstock.core.errors import AirflowApiError
from penstock.local.layout import Layout

if TYPE_CHECKING:
    from penstock.airflow_api import AirflowApi

URL = "PENSTOCK_AIRFLOW_URL"
USER = "PENSTOCK_AIRFLOW_USER"
PASSWORD = "PENSTOCK_AIRFLOW_PASSWORD"  # noqa: S105 - the name of a variable
TOKEN = "PENSTOCK_AIRFLOW_TOKEN"  # noqa: S105 - the name of a variable


@contextmanager
def airflow_api(environ: Mapping[str, str] = os.environ) -> Iterator[AirflowApi]:
    """A client of the Airflow that the environment names, or of the one-machine stack's.

    Raises:
        AirflowApiError: Nobody says where it is, or it does not answer.
    """
    with _client(environ) as api:
        if not api.is_up():
            raise AirflowApiError(
                f"Airflow's API at {api.url} does not answer.",
                next_step=f"start it (`make demo` starts the local one), or correct {URL}.",
            )
        yield api


def _client(environ: Mapping[str, str]) -> AirflowApi:
    from penstock.airflow_api import AirflowApi

    if url := environ.get(URL):
        token = environ.get(TOKEN)
        if token is None and not (environ.get(USER) and environ.get(PASSWORD)):
            raise AirflowApiError(
                f"{URL} is set, and no account to ask with.", next_step=f"export {USER} and {PASSWORD}, or {TOKEN}."
            )
        return AirflowApi(url, environ.get(USER, ""), environ.get(PASSWORD, ""), token=token, via_proxy=True)
    if has_local_stack():
        from penstock.local.stack import Stack

        return Stack(Layout.find(environ)).api()
    raise AirflowApiError(
        "Nobody says where Airflow is, and no local one was ever started.",
        next_step=f"export {URL}, {USER} and {PASSWORD}, or start the local one by `make demo`.",
    )
