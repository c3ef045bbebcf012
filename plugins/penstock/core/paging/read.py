"""Read the pages of an API one after the other, from the first or from where an earlier read stopped."""

from __future__ import annotations

import hashlib
import json
import marshal
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Literal

from penstock.core.errors import PagingError, SourceError
from penstock.core.json_path import find_all
from penstock.core.paging.ahead import Ahead, coming, pages_left
from penstock.core.paging.detect import detect_paging, detect_records, detect_total, is_suspicious
from penstock.core.paging.kinds import LinkHeader, Paging, Rows, as_json, from_json, in_words
from penstock.core.paging.page import HEADER, Answer, Fetch, Request, count_at

_MOST_EMPTY: Final = 100
_SAID_BYTES: Final = 200

Repeated = Literal["error", "end", "rows"]
"""What a page is whose rows are those of the page before: the source's fault, the end, or rows like any others."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How an API is read.

    Attributes:
        paging: How it pages; None: to be told from the first answer.
        records: Path to the rows in an answer, as a list or one by one (`edges[*].node`); None: to be told.
        total: Where the answer holds the number of rows in all pages; None: to be told, empty: nowhere.
        repeated: What a page is that repeats the one before.
        most_pages: More of them are an error.
    """

    paging: Paging | None = None
    records: str | None = None
    total: str | None = None
    repeated: Repeated = "error"
    most_pages: int = 1_000_000

    @property
    def reads_headers(self) -> bool:
        """Whether headers tell of the next page, or of the total: an unchanged body says nothing of them."""
        told = as_json(self.paging).values() if self.paging else ()
        return isinstance(self.paging, LinkHeader) or any(str(at).startswith(HEADER) for at in (*told, self.total))

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return {**asdict(replace(self, paging=None)), "paging": self.paging and as_json(self.paging)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Plan:
        """Return the plan that `as_json` made this of."""
        return cls(**{**value, "paging": value["paging"] and from_json(value["paging"])})


@dataclass(frozen=True, slots=True)
class Known:
    """A page of an earlier read, which its source can say to be unchanged.

    Attributes:
        etag: What the page said of its version.
        modified: What it said of its age.
        rows: Records in it.
        digest: Digest of them.
        total: The number of rows in all pages that it announced.
        next: The request for the page after it; None after the last.
        plan: How the source is read, with what was told from its first answer.
    """

    etag: str
    modified: str
    rows: int
    digest: str
    total: int | None
    next: Request | None
    plan: Plan

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return {**asdict(replace(self, plan=Plan())), "plan": self.plan.as_json()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Known:
        """Return the page that `as_json` made this of."""
        following = value["next"]
        return cls(**{**value, "next": following and Request(**following), "plan": Plan.from_json(value["plan"])})


Recall = Callable[[Request], Known | None]
"""Tells what is known of the page that a request is for."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a read has come; small, whatever was read.

    Attributes:
        request: The next request; None after the last page.
        plan: How the API is read, with what was told from its first answer.
        pages: Pages read.
        rows: Rows read.
        last: Digest of the rows of the last page.
        mark: Digests of one earlier request and its rows, at a power of two (Brent's algorithm for cycles).
        empty: Pages without a row since the last one with some.
    """

    request: Request | None
    plan: Plan
    pages: int = 0
    rows: int = 0
    last: str = ""
    mark: tuple[str, str] = ("", "")
    empty: int = 0

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return {**asdict(replace(self, plan=Plan())), "plan": self.plan.as_json(), "mark": list(self.mark)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Progress:
        """Return the progress that `as_json` made this of."""
        request = value["request"]
        return cls(
            **{
                **value,
                "request": request and Request(**request),
                "plan": Plan.from_json(value["plan"]),
                "mark": tuple(value["mark"]),
            }
        )


@dataclass(frozen=True, slots=True)
class Page:
    """One page, and where the read stands after it.

    Attributes:
        request: What it was asked for by.
        rows: Its records; none where it is as it was known.
        progress: Where the read stands after it.
        known: What is to be known of it for a later read; None where it said nothing of its version or age.
        unchanged: Whether it is as it was known: its records are those of the earlier read.
    """

    request: Request
    rows: Rows
    progress: Progress
    known: Known | None = None
    unchanged: bool = False


def begin(request: Request, plan: Plan) -> Progress:
    """Return the progress of a read that has not begun.

    Args:
        request: What is asked for, without any paging.
        plan: How to read it.
    """
    return Progress(plan.paging.first(request) if plan.paging else request, plan)


def read_pages(
    fetch: Fetch,
    progress: Progress,
    *,
    hidden: frozenset[str] = frozenset(),
    say: Callable[[str], None] | None = None,
    at_once: int = 1,
    recall: Recall = lambda _: None,
) -> Iterator[Page]:
    """Yield page after page, and hold their rows to the total that the source announced.

    Args:
        fetch: Sends one request; from several threads, if there may be several requests at once.
        progress: Where to go on.
        hidden: Query parameters that are secrets, and are taken out of links that the source sends.
        say: Takes what people should know: how the source is taken to page, where nobody named it.
        at_once: Requests that may be under way at once, where the source counts pages or rows and says how many.
        recall: Tells what is known of a page: it is asked for only if it has changed.

    Raises:
        SourceError: An answer is not of the expected shape, or the pages do not hold the announced number of rows.
        PagingError: The pages go round or have no end, or nothing tells how to page.
    """

    def send(request: Request) -> Answer:
        known = recall(request)
        if known and known.next is None and known.plan.reads_headers:  # there may be pages after it by now
            known = None
        return fetch(replace(request, etag=known.etag, modified=known.modified) if known else request)

    with closing(Ahead(send, at_once)) as ahead:
        while progress.request is not None:
            answer, known = ahead.fetch(progress.request), recall(progress.request)
            page = (
                _unchanged(progress, known)
                if answer.unchanged and known
                else _changed(progress, answer, ahead, hidden, say)
            )
            if page is None:
                return
            progress = page.progress
            yield page


def _changed(
    progress: Progress, answer: Answer, ahead: Ahead, hidden: frozenset[str], say: Callable[[str], None] | None
) -> Page | None:
    """Return the page that an answer holds; None where it repeats the page before and that is the end."""
    request = progress.request
    assert request is not None  # noqa: S101 - else nothing was asked
    if progress.plan.records is None or progress.plan.total is None or progress.plan.paging is None:
        progress = replace(progress, plan=_completed(progress.plan, answer, say))
    plan = progress.plan
    assert plan.paging is not None  # noqa: S101 - completed
    rows = rows_of(answer, plan.records or "")
    digest = _digest(rows) if rows else ""
    total = count_at(answer, plan.total) if plan.total else None
    if rows and digest in (progress.last, progress.mark[1]) and plan.repeated != "rows":
        if plan.repeated == "error":
            raise _repeats(progress.pages + 1, len(rows))
        _hold(progress.rows, total, ended=True)
        return None
    left = None if total is None else total - progress.rows - len(rows)
    _hold(progress.rows + len(rows), total, ended=False)
    following = plan.paging.following(request, answer, rows, left)
    if following is not None:
        following = following.without(hidden)
        more = min(ahead.at_once, pages_left(plan.paging, request, answer, len(rows), left))
        ahead.expect(coming(plan.paging, following, len(rows), more))
    known = Known(answer.etag, answer.modified, len(rows), digest, total, following, plan)
    found = _after(progress, known)
    return Page(request, rows, found, known if answer.etag or answer.modified else None)


def _unchanged(progress: Progress, known: Known) -> Page:
    """Return a page that is as it was known."""
    request = progress.request
    assert request is not None  # noqa: S101 - else nothing was asked
    if known.plan.reads_headers:
        known = replace(known, total=None)
    _hold(progress.rows + known.rows, known.total, ended=False)
    return Page(request, [], _after(replace(progress, plan=known.plan), known), known, unchanged=True)


def _completed(plan: Plan, answer: Answer, say: Callable[[str], None] | None) -> Plan:
    """Fill in what nobody named, and say so."""
    records = plan.records if plan.records is not None else detect_records(answer.body)
    rows = rows_of(answer, records)
    total = plan.total if plan.total is not None else detect_total(answer, rows)
    paging = plan.paging or detect_paging(answer, rows, count_at(answer, total) if total else None)
    if say:
        guessed = {
            "paging": in_words(paging) if plan.paging is None else None,
            "records": repr(records) if plan.records is None else None,
            "total": repr(total) if plan.total is None else None,
        }
        told = ", ".join(f"{name}={value}" for name, value in guessed.items() if value is not None)
        say(f"Told from the first answer: {told}. To be sure of it, name it in the DAG.")
        if is_suspicious(paging, rows, count_at(answer, total) if total else None):
            say(
                f"The answer holds exactly {len(rows):,} rows and no sign of further pages. If the source pages, name"
                " `paging`: rows may be missing."
            )
    return replace(plan, records=records, total=total, paging=paging)


def rows_of(answer: Answer, records: str) -> Rows:
    """Return the rows of an answer.

    Raises:
        SourceError: There is no list of objects at the path, or `errors` beside it, as GraphQL has them.
    """
    if isinstance(answer.body, Mapping) and isinstance(answer.body.get("errors"), list) and answer.body["errors"]:
        said = json.dumps(answer.body["errors"], ensure_ascii=True, default=str)[:_SAID_BYTES]
        raise SourceError(f"The answer tells of errors: {said}.")
    found = find_all(records, answer.body)
    rows = found[0] if len(found) == 1 and isinstance(found[0], list) else found
    if found == [None] and not (isinstance(answer.body, Mapping) and answer.body.get("error")):
        rows = []  # an empty list, as some servers write it
    elif (rows is found and not _picks(records)) or not all(type(row) is dict for row in rows):
        said = json.dumps(answer.body, ensure_ascii=True, default=str)[:_SAID_BYTES]
        raise SourceError(f"The answer has no list of objects at {records!r}; it begins with {said}.")
    return list(rows)


def _picks(path: str) -> bool:
    """Tell whether a path names rows one by one, so that there may be none of them."""
    return any(sign in path for sign in ("*", "?", ".."))


def _digest(value: Any) -> str:
    try:
        body = marshal.dumps(value, 0)  # in a fraction of the time of anything else; version 0 goes by values alone
    except ValueError:  # a class of its own, as a `Number` is
        body = repr(value).encode("utf-8", "surrogatepass")
    return hashlib.sha256(body).hexdigest()[:32]


def _after(progress: Progress, page: Known) -> Progress:
    """Return the progress after a page."""
    request = progress.request
    assert request is not None  # noqa: S101 - else nothing was asked
    received = progress.rows + page.rows
    if page.next is None:
        _hold(received, page.total, ended=True)
    found = replace(
        progress,
        request=page.next,
        pages=progress.pages + 1,
        rows=received,
        last=page.digest,
        mark=_mark(progress, request, page.digest),
        empty=0 if page.rows else progress.empty + 1,
    )
    _bound(found)
    return found


def _mark(progress: Progress, request: Request, digest: str) -> tuple[str, str]:
    number = progress.pages + 1
    return (_digest(request), digest) if number & (number - 1) == 0 else progress.mark


def _hold(received: int, total: int | None, *, ended: bool) -> None:
    """Hold the rows to the total that the source announced."""
    if total is not None and (received > total or (ended and received < total)):
        raise SourceError(
            f"The source announced {total:,} rows and sent {received:,}.",
            next_step="nothing at first: the task is retried; if it goes on, see that `total` names the number of rows"
            ' in all pages (`total=""`: the source sends none).',
        )


def _repeats(number: int, rows: int) -> PagingError:
    return PagingError(
        f"Page {number:,} holds the same {rows:,} rows as an earlier one: the source does not page as it is asked to.",
        next_step='mend `paging`; where the source repeats its last page, say `repeated="end"`, and where equal pages'
        ' are right, `repeated="rows"`.',
    )


def _bound(progress: Progress) -> None:
    plan = progress.plan
    if progress.request is None:
        return
    if _digest(progress.request) == progress.mark[0]:
        raise PagingError(
            f"Page {progress.pages:,} leads back to a page that was read: the pages have no end.",
            next_step="mend `paging`, or ask the source's owner.",
        )
    if progress.empty >= _MOST_EMPTY:
        raise PagingError(
            f"{progress.empty:,} pages in a row are empty, and the source still names a next one.",
            next_step="mend `paging`, or ask the source's owner.",
        )
    if progress.pages >= plan.most_pages:
        raise PagingError(
            f"The source still names a next page after {progress.pages:,} ({progress.rows:,} rows).",
            next_step="if there are so many, raise `most_pages`; else mend `paging`.",
        )
