"""The data folder: who may use it now, what it keeps, and where the running instance is."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import IO

from actors.settings import Settings, SettingsError
from serve_app.embedded.errors import StartError
from serve_app.keys import Key, Keyring, encode_keys, new_secret, read_keys

#: Less than this free, and PostgreSQL's first start would fail half-way.
_DISK_BYTES_MIN = 512 * 1024**2

#: How long a start waits for commands that look whether somebody runs on the folder, seconds.
_LOOK_S_MAX = 0.3


class DataFolder:
    """One folder that outlives the runs; one instance at a time uses it.

    Files: ``postgres/`` the database, ``standby/`` its replica, ``rabbitmq/`` the broker,
    ``keys.json`` what signs the tokens (``secret`` in folders of earlier versions), ``running.json``
    the settings of the instance that runs (absent otherwise), ``logs/`` of the last run, ``run`` a link
    to the temporary folder of the run, ``lock``.

    Args:
        path: made at need by :meth:`claim`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._lock: IO[str] | None = None

    @property
    def postgres(self) -> Path:
        """The database's files."""
        return self.path / "postgres"

    @property
    def standby(self) -> Path:
        """The files of the database's replica."""
        return self.path / "standby"

    @property
    def rabbitmq(self) -> Path:
        """The broker's files."""
        return self.path / "rabbitmq"

    @property
    def logs(self) -> Path:
        """Logs of the last run."""
        return self.path / "logs"

    @property
    def _running(self) -> Path:
        return self.path / "running.json"

    @property
    def _run_link(self) -> Path:
        return self.path / "run"

    def claim(self) -> None:
        """Make the folder at need and keep other instances out until :meth:`release`.

        Raises:
            StartError: it cannot be written, is in use, or its disk is full.
        """
        try:
            self.logs.mkdir(parents=True, exist_ok=True)
            lock = (self.path / "lock").open("a")
        except OSError as error:
            raise StartError(
                f"the data folder {self.path} cannot be written ({error.strerror}); "
                "choose another with --data"
            ) from error
        if not _lock_within(lock, _LOOK_S_MAX):
            lock.close()
            raise StartError(
                f"another Rayquiz is running on the data folder {self.path}; "
                "stop it, or choose another folder with --data"
            )
        self._lock = lock
        try:
            self._require_space()
        except StartError:
            self.release()
            raise

    def _require_space(self) -> None:
        free = shutil.disk_usage(self.path).free
        if free < _DISK_BYTES_MIN:
            raise StartError(
                f"the disk of {self.path} has {free // 1024**2} MiB free and "
                f"{_DISK_BYTES_MIN // 1024**2} MiB are needed; make room, or choose another folder "
                "with --data"
            )

    def release(self) -> None:
        """Let others use the folder."""
        if self._lock is not None:
            self._running.unlink(missing_ok=True)
            self._remove_run_folder()
            self._lock.close()
            self._lock = None

    def make_run_folder(self) -> Path:
        """A temporary folder for sockets and the like; :meth:`release` removes it.

        In the system's temporary folder, since this folder's path may be too long for sockets.
        """
        self._remove_run_folder()  # of a run that was killed
        run = Path(tempfile.mkdtemp(prefix="rq-"))
        self._run_link.symlink_to(run)
        return run

    def _remove_run_folder(self) -> None:
        if self._run_link.is_symlink():
            shutil.rmtree(self._run_link.readlink(), ignore_errors=True)
            self._run_link.unlink()

    @property
    def keys(self) -> Path:
        """The keys that sign the tokens (:mod:`serve_app.keys`); :meth:`make_keys` makes them."""
        return self.path / "keys.json"

    def make_keys(self) -> str:
        """Make the keys at the first start, readable by their owner only; return what signs now.

        Raises:
            StartError: they are there, and cannot be read.
        """
        if not self.keys.exists():
            former = self.path / "secret"
            secret = former.read_text() if former.exists() else new_secret()
            write_private(self.keys, encode_keys([Key(secret)]))
        try:
            return Keyring(read_keys(self.keys)).signing().secret
        except SettingsError as error:
            raise StartError(str(error)) from error

    def announce(self, settings: Settings) -> None:
        """Tell other commands on this machine how to reach the instance that runs."""
        write_private(self._running, json.dumps(settings.model_dump()))

    def running(self) -> Settings | None:
        """The settings of the instance that uses the folder now, if one is up."""
        if not self._is_in_use() or not self._running.exists():
            return None
        return Settings.model_validate_json(self._running.read_text())

    def _is_in_use(self) -> bool:
        try:
            with (self.path / "lock").open() as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False


def _lock_within(lock: IO[str], seconds: float) -> bool:
    """Whether the file could be locked: a command that only looks holds it for a moment."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        else:
            return True


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    unfinished = path.with_name(f"{path.name}.new")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    unfinished.rename(path)
