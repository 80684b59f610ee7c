"""The Workers: from the partitions' queues into the tables, in order, in large transactions.

A writer acknowledges a message only after its commit, holds messages while the database is away,
and lets go of a partition only with its channel: what it had not acknowledged then goes to the
next writer first, and storing it again changes nothing.

What comes again may be what ended the writer that had it before. So a writer that has just begun
takes such messages of a partition one, two, four at a time, and notes in the database that it takes
the first one alone; one that too many writers noted and none stored is the cause, and goes to the
dead letters (docs/adr/0028-poisonous-messages.md).
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import uuid
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import asyncpg
from aio_pika.abc import AbstractConnection, AbstractIncomingMessage
from aio_pika.exceptions import AMQPException, ChannelInvalidStateError
from prometheus_client import Gauge

from actors.dead_letters import replay_given_up
from actors.log_message import (
    BarrierMessage,
    BatchMessage,
    LogMessage,
    columns_of,
    decode_log_message,
    encode_log_message,
)
from actors.logs import install_logs
from actors.postgres import AWAY, connect, ended_after
from actors.rabbitmq import BROKER_AWAY, declare_dead_letters, open_partition
from actors.rabbitmq import connect as connect_broker
from actors.sql import queries
from actors.tasks import cancel
from engine import limits
from engine.errors import Malformed, Unavailable

log = logging.getLogger(__name__)

_T = TypeVar("_T")

#: First and longest pause while the broker or the database is away, seconds.
_BACKOFF_S_MIN, _BACKOFF_S_MAX = 0.05, 2.0
#: How often a connection is looked at whose end nobody may tell, seconds.
_LOOK_S = 1.0
#: How long messages gather before they are stored, seconds. Nobody waits for it: an answer is
#: acknowledged when the broker has confirmed it.
_GATHER_S = 0.05
#: How long a writer leaves partitions that are not its own to the others after a start, seconds.
_STANDBY_S = 1.0
#: How long a writer may take to get hold of a partition, seconds. Longer than a publisher waits: the
#: connection serves other partitions, too, and nobody's acknowledgement hangs on it.
_TAKE_S_MAX = 90.0
#: How long one transaction may take, seconds.
_STORE_S_MAX = 20.0
#: How often a writer looks how many dead letters there are, seconds.
_DEAD_LETTERS_INTERVAL_S = 5.0
#: What a channel that has ended on its own looks like, while its connection lives on.
_CHANNEL_GONE = (AMQPException, ChannelInvalidStateError)

DEAD_LETTERS = Gauge(
    "quiz_dead_letters",
    "Messages that no writer could store; `rayquiz dead-letters list` tells what they are",
    multiprocess_mode="livemax",
)


class Tables:
    """Stores log messages, many in one transaction; every statement may be repeated."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None

    async def store(self, messages: Sequence[LogMessage]) -> None:
        """Commit all messages, in their order.

        A batch of an epoch that a stored barrier has ended was never acknowledged (its actor had no
        lease any more): it is kept aside and counts for nothing.

        Raises:
            Unavailable: the database is away; whether they are stored is unknown.
            asyncpg.PostgresError: one of them cannot be stored; none is.
        """
        try:
            connection = await self._connected()
            # Its statements have bounds, but there are many, and the driver's rollback waits, too.
            with ended_after(connection, _STORE_S_MAX):
                async with connection.transaction():
                    await self._store(connection, messages)
        except AWAY as error:
            await self.close()
            raise Unavailable(f"the database is away: {error!r}") from error

    async def _store(
        self, connection: asyncpg.Connection[asyncpg.Record], messages: Sequence[LogMessage]
    ) -> None:
        sessions = sorted({message.session_id for message in messages})
        rows = await connection.fetch(queries["barriers"], sessions)
        ended = {str(row["session_id"]): int(row["barrier_epoch"]) for row in rows}
        passed: dict[str, tuple[int, int]] = {}
        batches: list[BatchMessage] = []
        late: list[tuple[str, int, bytes]] = []
        for message in messages:
            session_id = message.session_id
            if isinstance(message, BarrierMessage):
                ended[session_id] = max(ended.get(session_id, 0), message.epoch)
                passed[session_id] = max(
                    passed.get(session_id, (0, 0)), (message.epoch, message.number)
                )
            elif message.epoch < ended.get(session_id, 0):
                late.append((session_id, message.epoch, encode_log_message(message)))
            else:
                batches.append(message)
        for query, columns in (
            ("store_answers", _columns(batches, "answers")),
            ("store_joins", _columns(batches, "join_rows")),
            ("store_events", _columns(batches, "events")),
            ("store_superseded", columns_of(late)),
        ):
            if columns:
                await connection.execute(queries[query], *columns)
        if passed:
            barriers = [(session_id, *passed[session_id]) for session_id in sorted(passed)]
            await connection.execute(queries["store_barriers"], *columns_of(barriers))
        if late:
            log.warning("action=superseded batches=%d", len(late))

    async def note_try(self, body: bytes, writer_id: str) -> int:
        """Note that a writer is about to store a message alone; return how many others were before.

        Raises:
            Unavailable: the database is away.
        """
        rows = await self._fetch("note_try", _digest(body), writer_id)
        return int(rows[0]["others"])

    async def forget_tries(self, body: bytes) -> None:
        """It was stored, or given up; notes that were left behind long ago go, too.

        Raises:
            Unavailable: the database is away.
        """
        await self._fetch("forget_tries", _digest(body))

    async def _fetch(self, query: str, *args: Any) -> list[asyncpg.Record]:
        try:
            return await (await self._connected()).fetch(queries[query], *args)
        except AWAY as error:
            await self.close()
            raise Unavailable(f"the database is away: {error!r}") from error

    async def _connected(self) -> asyncpg.Connection[asyncpg.Record]:
        if self._connection is None or self._connection.is_closed():
            self._connection = await connect(self._url)
        return self._connection

    async def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None


def _digest(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=16).digest()


async def _until_lost(connection: AbstractConnection) -> None:
    """Return when a connection has ended, or its broker has been silent for too long.

    aiormq notices the silence by its heartbeats, and then closes the connection, which waits for the
    broker's reply: the callbacks of the end may never come.
    """
    lost = asyncio.Event()
    # `connection.closed()` would wait for our own close alone.
    connection.close_callbacks.add(lambda *_: lost.set())
    assert connection.transport is not None
    underlay: Any = connection.transport.connection  # its interface does not name the property
    while not underlay.is_connection_was_stuck:
        with suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_S):
                await lost.wait()
                return


#: The kinds of rows in a batch, with how many of their columns are the key behind the session.
_KEY_COLUMNS = {"answers": 2, "join_rows": 1, "events": 1}


def _columns(batches: Sequence[BatchMessage], kind: str) -> list[list[Any]]:
    """Rows of one table as columns, each behind its session and epoch.

    Sorted by key alone, so that no two writers wait in a circle and the first of a key stays first.
    """
    rows = [
        (batch.session_id, batch.epoch, *row) for batch in batches for row in getattr(batch, kind)
    ]
    rows.sort(key=lambda row: (row[0], row[2 : 2 + _KEY_COLUMNS[kind]]))
    return columns_of(rows)


class CheckpointWriter:
    """One of the writers; a Ray actor, but for tests a plain object.

    Args:
        index: which of its shard's writers it is, from 0.
        count: how many there are; the shard's partitions are shared among them.
        broker_url, database_url: from where to where.
        shard: the number of the primary at ``database_url``.
    """

    def __init__(
        self, index: int, count: int, broker_url: str, database_url: str, shard: int = 0
    ) -> None:
        install_logs()
        self._broker_url = broker_url
        self._tables = Tables(database_url)
        self._index, self._count = index, count
        first = shard * limits.PARTITIONS
        self._partitions = range(first, first + limits.PARTITIONS)
        self._waiting: deque[AbstractIncomingMessage] = deque()
        self._arrived = asyncio.Event()
        #: How many messages that came again this process has stored or rejected, by partition: it
        #: takes no more of them at once.
        self._done_again: Counter[str | None] = Counter()
        #: Of this process: another one's notes count against a message, its own do not.
        self._id = str(uuid.uuid4())
        self._rows_stored = 0
        self._rejected = 0
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def statistics(self) -> dict[str, int]:
        """Rows that it stored, messages that it gave up, messages that wait here."""
        return {
            "rows_stored": self._rows_stored,
            "rejected": self._rejected,
            "waiting": len(self._waiting),
        }

    async def close(self) -> None:
        """Stop; what is not acknowledged goes to another writer."""
        await cancel([self._task])
        await self._tables.close()

    async def _run(self) -> None:
        backoff_s = _BACKOFF_S_MIN
        while True:
            try:
                connection = await connect_broker(self._broker_url)
                backoff_s = _BACKOFF_S_MIN
                await self._serve(connection)
            except (Unavailable, *BROKER_AWAY) as error:
                log.warning("action=writer_waits reason=%r", error)
            except Exception:
                log.exception("action=writer_failed")
            await asyncio.sleep(backoff_s)
            backoff_s = min(2 * backoff_s, _BACKOFF_S_MAX)

    async def _serve(self, connection: AbstractConnection) -> None:
        """Consume until the connection is lost; with it goes the hold on the partitions."""
        self._waiting.clear()
        self._arrived.clear()
        loop = asyncio.get_running_loop()
        work = [_until_lost(connection), self._store_all(), self._count_dead_letters(connection)]
        if not self._partitions.start and not self._index:  # one is enough for all partitions
            work.append(self._replay())
        work += [self._hold(connection, partition) for partition in self._partitions]
        tasks = [loop.create_task(each) for each in work]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            await cancel(tasks)
            async with asyncio.timeout(_BACKOFF_S_MAX):
                await connection.close()

    async def _hold(self, connection: AbstractConnection, partition: int) -> None:
        """Consume a partition, on a channel of its own: one that is stuck holds up no other."""
        if partition % self._count != self._index:
            await asyncio.sleep(_STANDBY_S)
        while True:
            try:
                await self._consume(connection, partition)
            except (TimeoutError, *_CHANNEL_GONE) as error:
                log.warning("action=partition_waits partition=%d reason=%r", partition, error)
            await asyncio.sleep(_BACKOFF_S_MAX)

    async def _consume(self, connection: AbstractConnection, partition: int) -> None:
        """Consume a partition until its channel or the consumer on it is ended by the broker."""
        ended = asyncio.Event()
        is_open = True

        def note_closed(*_: object) -> None:
            nonlocal is_open
            is_open = False
            ended.set()

        # RabbitMQ 3.10 that was killed may leave a request without a reply for a minute, and then ends
        # the connection. Asking again meanwhile only makes more of these.
        async with asyncio.timeout(_TAKE_S_MAX):
            channel, queue = await open_partition(connection, partition)
            channel.close_callbacks.add(note_closed)
            underlay = await channel.get_underlay_channel()
            underlay.on_consumer_cancel_callbacks.add(lambda _: ended.set())
            await channel.set_qos(prefetch_count=limits.WRITER_HOLDS_MAX)
            await queue.consume(self._take)
        await ended.wait()
        log.warning("action=partition_lost partition=%d", partition)
        if is_open:  # a consumer that was cancelled leaves it so
            async with asyncio.timeout(_TAKE_S_MAX):
                await channel.close()

    async def _count_dead_letters(self, connection: AbstractConnection) -> None:
        """For the alert: the broker gives up messages of its own accord, too, and people replay them."""
        while True:
            await asyncio.sleep(_DEAD_LETTERS_INTERVAL_S)
            with suppress(TimeoutError, *_CHANNEL_GONE):
                async with asyncio.timeout(_TAKE_S_MAX):
                    channel = await connection.channel()
                    dead = await declare_dead_letters(channel)
                    DEAD_LETTERS.set(dead.declaration_result.message_count or 0)
                    await channel.close()

    async def _replay(self) -> None:
        """Send back what the broker gave up by itself: no writer has refused it."""
        while True:
            await asyncio.sleep(limits.REPLAY_INTERVAL_MS / 1000)
            with suppress(Unavailable):
                replayed = await replay_given_up(self._broker_url)
                if replayed:
                    log.warning("action=dead_letters_replayed messages=%d", replayed)

    async def _take(self, incoming: AbstractIncomingMessage) -> None:
        self._waiting.append(incoming)
        self._arrived.set()

    async def _store_all(self) -> None:
        while True:
            await self._arrived.wait()
            await asyncio.sleep(_GATHER_S)
            while self._waiting and self._waiting[0].redelivered:
                if self._done_again[self._waiting[0].routing_key]:
                    await self._store_again()
                else:
                    await self._store_alone(self._waiting[0])
            await self._store_next(lambda incoming: not incoming.redelivered)
            if not self._waiting:
                self._arrived.clear()

    async def _store_alone(self, first: AbstractIncomingMessage) -> None:
        """Store the first message of a partition that comes again: it may have ended other writers.

        It is noted before it is touched, and the note goes when it is stored; whatever ends the writer
        in between leaves it. What is not touched is not counted, however much this writer holds.
        """
        tries = await self._until_done(lambda: self._tables.note_try(first.body, self._id))
        if tries < limits.STORE_TRIES_MAX:
            await self._store_next(lambda incoming: incoming is first)
        else:
            self._waiting.popleft()
            await self._reject(first, RuntimeError(f"{tries} writers have ended with it alone"))
        self._done_again[first.routing_key] += 1
        with suppress(Unavailable):
            await self._tables.forget_tries(first.body)

    async def _store_again(self) -> None:
        """Store messages that come again, of each partition no more than went well before."""
        taken: Counter[str | None] = Counter()

        def may_join(incoming: AbstractIncomingMessage) -> bool:
            partition = incoming.routing_key
            if not incoming.redelivered or taken[partition] == self._done_again[partition]:
                return False
            taken[partition] += 1
            return True

        await self._store_next(may_join)
        self._done_again += taken

    async def _store_next(self, may_join: Callable[[AbstractIncomingMessage], bool]) -> None:
        """Store in one transaction what waits first, up to a message that may not join."""
        readable: list[tuple[AbstractIncomingMessage, LogMessage]] = []
        rows = 0
        for _ in range(len(self._waiting)):
            if rows >= limits.WRITE_ROWS_MAX or not may_join(self._waiting[0]):
                break
            rows += await self._read(self._waiting.popleft(), readable)
        await self._store(readable)

    async def _read(
        self,
        incoming: AbstractIncomingMessage,
        readable: list[tuple[AbstractIncomingMessage, LogMessage]],
    ) -> int:
        try:
            message = decode_log_message(incoming.body)
        except Malformed as error:
            await self._reject(incoming, error)
            return 0
        readable.append((incoming, message))
        return message.rows_count if isinstance(message, BatchMessage) else 1

    async def _store(self, pairs: Sequence[tuple[AbstractIncomingMessage, LogMessage]]) -> None:
        """Store messages and acknowledge them; one that cannot be stored is rejected, alone."""
        if not pairs:
            return
        try:
            messages = [message for _, message in pairs]
            await self._until_done(lambda: self._tables.store(messages))
        except asyncpg.PostgresError as error:
            if len(pairs) == 1:
                await self._reject(pairs[0][0], error)
                return
            middle = len(pairs) // 2
            await self._store(pairs[:middle])
            await self._store(pairs[middle:])
            return
        self._rows_stored += sum(
            message.rows_count for _, message in pairs if isinstance(message, BatchMessage)
        )
        for incoming, _ in pairs:
            # On a channel that is gone: it comes again, and storing it again changes nothing.
            with suppress(*_CHANNEL_GONE):
                await incoming.ack()

    async def _until_done(self, work: Callable[[], Awaitable[_T]]) -> _T:
        """What work in the database comes to; while it is away, it is done again."""
        backoff_s = _BACKOFF_S_MIN
        while True:
            try:
                return await work()
            except Unavailable as error:
                log.warning("action=store_waits reason=%s", error)
                await asyncio.sleep(backoff_s)
                backoff_s = min(2 * backoff_s, _BACKOFF_S_MAX)

    async def _reject(self, incoming: AbstractIncomingMessage, error: Exception) -> None:
        """To the dead letters: kept, told, and replayed when the reason is gone."""
        self._rejected += 1
        log.error("action=dead_letter queue=%s reason=%r", incoming.routing_key, error)
        await incoming.reject(requeue=False)
