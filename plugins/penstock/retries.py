"""Which failures are worth another try, and when."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk.definitions.retry_policy import RetryDecision, RetryPolicy

from penstock.core.errors import PenstockError, SourceThrottled

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context


class SliceRetryPolicy(RetryPolicy):
    """Fails at once what another try cannot help, and waits as long as a source asks for.

    Every `PenstockError` says of itself whether it is worth a retry (see `penstock.core.errors`); anything else
    follows the task's own `retries` and back-off.
    """

    def evaluate(
        self,
        exception: BaseException,
        try_number: int,  # noqa: ARG002
        max_tries: int,  # noqa: ARG002
        context: Context | None = None,  # noqa: ARG002
    ) -> RetryDecision:
        """Decide on one failure."""
        if isinstance(exception, SourceThrottled) and exception.retry_after is not None:
            delay = timedelta(seconds=exception.retry_after)
            return RetryDecision.retry(delay, f"the source asked for {exception.retry_after:g} s")
        if isinstance(exception, PenstockError) and not exception.retryable:
            return RetryDecision.fail(f"{type(exception).__name__}: another try would end the same way")
        return RetryDecision.default()

    def serialize(self) -> dict[str, Any]:
        """Return nothing: the policy has no settings, and the scheduler never asks it."""
        return {}
