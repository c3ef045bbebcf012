"""Placeholders in queries."""

from __future__ import annotations

from penstock.core.gate.placeholders import names_in, parts_of


def test_both_spellings_are_placeholders_and_doubled_braces_are_not() -> None:
    """`{x}` and `${x}` stand for something; `{{` and `}}` are braces; the parts are the query in order."""
    query = "SELECT '{{}}' FROM ${table} WHERE {column} ~ 'a{{2}}' AND x = '$1'"
    assert names_in(query) == ["table", "column"]
    text = "".join(f"<{part}>" if is_name else part for part, is_name in parts_of(query))
    assert text == "SELECT '{}' FROM <table> WHERE <column> ~ 'a{2}' AND x = '$1'"
