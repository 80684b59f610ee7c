"""What the private servers have in common: one process each, started and stopped at will."""

from __future__ import annotations

import signal
import time
from abc import ABC, abstractmethod
from pathlib import Path

from serve_app.embedded.errors import StartError
from serve_app.embedded.process import ChildProcess

_POLL_S = 0.03


class Server(ABC):
    """A server's process, from the start until it is ready, and its end.

    Attributes:
        name: for messages to people.
    """

    name: str
    #: How long it may take to be ready, and to end by itself, seconds.
    _start_s_max: float
    _stop_s_max: float
    #: What asks it to end.
    _end_signal: signal.Signals

    def __init__(self, log: Path) -> None:
        self._log = log
        self._process: ChildProcess | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """Its address; the same at every start."""

    @property
    def pid(self) -> int:
        """Process id of the server."""
        assert self._process is not None
        return self._process.pid

    def stop(self) -> None:
        """End the server."""
        if self._process is not None:
            self._process.stop(self._stop_s_max)
            self._process = None

    @abstractmethod
    def _is_ready(self) -> bool:
        """Whether it serves."""

    def _run(self, command: list[str], user: str | None = None) -> None:
        """Start the process and return when it is ready.

        Raises:
            StartError: it ended, or was not ready in time.
        """
        self._process = ChildProcess(
            self.name, command, self._log, end_signal=self._end_signal, user=user
        )
        deadline = time.monotonic() + self._start_s_max
        while not self._is_ready():
            self._process.require_alive()
            if time.monotonic() > deadline:
                self.stop()
                raise StartError(
                    f"{self.name} did not come up in {self._start_s_max:.0f} s; see {self._log}"
                )
            time.sleep(_POLL_S)
