"""The energy API, over a real server on loopback: exact pages, a token, and faults at the stated requests."""

import csv
import lzma
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from include.sources import energy_api

TOKEN = "a-token-for-tests-only"
DAY = {"since": "2010-09-20T00:00:00Z", "until": "2010-09-21T00:00:00Z"}
START_SECONDS = 60


@dataclass(frozen=True)
class Served:
    """A running server: a client that holds the token, and the file that the server logs to."""

    client: httpx.Client
    log: Path

    def readings(self, **params: str | int) -> httpx.Response:
        """Ask for readings."""
        return self.client.get("/v1/readings", params=params)


@contextmanager
def serve(folder: Path, *options: str) -> Iterator[Served]:
    """Run the server on a free port, logging into `folder`, until the block ends."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = folder / "api.log"
    command = [sys.executable, energy_api.__file__, "--port", str(port), *options]
    with log.open("wb") as output:
        environment = {**os.environ, "ENERGY_API_TOKEN": TOKEN}
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    try:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, trust_env=False) as client:
            wait_until_healthy(client, process, log)
            yield Served(client, log)
    finally:
        process.terminate()
        process.wait(timeout=30)


def wait_until_healthy(client: httpx.Client, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Return when the server answers, or fail the test with its log."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if client.get("/health").json() == {"status": "ok"}:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    pytest.fail(f"the API did not start:\n{log.read_text()}")


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server that never fails on purpose."""
    with serve(tmp_path_factory.mktemp("api"), "--fault-free") as served:
        yield served


@pytest.fixture
def faulty_api(tmp_path: Path) -> Iterator[Served]:
    """A fresh server, as the demo runs it, that has counted no request yet."""
    with serve(tmp_path) as served:
        yield served


def as_text(reading: str) -> list[str]:
    """The values of one JSON object, as they are written."""
    return re.findall(r'": ("[^"]*"|[^,}]+)', reading)


def bundled(since: str, until: str) -> list[list[str]]:
    """The file's rows with since <= read_at < until, in the notation of JSON."""
    with lzma.open(energy_api.READINGS, "rt", encoding="utf-8", newline="") as text:
        rows = [row for row in csv.reader(text) if since <= row[0] < until]
    return [[f'"{read_at}"', *(value or "null" for value in values)] for read_at, *values in rows]


def fetch_all(api: Served, per_page: int, since: str, until: str) -> list[list[str]]:
    """The values of all pages of a range, as written in the responses."""
    found: list[list[str]] = []
    page, pages = 1, 1
    while page <= pages:
        response = api.readings(since=since, until=until, page=page, per_page=per_page)
        body = response.raise_for_status().json()
        assert body["page"] == page
        assert len(body["data"]) <= per_page
        pages = body["pages"]
        written = re.findall(r'\{"read_at[^}]*\}', response.text)
        assert len(written) == len(body["data"])
        found += map(as_text, written)
        page += 1
    assert len(found) == body["total"]
    return found


@pytest.mark.parametrize("per_page", [500, 480, 7])
def test_pages_of_a_day_are_the_rows_of_the_file(api: Served, per_page: int) -> None:
    """All pages of a day together give exactly the file's rows, in order, each decimal as written there."""
    expected = bundled(DAY["since"], DAY["until"])
    assert len(expected) == 1440
    assert fetch_all(api, per_page, **DAY) == expected


def test_missing_measurements_are_null(api: Served) -> None:
    """A day on which the meter was silent for hours has null for each missing value and loses no row."""
    bounds = ("2010-09-25T00:00:00Z", "2010-09-26T00:00:00Z")
    found = fetch_all(api, 500, *bounds)
    assert found == bundled(*bounds)
    assert sum(values[1:] == ["null"] * 7 for values in found) == 1204


def test_whole_range_is_served(api: Served) -> None:
    """Every bundled reading can be had."""
    body = api.readings(since="2000-01-01T00:00:00Z", until="2030-01-01T00:00:00Z", per_page=1, page=96_480).json()
    assert (body["total"], body["pages"], body["data"][0]["read_at"]) == (
        96_480,
        96_480,
        "2010-11-25T23:59:00Z",
    )


def test_fields_are_named_as_documented(api: Served) -> None:
    """A reading has the documented fields, and its numbers are JSON numbers."""
    (reading,) = api.readings(**DAY, per_page=1).json()["data"]
    assert reading == {
        "read_at": "2010-09-20T00:00:00Z",
        "active_kw": 0.148,
        "reactive_kw": 0.0,
        "voltage": 243.37,
        "intensity": 0.6,
        "sub_metering_1": 0.0,
        "sub_metering_2": 0.0,
        "sub_metering_3": 1.0,
    }


@pytest.mark.parametrize(
    ("since", "until", "first", "total"),
    [
        ("2010-09-20T00:00:00Z", "2010-09-20T00:01:00Z", "2010-09-20T00:00:00Z", 1),
        ("2010-09-20T00:00:00.000001Z", "2010-09-20T00:01:00.000001Z", "2010-09-20T00:01:00Z", 1),
        ("2010-09-20T02:00:00+02:00", "2010-09-20T02:02:00+02:00", "2010-09-20T00:00:00Z", 2),
    ],
)
def test_bounds_are_half_open_instants(api: Served, since: str, until: str, first: str, total: int) -> None:
    """`since` is included and `until` is not, to the microsecond and in any zone."""
    body = api.readings(since=since, until=until).json()
    assert (body["total"], body["data"][0]["read_at"]) == (total, first)


def test_outside_the_data_pages_are_empty(api: Served) -> None:
    """A range without readings is one empty page; a page after the last one is empty too."""
    nothing = api.readings(since="2011-01-01T00:00:00Z", until="2011-01-02T00:00:00Z").json()
    assert nothing == {"data": [], "page": 1, "pages": 1, "total": 0}
    after = api.readings(**DAY, page=4).json()
    assert after == {"data": [], "page": 4, "pages": 3, "total": 1440}


@pytest.mark.parametrize(
    ("params", "status", "named"),
    [
        ({"until": DAY["until"]}, 422, "since"),
        ({**DAY, "since": "yesterday"}, 422, "since"),
        ({**DAY, "until": "2010-09-21T00:00:00"}, 422, "timezone"),
        ({**DAY, "page": "0"}, 422, "page"),
        ({**DAY, "per_page": "501"}, 422, "per_page"),
        ({**DAY, "per_page": "many"}, 422, "per_page"),
        ({"since": DAY["until"], "until": DAY["since"]}, 400, "must be before until"),
        ({"since": DAY["since"], "until": DAY["since"]}, 400, "must be before until"),
    ],
)
def test_bad_parameters_are_named(api: Served, params: dict[str, str], status: int, named: str) -> None:
    """A request with a bad parameter is answered with what is wrong with which one."""
    response = api.readings(**params)
    assert response.status_code == status
    assert named in response.text


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer wrong", TOKEN, f"bearer {TOKEN}x", "Bearer é"])
def test_without_the_token_nothing_is_told(api: Served, authorization: str) -> None:
    """Without the right token the answer is 401, also where the parameters are wrong."""
    headers = [(b"Authorization", authorization.encode("latin-1"))]
    for params in (DAY, {}):
        response = api.client.get("/v1/readings", params=params, headers=headers)
        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"] == "Bearer"
        assert "data" not in response.json()


def test_faults_come_at_the_stated_requests(faulty_api: Served) -> None:
    """Every 17th request is throttled with Retry-After, every 29th finds no service; others do not count."""
    wrong = {"Authorization": "Bearer wrong"}
    # Forty of each would meet several faults, and would shift all that follow, if they counted.
    for _ in range(40):
        assert faulty_api.client.get("/v1/readings", params=DAY, headers=wrong).status_code == 401
        assert faulty_api.client.get("/health").status_code == 200
    found: dict[int, int] = {}
    for number in range(1, 59):
        response = faulty_api.readings(**DAY, per_page=1)
        if response.status_code != 200:
            found[number] = response.status_code
            assert response.headers.get("Retry-After") == ("1" if response.status_code == 429 else None)
    assert found == {17: 429, 29: 503, 34: 429, 51: 429, 58: 503}


def test_faults_are_counted_exactly_under_concurrency(faulty_api: Served) -> None:
    """Eight clients at once meet as many faults as one would: no request is counted twice or missed."""
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: faulty_api.readings(**DAY, per_page=1).status_code, range(340)))
    assert {status: statuses.count(status) for status in set(statuses)} == {200: 309, 429: 20, 503: 11}


def test_fault_free_never_fails(api: Served) -> None:
    """With --fault-free the 17th and the 29th request succeed too."""
    assert {api.readings(**DAY, per_page=1).status_code for _ in range(60)} == {200}


def test_log_holds_no_token(faulty_api: Served) -> None:
    """The server logs its requests but not the token that came with them."""
    assert faulty_api.readings(**DAY).status_code == 200
    log = faulty_api.log.read_text()
    assert "/v1/readings" in log
    assert TOKEN not in log


def test_refuses_to_start_without_a_token() -> None:
    """A server without a token would be open to all: it does not start, and says which variable to set."""
    environment = {name: value for name, value in os.environ.items() if name != "ENERGY_API_TOKEN"}
    command = [sys.executable, energy_api.__file__, "--port", "1"]
    refused = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert refused.returncode != 0
    assert "ENERGY_API_TOKEN" in refused.stderr
