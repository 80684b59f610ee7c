"""A writer on a real broker and a real database: poison, barriers, two writers."""

import asyncio
import uuid

import aio_pika
import pytest
from prometheus_client import REGISTRY

from actors import checkpoint_writer as module
from actors.checkpoint_writer import CheckpointWriter
from actors.log_message import LOG_VERSION, BarrierMessage, BatchMessage, encode_log_message
from actors.postgres import create_pool
from actors.rabbitmq import DEAD_QUEUE, Publisher, queue_name
from engine import limits
from engine.errors import Unavailable

_PARTITION = 3
_WAIT_S_MAX = 120.0


def _batch(session_id, *participants, epoch=1, text=""):
    rows = [(1, who, 0, 1, text, 700, True, 980, who, 5_000) for who in participants]
    return BatchMessage(LOG_VERSION, session_id, epoch, rows, [], [])


async def _publish(publisher, message):
    """As an outbox does: until it is confirmed."""
    async with asyncio.timeout(_WAIT_S_MAX):
        while True:
            try:
                await publisher.publish(message)
            except Unavailable:
                await asyncio.sleep(0.05)
            else:
                return


class _Site:
    """A database, a broker, and what a test publishes and reads."""

    def __init__(self, broker, database_url, pool):
        self.broker = broker
        self.database_url = database_url
        self.pool = pool
        self.publisher = Publisher(broker.url, _PARTITION)
        self.writers = []

    def write(self, index=0, count=1):
        self.writers.append(CheckpointWriter(index, count, self.broker.url, self.database_url))
        return self.writers[-1]

    async def stored(self, session_id):
        rows = await self.pool.fetch(
            "SELECT participant_id FROM answers WHERE session_id = $1 ORDER BY 1", session_id
        )
        return [row["participant_id"] for row in rows]

    async def until_stored(self, session_id, expected):
        async with asyncio.timeout(_WAIT_S_MAX):
            while await self.stored(session_id) != expected:  # noqa: ASYNC110 - a writer tells nobody
                await asyncio.sleep(0.02)


@pytest.fixture
async def site(broker, database_url):
    pool = await create_pool(database_url, size_max=2)
    site = _Site(broker, database_url, pool)
    yield site
    for writer in site.writers:
        await writer.close()
    await site.publisher.close()
    await pool.close()


@pytest.fixture
def session_id():
    return str(uuid.uuid4())


async def test_messages_are_stored_once_however_often_they_come(site, session_id):
    site.write()
    for _ in range(3):
        await _publish(site.publisher, _batch(session_id, 1, 2))
    await _publish(site.publisher, _batch(session_id, 3))
    await site.until_stored(session_id, [1, 2, 3])


async def test_what_waits_for_a_writer_is_stored_when_one_comes(site, session_id):
    await _publish(site.publisher, _batch(session_id, 1))
    assert await site.stored(session_id) == []
    site.write()
    await site.until_stored(session_id, [1])


async def test_a_consumer_that_the_broker_ends_begins_anew(site, session_id, channel, monkeypatch):
    monkeypatch.setattr(module, "_BACKOFF_S_MAX", 0.05)
    site.write()
    await _publish(site.publisher, _batch(session_id, 1))
    await site.until_stored(session_id, [1])
    # The broker ends the consumers of a queue that is deleted.
    await channel.queue_delete(queue_name(_PARTITION))
    await _publish(site.publisher, _batch(session_id, 2))
    await site.until_stored(session_id, [1, 2])


async def test_another_writer_takes_over(site, session_id):
    first = site.write(0, 2)
    await _publish(site.publisher, _batch(session_id, 1))
    await site.until_stored(session_id, [1])
    site.write(1, 2)
    await first.close()
    await _publish(site.publisher, _batch(session_id, 2))
    await site.until_stored(session_id, [1, 2])


@pytest.mark.parametrize("poison", ["bytes", "version", "row"])
async def test_poison_and_only_poison_is_dead_lettered_and_the_partition_goes_on(
    site, session_id, channel, dead, poison
):
    body = {
        "bytes": b"not a message",
        "version": encode_log_message(BarrierMessage(LOG_VERSION + 1, session_id, 1, 0)),
        "row": encode_log_message(_batch(session_id, 9, text="PostgreSQL stores no \0")),
    }[poison]
    await _publish(site.publisher, _batch(session_id, 1))
    await channel.default_exchange.publish(aio_pika.Message(body), queue_name(_PARTITION))
    await _publish(site.publisher, _batch(session_id, 2))
    writer = site.write()
    await site.until_stored(session_id, [1, 2])

    letter = None
    async with asyncio.timeout(_WAIT_S_MAX):
        while letter is None:
            letter = await dead.get(fail=False)
    await letter.ack()
    assert letter.body == body
    assert (await writer.statistics())["rejected"] == 1
    assert await dead.get(fail=False) is None


async def test_how_many_are_dead_is_known_to_prometheus(site, channel, dead, monkeypatch):
    monkeypatch.setattr(module, "_DEAD_LETTERS_INTERVAL_S", 0.05)
    site.write()

    async def until(count):
        async with asyncio.timeout(_WAIT_S_MAX):
            while REGISTRY.get_sample_value("quiz_dead_letters") != count:  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    await until(0)
    for _ in range(2):
        await channel.default_exchange.publish(aio_pika.Message(b"poison"), queue_name(_PARTITION))
    await until(2)
    await dead.purge()
    await until(0)


async def test_batches_behind_a_later_barrier_are_kept_aside(site, make_session, pool):
    session_id = (await make_session(pool)).session_id
    site.write()
    await _publish(site.publisher, _batch(session_id, 1, epoch=1))
    await _publish(site.publisher, BarrierMessage(LOG_VERSION, session_id, 2, 0))
    await _publish(site.publisher, _batch(session_id, 2, epoch=1))
    await _publish(site.publisher, _batch(session_id, 3, epoch=2))
    await site.until_stored(session_id, [1, 3])
    rows = await pool.fetch("SELECT epoch FROM superseded WHERE session_id = $1", session_id)
    assert [row["epoch"] for row in rows] == [1]


async def test_a_queue_takes_no_message_that_it_could_lose(site, session_id, channel):
    """The arguments that the promise rests on are refused when a queue has others."""
    await _publish(site.publisher, _batch(session_id, 1))
    for changed in ({"x-overflow": "drop-head"}, {"x-delivery-limit": 1}):
        arguments = {
            "x-queue-type": "quorum",
            "x-single-active-consumer": True,
            "x-delivery-limit": limits.DELIVERIES_MAX,
            "x-dead-letter-exchange": DEAD_QUEUE,
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
        }
        with pytest.raises(aio_pika.exceptions.ChannelPreconditionFailed):
            await channel.declare_queue(
                queue_name(_PARTITION), durable=True, arguments=arguments | changed
            )
        await channel.reopen()
