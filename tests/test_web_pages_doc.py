"""docs/web-pages.md: its DAG loads its contract from a real site, and its hook example runs."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from penstock import defaults, project
from penstock.core.contract import load_contract
from tests.hooks.test_web import HTML, Site, site  # noqa: F401 - a fixture
from tests.operators.contexts import Query, context_of

PAGE = (project.ROOT / "docs" / "web-pages.md").read_text(encoding="utf-8")
DAG, HOOK = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
(CONTRACT,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


def offers(link: str, *names: str) -> bytes:
    """A page of the site."""
    offer = "<div class=offer><h2>{0}</h2><span class=price> 1.50 EUR</span><a href='/{0}'>x</a></div>"
    return ("".join(offer.format(name) for name in names) + link).encode()


@pytest.fixture
def market(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:  # noqa: F811
    """The page's source, behind its connection."""
    monkeypatch.setenv("AIRFLOW_CONN_MARKET", f"http://127.0.0.1:{site.server_port}?user_agent=DataTeam")
    site.answers["/offers"] = (200, {**HTML, "ETag": '"1"'}, offers("<a rel=next href='?page=2'>on</a>", "a", "b"))
    site.answers["/offers?page=2"] = (200, {**HTML, "ETag": '"2"'}, offers("", "c"))
    return site


def test_the_dag_of_the_page_loads_its_contract(
    query: Query, market: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two slices through the three tasks: all rows each time, and unchanged pages are sent once."""
    path = tmp_path / "market" / "offers.yaml"
    path.parent.mkdir()
    path.write_text(CONTRACT, encoding="utf-8")

    def contract_of(dataset: str) -> Any:
        assert dataset == "market/offers"
        return load_contract(path)

    monkeypatch.setenv("AIRFLOW_VAR_LAKE_URL", str(tmp_path / "lake"))
    monkeypatch.setattr(defaults, "contract_of", contract_of)
    monkeypatch.setattr("penstock.operators.slices.contract_of", contract_of)
    module = ModuleType("market_offers")
    exec(DAG, vars(module))  # noqa: S102 - what the page says
    dag = module.market_offers()
    for day in ("2026-01-05", "2026-01-06"):
        for name in ("extract", "validate", "publish"):
            dag.get_task(name).execute(context_of("market/offers", day, run_id=f"test__{day}"))
    rows = query(
        "SELECT title, price::text, link, count(*), count(DISTINCT offer_id) FROM market.offers GROUP BY 1, 2, 3"
    )
    assert sorted(rows) == [(name, "1.50", f"/{name}", 2, 1) for name in "abc"]
    asked = [headers.get("If-None-Match") for path_, headers, _ in market.seen if path_ == "/offers"]
    assert asked == [None, '"1"']


def test_the_hook_of_the_page_runs(market: Site, capsys: pytest.CaptureFixture[str]) -> None:
    """It prints the page."""
    exec(HOOK, {})  # noqa: S102 - what the page says
    assert "<h2>a</h2>" in capsys.readouterr().out
