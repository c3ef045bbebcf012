"""Which texts are sure to be values of the contract's types, found column by column before Postgres sees them.

What is proved here can be copied into columns of the contract's own types: the gate would cast each of these texts, to
the same value. What is not proved may still be good; `gate.text_values` decides on it, text by text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from penstock.core.contract.model import Column

if TYPE_CHECKING:
    import pyarrow

_YEAR: Final = "[1-9][0-9]{3}"
_LEAP_YEAR: Final = "(?:[1-9][0-9](?:0[48]|[2468][048]|[13579][26])|(?:[2468][048]|[13579][26])00)"
_DAY: Final = (
    f"(?:{_YEAR}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
    f"|02-(?:0[1-9]|1[0-9]|2[0-8]))|{_LEAP_YEAR}-02-29)"
)
_TIME: Final = r"(?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:\.[0-9]{1,6})?)?"
_OFFSET: Final = "(?:Z|[+-](?:0[0-9]|1[0-4])(?::?[0-5][0-9])?)"
_HEX: Final = "[0-9a-fA-F]"
_PATTERNS: Final = {
    "smallint": "[+-]?[0-9]{1,4}",
    "integer": "[+-]?[0-9]{1,9}",
    "bigint": "[+-]?[0-9]{1,18}",
    "numeric": r"[+-]?[0-9]{1,100}(?:\.[0-9]{1,100})?",
    "real": r"[+-]?[0-9]{1,15}(?:\.[0-9]{1,15})?",
    "double precision": r"[+-]?[0-9]{1,15}(?:\.[0-9]{1,15})?",
    "boolean": "(?i:true|t|yes|y|on|1|false|f|no|n|off|0)",
    "date": _DAY,
    "timestamp without time zone": f"{_DAY}[ T]{_TIME}",
    "timestamp with time zone": f"{_DAY}[ T]{_TIME}{_OFFSET}",
    "time without time zone": _TIME,
    "uuid": f"{_HEX}{{8}}-(?:{_HEX}{{4}}-){{3}}{_HEX}{{12}}",
    "text": "",
}
"""Regular expressions (RE2) by type; what matches is a value. Empty where any text is."""
_NUMERIC: Final = re.compile(r"numeric\((\d+),(\d+)\)")


class NotProved(Exception):
    """Some text may not be a value of its column: the rows are to be staged as text."""


def pattern_of(column: Column) -> str | None:
    """Return the regular expression (RE2) of texts that are sure to be values of a column; None where there is none."""
    if column.unit or column.format:
        return None
    if sized := _NUMERIC.fullmatch(column.type):
        digits, scale = int(sized[1]) - int(sized[2]), int(sized[2])
        fraction = rf"(?:\.[0-9]{{1,{scale}}})?" if scale else ""
        return f"[+-]?[0-9]{{1,{digits}}}{fraction}" if digits > 0 else None
    return _PATTERNS.get(column.type)


def unproved(columns: Sequence[Column], texts: pyarrow.Table) -> list[str]:
    """Return the names of the columns of which any text is not sure to be a value.

    Args:
        columns: The contract's columns, in the order of the table's.
        texts: A column of strings for each; null is no text.
    """
    return [
        column.name for column, values in zip(columns, texts.columns, strict=True) if not _is_proved(column, values)
    ]


def _is_proved(column: Column, texts: pyarrow.ChunkedArray) -> bool:
    from pyarrow import compute

    pattern = pattern_of(column)
    if not pattern:
        return pattern is not None
    matches = compute.match_substring_regex(texts, rf"\A(?:{pattern})\z")
    return compute.all(matches).as_py() is not False
