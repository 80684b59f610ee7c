"""Redis, as far as frames travel over it: channels, and redis-py's face.

What is published while nobody listens is gone; of what is published some is lost on purpose, on its
way to one replica and not to another.
"""

from __future__ import annotations

import asyncio
from typing import Any

import redis.exceptions

from tests.simulation.loop import Process
from tests.simulation.network import Link, Network
from tests.simulation.options import Rng

_Message = dict[str, Any]


class Redis:
    """The server."""

    def __init__(self, process: Process, network: Network, rng: Rng, lost_share: float) -> None:
        self.process = process
        self.network = network
        self.is_up = True
        self._rng = rng
        self._lost_share = lost_share
        #: By channel, who listens; dicts for their order.
        self._listeners: dict[str, dict[PubSub, None]] = {}

    def from_url(self, _url: str, **settings: Any) -> Client:
        """Stand in for ``redis.asyncio.Redis.from_url``."""
        return Client(self, settings["socket_timeout"])

    async def connect(self) -> Link:
        """Open a connection."""
        await asyncio.sleep(self.network.delay_s())
        if not self.is_up:
            raise redis.exceptions.ConnectionError("redis is away")
        return Link(self.network, self, has_heartbeat=False)

    def crash(self) -> None:
        """Lose every connection; nothing is kept."""
        self.is_up = False
        for link in [link for link in self.network.links if link.server is self]:
            link.server_gone()

    def lost(self, link: Link) -> None:
        """See :class:`tests.simulation.network.Server`."""
        for listeners in self._listeners.values():
            for listener in [each for each in listeners if each.link is link]:
                del listeners[listener]

    # --- at the server --------------------------------------------------------------------------

    def publish(self, channel: str, data: bytes) -> None:
        """Hand a message on to everybody who listens now."""
        for listener in self._listeners.get(channel, ()):
            if self.network.is_healed or self._rng.random() >= self._lost_share:
                message = {"type": "message", "channel": channel.encode(), "data": data}
                listener.link.push(listener.take, message)

    def subscribe(self, listener: PubSub, channels: tuple[str, ...]) -> None:
        """Listen to channels, and confirm each."""
        for channel in channels:
            self._listeners.setdefault(channel, {})[listener] = None
            confirmation = {"type": "subscribe", "channel": channel.encode(), "data": 1}
            listener.link.push(listener.take, confirmation)

    def unsubscribe(self, listener: PubSub, channel: str) -> None:
        """Listen no more."""
        self._listeners.get(channel, {}).pop(listener, None)

    def pong(self, listener: PubSub) -> None:
        """Answer a ping."""
        listener.link.push(listener.take, {"type": "pong", "channel": None, "data": b""})


class Client:
    """As much of ``redis.asyncio.Redis`` as is used; its connection is opened anew at need."""

    def __init__(self, server: Redis, timeout_s: float) -> None:
        self._server = server
        self._timeout_s = timeout_s
        self._link: Link | None = None
        self._pubsubs: list[PubSub] = []

    async def publish(self, channel: str, data: bytes) -> None:
        """Publish, and wait for the server to say so."""
        try:
            async with asyncio.timeout(self._timeout_s):
                if self._link is None or self._link.broken is not None:
                    self._link = await self._server.connect()
                await self._link.call(self._server.publish, channel, data)
        except TimeoutError:
            if self._link is not None:
                self._link.hang_up()
            raise redis.exceptions.TimeoutError("redis does not answer") from None

    def pubsub(self) -> PubSub:
        """A subscription, not connected yet."""
        self._pubsubs.append(PubSub(self._server))
        return self._pubsubs[-1]

    async def aclose(self) -> None:
        """Close every connection."""
        for link in (self._link, *(pubsub.open_link for pubsub in self._pubsubs)):
            if link is not None:
                link.hang_up()


class PubSub:
    """As much of ``redis.asyncio.client.PubSub`` as is used."""

    def __init__(self, server: Redis) -> None:
        self._server = server
        self.open_link: Link | None = None
        self._messages: asyncio.Queue[_Message | Exception] = asyncio.Queue()

    @property
    def link(self) -> Link:
        """Its connection."""
        assert self.open_link is not None, "the first command opens it"
        return self.open_link

    async def subscribe(self, *channels: str) -> None:
        """Send the command; the confirmations come as messages."""
        if self.open_link is None:
            self.open_link = await self._server.connect()
            self.open_link.on_broken.append(self._messages.put_nowait)
        self.link.send(self._server.subscribe, self, channels)

    async def unsubscribe(self, channel: str) -> None:
        """Send the command."""
        self.link.send(self._server.unsubscribe, self, channel)

    async def ping(self) -> None:
        """Send the command; the reply comes as a message."""
        self.link.send(self._server.pong, self)

    def take(self, message: _Message) -> None:
        """A message has come."""
        self._messages.put_nowait(message)

    async def get_message(self, *, timeout: float) -> _Message | None:  # noqa: ASYNC109 - redis-py's
        """The next message; None when none came in time."""
        try:
            message = await asyncio.wait_for(self._messages.get(), timeout)
        except TimeoutError:
            return None
        if isinstance(message, Exception):
            raise redis.exceptions.ConnectionError(str(message)) from message
        return message
