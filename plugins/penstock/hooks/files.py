"""Files as sources: on this machine, in object storage, or on the web."""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from penstock.core.errors import CredentialsError, SourceError, SourceThrottled, SourceUnavailable
from penstock.core.file_ledger import SourceFile
from penstock.core.rate_limit import retry_after_seconds
from penstock.project import ROOT

if TYPE_CHECKING:
    import httpx

_BLOCK_BYTES: Final = 1 << 20
_TIMEOUT_SECONDS: Final = 60.0
_MISSING: Final = "nothing if it is only late: the task is retried; else correct `path` in the DAG."
_AGAIN: Final = "nothing if it comes back: the task is retried."


def read_blocks(path: str) -> Generator[bytes]:
    """Read a file block by block.

    Args:
        path: `http(s)://…`, any other URL that Airflow's object storage knows (`s3://conn_id@bucket/key`), or a path on
            this machine; a relative one lies below the project.

    Raises:
        CredentialsError: The other side knows us not.
        SourceThrottled: The other side asks to wait.
        SourceUnavailable: No connection, a time-out or a 5xx.
        SourceError: There is no such file.
    """
    if path.startswith(("http://", "https://")):
        yield from _from_web(path)
    else:
        yield from _from_storage(path)


def is_pattern(path: str) -> bool:
    """Tell whether a path stands for several files."""
    return not path.startswith(("http://", "https://")) and any(mark in path for mark in "*?[")


def list_files(pattern: str) -> list[SourceFile]:
    """Return the files that match a path with `*`, `?`, `[…]` or `**`, in the order of their paths.

    Raises:
        SourceError: There is no such folder.
        CredentialsError: The folder may not be read.
    """
    from airflow.sdk import ObjectStoragePath

    whole = pattern if "://" in pattern else f"file://{ROOT / pattern}"
    fixed, _, rest = whole.partition("://")
    parts = rest.split("/")
    first = next(number for number, part in enumerate(parts) if any(mark in part for mark in "*?["))
    folder = ObjectStoragePath(f"{fixed}://{'/'.join(parts[:first])}")
    try:
        found = [_listed(path) for path in folder.glob("/".join(parts[first:])) if path.is_file()]
    except (FileNotFoundError, NotADirectoryError) as error:
        raise SourceError(f"There is no folder {folder}.", next_step=_MISSING) from error
    except PermissionError as error:
        raise CredentialsError(
            f"{folder} may not be read: {error}.", next_step="allow it and clear the task."
        ) from error
    return sorted(found, key=lambda file: file.path)


def new_files(path: str, known: Collection[str] = ()) -> list[str]:
    """Return the files of a path, or of a pattern, that are there and not known; none where there is no folder yet.

    Raises:
        CredentialsError: The folder may not be read.
    """
    from airflow.sdk import ObjectStoragePath

    if not is_pattern(path):
        return [path] if ObjectStoragePath(path if "://" in path else f"file://{ROOT / path}").is_file() else []
    try:
        found = list_files(path)
    except SourceError:
        return []
    return [file.path for file in found if file.path not in {*known}]


def _listed(path: Any) -> SourceFile:
    told = path.stat()
    mark = next((told[name] for name in ("ETag", "etag", "mtime", "LastModified") if name in told), "")
    return SourceFile(str(path), int(told.st_size), str(mark))


def _from_storage(path: str) -> Iterator[bytes]:
    from airflow.sdk import ObjectStoragePath

    found: Any = ObjectStoragePath(path if "://" in path else f"file://{ROOT / path}")
    try:
        with found.open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                yield bytes(block)
    except (FileNotFoundError, IsADirectoryError) as error:
        raise SourceError(f"There is no file {path}.", next_step=_MISSING) from error
    except PermissionError as error:
        raise CredentialsError(
            f"The file {path} may not be read: {error}.", next_step="allow it and clear the task."
        ) from error


def _from_web(url: str) -> Iterator[bytes]:
    import httpx

    try:
        with httpx.stream("GET", url, timeout=_TIMEOUT_SECONDS, follow_redirects=True) as response:
            _check(response, url)
            yield from response.iter_bytes(_BLOCK_BYTES)
    except httpx.TransportError as error:
        raise SourceUnavailable(f"No answer from {url}: {type(error).__name__}: {error}", next_step=_AGAIN) from error
    except (httpx.InvalidURL, httpx.TooManyRedirects) as error:
        raise SourceError(f"{url} cannot be fetched: {error}.", next_step="correct `path` in the DAG.") from error


def _check(response: httpx.Response, url: str) -> None:
    status = response.status_code
    if status in (401, 403):
        raise CredentialsError(f"{url} answered {status}.", next_step="correct the URL's credentials, clear the task.")
    if status in (404, 410):
        raise SourceError(f"There is no file {url}: the server answered {status}.", next_step=_MISSING)
    wait = retry_after_seconds(response.headers.get("Retry-After"), datetime.now(UTC))
    if status == 429 or (status == 503 and wait is not None):  # noqa: PLR2004 - HTTP statuses
        raise SourceThrottled(f"{url} answered {status} and asks to wait.", retry_after=wait)
    if status >= 500:  # noqa: PLR2004
        raise SourceUnavailable(f"{url} answered {status}.", next_step=_AGAIN)
    if status != 200:  # noqa: PLR2004
        raise SourceError(f"{url} answered {status}.")
