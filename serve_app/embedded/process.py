"""Child processes: with a log file, dying with us, and none left behind."""

from __future__ import annotations

import ctypes
import signal
import subprocess
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psutil

from serve_app.embedded.errors import StartError

_PR_SET_PDEATHSIG = 1
_LOG_LINES_SHOWN = 5
_POLL_S = 0.02
_libc = ctypes.CDLL(None, use_errno=True)


class ChildProcess:
    """Runs a server; its output goes to a file.

    The kernel sends it ``end_signal`` when the thread that made it ends, however it ends: make it
    in a thread that lives as long as the server shall. It gets a process group of its own, so that
    Ctrl-C in the terminal reaches it through :meth:`stop` only.

    Args:
        name: for messages to people.
        command: program and arguments.
        log: its output is appended here.
        end_signal: asks it to end.
        user: a system user to run as, when we are root.
    """

    def __init__(
        self,
        name: str,
        command: list[str],
        log: Path,
        *,
        end_signal: signal.Signals,
        user: str | None = None,
    ) -> None:
        self.name = name
        self._log = log
        self._end_signal = end_signal
        with log.open("ab") as out:
            self._log_start = out.tell()
            self._process = subprocess.Popen(  # noqa: S603 - our own command
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                user=user,
                group=user,
                extra_groups=[] if user is not None else None,
                # After the change of user, which would clear it. One system call, no lock taken.
                preexec_fn=self._die_with_parent,  # noqa: PLW1509
                cwd="/",
            )

    def _die_with_parent(self) -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, self._end_signal)

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def require_alive(self) -> None:
        """Return when it runs.

        Raises:
            StartError: it has ended; the message shows the end of its log.
        """
        if self._process.poll() is None:
            return
        with self._log.open("rb") as file:
            file.seek(self._log_start)
            said = file.read().decode(errors="replace").strip()
        hint = "; the disk is full, make room" if "No space left" in said else ""
        tail = " | ".join(said.splitlines()[-_LOG_LINES_SHOWN:])
        raise StartError(f"{self.name} ended while starting{hint}. It said: {tail} ({self._log})")

    def stop(self, patience_s: float) -> None:
        """Ask it to end, wait, then kill it."""
        if self._process.poll() is not None:
            return
        self._process.send_signal(self._end_signal)
        try:
            self._process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def families(mark: str) -> list[psutil.Process]:
    """Our children whose command line contains ``mark``, and all that descend from them."""
    found = []
    for child in psutil.Process().children():
        with suppress(psutil.Error):
            if any(mark in argument for argument in child.cmdline()):
                found += [child, *child.children(recursive=True)]
    return found


def end_all(processes: Iterable[psutil.Process], patience_s: float) -> None:
    """Wait for processes to end by themselves, then kill those that are left."""
    left = _wait(processes, patience_s)
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    _wait(left, patience_s)


def _wait(processes: Iterable[psutil.Process], patience_s: float) -> list[psutil.Process]:
    """Wait for processes to end; return those that have not.

    Not by psutil alone: where nobody collects orphans (in a container), one that has ended stays
    in the table for ever.
    """
    deadline = time.monotonic() + patience_s
    left = [process for process in processes if _runs(process)]
    while left and time.monotonic() < deadline:
        psutil.wait_procs(left, timeout=_POLL_S)
        left = [process for process in left if _runs(process)]
    return left


def running_in(folder: Path, name: str) -> list[psutil.Process]:
    """Processes of that name whose working directory is ``folder``."""
    wanted = str(folder.resolve())
    found = []
    for process in psutil.process_iter(["name"]):
        with suppress(psutil.Error):
            if process.info["name"] == name and process.cwd() == wanted:
                found.append(process)
    return found


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
