"""Where the server's binaries are, and who may use them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from penstock.local import binaries
from penstock.local.binaries import ServerUser, make_shelter, program, server_user, shelter_for
from penstock.local.errors import PostgresError


def test_the_package_is_not_imported() -> None:
    """Finding the binaries does not import their package, which would do things of its own."""
    code = (
        "import sys; from penstock.local.binaries import program; program('psql');"
        f"assert {binaries.PACKAGE!r} not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": "plugins"})


def test_the_bundled_psql_runs() -> None:
    """The client programs come with the server and are of Postgres 18."""
    done = subprocess.run([program("psql"), "--version"], capture_output=True, text=True, check=True)
    assert "PostgreSQL) 18" in done.stdout


def test_a_missing_package_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package the error names it and the command that installs it."""
    monkeypatch.setattr(binaries, "PACKAGE", "no_such_package")
    with pytest.raises(PostgresError, match="make demo"):
        program("psql")


def test_a_shelter_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that already has the predictable name below /var/tmp is never used, not even through a link."""
    monkeypatch.setattr(binaries, "SHELTER_PARENT", tmp_path)
    home = tmp_path / "home"
    (tmp_path / "elsewhere").mkdir()
    shelter_for(home).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PostgresError, match="not ours"):
        make_shelter(home, ServerUser())


def test_root_has_the_server_run_by_another_user() -> None:
    """Postgres refuses root, so root's server belongs to an unprivileged user; anybody else's to themselves."""
    assert (server_user().uid is None) == (os.geteuid() != 0)
