"""Requests and answers: parameters, places, and links that lead away."""

from __future__ import annotations

import pytest

from penstock.core.errors import PagingError, SourceError
from penstock.core.paging.page import Answer, Request, count_at, found_at, linked, position_at


def test_a_parameter_goes_where_the_request_has_its_parameters() -> None:
    """In the query of a GET as text, in the body of a POST as it is, at any depth; the request given stays."""
    get, post = Request("/x", {"a": "1"}), Request("/x", {}, {"variables": {"n": 1}, "query": "q"})
    assert get.with_parameter("page", 2).query == {"a": "1", "page": "2"}
    found = post.with_parameter("variables.after", "c").with_parameter("page", 2)
    assert found.body == {"variables": {"n": 1, "after": "c"}, "query": "q", "page": 2}
    assert (found.parameter("variables.after"), found.parameter("variables.no.no")) == ("c", None)
    assert post.body == {"variables": {"n": 1}, "query": "q"}


def test_a_secret_that_a_link_echoes_is_taken_out() -> None:
    """Of the other parameters none is lost or changed."""
    request = Request("http://h/x?a=1&key=s3cret&b=%20&c=")
    assert request.without(frozenset(("key",))).url == "http://h/x?a=1&b=+&c="
    assert request.without(frozenset(("other",))) is request


def test_a_place_is_a_header_or_a_path() -> None:
    """Names of headers are read in any case."""
    answer = Answer({"meta": {"total": "7"}}, headers={"x-total-count": "8"})
    assert (found_at(answer, "meta.total"), found_at(answer, "header:X-Total-Count")) == ("7", "8")
    assert (found_at(answer, "header:X-No"), found_at(answer, "no")) == (None, None)


@pytest.mark.parametrize("value", [None, True, "-1", "1.5", "many", "9" * 19, [], {}, ""])
def test_what_is_no_count_is_an_error(value: object) -> None:
    """A total is a number of rows, and one that a bigint holds."""
    with pytest.raises(SourceError, match="holds no count at 'total'"):
        count_at(Answer({"total": value}), "total")


def test_content_range_tells_a_total() -> None:
    """`items 0-24/319` is 319 in all."""
    assert count_at(Answer([], headers={"content-range": "items 0-24/319"}), "header:Content-Range") == 319


def test_a_position_is_a_text_that_can_be_sent() -> None:
    """None, false and the empty text are the end; a list or a book is no position."""
    assert [position_at(Answer({"c": end}), "c") for end in (None, False, "")] == [None, None, None]
    for value in (["x"], {"a": "b"}, "x" * 9000, True):
        with pytest.raises(SourceError, match="no cursor or URL"):
            position_at(Answer({"c": value}), "c")


@pytest.mark.parametrize(
    ("link", "url"),
    [
        ("?page=2", "https://api.test/v1/rows?page=2"),
        ("/v1/rows?page=2", "https://api.test/v1/rows?page=2"),
        ("https://api.test/v1/rows?page=2#top", "https://api.test/v1/rows?page=2"),
        ("http://api.test/v1/rows?page=2", "https://api.test/v1/rows?page=2"),
        ("https://API.test:443/v1", "https://api.test/v1"),
    ],
)
def test_a_link_is_followed_at_the_same_host(link: str, url: str) -> None:
    """Relative and whole ones; `http` from behind a proxy does not leave `https`."""
    assert linked(Answer([], "https://api.test/v1/rows"), link) == url


@pytest.mark.parametrize(
    "link",
    ["https://evil.test/", "//evil.test/x", "https://api.test:8443/", "https://api.test@evil.test/", "http://[x"],
)
def test_a_link_to_another_host_is_refused(link: str) -> None:
    """The credentials go with each request, so another host is never asked."""
    with pytest.raises(PagingError, match="next page"):
        linked(Answer([], "https://api.test/v1/rows"), link)
