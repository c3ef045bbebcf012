"""Make `.venv` with the machine's own Python and install a lock file: `bootstrap.py requirements.lock`.

Run by the Makefile before anything is installed, so: the standard library only, and nothing that a Python too
old for Penstock does not know, or it could not say so. Quick where the venv is up to date.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
VENV = ROOT / ".venv"
VENV_PYTHON = VENV / "bin" / "python"
STAMP = VENV / "penstock-locks"
UV = "uv==0.13.9"
OLDEST, NEWEST = (3, 11), (3, 13)
# The lock for development holds everything in the one for running, so a venv with it serves both.
CONTAINS = {
    "requirements.lock": ["requirements.lock"],
    "requirements-dev.lock": ["requirements-dev.lock", "requirements.lock"],
}


def main(lock: str) -> None:
    """Bring `.venv` to the state of `lock`."""
    if not is_installed(lock):
        make(lock)
    add_command()


def make(lock: str) -> None:
    """Make `.venv`, or install into it what `lock` says now."""
    if not starts(VENV_PYTHON):
        check_python()
        make_venv()
    say(f"installing {lock} into .venv")
    STAMP.unlink() if STAMP.exists() else None
    install(ROOT / lock)
    STAMP.write_text(f"{lock} {fingerprint(lock)}\n", encoding="utf-8")


def add_command() -> None:
    """Let `.venv`'s Python find Penstock, and put the command `penstock` beside it."""
    for packages in sorted(VENV.glob("lib/python3*/site-packages")):
        write_if_new(packages / "penstock.pth", f"{ROOT / 'plugins'}\n")
    command = VENV / "bin" / "penstock"
    # A shell finds the Python also where its path is too long, or has blanks, for a line that begins with #!.
    write_if_new(command, f'#!/bin/sh\nexec {shlex.quote(str(VENV_PYTHON))} -m penstock "$@"\n', mode=0o755)


def write_if_new(path: Path, text: str, mode: int = 0o644) -> None:
    """Write `text` unless just that is there, so that who may only read the venv can use it."""
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")
        path.chmod(mode)


def fingerprint(lock: str) -> str:
    """What `.venv` is made from: the text of the locks, and where it stands (a moved one does not work)."""
    digest = hashlib.sha256(str(VENV).encode())
    for name in CONTAINS[lock]:
        digest.update((ROOT / name).read_bytes())
    return digest.hexdigest()


def is_installed(lock: str) -> bool:
    """Tell whether `.venv` holds `lock`, or a lock that contains it, as they are now."""
    try:
        name, found = STAMP.read_text(encoding="utf-8").split()
    except (OSError, ValueError):
        return False
    return lock in CONTAINS.get(name, []) and found == fingerprint(name) and starts(VENV_PYTHON)


def starts(python: Path) -> bool:
    """Tell whether `python` is there and starts."""
    try:
        return subprocess.call([str(python), "-c", ""], stderr=subprocess.DEVNULL) == 0
    except OSError:
        return False


def check_python() -> None:
    """Refuse a Python that cannot run the stack, and say what to do."""
    found = sys.version_info[:2]
    if not OLDEST <= found <= NEWEST:
        wanted = f"{OLDEST[0]}.{OLDEST[1]} to {NEWEST[0]}.{NEWEST[1]}"
        fail(
            f"Penstock needs Python {wanted}; {sys.executable} is {found[0]}.{found[1]}.\n"
            "Name another one: `make demo PYTHON=/path/to/python3.12`"
        )
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        fail(
            f"{sys.executable} cannot make a venv. On Debian and Ubuntu: `apt-get install python3-venv`.\n"
            "Or name another Python: `make demo PYTHON=/path/to/python3`"
        )


def make_venv() -> None:
    """Make `.venv` anew, with uv in it."""
    say(f"making .venv with {sys.executable}")
    if VENV.is_symlink() or VENV.exists():
        shutil.rmtree(VENV)
    run([sys.executable, "-m", "venv", str(VENV)])
    run(pip("install", UV))


def install(lock: Path) -> None:
    """Make the packages in `.venv` exactly those of `lock`; by pip where uv cannot reach the index."""
    environment = dict(os.environ)
    if "PIP_INDEX_URL" in environment:
        environment.setdefault("UV_DEFAULT_INDEX", environment["PIP_INDEX_URL"])
    if not can_write(Path(environment.get("UV_CACHE_DIR") or Path.home() / ".cache" / "uv")):
        environment["UV_CACHE_DIR"] = str(VENV / "uv-cache")
    command = [str(VENV / "bin" / "uv"), "pip", "sync", "--quiet", "--python", str(VENV_PYTHON), str(lock)]
    if subprocess.call(command, cwd=str(ROOT), env=environment) != 0:
        say("uv could not install it; trying pip, which knows your pip.conf")
        run(pip("install", "--requirement", str(lock)))


def pip(*arguments: str) -> list[str]:
    """The command of the venv's pip, without its chatter."""
    return [str(VENV_PYTHON), "-m", "pip", "--quiet", "--quiet", "--disable-pip-version-check", *arguments]


def can_write(folder: Path) -> bool:
    """Tell whether `folder` can be made or written to."""
    while not folder.exists():
        folder = folder.parent
    return os.access(str(folder), os.W_OK)


def run(command: list[str]) -> None:
    """Run `command`; stop with its name where it fails, its own words stand above."""
    if subprocess.call(command, cwd=str(ROOT)) != 0:
        fail(f"this failed: {' '.join(command)}")


def say(text: str) -> None:
    """Tell the user what takes time, or what went wrong."""
    sys.stderr.write(f"penstock: {text}\n")
    sys.stderr.flush()


def fail(text: str) -> None:
    """Stop with a message and no traceback."""
    say(text)
    sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1])
