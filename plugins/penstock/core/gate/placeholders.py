"""The placeholders in a contract's queries: `{name}` or `${name}`; `{{` and `}}` are braces."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

_PLACEHOLDER: Final = re.compile(r"\$?\{(\w+)\}|\{\{|\}\}")


def parts_of(template: str) -> Iterator[tuple[str, bool]]:
    """Yield the parts of a query in order: a text and whether it is the name of a placeholder."""
    at = 0
    for found in _PLACEHOLDER.finditer(template):
        yield template[at : found.start()], False
        yield (found[1], True) if found[1] is not None else (found[0][0], False)
        at = found.end()
    yield template[at:], False


def names_in(template: str) -> list[str]:
    """Return the names of a query's placeholders, in order."""
    return [text for text, is_name in parts_of(template) if is_name]
