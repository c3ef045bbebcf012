"""Values are shown to people only as the contract's masks allow."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.core.contract.model import Mask
from penstock.core.mask import EXTRA, mask_payload, mask_value

SECRET = "GB29 NWBK 6016 1331 9268 19"


@pytest.mark.parametrize(
    ("mask", "value", "shown"),
    [
        (Mask.REDACT, SECRET, "•••"),
        (Mask.PARTIAL, SECRET, "•••8 19"),
        (Mask.PARTIAL, "1234567", "•••"),
        (Mask.PARTIAL, "12345678", "•••5678"),
    ],
)
def test_a_mask_hides_the_value(mask: Mask, value: str, shown: str) -> None:
    """Of a redacted value nothing is shown; of a long one under `partial`, its last four characters."""
    assert mask_value(mask, value, salt="a.b") == shown


def test_a_hash_lets_equal_values_be_recognised_within_a_column() -> None:
    """Equal values give equal hashes, other values and other columns others; the value itself is not in it."""
    hashes = [
        mask_value(Mask.HASH, value, salt=salt) for value, salt in (("x1", "a"), ("x1", "a"), ("x2", "a"), ("x1", "b"))
    ]
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 3
    assert all("x1" not in found and found.startswith("sha256:") for found in hashes)


def test_a_value_that_is_no_unicode_can_be_hashed() -> None:
    """A lone surrogate, as a broken source may send it, does not stop the page from being shown."""
    assert mask_value(Mask.HASH, "\ud800", salt="a").startswith("sha256:")


def masked(build: Any, mask: str) -> Any:
    """The orders' contract with a mask on the code."""
    return build.contract(
        build.ORDERS,
        lambda d: d["schema"][0]["properties"][1].update(customProperties=[{"property": "mask", "value": mask}]),
    )


def test_only_the_masked_columns_of_a_payload_change(build: Any) -> None:
    """NULL stays NULL, other columns stay as they were, and the payload that was given is not changed."""
    contract = masked(build, "redact")
    payload = {"order_id": "1", "code": SECRET, "amount": None}
    assert mask_payload(contract, payload) == {"order_id": "1", "code": "•••", "amount": None}
    assert mask_payload(contract, {"code": None}) == {"code": None}
    assert payload["code"] == SECRET


def test_unknown_fields_are_hidden_where_anything_is_masked(build: Any) -> None:
    """What the contract does not name may be anything: it is shown only by a contract that masks nothing."""
    payload = {"code": "A100", EXTRA: {"e-mail": SECRET, "none": None}}
    assert mask_payload(masked(build, "redact"), payload)[EXTRA] == {"e-mail": "•••", "none": None}
    assert mask_payload(build.contract(build.ORDERS), payload) == payload
