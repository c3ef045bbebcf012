"""What headers ask for is read in every form that is in use, and nonsense asks for nothing."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from penstock.core.rate_limit import pause_seconds, retry_after_seconds

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("7", 7.0),
        (" 7 ", 7.0),
        ("9" * 5000, 1e9),
        ("²", None),
        ("Mon, 23 Nov 2026 12:00:30 GMT", 30.0),
        ("Mon, 23 Nov 2026 11:00:00 GMT", 0.0),
        ("Mon, 99 Nov 99999 11:00:00 GMT", None),
        ("soon", None),
        ("", None),
    ],
)
def test_reads_retry_after(header: str | None, seconds: float | None) -> None:
    """Seconds and HTTP dates are read; a date that has passed means now; nonsense means nothing was asked."""
    assert retry_after_seconds(header, NOW) == seconds


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 0),
        ({"backoff": "10"}, 10),
        ({"ratelimit-remaining": "0", "ratelimit-reset": "5"}, 5),
        ({"ratelimit-remaining": "1", "ratelimit-reset": "5"}, 0),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "2.5"}, 2.5),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(NOW.timestamp()) + 9)}, 9),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(NOW.timestamp()) - 9)}, 0),
        ({"x-ratelimit-remaining": "0"}, 0),
        ({"x-ratelimit-remaining": "none", "x-ratelimit-reset": "5"}, 0),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "nan"}, 0),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "-5"}, 0),
        ({"ratelimit": '"default";r=0;t=7'}, 7),
        ({"ratelimit": '"default";r=3;t=7'}, 0),
        ({"ratelimit": "limit=10, remaining=0, reset=8"}, 8),
    ],
)
def test_reads_limits(headers: dict[str, str], seconds: float) -> None:
    """A limit asks for a pause once none of its requests remain."""
    assert pause_seconds(headers, NOW) == seconds
