"""A process beside the harness that is told what to do, and says what became of it, line by line."""

from __future__ import annotations

import queue
import subprocess
import sys
import threading
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import msgspec

#: How long a process may take to end once nobody speaks to it any more, seconds.
_END_S_MAX = 30.0


class PartnerFailed(Exception):
    """The process ended, or said nothing in time; its complaint is on standard error."""


class Partner:
    """Runs ``python -m module``; each line of its standard input and output is one JSON value."""

    def __init__(self, module: str, *arguments: str) -> None:
        self._module = module
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._heard: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        """See :meth:`end`."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """See :meth:`end`."""
        self.end()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def say(self, value: Any) -> None:
        """Tell it something."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(msgspec.json.encode(value) + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise PartnerFailed(f"{self._module} has ended") from None

    def hear(self, kind: Any, seconds_max: float) -> Any:
        """Wait for the next thing that it says, of a type.

        Raises:
            PartnerFailed: it has ended, or said nothing in time.
        """
        try:
            line = self._heard.get(timeout=seconds_max)
        except queue.Empty:
            raise PartnerFailed(f"{self._module} said nothing for {seconds_max:.0f} s") from None
        if not line:
            raise PartnerFailed(f"{self._module} has ended")
        return msgspec.json.decode(line, type=kind)

    def ask_to_end(self) -> None:
        """Close its input: nothing more will be said to it. What it says can still be heard."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()

    def end(self) -> None:
        """Ask it to end, and wait for that; kill it when it stays."""
        assert self._process.stdout is not None
        self.ask_to_end()
        try:
            self._process.wait(_END_S_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._heard.put(line)
        self._heard.put(b"")
