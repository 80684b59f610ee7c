"""What a websocket layer gives, and what it calls. No layer's library is imported here."""

from __future__ import annotations

from typing import Protocol


class Connection(Protocol):
    """One open websocket. Every method returns at once; none raises because the peer has gone."""

    def send_text(self, payload: bytes) -> None:
        """Send one text message, UTF-8.

        It waits in memory while the peer does not read. Past ``SOCKET_BUFFER_BYTES_MAX`` the listener
        is told (:meth:`ConnectionListener.on_unwritable`); past ``SOCKET_WAITING_BYTES_MAX``, after
        ``SLOW_MS_MAX`` in which something waited all the time, or when all sockets of the process hold
        more than ``REPLICA_WAITING_BYTES_MAX`` and this one holds most, the connection is closed with
        ``slow_consumer``.
        """

    def close(self, code: int, reason: str = "") -> None:
        """Send a close frame, then end the connection. Later sends are ignored."""

    def rest(self, ms: int) -> None:
        """Read nothing more from the peer for so long, in milliseconds; a rest is not prolonged.

        What was read already is still delivered.
        """


class ConnectionListener(Protocol):
    """What happens on a websocket. Calls come from the event loop, one after the other."""

    def on_open(self, connection: Connection) -> None:
        """The handshake is done."""

    def on_text(self, connection: Connection, payload: bytes) -> None:
        """A whole text message came (fragments joined), not yet checked to be UTF-8."""

    def on_unwritable(self, connection: Connection) -> None:
        """The peer does not read: more than ``SOCKET_BUFFER_BYTES_MAX`` waits. Send what must be."""

    def on_writable(self, connection: Connection) -> None:
        """The peer has caught up: nothing waits any more. Follows on :meth:`on_unwritable` only."""

    def on_close(self, connection: Connection, code: int) -> None:
        """The connection is gone; the last call. The peer's code, ours, or 1006 for a cut."""


#: Key in an ASGI scope's ``extensions`` under which a layer offers :class:`CallbackUpgrade`.
EXTENSION = "rayquiz.callbacks"


class CallbackUpgrade(Protocol):
    """How an ASGI application asks for callbacks.

    ``scope["extensions"][EXTENSION].attach(…)`` before it sends ``websocket.accept``. After that it
    only waits for ``websocket.disconnect``, so that the server counts one request for the
    connection's whole life.
    """

    def attach(self, listener: ConnectionListener) -> None:
        """Route the connection's messages to a listener."""
