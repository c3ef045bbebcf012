"""JSON paths find what stands there, written with or without their beginning."""

import pytest

from penstock.core.json_path import find_all, find_one

BODY = {
    "data": {"rows": [{"a": "1"}, {"a": "2"}]},
    "_links": {"next": {"href": "/2"}},
    "links": [{"rel": "self", "href": "s"}, {"rel": "next", "href": "n"}],
    "@odata.nextLink": "o",
}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("data.rows[*].a", ["1", "2"]),
        ("$.data.rows[1].a", ["2"]),
        ("_links.next.href", ["/2"]),
        ("links[?@.rel=='next'].href", ["n"]),
        ("['@odata.nextLink']", ["o"]),
        ("$", [BODY]),
        ("", [BODY]),
        ("data.rows.a", []),
        ("nothing.there", []),
    ],
)
def test_finds_what_is_there(path: str, found: list[object]) -> None:
    """A path that fits nothing finds nothing, and is no error."""
    assert find_all(path, BODY) == found
    assert find_one(path, BODY) == (found[0] if found else None)


def test_what_is_no_path_is_named() -> None:
    """A slip in a DAG file is told with the text of the path."""
    with pytest.raises(ValueError, match=r"'data\[' is no JSON path"):
        find_all("data[", BODY)
