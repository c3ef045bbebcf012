"""How dates and times are written: ISO 8601, or a pattern in the letters of the standard (JDK `DateTimeFormatter`).

A pattern becomes a regular expression of Postgres and a rearrangement of its groups to ISO 8601, so that a whole
column is read set-wise. What could be read in two ways (`yy`, `hh`, month names in some language) is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_LETTERS: Final = re.compile(r"'((?:[^']|'')*)'|([A-Za-z])\2*|[^A-Za-z']")
_HOUR: Final = "(?:[01][0-9]|2[0-3])"
_SIXTIETH: Final = "[0-5][0-9]"
_ZONE: Final = "[+-][0-9][0-9]"
_OFFSETS: Final = {
    "X": f"Z|{_ZONE}(?:[0-9][0-9])?",
    "XX": f"Z|{_ZONE}[0-9][0-9]",
    "XXX": f"Z|{_ZONE}:[0-9][0-9]",
    "x": f"{_ZONE}(?:[0-9][0-9])?",
    "xx": f"{_ZONE}[0-9][0-9]",
    "xxx": f"{_ZONE}:[0-9][0-9]",
    "Z": f"{_ZONE}[0-9][0-9]",
}
_FIELDS: Final = {
    "yyyy": ("year", "[0-9]{4}"),
    "uuuu": ("year", "[0-9]{4}"),
    "MM": ("month", "[0-9]{2}"),
    "M": ("month", "[0-9]{1,2}"),
    "dd": ("day", "[0-9]{2}"),
    "d": ("day", "[0-9]{1,2}"),
    "HH": ("hour", _HOUR),
    "H": ("hour", f"{_HOUR}|[0-9]"),
    "mm": ("minute", _SIXTIETH),
    "ss": ("second", _SIXTIETH),
    **{"S" * digits: ("fraction", f"[0-9]{{{digits}}}") for digits in range(1, 7)},
    **{letters: ("offset", shape) for letters, shape in _OFFSETS.items()},
}
_DATE: Final = ("year", "month", "day")
_TIME: Final = ("hour", "minute")
_BEFORE: Final = {"month": "-", "day": "-", "minute": ":", "second": ":", "fraction": "."}


@dataclass(frozen=True, slots=True)
class MomentFormat:
    """A way to write dates or times.

    Attributes:
        regex: Regular expression (Postgres) that the whole text must match; its groups are the parts.
        iso: What `regexp_replace` makes of it: the same moment in ISO 8601.
        has_date: Whether it tells the day.
        has_time: Whether it tells the time of day.
        has_offset: Whether it tells the offset from UTC.
    """

    regex: str
    iso: str
    has_date: bool
    has_time: bool
    has_offset: bool


def moment_format(pattern: str) -> MomentFormat:
    """Return how to read a pattern such as `dd/MM/yyyy HH:mm`.

    Raises:
        ValueError: The pattern is not one that can be read in exactly one way.
    """
    groups: dict[str, int] = {}
    regex, position = "", 0
    for match in _LETTERS.finditer(pattern):
        if match.start() != position:
            break
        position = match.end()
        if match[2] is None:
            literal = match[1].replace("''", "'") or "'" if match[1] is not None else match[0]
            regex += re.escape(literal)
            continue
        if match[0] not in _FIELDS:
            raise ValueError(f"format {pattern!r}: {match[0]!r} is not supported; known are {', '.join(_FIELDS)}")
        name, shape = _FIELDS[match[0]]
        if name in groups:
            raise ValueError(f"format {pattern!r}: the {name} stands twice")
        groups[name] = len(groups) + 1
        regex += f"({shape})"
    if position != len(pattern) or not groups:
        raise ValueError(f"format {pattern!r} is not a pattern of dates and times")
    _check_whole(pattern, groups)
    return MomentFormat(rf"^\s*{regex}\s*$", _iso(groups), "day" in groups, "hour" in groups, "offset" in groups)


def _check_whole(pattern: str, groups: dict[str, int]) -> None:
    """Refuse half a date, half a time, and parts that hang in the air."""
    for parts in (_DATE, _TIME):
        lacking = [part for part in parts if part not in groups]
        if lacking and len(lacking) < len(parts):
            raise ValueError(f"format {pattern!r} lacks the {' and the '.join(lacking)}")
    for part, needs in (("second", "minute"), ("fraction", "second"), ("offset", "hour")):
        if part in groups and needs not in groups:
            raise ValueError(f"format {pattern!r} has the {part} but lacks the {needs}")


def _iso(groups: dict[str, int]) -> str:
    text = "".join(_BEFORE.get(name, "") + rf"\{groups[name]}" for name in _DATE if name in groups)
    if "hour" in groups:
        text += " " if text else ""
        names = ("hour", "minute", "second", "fraction", "offset")
        text += "".join(_BEFORE.get(name, "") + rf"\{groups[name]}" for name in names if name in groups)
    return text


_TIME_OF_DAY: Final = rf"{_HOUR}:{_SIXTIETH}(?::{_SIXTIETH}(?:\.[0-9]{{1,6}}0*)?)?"
_DAY: Final = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_UTC: Final = "(?:[Zz]|[+-]00(?::?00)?)?"
_OFFSET: Final = "(?:[Zz]|[+-][0-9]{2}(?::?[0-9]{2})?)"
NO_OFFSET: Final = rf"^(?!.*[0-9]:[0-9].*{_OFFSET}\s*$)"
"""What a text matches that tells no offset from UTC."""

ISO_8601: Final = {
    "date": rf"^\s*{_DAY}(?:[Tt ]00:00(?::00(?:\.0+)?)?{_UTC})?\s*$",
    "timestamp without time zone": rf"^\s*{_DAY}(?:[Tt ]{_TIME_OF_DAY}{_UTC})?\s*$",
    "timestamp with time zone": rf"^\s*{_DAY}[Tt ]{_TIME_OF_DAY}{_OFFSET}\s*$",
    "time without time zone": rf"^\s*{_TIME_OF_DAY}\s*$",
    "time with time zone": rf"^\s*{_TIME_OF_DAY}{_OFFSET}\s*$",
}
"""By type: what a text must match (regular expressions of Postgres) to say a value of it, and nothing that it loses."""

ISO_LOCAL: Final = rf"^\s*{_DAY}(?:[Tt ]{_TIME_OF_DAY}{_OFFSET}?)?\s*$"
"""Texts of a timestamp that may leave out the offset, or the time of day, which is then midnight."""
