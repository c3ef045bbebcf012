"""Everything that Penstock raises on purpose.

```
PenstockError
├── ContractError          the contract file is wrong                      fails at once
├── SliceError             the run names no slice that can be loaded       fails at once
├── SliceRefused           the gate refused the slice                      fails at once
├── StageMissing           an earlier task of the run must run again       fails at once
├── SchemaMismatch         source, contract and table disagree             fails at once
├── MigrationRefused       the table cannot be brought to the contract     fails at once
├── QuarantineError        no such row, or it cannot be changed so         fails at once
├── RemovalRefused         the slice cannot be dropped                     fails at once
├── CredentialsError       the other side knows us not                     fails at once
├── PagingError            the pages of an API have no end or no order     fails at once
├── AirflowApiError        Airflow's API did not do what it was asked for  fails at once
├── PublishBlocked         readers hold the table for too long             is retried
├── StageBusy              another try of the task is at work              is retried
└── SourceError            the source did not give what was asked for      is retried
    ├── SourceUnavailable  no connection, a time-out, a 5xx                is retried
    └── SourceThrottled    asked to wait; carries for how long             is retried after that
```

`docs/errors.md` says for each what it means and what to do next.
"""

from __future__ import annotations

from typing import ClassVar


class PenstockError(Exception):
    """Base of all errors that Penstock raises on purpose.

    Args:
        message: What is wrong, with the figures that show it.
        dataset: The dataset concerned, as `<domain>/<table>`.
        slice_key: The slice concerned.
        next_step: What the reader should do now.
    """

    retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        dataset: str | None = None,
        slice_key: str | None = None,
        next_step: str | None = None,
    ) -> None:
        self.message = message
        self.dataset = dataset
        self.slice_key = slice_key
        self.next_step = next_step
        super().__init__(message)

    def __str__(self) -> str:
        where = " ".join(part for part in (self.dataset, self.slice_key) if part)
        text = f"[{where}] {self.message}" if where else self.message
        return f"{text} Next: {self.next_step}" if self.next_step else text


class ContractError(PenstockError):
    """A contract breaks the standard or asks for what cannot be done.

    Args:
        problems: One line per problem: file, field, what is wrong.
    """

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems), next_step="mend the contract and run `make check`.")


class SliceError(PenstockError):
    """The run names no slice that can be loaded."""


class SliceRefused(PenstockError):
    """The gate refused the slice; what was published before stays as it was."""


class StageMissing(PenstockError):
    """The task needs rows that an earlier task of the same run has not staged."""


class SchemaMismatch(PenstockError):
    """Source, contract and warehouse table do not fit together."""


class MigrationRefused(PenstockError):
    """A table cannot be brought to its contract now, or not without losing values; nothing was changed."""


class QuarantineError(PenstockError):
    """Quarantined rows that are asked for are not there, or cannot be changed as asked."""


class RemovalRefused(PenstockError):
    """A slice cannot be dropped, or there is nothing of it; nothing was removed."""


class CredentialsError(PenstockError):
    """A server refused the credentials of a connection; asking again would not help."""


class PagingError(PenstockError):
    """The pages of an API repeat, go round or have no end, or nothing tells how to ask for the next one."""


class AirflowApiError(PenstockError):
    """Airflow's REST API could not be reached, refused the login, or refused what it was asked for.

    Args:
        message: What it answered.
        status: The HTTP status; None where there was no answer.
        dataset: The dataset concerned.
        next_step: What the reader should do now.
    """

    def __init__(
        self, message: str, *, status: int | None = None, dataset: str | None = None, next_step: str | None = None
    ) -> None:
        self.status = status
        super().__init__(message, dataset=dataset, next_step=next_step)


class PublishBlocked(PenstockError):
    """Readers held the table for longer than publish may wait; nothing was changed."""

    retryable = True


class StageBusy(PenstockError):
    """Another try of the same task does the work of this one, or has done it; nothing was changed."""

    retryable = True


class SourceError(PenstockError):
    """The source answered, but not with what was asked for."""

    retryable = True


class SourceUnavailable(SourceError):
    """The source could not be reached, timed out, or answered 5xx."""


class SourceThrottled(SourceError):
    """The source asked to be left alone for a while.

    Args:
        message: What the source said.
        retry_after: Seconds to wait before the next request; None where the source did not say.
        dataset: The dataset concerned.
        slice_key: The slice concerned.
    """

    def __init__(
        self,
        message: str,
        *,
        retry_after: float | None,
        dataset: str | None = None,
        slice_key: str | None = None,
    ) -> None:
        self.retry_after = retry_after
        super().__init__(message, dataset=dataset, slice_key=slice_key)
