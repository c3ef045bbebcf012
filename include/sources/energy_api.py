"""A small energy meter API over the bundled power readings, as awkward as real ones are.

    ENERGY_API_TOKEN=... python include/sources/energy_api.py --port 8090

    GET /v1/readings?since=2010-09-20T00:00:00Z&until=2010-09-21T00:00:00Z&page=1&per_page=500
    Authorization: Bearer <token>

answers the readings with since <= read_at < until, in pages, numbers with the decimals of the published
file and null for a missing measurement; a page after the last one is empty. Of the requests that carry the
right token, every 17th is answered 429 with `Retry-After: 1` and every 29th 503, unless `--fault-free` is
given. `GET /health` needs no token and never fails.
"""

import argparse
import csv
import hmac
import lzma
import os
import threading
from bisect import bisect_left
from datetime import datetime
from pathlib import Path
from typing import Annotated

import uvicorn
from fastapi import Depends, FastAPI, Header, HTTPException, Query, Response
from pydantic import AwareDatetime

READINGS = Path(__file__).resolve().parent / "data" / "power_readings.csv.xz"
TOKEN_VARIABLE = "ENERGY_API_TOKEN"  # noqa: S105 - the name of the variable, not its value
MAX_PER_PAGE = 500
THROTTLED_EVERY = 17
UNAVAILABLE_EVERY = 29
RETRY_AFTER_SECONDS = 1


class Readings:
    """The bundled readings in the order of time, kept as lines of text until a page of them is asked for."""

    def __init__(self, path: Path = READINGS) -> None:
        """Read the xz-packed CSV file at `path` once.

        Raises:
            FileNotFoundError: there is no file at `path`.
            ValueError: the file is not in the order of time, so ranges could not be cut from it.
        """
        with lzma.open(path, "rt", encoding="utf-8") as text:
            self._columns = next(csv.reader([text.readline()]))
            self._lines = [line.rstrip("\n") for line in text]
        if any(before >= after for before, after in zip(self._lines, self._lines[1:], strict=False)):
            raise ValueError(f"{path} is not in the order of read_at: rebuild it with build.py")

    def between(self, since: datetime, until: datetime) -> range:
        """The positions of the readings with `since <= read_at < until`; both bounds carry a zone."""
        return range(self._position(since), self._position(until))

    def as_json(self, position: int) -> str:
        """One reading as a JSON object; its numbers are the file's own text, so no decimal is lost."""
        read_at, *values = self._lines[position].split(",")
        pairs = zip(self._columns[1:], values, strict=True)
        fields = "".join(f', "{name}": {value or "null"}' for name, value in pairs)
        return f'{{"{self._columns[0]}": "{read_at}"{fields}}}'

    def _position(self, moment: datetime) -> int:
        return bisect_left(self._lines, moment, key=_read_at)


def _read_at(line: str) -> datetime:
    return datetime.fromisoformat(line.partition(",")[0])


class Faults:
    """Decides which requests fail, by counting them; threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests = 0

    def raise_for_next(self) -> None:
        """Count one request.

        Raises:
            HTTPException: 429 with Retry-After for every 17th request, 503 for every 29th of the others.
        """
        with self._lock:
            self._requests += 1
            number = self._requests
        if number % THROTTLED_EVERY == 0:
            wait = str(RETRY_AFTER_SECONDS)
            raise HTTPException(429, f"too many requests: try again after {wait} s", {"Retry-After": wait})
        if number % UNAVAILABLE_EVERY == 0:
            raise HTTPException(503, "the meter store is unavailable for a moment: try again")


def create_app(token: str, readings: Readings, faults: Faults | None) -> FastAPI:
    """The API over `readings` for the holder of `token`; with `faults=None` no request fails on purpose."""
    app = FastAPI(title="Energy readings", docs_url=None, redoc_url=None, openapi_url=None)
    expected = f"Bearer {token}".encode()

    def require_token(authorization: Annotated[str, Header()] = "") -> None:
        # Compared as bytes: compare_digest refuses text that is not ASCII, and a header may hold any.
        if not hmac.compare_digest(authorization.encode(), expected):
            advice = "send the header 'Authorization: Bearer <token>' with a valid token"
            raise HTTPException(401, advice, {"WWW-Authenticate": "Bearer"})

    def maybe_fail() -> None:
        if faults is not None:
            faults.raise_for_next()

    @app.get("/health")
    def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/v1/readings", dependencies=[Depends(require_token), Depends(maybe_fail)])
    def list_readings(
        since: AwareDatetime,
        until: AwareDatetime,
        page: Annotated[int, Query(ge=1)] = 1,
        per_page: Annotated[int, Query(ge=1, le=MAX_PER_PAGE)] = MAX_PER_PAGE,
    ) -> Response:
        if since >= until:
            raise HTTPException(400, f"since ({since}) must be before until ({until})")
        found = readings.between(since, until)
        pages = max(1, -(-len(found) // per_page))
        shown = found[(page - 1) * per_page : page * per_page]
        data = ", ".join(readings.as_json(position) for position in shown)
        body = f'{{"data": [{data}], "page": {page}, "pages": {pages}, "total": {len(found)}}}'
        return Response(body, media_type="application/json")

    return app


def main() -> None:
    """Serve until stopped.

    Raises:
        SystemExit: the environment holds no token, or the port is taken.
    """
    parser = argparse.ArgumentParser(description="Serve the bundled power readings over HTTP.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, required=True, help="port to listen on")
    parser.add_argument("--fault-free", action="store_true", help="never answer 429 or 503 on purpose")
    arguments = parser.parse_args()
    token = os.environ.get(TOKEN_VARIABLE, "")
    if not token:
        parser.error(f"set the environment variable {TOKEN_VARIABLE} to the token that clients must send")
    app = create_app(token, Readings(), None if arguments.fault_free else Faults())
    uvicorn.run(app, host=arguments.host, port=arguments.port)


if __name__ == "__main__":
    main()
