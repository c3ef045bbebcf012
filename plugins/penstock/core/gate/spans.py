"""Lengths of time as people write them in contracts: `90 minutes`, `6 hours`, `1 day`."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any, Final

_SPAN: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(minute|hour|day|week)s?")


def read_span(text: Any) -> timedelta:
    """Return a stated length of time.

    Raises:
        ValueError: It is not a number with minutes, hours, days or weeks.
    """
    match = _SPAN.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError(f"{text!r} is not a length of time such as '6 hours' (minutes, hours, days, weeks)")
    return timedelta(**{f"{match[2]}s": float(match[1])})
