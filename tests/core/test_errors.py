"""Errors say where, what, and what to do next; and whether another try could help."""

from __future__ import annotations

import inspect

import pytest

from penstock.core import errors
from penstock.core.errors import ContractError, PenstockError, SourceThrottled

TREE = [found for _, found in inspect.getmembers(errors, inspect.isclass) if issubclass(found, PenstockError)]


def test_an_error_says_where_what_and_what_next() -> None:
    """Dataset, slice, message and next step are in the text, each only where it is known."""
    full = PenstockError("It broke.", dataset="a/b", slice_key="2026-01-01", next_step="mend it.")
    assert str(full) == "[a/b 2026-01-01] It broke. Next: mend it."
    assert str(PenstockError("It broke.", dataset="a/b")) == "[a/b] It broke."
    assert str(PenstockError("It broke.")) == "It broke."
    assert (full.message, full.dataset, full.slice_key, full.next_step) == (
        "It broke.",
        "a/b",
        "2026-01-01",
        "mend it.",
    )


def test_a_contract_error_lists_its_problems() -> None:
    """One line per problem, and the command that checks again."""
    error = ContractError(["a: b: c", "d: e: f"])
    assert error.problems == ["a: b: c", "d: e: f"]
    assert str(error) == "a: b: c\nd: e: f Next: mend the contract and run `make check`."


def test_a_throttled_source_says_for_how_long() -> None:
    """The seconds to wait travel with the error; the rest is as in any other."""
    error = SourceThrottled("Slow down.", retry_after=1.5, dataset="a/b")
    assert (error.retry_after, str(error)) == (1.5, "[a/b] Slow down.")


@pytest.mark.parametrize("error", TREE, ids=lambda error: error.__name__)
def test_the_tree_in_the_module_is_the_tree(error: type[PenstockError]) -> None:
    """The drawing at the top of the module names every error and says truly whether it is retried."""
    if error is PenstockError:
        return
    drawing = [line for line in (errors.__doc__ or "").splitlines() if "── " in line]
    (line,) = [line for line in drawing if line.split("── ")[1].startswith(f"{error.__name__} ")]
    assert ("is retried" in line) is error.retryable
    assert ("fails at once" in line) is not error.retryable
    parent = error.__mro__[1].__name__
    assert parent == ("SourceError" if line.startswith("    ") else "PenstockError")
