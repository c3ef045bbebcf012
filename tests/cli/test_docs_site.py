"""Data Docs from the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def test_a_site_is_built_where_asked(cli: Any, loaded: Any, tmp_path: Path) -> None:
    """The first page is printed, and is there."""
    said = cli("docs-site", "commerce/order_lines", "--to", str(tmp_path / "site"))
    assert said.code == 0, said.err
    page = Path(said.out.strip().splitlines()[-1])
    assert page.is_file()
    assert page.is_relative_to(tmp_path)
