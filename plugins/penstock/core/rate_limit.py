"""What a server's headers say of how long to wait before the next request."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

_NEVER: Final = 1e9
_EPOCH: Final = 1e8
"""A reset that is larger is a moment (seconds since 1970), not a number of seconds."""

_ITEM: Final = re.compile(r"(?:^|[;,\s])(r|t|remaining|reset)\s*=\s*(\d{1,12})")


def retry_after_seconds(header: str | None, now: datetime) -> float | None:
    """Read a `Retry-After` header, in seconds from `now`; None where it is missing or malformed.

    Source: RFC 9110, section 10.2.3 (delay in seconds, or an HTTP date).
    """
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:12]), _NEVER)
    try:
        moment = parsedate_to_datetime(header)
        return max(0.0, (moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return None


def _number(text: str | None) -> float | None:
    try:
        found = float((text or "").partition(",")[0].partition(";")[0])
    except ValueError:
        return None
    return min(found, 100 * _NEVER) if found >= 0 else None


def pause_seconds(headers: Mapping[str, str], now: datetime) -> float:
    """Return how long to wait before the next request, 0 where nothing asks for it.

    A `Backoff` header asks for it by itself; a limit does when none of its requests remain: `RateLimit`
    (draft-ietf-httpapi-ratelimit-headers, `r` and `t`), `RateLimit-Remaining` and `-Reset`, and both with `X-`, whose
    reset is a number of seconds, or a moment in seconds since 1970.

    Args:
        headers: The answer's headers, whose names are found in any case or are lower case.
        now: The time.
    """
    backoff = _number(headers.get("backoff"))
    if backoff:
        return min(backoff, _NEVER)
    items = {name[0] if len(name) == 1 else name[2]: text for name, text in _ITEM.findall(headers.get("ratelimit", ""))}
    told = [(items.get("r", items.get("m")), items.get("t", items.get("s")))]
    told += [
        (headers.get(f"{prefix}ratelimit-remaining"), headers.get(f"{prefix}ratelimit-reset")) for prefix in ("", "x-")
    ]
    for left, reset in told:
        seconds = _number(reset)
        if _number(left) == 0 and seconds is not None:
            return max(0.0, min(seconds - now.timestamp() if seconds > _EPOCH else seconds, _NEVER))
    return 0.0
