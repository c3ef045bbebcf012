"""docs/apis.md: its examples run, its ways to page read a source, its connections sign requests."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import Connection

from penstock.core import paging
from penstock.core.api_job import Job
from penstock.core.paging import Plan, Request, begin, read_pages
from penstock.hooks.http_auth import auth_of
from penstock.operators.extract_api import ApiExtractOperator
from penstock.project import ROOT
from tests.paged_source import PagedServer, PagedSource

PAGE = (ROOT / "docs" / "apis.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
NAMES: dict[str, Any] = {
    **{name: getattr(paging, name) for name in paging.__all__},
    "ApiExtractOperator": ApiExtractOperator,
    "Job": Job,
    "READINGS": "energy/power_readings",
    "timedelta": timedelta,
}


def cells(heading: str) -> list[tuple[str, str]]:
    """The rows of the table in a section."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    found = re.findall(r"^\| (.+?) \| `(.+)` \|$", section, re.MULTILINE)
    return [(name, text) for name, text in found if text != "paging="]


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[PagedServer]:
    """A source of 11 rows, with the connection `meters`."""
    server = PagedServer(PagedSource("link header", 11))
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    monkeypatch.setenv("AIRFLOW_CONN_METERS", server.url)
    yield server
    server.shutdown()
    server.server_close()


def test_the_hooks_example_runs(served: PagedServer, capsys: pytest.CaptureFixture[str]) -> None:
    """As it stands on the page: it finds the way to page by itself and reads every row."""
    exec(EXAMPLES[-1], {})  # noqa: S102 - the page's own text
    said = capsys.readouterr().out
    assert "paging=LinkHeader(relation='next'), records='$'" in said
    assert said.endswith("11 rows\n")


@pytest.mark.parametrize("example", EXAMPLES[:-1])
def test_an_operator_of_the_page_is_one(example: str) -> None:
    """Its arguments exist."""
    found: dict[str, Any] = {}
    exec(example, dict(NAMES), found)  # noqa: S102
    assert isinstance(found["extract"], ApiExtractOperator)


def test_graphql_is_read_as_the_page_says() -> None:
    """The second page is asked for with the first one's cursor, in the variables."""
    found: dict[str, Any] = {}
    exec(next(text for text in EXAMPLES if "pageInfo" in text), dict(NAMES), found)  # noqa: S102
    extract, asked = found["extract"], list[Request]()

    def fetch(request: Request) -> paging.Answer:
        asked.append(request)
        last = len(asked) == 2
        info = {"hasNextPage": not last, "endCursor": f"c{len(asked)}"}
        return paging.Answer({"data": {"readings": {"nodes": [{"id": str(len(asked))}], "pageInfo": info}}})

    request = Request(extract.endpoint, {}, extract.body)
    pages = list(read_pages(fetch, begin(request, Plan(extract.paging, extract.records, ""))))
    assert [page.rows for page in pages] == [[{"id": "1"}], [{"id": "2"}]]
    assert asked[1].body is not None
    assert asked[1].body["variables"] == {"after": "c1"}


def test_every_way_to_page_is_on_the_page() -> None:
    """Each of the table can be made as it is written, and none is missing."""
    kinds = {type(eval(text, dict(NAMES))).__name__ for _, text in cells("Pages")}  # noqa: S307
    assert kinds == {"SinglePage", "PageNumber", "Offset", "Cursor", "NextUrl", "LinkHeader", "Keyset"}


@pytest.mark.parametrize(("who", "text"), cells("The connection"))
def test_a_connection_of_the_page_signs(who: str, text: str) -> None:
    """Each can be made as it is written, and is of the kind that its row says."""
    fields = json.loads(text)
    extra = fields.pop("extra", {})
    found = Connection(conn_id="x", conn_type="http", extra=json.dumps(extra), **fields)
    assert (auth_of(found) is None) is (who == "mutual TLS")


def test_reads_now_where_no_slice_is_asked_for() -> None:
    """What the page calls `None` for since and until makes every slice the same."""
    common: dict[str, Any] = {"task_id": "e", "dataset": "energy/power_readings", "conn_id": "x", "endpoint": "/"}
    contract: Any = SimpleNamespace()
    assert not ApiExtractOperator(**common).reads_now(contract)
    assert ApiExtractOperator(**common, since_parameter=None, until_parameter=None).reads_now(contract)
