"""Secrets in files."""

import os
from pathlib import Path

import pytest

from penstock.local.secrets_store import keep_secret, write_private


def test_a_secret_is_made_once(tmp_path: Path) -> None:
    """The second look gives what the first made, whatever would be made now."""
    path = tmp_path / "secrets" / "key"
    assert keep_secret(path, lambda: "first") == "first"
    assert keep_secret(path, lambda: "second") == "first"


def test_no_other_user_can_read_it(tmp_path: Path) -> None:
    """The mode is 0600 under any umask, also where a file that was open to all is written again."""
    path = tmp_path / "key"
    path.write_text("old", encoding="utf-8")
    path.chmod(0o644)
    before = os.umask(0)
    try:
        write_private(path, "new")
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text(encoding="utf-8") == "new"


def test_a_planted_link_is_not_followed(tmp_path: Path) -> None:
    """A link with the name of the file being written cannot send the secret elsewhere."""
    (tmp_path / f"key.{os.getpid()}").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        write_private(tmp_path / "key", "secret")
    assert not (tmp_path / "elsewhere").exists()
