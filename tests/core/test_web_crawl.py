"""Pages are followed to an end; what has not changed is taken from the lake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from penstock.core.errors import SourceError
from penstock.core.lake import LakeWriter, landed_fields, read_parts
from penstock.core.web_crawl import Before, Page, Validators, crawl
from penstock.core.web_page import PageShape

SHAPE = PageShape("li", {"n": "b"}, "a.next", may_be_empty=True)


class Site:
    """A site in memory, that says what has not changed."""

    def __init__(self, *pages: str) -> None:
        self.pages = {f"http://site.test/{number}": page for number, page in enumerate(pages)}
        self.sent: list[str] = []

    def __call__(self, url: str, validators: Validators) -> Page:
        """Answer one request."""
        page = self.pages[url]
        said = Validators(etag=str(hash(page)))
        if validators == said:
            return Page(url, None, said)
        self.sent.append(url)
        return Page(url, page, said)


def page(following: str, *names: str) -> str:
    """A page with rows and a link."""
    link = f'<a class=next href="/{following}">' if following else ""
    return "".join(f"<li><b>{name}</b></li>" for name in names) + link


def land(site: Site, folder: Path, before: Before | None = None, max_pages: int = 9) -> tuple[list[Any], int]:
    """Crawl the site; the rows in the lake, and how many pages had not changed."""
    start = next(iter(site.pages))
    unchanged = crawl(site, start, SHAPE, LakeWriter(folder, "test"), max_pages=max_pages, before=before)
    columns = {name: name for name in landed_fields(folder)}
    return [row["n"] for part in read_parts(folder, columns) for row in part.to_pylist()], unchanged


def test_an_unchanged_page_is_not_sent_again(tmp_path: Path) -> None:
    """Three slices: all is fetched, nothing is, only what changed is; the rows are those of the site each time."""
    site = Site(page("1", "a", "b"), page("2"), page("", "c"))
    assert land(site, tmp_path / "1") == (["a", "b", "c"], 0)
    assert land(site, tmp_path / "2", Before(tmp_path / "1")) == (["a", "b", "c"], 3)
    site.pages["http://site.test/1"] = page("2", "new")
    site.sent.clear()
    assert land(site, tmp_path / "3", Before(tmp_path / "2")) == (["a", "b", "new", "c"], 2)
    assert site.sent == ["http://site.test/1"]


def test_without_an_earlier_attempt_all_is_fetched(tmp_path: Path) -> None:
    """A folder that was cleaned up, or holds something else, is no reason to fail."""
    (tmp_path / "pages.json").write_text("[{}]", encoding="utf-8")
    for folder in (tmp_path, tmp_path / "gone"):
        assert land(Site(page("", "a")), tmp_path / folder.name / "x", Before(folder)) == (["a"], 0)


def test_links_that_do_not_end_are_told(tmp_path: Path) -> None:
    """A circle is one error, more pages than allowed another; no manifest is written, so nothing has landed."""
    with pytest.raises(SourceError, match=r"lead in a circle: http://site.test/0 comes again after 2 pages"):
        land(Site(page("1", "a"), page("0", "b")), tmp_path)
    with pytest.raises(SourceError, match="do not end: after 2 pages"):
        land(Site(page("1", "a"), page("2", "b"), page("", "c")), tmp_path, max_pages=2)
    assert not (tmp_path / "manifest.json").exists()
