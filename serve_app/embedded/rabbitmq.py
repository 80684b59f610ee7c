"""A private RabbitMQ node from the system's package, on loopback only."""

from __future__ import annotations

import os
import signal
import socket
from contextlib import suppress
from pathlib import Path

from serve_app.embedded.errors import StartError
from serve_app.embedded.ports import LOOPBACK
from serve_app.embedded.process import ChildProcess
from serve_app.embedded.server import Server

_SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
#: The log of the quorum queues is in memory, too, until it is this long; by default 512 MB.
_CONFIGURATION = "raft.wal_max_size_bytes = 16000000\n"
#: What every AMQP server says to a peer that speaks another protocol.
_GREETING = b"AMQP"


class RabbitMQ(Server):
    """Start, address, stop, on three ports of its own. Data survives a kill and a new start.

    Args:
        folder: made at need; data, log and Erlang's cookie live here.
        port: where AMQP listens; the two ports behind it are Erlang's own.
    """

    #: Neighbouring ports that one node takes.
    PORTS = 3

    name = "RabbitMQ"
    _start_s_max = 60.0
    _stop_s_max = 10.0
    _end_signal = signal.SIGTERM

    def __init__(self, folder: Path, port: int) -> None:
        super().__init__(folder.absolute() / "rabbitmq.log")
        self._folder = folder.absolute()
        self._port = port
        self._mapper: ChildProcess | None = None

    @property
    def url(self) -> str:
        """Its address; the same at every start. A node on loopback lets its default user in."""
        return f"amqp://guest:guest@{LOOPBACK}:{self._port}/"

    def start(self) -> None:
        """Return when it speaks AMQP.

        Raises:
            StartError: the package is missing, or the node did not come up.
        """
        self.stop()  # one that was killed leaves its process id behind until it is waited for
        if not _SERVER.exists():
            raise StartError(
                "RabbitMQ's server is missing; install it (Debian, Ubuntu: apt install "
                "rabbitmq-server), or name a running one in RAYQUIZ_RABBITMQ_URL"
            )
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / "enabled_plugins").write_text("[].\n")
        (self._folder / "rabbitmq.conf").write_text(_CONFIGURATION)
        if self._mapper is None:
            # Erlang would start one by itself, as a daemon that outlives everybody.
            mapper = ["/usr/bin/epmd", "-port", str(self._port + 2), "-address", LOOPBACK]
            self._mapper = ChildProcess(
                "Erlang's port mapper", mapper, self._log, end_signal=signal.SIGKILL
            )
        settings = [f"{name}={value}" for name, value in self._environment().items()]
        self._run(["/usr/bin/env", *settings, str(_SERVER)])

    def _environment(self) -> dict[str, str]:
        return {
            "HOME": str(self._folder),  # of Erlang's cookie
            # The same at every start, because the queues belong to it; port mappers of different
            # nodes are different, so that the names of two do not meet.
            "RABBITMQ_NODENAME": "rayquiz@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": LOOPBACK,
            "RABBITMQ_NODE_PORT": str(self._port),
            "RABBITMQ_DIST_PORT": str(self._port + 1),
            "ERL_EPMD_PORT": str(self._port + 2),
            "ERL_EPMD_ADDRESS": LOOPBACK,
            "RABBITMQ_MNESIA_BASE": str(self._folder / "data"),
            "RABBITMQ_LOG_BASE": str(self._folder),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self._folder / "enabled_plugins"),
            "RABBITMQ_CONF_ENV_FILE": os.devnull,
            "RABBITMQ_CONFIG_FILE": str(self._folder / "rabbitmq.conf"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                "-kernel inet_dist_use_interface {127,0,0,1} +S 2:2 +sbwt none"
            ),
            # The start script then becomes the Erlang machine instead of staying in front of it.
            "RUNNING_UNDER_SYSTEMD": "1",
        }

    def _is_ready(self) -> bool:
        with suppress(OSError), socket.create_connection((LOOPBACK, self._port), 1) as one:
            one.settimeout(1)
            one.sendall(b"hello\r\n\r\n")
            return one.recv(8).startswith(_GREETING)
        return False

    def stop(self) -> None:
        """End the node and Erlang's port mapper."""
        super().stop()
        if self._mapper is not None:
            self._mapper.stop(self._stop_s_max)
            self._mapper = None
