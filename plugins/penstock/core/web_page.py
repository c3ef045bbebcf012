"""The rows of a web page: those of a table, or elements picked by CSS or XPath, as text.

Nothing of a page is run. Broken HTML is read as browsers read it, as far as libxml2 does.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import urldefrag, urljoin, urlsplit

from penstock.core.errors import SourceError

if TYPE_CHECKING:
    from parsel import Selector, SelectorList

PAGE: Final = "$page"
ROW_ID: Final = "$row_id"
OWN_FIELDS: Final = frozenset((PAGE, ROW_ID))
"""`physicalName`s of columns that no page sends: the page's address, and an identity that its text gives a row."""
MAX_SPAN: Final = 1000
MAX_CELLS: Final = 5_000_000
_CORRECT: Final = "look at the page, correct the selectors in the DAG and clear `extract`."

Record = Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class PageShape:
    """What of a page is a row. A selector that begins with `/`, `.` and `/`, or `(` is XPath, any other CSS.

    Attributes:
        rows: Selector of the elements that are rows; where there are no `fields`, of a `<table>`, whose header names
            them.
        fields: Selector below a row, by field: an element, whose whole text counts, or `…::text`, `…::attr(href)`,
            `…/@href`. The first match counts; none is NULL.
        next: Selector of the link to the next page; its `href` counts.
        may_be_empty: Whether a page without such elements is one without rows; else it is an error.
        own: Which of `OWN_FIELDS` are added to each row.
    """

    rows: str
    fields: Mapping[str, str] = field(default_factory=dict)
    next: str = ""
    may_be_empty: bool = False
    own: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a page holds.

    Attributes:
        records: Its rows, text by field.
        next: The address of the next page, or None.
    """

    records: list[Record]
    next: str | None


def parse_page(text: str, url: str, shape: PageShape) -> Parsed:
    """Return the rows of a page.

    Args:
        text: The page.
        url: Its address, against which links are read.
        shape: What is a row.

    Raises:
        SourceError: A selector is none, or matches nothing; a table has no header, or names a field twice, or a row of
            it is longer than the header.
    """
    from parsel import Selector

    page = Selector(text.replace("\0", "\ufffd"), type="html", huge_tree=True)
    _refuse_cut(page, url)
    found = _select(page, shape.rows)
    if not found and not shape.may_be_empty:
        start = " ".join(text[:120].split())
        raise SourceError(f"On {url} {shape.rows!r} matches nothing; it begins with {start!r}.", next_step=_CORRECT)
    if shape.fields:
        records = [_fields(row, shape.fields) for row in found]
    else:
        records = [record for table in found for record in _table(table, url)]
    return Parsed(list(_with_own(records, url, shape.own)), _next(page, url, shape))


def _refuse_cut(page: Selector, url: str) -> None:
    """Refuse a page of which the parser has left out what lies too deep, as of thousands of tags that nobody closes."""
    for entry in page.root.getroottree().parser.error_log:
        if entry.type_name == "ERR_RESOURCE_LIMIT":
            raise SourceError(f"{url} cannot be read to its end: {entry.message}.", next_step="tell the site's owner.")


def _is_xpath(selector: str) -> bool:
    return selector.startswith(("/", "./", "("))


def _select(place: Selector, selector: str) -> SelectorList[Selector]:
    try:
        return place.xpath(selector) if _is_xpath(selector) else place.css(selector)
    except ValueError as error:  # cssselect's and parsel's errors are ValueErrors and SyntaxErrors
        raise SourceError(f"{selector!r} is no selector: {error}", next_step=_CORRECT) from error
    except SyntaxError as error:
        raise SourceError(f"{selector!r} is no selector: {error}", next_step=_CORRECT) from error


def _text(found: Selector) -> str:
    """Return the whole text of an element, with single spaces; of a text or an attribute, itself."""
    if _is_element(found):
        parts = found.xpath(".//text()[not(ancestor::script or ancestor::style)]").getall()
        return " ".join("".join(parts).split())
    return " ".join(str(found.get()).split())


def _is_element(found: Selector) -> bool:
    return hasattr(found.root, "iterancestors")


def _fields(row: Selector, fields: Mapping[str, str]) -> Record:
    record: dict[str, str | None] = {}
    for name, selector in fields.items():
        found = _select(row, selector)
        record[name] = _text(found[0]) if found else None
    return record


# --- tables ------------------------------------------------------------------------------------------------------


def _table(table: Selector, url: str) -> Iterator[Record]:
    grid = _grid(table, url)
    header = next(grid, None)
    names = [name for name in header or [] if name]
    if not header or len(names) < len(header) or len(set(names)) < len(names):
        raise SourceError(
            f"On {url} the table's header names a field twice, or not at all: {', '.join(map(repr, header or []))}.",
            next_step="state `fields` in the DAG, by position: `td:nth-child(1)`.",
        )
    for number, cells in enumerate(grid, 1):
        if len(cells) > len(names):
            raise SourceError(
                f"On {url} row {number} of the table has {len(cells)} cells, the header {len(names)}.",
                next_step=_CORRECT,
            )
        yield dict(zip(names, [*cells, *[None] * (len(names) - len(cells))], strict=True))


def _grid(table: Selector, url: str) -> Iterator[list[str | None]]:
    """Yield the cells of each row of a table, spans repeated; an empty cell is None.

    Source: HTML Standard, section 4.9.12.1, "Forming a table".
    """
    hanging: dict[int, tuple[int, str | None]] = {}
    cells_seen = 0
    for row in table.xpath(".//tr"):
        if next(row.root.iterancestors("table"), None) is not table.root:
            continue  # a table within a cell
        cells: list[str | None] = []
        for cell in row.xpath("./td | ./th"):
            _take_hanging(cells, hanging)
            text = _text(cell) or None
            wide, deep = (_span(cell, name) for name in ("colspan", "rowspan"))
            for _ in range(wide):
                if deep > 1:
                    hanging[len(cells)] = (deep - 1, text)
                cells.append(text)
        _take_hanging(cells, hanging)
        cells_seen += len(cells)
        if cells_seen > MAX_CELLS:
            raise SourceError(f"On {url} the table has more than {MAX_CELLS:,} cells.", next_step=_CORRECT)
        if cells:
            yield cells


def _take_hanging(cells: list[str | None], hanging: dict[int, tuple[int, str | None]]) -> None:
    """Continue cells of rows above that reach down to where this row stands."""
    while len(cells) in hanging:
        left, text = hanging.pop(len(cells))
        if left > 1:
            hanging[len(cells)] = (left - 1, text)
        cells.append(text)


def _span(cell: Selector, name: str) -> int:
    told = (cell.attrib.get(name) or "").strip()
    return min(max(int(told), 1), MAX_SPAN) if told.isascii() and told.isdigit() else 1


# --- links and identity ------------------------------------------------------------------------------------------


def _next(page: Selector, url: str, shape: PageShape) -> str | None:
    if not shape.next:
        return None
    found = _select(page, shape.next)
    if not found:
        return None
    href = found[0].attrib.get("href") if _is_element(found[0]) else str(found[0].get())
    if not href or not href.strip():
        return None
    bases = page.xpath("//base/@href").getall()
    target = urldefrag(urljoin(urljoin(url, bases[0]) if bases else url, href.strip())).url
    if (urlsplit(target).scheme, urlsplit(target).netloc) != (urlsplit(url).scheme, urlsplit(url).netloc):
        raise SourceError(f"On {url} the next page is {target}, on another host.", next_step=_CORRECT)
    return target


def _with_own(records: Iterable[Record], url: str, own: frozenset[str]) -> Iterator[Record]:
    """Add the page, and an identity: a digest of the row's texts, numbered where a page says the same row again."""
    seen: Counter[str] = Counter()
    for record in records:
        digest = hashlib.sha256(json.dumps(sorted(record.items())).encode()).hexdigest()[:32]
        seen[digest] += 1
        again = f"-{seen[digest]}" if seen[digest] > 1 else ""
        added = {PAGE: url, ROW_ID: digest + again}
        yield {**record, **{name: value for name, value in added.items() if name in own}}
