"""A Valkey that asks for a password: all three ways there carry it, and none gets in without."""

import asyncio
import uuid

import pytest
import redis

from actors.cache import Cache
from actors.publisher import RedisPublisher
from engine.errors import Unavailable
from engine.ids import Epoch, FrameVersion, SessionId
from engine.wire import BeatPublication, encode_pack
from serve_app.subscriber import Subscriber


@pytest.fixture
def with_password(running_valkey):
    """Its address with the password, and without."""
    with redis.Redis.from_url(running_valkey.url) as client:
        client.config_set("requirepass", "a-password")
    return running_valkey.url.replace("unix://", "unix://:a-password@"), running_valkey.url


async def test_cache_and_channels_with_the_password(with_password):
    url, _ = with_password
    session_id = SessionId(str(uuid.uuid4()))
    cache, subscriber = Cache(url), Subscriber(url)
    publisher = RedisPublisher(url, session_id)
    heard = asyncio.get_running_loop().create_future()
    beat = BeatPublication(Epoch(1), FrameVersion(2))
    try:
        await cache.ask(lambda client: client.set("key", "value"))
        assert await cache.ask(lambda client: client.get("key")) == b"value"
        await subscriber.subscribe(session_id, heard.set_result)
        publisher.publish(beat)
        async with asyncio.timeout(20):
            assert await heard == encode_pack(beat)
    finally:
        await publisher.close()
        await subscriber.close()
        await cache.close()


async def test_nobody_gets_in_without_it(with_password):
    cache = Cache(with_password[1])
    with pytest.raises(Unavailable):
        await cache.ask(lambda client: client.get("key"))
    await cache.close()
