"""The making of `.venv`."""

import subprocess
import sys
from pathlib import Path

import pytest

from penstock.local import bootstrap


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with locks and a venv without packages, in a folder with a blank in its name."""
    tmp_path /= "a project"
    tmp_path.mkdir()
    for lock in bootstrap.CONTAINS:
        (tmp_path / lock).write_text("", encoding="utf-8")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / ".venv"], check=True)
    monkeypatch.setattr(bootstrap, "ROOT", tmp_path)
    monkeypatch.setattr(bootstrap, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(bootstrap, "VENV_PYTHON", tmp_path / ".venv" / "bin" / "python")
    monkeypatch.setattr(bootstrap, "STAMP", tmp_path / ".venv" / "penstock-locks")
    return tmp_path


def stamp(lock: str) -> None:
    """Note `lock` as installed."""
    bootstrap.STAMP.write_text(f"{lock} {bootstrap.fingerprint(lock)}\n", encoding="utf-8")


def test_the_development_venv_serves_the_demo(project: Path) -> None:
    """`make demo` after `make test` installs nothing; the other way round does."""
    stamp("requirements-dev.lock")
    assert bootstrap.is_installed("requirements.lock")
    assert bootstrap.is_installed("requirements-dev.lock")
    stamp("requirements.lock")
    assert bootstrap.is_installed("requirements.lock")
    assert not bootstrap.is_installed("requirements-dev.lock")


def test_a_changed_lock_is_noticed(project: Path) -> None:
    """After a change of either lock the venv is out of date."""
    stamp("requirements-dev.lock")
    (project / "requirements.lock").write_text("new==1\n", encoding="utf-8")
    assert not bootstrap.is_installed("requirements.lock")
    assert not bootstrap.is_installed("requirements-dev.lock")


def test_a_venv_whose_python_is_gone_is_made_anew(project: Path) -> None:
    """An interpreter that was uninstalled leaves a venv that does not start."""
    stamp("requirements.lock")
    bootstrap.VENV_PYTHON.unlink()
    assert not bootstrap.is_installed("requirements.lock")


def test_too_old_a_python_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The message names the versions that do and how to name another interpreter."""
    monkeypatch.setattr(sys, "version_info", (3, 9, 1))
    with pytest.raises(SystemExit):
        bootstrap.check_python()
    said = capsys.readouterr().err
    assert "3.11 to 3.13" in said
    assert "PYTHON=" in said


def test_the_venv_has_the_command(project: Path) -> None:
    """`.venv/bin/penstock` and `python -m penstock` work from anywhere, without PYTHONPATH, below any folder."""
    (project / "plugins" / "penstock").mkdir(parents=True)
    (project / "plugins" / "penstock" / "__main__.py").write_text("import sys; print(sys.argv[1:])", encoding="utf-8")
    for _ in range(2):
        bootstrap.add_command()
        for command in ([".venv/bin/penstock"], [".venv/bin/python", "-m", "penstock"]):
            done = subprocess.run(
                [project / command[0], *command[1:], "a b"],
                cwd="/",
                env={"PATH": "/usr/bin:/bin"},
                capture_output=True,
                text=True,
                check=True,
            )
            assert done.stdout == "['a b']\n"


def test_the_command_is_written_once(project: Path) -> None:
    """Who may not write to the venv can use one that is complete: what is there already is left alone."""
    bootstrap.add_command()
    command = bootstrap.VENV / "bin" / "penstock"
    before = command.stat().st_mtime_ns
    bootstrap.add_command()
    assert command.stat().st_mtime_ns == before


def test_the_locks_name_no_machine() -> None:
    """Locks hold names and versions, no index and no path; the development lock agrees with the other."""
    root = Path(bootstrap.__file__).parents[3]
    pins = {}
    for lock in bootstrap.CONTAINS:
        text = (root / lock).read_text(encoding="utf-8")
        assert "://" not in text
        assert "--" not in text
        pins[lock] = {line.split("#")[0].strip() for line in text.splitlines() if "==" in line.split("#")[0]}
    assert pins["requirements.lock"] <= pins["requirements-dev.lock"]
