"""RabbitMQ as the log of the cluster profile: topology, publishing with confirms, the log port.

What can lose a confirmed message, by RabbitMQ's own documentation, and what is done about it: see
docs/adr/0011-broker-log.md.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

import aio_pika
from aio_pika.abc import (
    AbstractChannel,
    AbstractConnection,
    AbstractIncomingMessage,
    AbstractQueue,
)
from aio_pika.exceptions import AMQPException, ChannelPreconditionFailed
from aiormq.exceptions import ChannelLockedResource

from actors.lease import EpochLease, check_epoch
from actors.log_message import (
    LOG_VERSION,
    BarrierMessage,
    LogMessage,
    batch_of,
    encode_log_message,
)
from actors.ports import Record
from actors.postgres import LoneConnection
from actors.sql import queries
from engine import limits
from engine.errors import Fenced, Unavailable
from engine.ids import Epoch, SessionId

log = logging.getLogger(__name__)

#: Where messages go that no writer could store: kept, until somebody replays them. What the broker
#: gave up by itself a writer replays.
DEAD_QUEUE: Final = "rayquiz.dead"
_DEAD_EXCHANGE: Final = "rayquiz.dead"
#: The limit of deliveries of queues that an earlier version made.
EARLIER_DELIVERIES_MAX: Final = 20
_CONNECT_S_MAX = 5.0
CONFIRM_S_MAX: Final = 5.0
#: How long the first requests over a connection may take, seconds: RabbitMQ 3.10 that was killed may
#: leave one without a reply for a minute, and its heartbeats go on. The connection is one session's
#: alone, so that giving it up costs nobody else.
_PREPARE_S_MAX = 10.0
_HEARTBEAT_S = 5
#: Pause between two looks for a barrier, and how long until it is sent again.
_BARRIER_POLL_S = 0.02
_BARRIER_AGAIN_S = 10.0
_AWAY_PAUSE_S = 0.2

#: What a broker that is away, starting or closing looks like; the outcome is then unknown.
BROKER_AWAY: Final = (OSError, TimeoutError, AMQPException, RuntimeError)


@contextmanager
def away_is_unavailable(what: str) -> Iterator[None]:
    """Raise Unavailable, with what it means, for all that a broker which is away looks like."""
    try:
        yield
    except Exception as error:
        # aiormq rejects with a bare Exception what waits when its own side closes the connection and
        # its reader, which ends in good order then, is faster than who closes.
        if isinstance(error, BROKER_AWAY) or type(error) is Exception:
            raise Unavailable(f"{what}: {error!r}") from error
        raise


def mailbox_name(session_id: SessionId) -> str:
    """The exclusive queue of whoever runs a session."""
    return f"rayquiz.session.{session_id}"


def queue_name(partition: int) -> str:
    """The queue of a partition."""
    return f"rayquiz.log.{partition}"


async def connect(url: str) -> AbstractConnection:
    """A connection that ends when it breaks; whoever uses it opens the next one.

    Raises:
        Unavailable: the broker is away.
    """
    with away_is_unavailable("the broker is away"):
        return await aio_pika.connect(url, timeout=_CONNECT_S_MAX, heartbeat=_HEARTBEAT_S)


async def declare_dead_letters(channel: AbstractChannel) -> AbstractQueue:
    """Declare the queue of the dead letters of all partitions, and the way into it."""
    exchange = await channel.declare_exchange(
        _DEAD_EXCHANGE, aio_pika.ExchangeType.FANOUT, durable=True
    )
    dead = await channel.declare_queue(
        DEAD_QUEUE, durable=True, arguments={"x-queue-type": "quorum"}
    )
    await dead.bind(exchange)
    return dead


async def declare_partition(
    channel: AbstractChannel, partition: int, deliveries_max: int = limits.DELIVERIES_MAX
) -> AbstractQueue:
    """Declare a partition's queue and where its dead letters go.

    Raises:
        aio_pika.exceptions.ChannelPreconditionFailed: the queue is there and has other arguments; the
            broker has closed the channel.
    """
    await declare_dead_letters(channel)
    return await channel.declare_queue(
        queue_name(partition),
        durable=True,
        arguments={
            "x-queue-type": "quorum",
            # In order: one consumer at a time, the others wait for it to go.
            "x-single-active-consumer": True,
            "x-delivery-limit": deliveries_max,
            "x-dead-letter-exchange": _DEAD_EXCHANGE,
            # Without these two a dead letter could be lost on its way.
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
        },
    )


async def open_partition(
    connection: AbstractConnection, partition: int, **settings: Any
) -> tuple[AbstractChannel, AbstractQueue]:
    """Open a channel with these settings, and declare a partition's queue over it.

    A queue that an earlier version made keeps its limit of deliveries, because a queue's arguments
    cannot be changed; everything else about it must be as here.
    """
    channel = await connection.channel(**settings)
    try:
        return channel, await declare_partition(channel, partition)
    except ChannelPreconditionFailed:
        # A channel that is opened again may be told of its first end after that.
        channel = await connection.channel(**settings)
        return channel, await declare_partition(channel, partition, EARLIER_DELIVERIES_MAX)


class Publisher:
    """Publishes to one partition and waits for the broker's word. Connects at need.

    Attributes:
        connection_no: the connection in use, counted from 1; the last one while there is none.
    """

    def __init__(self, url: str, partition: int) -> None:
        self.connection_no = 0
        self._url = url
        self._partition = partition
        self._connection: AbstractConnection | None = None
        self._channel: AbstractChannel | None = None
        self._opening = asyncio.Lock()

    async def publish(self, message: LogMessage) -> int:
        """Return when the broker has the message on disk: over which connection it was confirmed.

        Raises:
            Unavailable: whether it has is unknown; publish the same again.
        """
        channel = await self._open()
        connection_no = self.connection_no
        body = aio_pika.Message(
            encode_log_message(message), delivery_mode=aio_pika.DeliveryMode.PERSISTENT
        )
        try:
            with away_is_unavailable("the broker did not confirm"):
                # mandatory: a message that no queue takes would be confirmed otherwise.
                await channel.default_exchange.publish(
                    body, queue_name(self._partition), mandatory=True, timeout=CONFIRM_S_MAX
                )
        except Unavailable:
            await self._drop()
            raise
        return connection_no

    async def _open(self) -> AbstractChannel:
        async with self._opening:
            if self._channel is None or self._channel.is_closed:
                await self._drop()
                connection = await connect(self._url)
                try:
                    with away_is_unavailable("the broker is away"):
                        async with asyncio.timeout(_PREPARE_S_MAX):
                            channel = await self._prepare(connection)
                except BaseException:
                    await close(connection)
                    raise
                self.connection_no += 1
                self._connection, self._channel = connection, channel
            return self._channel

    async def _prepare(self, connection: AbstractConnection) -> AbstractChannel:
        channel, _ = await open_partition(
            connection, self._partition, publisher_confirms=True, on_return_raises=True
        )
        return channel

    async def _drop(self) -> None:
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None:
            await close(connection)

    async def close(self) -> None:
        """Give the connection back."""
        await self._drop()


async def close(connection: AbstractConnection) -> None:
    """Close a connection; one that does not answer is not waited for."""
    with suppress(*BROKER_AWAY):
        async with asyncio.timeout(_CONNECT_S_MAX):
            await connection.close()


class SessionPublisher(Publisher):
    """The only publisher of its session, for as long as its connection lives.

    The session's mailbox is an exclusive queue: the broker lets one connection have it, and takes
    it away when it has ended that connection and all that came over it. Whoever finds it taken
    leaves its epoch in it, so that an owner that lives leaves, and comes again; one that is frozen
    or cut off loses its connection for want of heartbeats.

    Attributes:
        on_overtaken: called when another actor has the session.
    """

    def __init__(
        self,
        url: str,
        partition: int,
        session_id: SessionId,
        epoch: Epoch,
        on_overtaken: Callable[[Fenced], None],
    ) -> None:
        super().__init__(url, partition)
        self._session_id = session_id
        self._epoch = epoch
        self.on_overtaken = on_overtaken

    async def reach(self) -> None:
        """Return when there is a connection that has the session, as far as is known here.

        Raises:
            Unavailable: there is none.
        """
        await self._open()

    async def check(self) -> int:
        """Return which connection has had the session just now, as the broker says.

        Raises:
            Unavailable: none has, or nobody knows.
        """
        channel = await self._open()
        connection_no = self.connection_no
        try:
            with away_is_unavailable("the broker did not answer"):
                async with asyncio.timeout(CONFIRM_S_MAX):
                    await channel.declare_queue(mailbox_name(self._session_id), passive=True)
        except Unavailable:
            await self._drop()
            raise
        return connection_no

    async def _prepare(self, connection: AbstractConnection) -> AbstractChannel:
        channel = await super()._prepare(connection)
        try:
            mailbox = await channel.declare_queue(mailbox_name(self._session_id), exclusive=True)
        except ChannelLockedResource:
            log.info("action=mailbox_taken session=%s epoch=%d", self._session_id, self._epoch)
            # The broker has ended the channel with its refusal.
            another = await connection.channel()
            await another.default_exchange.publish(
                aio_pika.Message(str(self._epoch).encode()),
                mailbox_name(self._session_id),
                mandatory=False,
                timeout=CONFIRM_S_MAX,
            )
            raise Unavailable("another actor of the session has its mailbox") from None
        await mailbox.consume(self._read, no_ack=True)
        return channel

    async def _read(self, incoming: AbstractIncomingMessage) -> None:
        epoch = int(incoming.body)
        if epoch > self._epoch:
            self.on_overtaken(Fenced(f"session {self._session_id}: epoch {epoch} has begun"))


class BrokerLog:
    """:class:`actors.ports.CheckpointLog` over a partition's queue: durable when confirmed.

    A confirm says nothing yet about who may acknowledge: :class:`actors.lease.EpochLease` does.
    """

    def __init__(
        self,
        publisher: SessionPublisher,
        connection: LoneConnection,
        session_id: SessionId,
        epoch: Epoch,
    ) -> None:
        self._publisher = publisher
        self._connection = connection
        self._session_id = session_id
        self._epoch = epoch
        self._lease = EpochLease(connection, session_id, epoch, publisher)
        self._barrier_number = 0

    async def append(self, records: Sequence[Record]) -> None:
        """See :meth:`actors.ports.CheckpointLog.append`; one message for all records."""
        batch = batch_of(self._session_id, self._epoch, records)
        connection_no = await _publish_own(self._publisher, self._connection, batch)
        # Confirmed, so it need not be sent again; but acknowledged it may be only by an actor that
        # still is the session's own.
        while True:
            try:
                await self._lease.vouch(connection_no, anew=bool(batch.events))
            except Unavailable as error:
                log.warning("action=lease_waits session=%s reason=%s", self._session_id, error)
                await asyncio.sleep(_AWAY_PAUSE_S)
            else:
                return

    def moment(self) -> int:
        """See :meth:`actors.ports.CheckpointLog.moment`; the lease looks at the clock instead."""
        return 0

    def is_held_since(self, moment: int) -> bool:  # noqa: ARG002 - see moment
        """See :meth:`actors.ports.CheckpointLog.is_held_since`."""
        return self._lease.is_young

    async def hold(self, moment: int) -> None:  # noqa: ARG002 - see moment
        """See :meth:`actors.ports.CheckpointLog.hold`."""
        await self._lease.hold()

    async def settle(self) -> None:
        """See :meth:`actors.ports.CheckpointLog.settle`."""
        self._barrier_number += 1
        await pass_barrier(
            self._publisher, self._connection, self._session_id, self._epoch, self._barrier_number
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._lease.close()
        await self._publisher.close()
        await self._connection.close()


async def pass_barrier(
    publisher: Publisher,
    connection: LoneConnection,
    session_id: SessionId,
    epoch: Epoch,
    number: int,
) -> None:
    """Return when everything of the session that was confirmed before is in the tables.

    A barrier that is lost with a writer is sent again; brokers and databases that are away, and
    earlier actors that have the session's mailbox, are waited for.

    Raises:
        Fenced: another actor has taken the session over.
    """
    barrier = BarrierMessage(LOG_VERSION, session_id, epoch, number)
    loop = asyncio.get_running_loop()
    while True:
        try:
            await _publish_own(publisher, connection, barrier)
            again_at = loop.time() + _BARRIER_AGAIN_S
            while loop.time() < again_at:
                row = await _stored_barrier(connection, session_id)
                if row >= (epoch, number):
                    return
                await asyncio.sleep(_BARRIER_POLL_S)
            log.warning("action=barrier_again session=%s epoch=%d", session_id, epoch)
        except Unavailable as error:
            log.warning("action=barrier_waits session=%s reason=%s", session_id, error)
            await asyncio.sleep(_AWAY_PAUSE_S)


async def _publish_own(
    publisher: Publisher, connection: LoneConnection, message: LogMessage
) -> int:
    """Publish as :meth:`Publisher.publish`; Fenced when it fails because of a later actor."""
    try:
        return await publisher.publish(message)
    except Unavailable:
        # It may be a later one that has the mailbox: it would not be given back for a while.
        with suppress(Unavailable):
            await check_epoch(connection, SessionId(message.session_id), Epoch(message.epoch))
        raise


async def _stored_barrier(connection: LoneConnection, session_id: SessionId) -> tuple[int, int]:
    rows: list[Any] = await connection.fetch(queries["stored_barrier"], session_id)
    return (rows[0]["barrier_epoch"], rows[0]["barrier_number"])
