"""Lengths of time in contracts."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from penstock.core.gate.spans import read_span


@pytest.mark.parametrize(
    ("text", "span"),
    [("6 hours", timedelta(hours=6)), ("1 day", timedelta(days=1)), ("1.5 hours", timedelta(minutes=90)),
     ("90minutes", timedelta(minutes=90)), ("2 weeks", timedelta(weeks=2))],
)  # fmt: skip
def test_spans_are_read(text: str, span: timedelta) -> None:
    """A number and a unit, in singular or plural."""
    assert read_span(text) == span


@pytest.mark.parametrize("text", ["soon", "6", "6 months", "-1 day", "1 day ago", 6, None])
def test_what_is_no_span_is_refused(text: Any) -> None:
    """A month has no length; nothing else is guessed."""
    with pytest.raises(ValueError, match="length of time"):
        read_span(text)
