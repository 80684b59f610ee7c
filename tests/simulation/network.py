"""Connections between processes: in order and late, until they break; and calls over them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from tests.simulation.loop import Process, current
from tests.simulation.options import Options, Rng

#: How long a broken connection may go unnoticed at an end that is only listening, seconds: the
#: heartbeat of the brokers' connections, twice.
_UNNOTICED_S_MAX = 10.0


class Network:
    """Draws how long a message takes and whether its connection breaks."""

    def __init__(self, rng: Rng, options: Options) -> None:
        self._rng = rng
        self._options = options
        #: Nothing breaks or is held up any more.
        self.is_healed = False
        self.links: list[Link] = []

    def delay_s(self) -> float:
        """How long one message is under way."""
        rng, options = self._rng, self._options
        delay_s = 0.0002 + rng.random() * options.latency_s
        if not self.is_healed and rng.random() < options.slow_share:
            delay_s += rng.random() * options.slow_s_max
        return delay_s

    def breaks(self) -> bool:
        """Whether a connection breaks with this message."""
        return not self.is_healed and self._rng.random() < self._options.cut_share

    def coin(self) -> bool:
        """One of two."""
        return self._rng.random() < 0.5

    def unnoticed_s(self) -> float:
        """How long the end of a connection goes unnoticed."""
        return 0.001 if self.coin() else self._rng.random() * _UNNOTICED_S_MAX


class Vanished(BaseException):
    """What a message asks for is not done: a fault came first."""


class Server(Protocol):
    """Whoever takes connections."""

    process: Process
    is_up: bool

    def lost(self, link: Link) -> None:
        """A connection is over; called in the server's process, behind all that came over it."""


class Link:
    """One connection from the process that opens it to a server."""

    def __init__(self, network: Network, server: Server, *, has_heartbeat: bool) -> None:
        self.network = network
        self._has_heartbeat = has_heartbeat
        self.server = server
        self.client = current()
        self.client.links[self] = None
        network.links.append(self)
        #: Why it is over, as its client sees it; None while it lives.
        self.broken: Exception | None = None
        self.on_broken: list[Callable[[Exception], None]] = []
        self._is_cut = False
        self._keeps_sent = True
        self._over_at_server = False
        self._out_s = 0.0
        self._back_s = 0.0
        self._calls: dict[asyncio.Future[Any], None] = {}

    # --- at the client --------------------------------------------------------------------------

    def send(self, work: Callable[..., object], *args: object) -> None:
        """Have the server do something, behind what was sent before; no answer is waited for."""
        if self.broken is not None:
            raise self.broken
        if self._is_cut:
            return
        if self.network.breaks():
            self.cut()
            if not self._keeps_sent:
                return
        loop = self.client.loop
        self._out_s = max(self._out_s, loop.time() + self.network.delay_s())
        self.server.process.call_at(self._out_s, self._arrive, work, args)

    async def call(self, work: Callable[..., Any], *args: object) -> Any:
        """Have the server do something and return what it says, or raise what it raises.

        Raises:
            ConnectionError: the connection broke; whether it was done is unknown.
        """
        if self.broken is not None:
            raise self.broken
        future: asyncio.Future[Any] = self.client.loop.create_future()
        self._calls[future] = None
        self.send(self._serve, future, work, args)
        try:
            return await future
        finally:
            self._calls.pop(future, None)

    def hang_up(self) -> None:
        """Close it from this end: the server learns of it behind all that was sent."""
        self._break(ConnectionError("this connection was closed"))
        if not self._is_cut:
            self._is_cut = True
            self._out_s = max(self._out_s, self.client.loop.time() + 0.0005)
            self.server.process.call_at(self._out_s, self._end_at_server)

    # --- at the server --------------------------------------------------------------------------

    def push(self, work: Callable[..., object], *args: object) -> None:
        """Have the client do something, behind what was sent to it before."""
        if self._is_cut:
            return
        if self.network.breaks():
            self.cut()
            return
        self._back_s = max(self._back_s, self.client.loop.time() + self.network.delay_s())
        self.client.call_at(self._back_s, self._come_back, work, args)

    def _arrive(self, work: Callable[..., object], args: tuple[object, ...]) -> None:
        if self.server.is_up and self._keeps_sent and not self._over_at_server:
            try:
                work(*args)
            except Vanished:
                self.cut()  # nothing is lost out of the middle of a connection that goes on

    def _serve(
        self, future: asyncio.Future[Any], work: Callable[..., Any], args: tuple[object, ...]
    ) -> None:
        try:
            result = work(*args)
        except Exception as error:  # noqa: BLE001 - it is the client's
            self.push(_fail, future, error)
        else:
            self.push(_succeed, future, result)

    def _come_back(self, work: Callable[..., object], args: tuple[object, ...]) -> None:
        if self.broken is None:
            work(*args)

    # --- faults ---------------------------------------------------------------------------------

    def cut(self) -> None:
        """Break it in between: each end learns of it in its own time, without heartbeats perhaps never.

        What the client had sent may still arrive, as it may be in the server's buffers.
        """
        if self._is_cut:
            return
        self._is_cut = True
        self._keeps_sent = self.network.coin()
        now_s = self.client.loop.time()
        if self._has_heartbeat or self.network.coin():  # else it waits for its own deadline
            self.client.call_at(
                now_s + self.network.unnoticed_s(),
                self._break,
                ConnectionResetError("the connection was cut"),
            )
        at_s = max(self._out_s, now_s) + self.network.unnoticed_s()
        self.server.process.call_at(at_s, self._end_at_server)

    def server_gone(self) -> None:
        """The server has closed it or died; the client's kernel is told at once."""
        self._is_cut = True
        self._over_at_server = True
        self._end_at_server()
        self.client.call_at(
            self.client.loop.time() + 0.001, self._break, ConnectionResetError("reset by peer")
        )

    def _end_at_server(self) -> None:
        if self in self.network.links:
            self.network.links.remove(self)
            self._over_at_server = True
            self.server.lost(self)

    def _break(self, error: Exception) -> None:
        if self.broken is not None:
            return
        self.broken = error
        self.client.links.pop(self, None)
        for future in list(self._calls):
            _fail(future, error)
        for callback in self.on_broken:
            callback(error)


def _succeed(future: asyncio.Future[Any], result: Any) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
