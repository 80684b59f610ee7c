"""Redis away, or stuck: frames are lost, and nothing else."""

import asyncio
import os
import signal

import pytest
import redis.asyncio

from actors import publisher as module
from actors.publisher import RedisPublisher, channel_of
from engine.ids import SessionId
from engine.wire import BeatPublication, decode_publication

SESSION = SessionId("00000000-0000-4000-8000-000000000008")


@pytest.fixture
async def publisher(own_valkey):
    publisher = RedisPublisher(own_valkey.url, SESSION)
    yield publisher
    await publisher.close()


async def test_while_redis_is_away_nothing_fails_and_what_follows_arrives(
    own_valkey, publisher, caplog
):
    for version in range(3):
        publisher.publish(BeatPublication(1, version))
    async with asyncio.timeout(20):
        while publisher._waiting:  # noqa: ASYNC110 - nobody is told, by design
            await asyncio.sleep(0.01)
    assert caplog.text.count("publish_failed") == 1
    await asyncio.to_thread(own_valkey.start)
    client = redis.asyncio.Redis.from_url(own_valkey.url)
    async with client, client.pubsub() as subscription:
        await subscription.subscribe(channel_of(SESSION))
        assert (await subscription.get_message(timeout=10))["type"] == "subscribe"
        publisher.publish(BeatPublication(1, 3))
        message = await subscription.get_message(ignore_subscribe_messages=True, timeout=10)
        while message is None:
            message = await subscription.get_message(ignore_subscribe_messages=True, timeout=10)
        assert decode_publication(message["data"]) == BeatPublication(1, 3)


async def test_a_stuck_redis_holds_nobody_up_and_only_the_newest_wait(
    own_valkey, publisher, monkeypatch
):
    await asyncio.to_thread(own_valkey.start)
    os.kill(own_valkey.pid, signal.SIGSTOP)
    for version in range(500):
        publisher.publish(BeatPublication(1, version))
    waiting = [decode_publication(data).version for data in publisher._waiting]
    assert waiting == list(range(500 - module._WAITING_MAX, 500))
    monkeypatch.setattr(module, "_CLOSE_TIMEOUT_S", 0.1)
    await publisher.close()
    assert publisher._task.done()
    os.kill(own_valkey.pid, signal.SIGCONT)
