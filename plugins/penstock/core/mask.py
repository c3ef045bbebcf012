"""How single values are shown to people, by the contract's `mask`.

`redact` shows that there is a value, `hash` lets equal values be recognised, `partial` shows its last four
characters where it has at least eight. A hash of what can be guessed (a telephone number, a birthday) can be
undone by guessing: take `redact` for those.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from penstock.core.contract.model import Contract, Mask

EXTRA: Final = "$extra"
"""Key of a quarantined payload that holds the fields which the contract does not name."""

_HIDDEN: Final = "•••"
_SHOWN: Final = 4
_LONG_ENOUGH: Final = 2 * _SHOWN
_HASH_DIGITS: Final = 16


def mask_value(mask: Mask, value: str, *, salt: str) -> str:
    """Return a value as people may see it.

    Args:
        mask: The mask.
        value: The value, as text.
        salt: What keeps equal values of different columns apart, such as dataset and column.
    """
    if mask is Mask.HASH:
        return (
            "sha256:" + hashlib.sha256(f"{salt}\n{value}".encode("utf-8", "surrogatepass")).hexdigest()[:_HASH_DIGITS]
        )
    if mask is Mask.PARTIAL and len(value) >= _LONG_ENOUGH:
        return _HIDDEN + value[-_SHOWN:]
    return _HIDDEN


def mask_payload(contract: Contract, payload: Mapping[str, Any]) -> dict[str, Any]:
    """Return a quarantined payload as people may see it.

    Of fields that the contract does not name nothing is known, so they are redacted as soon as it masks any column.
    """
    masks = {column.name: column.mask for column in contract.columns if column.mask}
    shown = dict(payload)
    for name, mask in masks.items():
        if shown.get(name) is not None:
            shown[name] = mask_value(mask, str(shown[name]), salt=f"{contract.dataset}.{name}")
    if masks and isinstance(shown.get(EXTRA), Mapping):
        shown[EXTRA] = {name: None if value is None else _HIDDEN for name, value in shown[EXTRA].items()}
    return shown
