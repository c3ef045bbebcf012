"""Fixtures that everybody needs: a real Postgres for the session, a fresh database for each test."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.local.postgres import EmbeddedPostgres

pytest_plugins = ["tests.httpbin", "tests.integration.platform", "tests.mariadb", "tests.operators.contexts"]


@pytest.fixture(scope="session")
def pg() -> Iterator[EmbeddedPostgres]:
    """An embedded Postgres outside the checkout, removed after the session."""
    home = Path(tempfile.mkdtemp(prefix="penstock-test-"))
    home.chmod(0o711)  # for root, the server runs as an ordinary user who must pass through
    server = EmbeddedPostgres(home / "postgres", durable=False, first_port=25432)
    try:
        yield server.start()
    finally:
        server.remove()
        home.rmdir()


@pytest.fixture
def warehouse(pg: EmbeddedPostgres) -> Iterator[str]:
    """The URI of a fresh, empty database."""
    dsn = pg.create_database()
    yield dsn
    pg.drop_database(dsn.rsplit("/", 1)[1])


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """In CI a skipped test is a failure: what is not run there is run nowhere."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    if os.environ.get("CI") and skipped and exitstatus == 0:
        reporter.write_line(f"{len(skipped)} skipped: in CI that is a failure", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
