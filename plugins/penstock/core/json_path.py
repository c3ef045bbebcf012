"""JSON paths in the form of RFC 9535; the leading `$.` may be left out: `data.items`, `['@odata.nextLink']`."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any


@lru_cache(maxsize=256)
def _finder(path: str) -> Callable[[Any], list[Any]]:
    import jsonpath

    whole = path if path.startswith("$") else f"${path}" if path.startswith("[") or not path else f"$.{path}"
    try:
        found: Callable[[Any], list[Any]] = jsonpath.compile(whole).findall
    except jsonpath.JSONPathError as error:
        raise ValueError(f"{path!r} is no JSON path: {str(error).splitlines()[0]}") from error
    return found


def find_all(path: str, value: Any) -> list[Any]:
    """Return all that stands at a path; nothing where the value is not of that shape.

    Raises:
        ValueError: It is no JSON path.
    """
    return _finder(path)(value)


def find_one(path: str, value: Any) -> Any:
    """Return the first of what stands at a path, or None.

    Raises:
        ValueError: It is no JSON path.
    """
    return next(iter(find_all(path, value)), None)
