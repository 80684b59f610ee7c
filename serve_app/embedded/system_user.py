"""PostgreSQL refuses to run as root; so when we are root, it runs as a system user of its own."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
from pathlib import Path

from serve_app.embedded.errors import StartError

_NAME = "rayquiz-db"


def system_user() -> str | None:
    """The user to run PostgreSQL as, made at need; None when we are an ordinary user ourselves.

    Raises:
        StartError: it cannot be made.
    """
    if os.geteuid() != 0:
        return None
    try:
        pwd.getpwnam(_NAME)
    except KeyError:
        _make()
    return _NAME


def _make() -> None:
    command = ["useradd", "--system", "--no-create-home", "--user-group", _NAME]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError) as error:
        said = error.stderr.strip() if isinstance(error, subprocess.CalledProcessError) else error
        raise StartError(
            f"PostgreSQL does not run as root, and the system user {_NAME} cannot be made "
            f"({said}); run this as an ordinary user, or make that user yourself"
        ) from error


def give(path: Path, user: str) -> None:
    """Make a folder the user's own and nobody else's."""
    shutil.chown(path, user, user)
    path.chmod(0o700)


def let_through(path: Path) -> None:
    """Let others pass through the folders above ``path``: pass, not list or read."""
    for folder in path.absolute().parents:
        mode = folder.stat().st_mode
        if not mode & stat.S_IXOTH:
            folder.chmod(mode | stat.S_IXOTH)


def let_read(folder: Path) -> None:
    """Let others read the programs and libraries below a folder of the wheel.

    Only where the installer's umask forbade it.
    """
    if folder.stat().st_mode & stat.S_IROTH:
        return
    for path in (folder, *folder.rglob("*")):
        mode = path.stat().st_mode
        more = stat.S_IROTH | (stat.S_IXOTH if mode & stat.S_IXUSR else 0)
        path.chmod(mode | more)
