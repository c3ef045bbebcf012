"""Which failures are tried again."""

import pytest
from airflow.sdk.definitions.retry_policy import RetryAction

from penstock.core import errors
from penstock.retries import SliceRetryPolicy

EVERY_ERROR = [
    value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, errors.PenstockError)
]


def _decide(error: BaseException) -> tuple[RetryAction, float | None]:
    decision = SliceRetryPolicy().evaluate(error, try_number=1, max_tries=4)
    return decision.action, decision.retry_delay.total_seconds() if decision.retry_delay else None


@pytest.mark.parametrize("kind", EVERY_ERROR)
def test_follows_what_each_error_says_of_itself(kind: type[errors.PenstockError]) -> None:
    """An error that another try cannot help fails at once; the others follow the task's own back-off."""
    error = kind.__new__(kind)
    error.retry_after = None  # type: ignore[attr-defined]
    assert _decide(error) == (RetryAction.DEFAULT if kind.retryable else RetryAction.FAIL, None)


def test_contract_credentials_and_refusals_fail_at_once() -> None:
    """The kinds that are named in the README as failing at once do."""
    for kind in (errors.ContractError, errors.CredentialsError, errors.SliceRefused, errors.SchemaMismatch):
        assert not kind.retryable
    for kind in (errors.SourceError, errors.SourceUnavailable, errors.SourceThrottled, errors.PublishBlocked):
        assert kind.retryable


def test_waits_as_long_as_the_source_asks() -> None:
    """`Retry-After` becomes the delay of the next try."""
    error = errors.SourceThrottled("busy", retry_after=90)
    assert _decide(error) == (RetryAction.RETRY, 90.0)


def test_leaves_other_errors_to_the_task() -> None:
    """An error that is not Penstock's follows the task's own settings."""
    assert _decide(RuntimeError("?")) == (RetryAction.DEFAULT, None)
