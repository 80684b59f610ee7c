"""A broker in memory: one partition's queue as RabbitMQ's quorum queues keep it, and aio-pika's face.

First in, first out; one consumer at a time with a prefetch, the others wait for it to go; what a
consumer had not acknowledged when its connection ended goes back to the front, in order; a confirm
is sent after the append; what was appended outlives the broker's own crash. Beside it the exclusive
queue of the session's actor: one connection has it, and nobody else before that one is over.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import aio_pika
from aiormq.exceptions import ChannelLockedResource

from actors.log_message import BarrierMessage, decode_log_message
from actors.rabbitmq import DEAD_QUEUE, mailbox_name, queue_name
from engine import limits
from engine.testing.driver import SESSION_ID
from tests.simulation.loop import Process
from tests.simulation.network import Link, Network

Notice = Callable[[str, Process, bool], None]


class _Message:
    __slots__ = ("body", "deliveries")

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.deliveries = 0


class _Consumer:
    def __init__(
        self, link: Link, take: Callable[[bytes, int, bool], object], prefetch: int
    ) -> None:
        self.link = link
        self.take = take
        self.prefetch = prefetch
        self.unacknowledged: dict[int, _Message] = {}
        self.last_tag = 0


class Broker:
    """The server.

    Attributes:
        dead: bodies of dead letters.
        notice: told of what is about to happen and has happened, for whom.
    """

    def __init__(self, process: Process, network: Network, notice: Notice) -> None:
        self.process = process
        self.is_up = True
        self.notice = notice
        self.dead: list[bytes] = []
        self._network = network
        self._ready: deque[_Message] = deque()
        #: The first is the active one.
        self._consumers: list[_Consumer] = []
        #: Who has the exclusive queue, and what takes its messages.
        self._owner: Link | None = None
        self._owner_takes: Callable[[bytes], object] | None = None

    @property
    def is_drained(self) -> bool:
        """Whether nothing waits and nothing is unacknowledged."""
        return not self._ready and not any(c.unacknowledged for c in self._consumers)

    async def connect(self, _url: str, **_settings: Any) -> Connection:
        """Stand in for ``aio_pika.connect``."""
        await asyncio.sleep(self._network.delay_s())
        if not self.is_up:
            raise ConnectionRefusedError("the broker is away")
        return Connection(self, Link(self._network, self, has_heartbeat=True))

    def crash(self) -> None:
        """Lose every connection; what was appended stays."""
        self.is_up = False
        for link in [link for link in self._network.links if link.server is self]:
            link.server_gone()

    def lost(self, link: Link) -> None:
        """See :class:`tests.simulation.network.Server`."""
        if self._owner is link:
            self._owner = self._owner_takes = None
        gone = [consumer for consumer in self._consumers if consumer.link is link]
        for consumer in gone:
            self._consumers.remove(consumer)
            for message in reversed(consumer.unacknowledged.values()):
                if message.deliveries > limits.DELIVERIES_MAX:
                    self.dead.append(message.body)
                else:
                    self._ready.appendleft(message)
        if gone:
            self._deliver()

    # --- what connections ask -------------------------------------------------------------------

    def append(self, client: Process, body: bytes) -> None:
        """Take a message; the answer is its confirm."""
        kind = "barrier" if isinstance(decode_log_message(body), BarrierMessage) else "batch"
        self.notice(f"publish:{kind}", client, True)
        self._ready.append(_Message(body))
        self.notice(f"publish:{kind}", client, False)
        self._deliver()

    def own(self, link: Link) -> None:
        """Give a connection the exclusive queue."""
        self.notice("mailbox", link.client, True)
        if self._owner not in (link, None):
            raise ChannelLockedResource("RESOURCE_LOCKED")
        self._owner = link
        self.notice("mailbox", link.client, False)

    def require_owner(self, link: Link) -> None:
        """Refuse whoever has not got the exclusive queue."""
        if self._owner is not link:
            raise ChannelLockedResource("RESOURCE_LOCKED")

    def read_mailbox(self, link: Link, take: Callable[[bytes], object]) -> None:
        """Consume the exclusive queue."""
        self.require_owner(link)
        self._owner_takes = take

    def put_in_mailbox(self, body: bytes) -> None:
        """Deliver to the exclusive queue, if anybody has it."""
        if self._owner is not None and self._owner_takes is not None:
            self._owner.push(self._owner_takes, body)

    def consume(self, consumer: _Consumer) -> None:
        """Let a consumer stand in line."""
        self._consumers.append(consumer)
        self._deliver()

    def acknowledge(self, consumer: _Consumer, tag: int) -> None:
        """Forget a message that was delivered."""
        self.notice("ack", consumer.link.client, True)
        if consumer in self._consumers:
            consumer.unacknowledged.pop(tag, None)
            self._deliver()
        self.notice("ack", consumer.link.client, False)

    def reject(self, consumer: _Consumer, tag: int) -> None:
        """Put a message among the dead letters."""
        if consumer in self._consumers:
            self.dead.append(consumer.unacknowledged.pop(tag).body)
            self._deliver()

    def _deliver(self) -> None:
        while self._consumers and self._ready:
            consumer = self._consumers[0]
            if len(consumer.unacknowledged) >= consumer.prefetch:
                return
            message = self._ready.popleft()
            message.deliveries += 1
            consumer.last_tag += 1
            consumer.unacknowledged[consumer.last_tag] = message
            is_again = message.deliveries > 1
            consumer.link.push(consumer.take, message.body, consumer.last_tag, is_again)
            self.notice("deliver", consumer.link.client, False)


class Connection:
    """As much of ``aio_pika``'s connection as is used."""

    def __init__(self, broker: Broker, link: Link) -> None:
        self._broker = broker
        self._link = link
        self._own_close: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.close_callbacks: set[Callable[..., object]] = set()
        #: A silent link breaks by itself: the end is always told.
        self.transport = SimpleNamespace(connection=SimpleNamespace(is_connection_was_stuck=False))
        link.on_broken.append(self._lost)

    async def channel(self, **_settings: Any) -> Channel:
        """Open a channel."""
        await self._link.call(_nothing)
        return Channel(self._broker, self._link)

    async def close(self) -> None:
        """Close it."""
        self._link.hang_up()
        if not self._own_close.done():
            self._own_close.set_result(True)

    def closed(self) -> Awaitable[bool]:
        """Wait for our own close; as with aio-pika, a lost connection does not end it."""
        return asyncio.shield(self._own_close)

    def _lost(self, error: Exception) -> None:
        for callback in list(self.close_callbacks):
            callback(self, error)


class Channel:
    """A channel, its default exchange, and the exchange and queue that are declared over it."""

    def __init__(self, broker: Broker, link: Link) -> None:
        self.broker = broker
        self.link = link
        self._prefetch = 0
        self.default_exchange = self
        #: Never called: no channel and no consumer ends without its connection.
        self.close_callbacks: set[Callable[..., object]] = set()
        self.on_consumer_cancel_callbacks: set[Callable[..., object]] = set()

    @property
    def is_closed(self) -> bool:
        """See aio-pika."""
        return self.link.broken is not None

    async def get_underlay_channel(self) -> Channel:
        """See aio-pika."""
        return self

    async def set_qos(self, prefetch_count: int) -> None:
        """See aio-pika."""
        self._prefetch = prefetch_count

    async def declare_exchange(self, *_args: Any, **_settings: Any) -> Channel:
        """See aio-pika; there is one exchange."""
        return self

    async def declare_queue(
        self, name: str, *, exclusive: bool = False, passive: bool = False, **_settings: Any
    ) -> Channel | _Mailbox:
        """See aio-pika; there is one queue, and one exclusive one."""
        if exclusive:
            await self.link.call(self.broker.own, self.link)
            return _Mailbox(self.broker, self.link)
        if passive:
            await self.link.call(self.broker.require_owner, self.link)
            return _Mailbox(self.broker, self.link)
        assert name in (queue_name(0), DEAD_QUEUE)
        await self.link.call(_nothing)
        return self

    async def bind(self, _exchange: Any) -> None:
        """Nothing but the partition's own queue is simulated."""

    async def publish(
        self,
        message: aio_pika.Message,
        routing_key: str,
        *,
        mandatory: bool,
        timeout: float,  # noqa: ASYNC109 - aio-pika's own name
    ) -> None:
        """See aio-pika: return with the confirm."""
        if routing_key == mailbox_name(SESSION_ID):
            work = self.link.call(self.broker.put_in_mailbox, message.body)
        else:
            assert mandatory, "else a message that no queue takes would be confirmed"
            work = self.link.call(self.broker.append, self.link.client, message.body)
        await asyncio.wait_for(work, timeout)

    async def consume(self, callback: Callable[[_Incoming], Awaitable[None]]) -> None:
        """See aio-pika."""

        def take(body: bytes, tag: int, is_again: bool) -> None:
            incoming = _Incoming(self.broker, self.link, consumer, body, tag, is_again)
            asyncio.ensure_future(callback(incoming))  # noqa: RUF006 - the callback only queues it

        consumer = _Consumer(self.link, take, self._prefetch)
        await self.link.call(self.broker.consume, consumer)


class _Mailbox(NamedTuple):
    """The exclusive queue, as whoever has it sees it."""

    broker: Broker
    link: Link

    async def consume(
        self, callback: Callable[[_Letter], Awaitable[None]], *, no_ack: bool
    ) -> None:
        assert no_ack

        def take(body: bytes) -> None:
            asyncio.ensure_future(callback(_Letter(body)))  # noqa: RUF006 - it waits for nothing

        await self.link.call(self.broker.read_mailbox, self.link, take)


class _Letter(NamedTuple):
    """What somebody put into the exclusive queue."""

    body: bytes


class _Incoming(NamedTuple):
    """A delivery, as the writer sees it."""

    broker: Broker
    link: Link
    consumer: _Consumer
    body: bytes
    tag: int
    redelivered: bool
    routing_key: str = "partition"

    async def ack(self) -> None:
        self.link.send(self.broker.acknowledge, self.consumer, self.tag)

    async def reject(self, *, requeue: bool) -> None:
        assert not requeue, "a barrier could overtake what goes back alone"
        self.link.send(self.broker.reject, self.consumer, self.tag)


def _nothing() -> None:
    """Answer a handshake."""
