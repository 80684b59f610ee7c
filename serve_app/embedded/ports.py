"""Ports of one running instance: its own block on loopback, and the one that people type."""

from __future__ import annotations

import random
import socket
from contextlib import suppress

from serve_app.embedded.errors import StartError

LOOPBACK = "127.0.0.1"
EVERY_INTERFACE = "0.0.0.0"  # noqa: S104 - only HAProxy's front, only when asked for with --lan

#: Below the range that systems hand out by themselves, so a free block stays free.
_FIRST, _LAST, _SIZE = 20_000, 32_000, 100


class PortBlock:
    """Neighbouring ports that were free when claimed and that no other instance will claim.

    The first port of the block stays bound, without listening, as long as the block is held: that
    is the lock between instances, and it goes with the process however the process ends.
    """

    def __init__(self, guard: socket.socket) -> None:
        self._guard = guard
        self._next: int = guard.getsockname()[1] + 1
        self._end = self._next - 1 + _SIZE

    @classmethod
    def claim(cls) -> PortBlock:
        """Take any free block.

        Raises:
            StartError: none is free.
        """
        starts = list(range(_FIRST, _LAST, _SIZE))
        random.shuffle(starts)  # two instances that start together rarely look at the same block
        for start in starts:
            guard = _bind(LOOPBACK, start)
            if guard is None:
                continue
            if all(_is_free(port) for port in range(start + 1, start + _SIZE)):
                return cls(guard)
            guard.close()
        raise StartError(
            f"no {_SIZE} neighbouring ports are free between {_FIRST} and {_LAST}; "
            "stop some of the servers that listen there"
        )

    def take(self, count: int = 1) -> int:
        """Hand out the next ``count`` neighbouring ports; return the first."""
        first = self._next
        self._next += count
        assert self._next <= self._end, "the block is too small for what is asked of it"
        return first

    def release(self) -> None:
        """Let others have the block."""
        self._guard.close()


def require_free(host: str, port: int) -> None:
    """Return when nobody listens on a port.

    Raises:
        StartError: somebody does, or it is not ours to take; the message says what to do.
    """
    try:
        with socket.socket() as one:
            # As HAProxy will do: connections that linger after a former run do not count.
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind((host, port))
    except OSError as error:
        other = port + 1 if port >= 1024 else 8000  # noqa: PLR2004 - below 1024 root alone may listen
        raise StartError(
            f"port {port} cannot be used ({error.strerror}); stop what listens there, "
            f"or choose another with --port, for example --port {other}"
        ) from None


def lan_address() -> str:
    """This machine's address in its network, as phones there would reach it.

    Nothing is sent: connecting a datagram socket only asks the kernel for its route.

    Raises:
        StartError: the machine is in no network.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one, suppress(OSError):
        one.connect(("192.0.2.1", 9))  # an address for documentation; any would do
        return str(one.getsockname()[0])
    raise StartError("this machine is in no network, so phones cannot reach it; start without LAN")


def _bind(host: str, port: int) -> socket.socket | None:
    one = socket.socket()
    try:
        one.bind((host, port))
    except OSError:
        one.close()
        return None
    return one


def _is_free(port: int) -> bool:
    """Whether the port can be bound on every interface, and so on each."""
    one = _bind(EVERY_INTERFACE, port)
    if one is None:
        return False
    one.close()
    return True
