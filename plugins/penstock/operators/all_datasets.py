"""What the platform's tasks over all datasets share: one dataset's failure does not keep the others from their turn."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from penstock.core.contract import Contract
from penstock.core.errors import PenstockError
from penstock.project import contract_of, datasets

_Result = TypeVar("_Result")


def over_all_datasets(
    work: Callable[[Contract], _Result | None], log_error: Callable[..., object]
) -> dict[str, _Result]:
    """Do something with the contract of each dataset; return the results that are not None, by dataset.

    Args:
        work: What is done.
        log_error: The task's `log.error`.

    Raises:
        PenstockError: The first of the datasets' failures, after all have had their turn; the others are logged.
    """
    done: dict[str, _Result] = {}
    failures: list[PenstockError] = []
    for name in datasets():
        try:
            result = work(contract_of(name))
        except PenstockError as error:
            log_error("%s: %s", name, error)
            failures.append(error)
        else:
            if result is not None:
                done[name] = result
    if failures:
        raise failures[0]
    return done
