"""Where things are."""

from pathlib import Path

from penstock.local.layout import PROJECT, Layout


def test_the_state_is_in_the_checkout_unless_moved(tmp_path: Path) -> None:
    """`.penstock` in the checkout, or where PENSTOCK_HOME says."""
    assert Layout.find({}).home == PROJECT / ".penstock"
    assert Layout.find({"PENSTOCK_HOME": str(tmp_path)}).home == tmp_path


def test_the_state_is_ignored_by_git() -> None:
    """Run-time state and the venv are never committed."""
    ignored = (PROJECT / ".gitignore").read_text(encoding="utf-8").split()
    assert {"/.penstock/", "/.venv/", "/.env"} <= set(ignored)


def test_removing_spares_what_is_not_ours(tmp_path: Path) -> None:
    """In a folder that the user named, files of the user's survive `make clean`."""
    layout = Layout(PROJECT, tmp_path)
    for folder in (layout.logs, layout.secrets):
        folder.mkdir()
    (tmp_path / "ports.json").touch()
    (tmp_path / "thesis.txt").touch()
    layout.remove()
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_our_own_folder_goes_whole(tmp_path: Path) -> None:
    """`.penstock` is deleted with all that is in it."""
    layout = Layout(tmp_path, tmp_path / ".penstock")
    (layout.home / "lake" / "deep").mkdir(parents=True)
    layout.remove()
    assert not layout.home.exists()
