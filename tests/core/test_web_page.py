"""A page's rows: what a reader sees in its table or its elements, and a clear error where there is none."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.errors import SourceError
from penstock.core.web_page import OWN_FIELDS, PageShape, Parsed, parse_page

URL = "http://site.test/list?page=1"
TABLE = """<html><body><table id="prices">
<thead><tr><th>Name</th><th> Price
 (EUR) </th><th>Kind</th></tr></thead>
<tr><td>Nut &amp; bolt</td><td>1.50</td><td rowspan="2">iron</td></tr>
<tr><td>Screw</td><td></td></tr>
<tr><td colspan="2">both</td><td>wood<table><tr><td>inner</td></tr></table></td></tr>
</table></body></html>"""


def parse(text: str, rows: str = "table", **more: Any) -> Parsed:
    """What a page holds."""
    return parse_page(text, URL, PageShape(rows, **more))


def test_a_table_is_read_with_its_spans() -> None:
    """The header names the fields; what spans rows or columns stands in each; an empty cell is nothing."""
    assert parse(TABLE, "#prices").records == [
        {"Name": "Nut & bolt", "Price (EUR)": "1.50", "Kind": "iron"},
        {"Name": "Screw", "Price (EUR)": None, "Kind": "iron"},
        {"Name": "both", "Price (EUR)": "both", "Kind": "woodinner"},
    ]


CARDS = """<div class=card><h2>A <b>big</b> thing<script>x()</script></h2><a href="/a?x=1#top">more</a></div>
<div class=card><h2>B</h2></div><a rel=next href="?page=2">on</a>"""


@pytest.mark.parametrize(
    ("rows", "fields", "following"),
    [
        ("div.card", {"name": "h2", "link": "a::attr(href)"}, "a[rel=next]"),
        ("//div[@class='card']", {"name": "./h2", "link": "./a/@href"}, "//a[@rel='next']/@href"),
    ],
)
def test_elements_are_picked_by_css_and_by_xpath(rows: str, fields: dict[str, str], following: str) -> None:
    """An element counts with its whole text, without scripts; what is not there is NULL; links are made whole."""
    found = parse(CARDS, rows, fields=fields, next=following)
    assert found.records == [{"name": "A big thing", "link": "/a?x=1#top"}, {"name": "B", "link": None}]
    assert found.next == "http://site.test/list?page=2"


def test_the_last_page_has_no_next() -> None:
    """No link, or one without an address, is the end; a `<base>` counts."""
    for link in ("", "<a rel=next>x</a>", "<a rel=next href=''>x</a>"):
        assert (
            parse(
                CARDS.replace('<a rel=next href="?page=2">on</a>', link), "div", fields={"n": "h2"}, next="a[rel=next]"
            ).next
            is None
        )


def test_a_base_counts() -> None:
    """Links are read against the page's own base."""
    page = "<base href='/deep/'><div class=card><h2>A</h2></div><a rel=next href='p2'>x</a>"
    assert parse(page, "div", fields={"n": "h2"}, next="a[rel=next]").next == "http://site.test/deep/p2"


@given(st.lists(st.sampled_from(["a", "b", "c"]), max_size=8))
def test_a_row_keeps_its_identity_wherever_it_stands(names: list[str]) -> None:
    """The identity is the row's text and how often it was said before, on whatever page and in whatever order."""
    shape = {"fields": {"n": "i"}, "may_be_empty": True, "own": OWN_FIELDS}

    def identities(order: list[str], url: str) -> list[tuple[str | None, str | None]]:
        page = "".join(f"<p><i>{name}</i></p>" for name in order) or "<br>"
        records = parse_page(page, url, PageShape("p", **shape)).records  # type: ignore[arg-type]
        assert {record["$page"] for record in records} <= {url}
        return sorted((record["n"], record["$row_id"]) for record in records)  # type: ignore[type-var]

    found = identities(names, URL)
    assert found == identities(names[::-1], "http://site.test/other")
    assert len({identity for _, identity in found}) == len(names)


HOSTILE = {
    "an error page with status 200": (
        "<h1>Down for maintenance</h1>",
        {},
        r"matches nothing; it begins with '<h1>Down",
    ),
    "nothing": ("", {}, "matches nothing"),
    "a selector that is none": (TABLE, {"rows": "table["}, "is no selector"),
    "an XPath that is none": (TABLE, {"rows": "//table["}, "is no selector"),
    "a header that names a field twice": ("<table><tr><th>a<th>a</table>", {}, "names a field twice"),
    "a header with an empty cell": ("<table><tr><th>a<th></table>", {}, "not at all"),
    "a table without rows": ("<table></table>", {}, "not at all"),
    "a row longer than the header": ("<table><tr><th>a<tr><td>1<td>2</table>", {}, "row 1 of the table has 2 cells"),
    "a span that explodes": (
        "<table><tr>" + "<th colspan=1000>x" * 6000 + "</table>",
        {},
        "more than 5,000,000 cells",
    ),
    "tags that nobody closes": ("<div><b>x" * 5000, {"rows": "div"}, "cannot be read to its end: Excessive depth"),
    "a link to another host": ("<p>1</p><a href='//evil.test/x'>", {"rows": "p", "next": "a"}, "on another host"),
    "a link that is a script": ("<p>1</p><a href='javascript:x()'>", {"rows": "p", "next": "a"}, "on another host"),
}


@pytest.mark.parametrize("name", list(HOSTILE))
def test_a_page_that_is_not_as_the_shape_says_is_told(name: str) -> None:
    """Each with the page's address or the selector, and the next step."""
    text, more, said = HOSTILE[name]
    arguments: dict[str, Any] = {"rows": "table", **more}
    if arguments["rows"] == "p":
        arguments["fields"] = {"n": "./text()"}
    with pytest.raises(SourceError, match=said) as caught:
        parse(text, **arguments)
    assert "Next: " in str(caught.value)


def test_what_is_broken_is_read_as_far_as_it_goes() -> None:
    """Unclosed tags, entities and NULs give rows, and no entity is resolved."""
    entity = '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><p><i>&e;</i></p>'
    for page, wanted in (
        (entity, "&e;"),
        ("<p><i>a\0b", "a\ufffdb"),
        ("<p><i>\ud800".encode("utf-8", "replace").decode(), "?"),
    ):
        assert [record["n"] for record in parse(page, "p", fields={"n": "i"}).records] == [wanted]
