"""What every Publisher promises: handed over in order, never waited for, sent before it closes."""

import asyncio

import pytest
import redis.asyncio

from actors.memory import MemoryPublisher
from actors.publisher import RedisPublisher, channel_of
from engine.ids import SessionId
from engine.wire import (
    BeatPublication,
    FramePublication,
    GonePublication,
    ResultsPublication,
    decode_publication,
)

SESSION = SessionId("00000000-0000-4000-8000-000000000007")
PUBLICATIONS = [
    FramePublication(1, 2, b'{"type":"delta"}'),
    ResultsPublication(1, 2, {}),
    BeatPublication(1, 2),
    GonePublication(1, 2),
]


class _Memory:
    def __init__(self):
        self.publisher = MemoryPublisher()

    async def received(self, count):
        assert len(self.publisher.published) >= count
        return self.publisher.published[:count]


class _Redis:
    def __init__(self, url, subscription):
        self.publisher = RedisPublisher(url, SESSION)
        self._subscription = subscription

    async def received(self, count):
        found = []
        async with asyncio.timeout(10):
            while len(found) < count:
                message = await self._subscription.get_message(
                    ignore_subscribe_messages=True, timeout=None
                )
                if message is not None:
                    found.append(decode_publication(message["data"]))
        return found


@pytest.fixture(params=["memory", "redis"])
def server_url(request):
    """None for the form in memory, which starts no server."""
    return request.getfixturevalue("redis_url") if request.param == "redis" else None


@pytest.fixture
async def form(server_url):
    """A publisher, and what a replica hears of it."""
    if server_url is None:
        yield _Memory()
        return
    client = redis.asyncio.Redis.from_url(server_url)
    async with client, client.pubsub() as subscription:
        await subscription.subscribe(channel_of(SESSION))
        assert (await subscription.get_message(timeout=10))["type"] == "subscribe"
        form = _Redis(server_url, subscription)
        yield form
        await form.publisher.close()


async def test_publications_arrive_in_order(form):
    for publication in PUBLICATIONS * 10:
        form.publisher.publish(publication)
    assert await form.received(40) == PUBLICATIONS * 10


async def test_what_was_published_arrives_before_the_close(form):
    for publication in PUBLICATIONS:
        form.publisher.publish(publication)
    await form.publisher.close()
    assert await form.received(4) == PUBLICATIONS
    await form.publisher.close()
