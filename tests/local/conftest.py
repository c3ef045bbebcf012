"""Fixtures of the one-machine stack's tests."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from penstock.local.postgres import EmbeddedPostgres

MakeServer = Callable[..., EmbeddedPostgres]


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder that every user may pass through."""
    folder = Path(tempfile.mkdtemp(prefix="penstock-local-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def make_server(home: Path) -> Iterator[MakeServer]:
    """Make servers that are removed after the test; they search for a port where no other test does."""
    made: list[EmbeddedPostgres] = []

    def make(name: str = "postgres", *, below: Path | None = None, durable: bool = False) -> EmbeddedPostgres:
        made.append(EmbeddedPostgres((below or home) / name, durable=durable, first_port=26432))
        return made[-1]

    yield make
    for server in made:
        server.remove()
