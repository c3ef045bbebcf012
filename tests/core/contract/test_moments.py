"""Patterns of dates and times are read in exactly one way, or refused."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.core.contract.moments import moment_format

READ = {
    "yyyy-MM-dd": ("2026-01-31", "2026-01-31"),
    "dd/MM/yyyy": (" 31/01/2026 ", "2026-01-31"),
    "d.M.uuuu": ("1.2.2026", "2026-2-1"),
    "MM/dd/yyyy HH:mm": ("01/31/2026 10:30", "2026-01-31 10:30"),
    "yyyyMMddHHmmss": ("20260131103059", "2026-01-31 10:30:59"),
    "yyyy-MM-dd'T'HH:mm:ss.SSSXXX": ("2026-01-31T10:30:59.123+02:00", "2026-01-31 10:30:59.123+02:00"),
    "dd/MM/yyyy HH:mm:ss Z": ("31/01/2026 10:30:59 -0530", "2026-01-31 10:30:59-0530"),
    "HH.mm": ("23.59", "23:59"),
    "H'h'mm": ("7h05", "7:05"),
    "yyyy''MM''dd": ("2026'01'31", "2026-01-31"),
}


@pytest.mark.parametrize("pattern", list(READ))
def test_a_pattern_is_rearranged_to_iso(bench: Any, pattern: str) -> None:
    """Postgres itself turns a text of each pattern to ISO 8601, and takes the result."""
    text, iso = READ[pattern]
    found = moment_format(pattern)
    assert bench.run(
        "SELECT %s ~ %s, regexp_replace(%s, %s, %s)", (text, found.regex, text, found.regex, found.iso)
    ) == [(True, iso)]
    kind = "timestamptz" if found.has_offset else "timestamp" if found.has_date else "time"
    assert bench.one("SELECT pg_input_is_valid(%s, %s)", (iso, kind)) is True


def test_nothing_else_matches(bench: Any) -> None:
    """A text of another shape, even one that only begins right, is not read."""
    found = moment_format("dd/MM/yyyy")
    for text in ("31/01/26", "31-01-2026", "31/01/2026 10:00", "x31/01/2026", "", "31/01/2026\n1"):
        assert bench.one("SELECT %s ~ %s", (text, found.regex)) is False


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("dd/MM/yy", "'yy' is not supported"),
        ("dd MMM yyyy", "'MMM' is not supported"),
        ("hh:mm a", "'hh' is not supported"),
        ("yyyy-MM", "lacks the day"),
        ("yyyy-MM-dd mm", "lacks the hour"),
        ("yyyy-MM-dd HH", "lacks the minute"),
        ("HH:mm.SSS", "has the fraction but lacks the second"),
        ("yyyy-MM-dd XXX", "has the offset but lacks the hour"),
        ("yyyy-MM-dd yyyy", "the year stands twice"),
        ("", "is not a pattern"),
        ("--", "is not a pattern"),
        ("yyyy-MM-dd'T", "is not a pattern"),
    ],
)
def test_what_could_be_read_otherwise_is_refused(pattern: str, said: str) -> None:
    """Two digits of a year, month names, twelve hours, half a date: refused with the reason."""
    with pytest.raises(ValueError, match=said):
        moment_format(pattern)
