"""`strftime` formats as a regular expression and a rearrangement to ISO 8601, both of Postgres.

Only what means the same everywhere is read: numbered parts. What Python reads by its locale
(`%p`, `%A`, `%c` …) or as another calendar (`%U`, `%j`) is refused.
"""

from __future__ import annotations

import re
from typing import Final

_PARTS: Final = {
    "Y": "[0-9]{4}",
    "m": "1[0-2]|0[1-9]|[1-9]",
    "d": "3[01]|[12][0-9]|0[1-9]|[1-9]",
    "H": "2[0-3]|[01][0-9]|[0-9]",
    "M": "[0-5][0-9]|[0-9]",
    "S": "[0-5][0-9]|[0-9]",
    "f": "[0-9]{1,6}",
}
_ELSE: Final = {"Y": "1900", "m": "1", "d": "1", "H": "0", "M": "0", "S": "0", "f": "0"}
_SPECIAL: Final = re.compile(r"([\\.^$*+?()\[\]{}|])")
_TOKEN: Final = re.compile(r"%(.)|(\s+)|([^%\s]+)", re.DOTALL)
KNOWN: Final = "%Y %m %d %H %M %S %f %%"
"""The parts that a format may have."""


def read_strftime(format_: str) -> tuple[str, str]:
    r"""Return a regular expression that a text of the format matches, and its rearrangement to an ISO timestamp.

    The rearrangement refers to the groups as `\1`, `\2` …; whether there is such a day the pattern does not say.

    Raises:
        ValueError: The format has parts that are not understood, or one twice.
    """
    pattern = ""
    groups: dict[str, str] = {}
    for token in _TOKEN.finditer(format_):
        part, space, literal = token.groups()
        if part == "%":
            pattern += "%"
        elif part in _PARTS and part not in groups:
            groups[part] = rf"\{len(groups) + 1}"
            pattern += f"({_PARTS[part]})"
        elif part is not None:
            raise ValueError(f"format {format_!r}: %{part} is not one of {KNOWN}, or stands twice")
        else:
            pattern += r"\s+" if space else _SPECIAL.sub(r"\\\1", literal)
    if not groups:
        raise ValueError(f"format {format_!r} has none of {KNOWN}")
    stated = {**_ELSE, **groups}
    iso = "{Y}-{m}-{d} {H}:{M}:{S}.{f}".format(**stated)
    return f"^{pattern}$", iso
