"""A Valkey that falls silent instead of refusing: everything gives up in its time, and comes back."""

import asyncio

import pytest
import redis.asyncio

from actors import publisher as publisher_module
from actors.cache import Cache
from actors.publisher import RedisPublisher, channel_of
from engine import limits
from engine.errors import Unavailable
from engine.ids import SessionId
from engine.wire import BeatPublication, decode_publication
from serve_app import subscriber as subscriber_module
from serve_app.subscriber import Subscriber
from tests.silence import KINDS, PATIENCE_S, silenceable, until

SESSION = SessionId("00000000-0000-4000-8000-000000000020")
_BOUND_S = 0.2


@pytest.fixture(params=KINDS)
async def way(request, running_valkey, monkeypatch):
    monkeypatch.setattr("actors.cache._ANSWER_S_MAX", _BOUND_S)
    monkeypatch.setattr(limits, "CACHE_REST_MS", 100)
    monkeypatch.setattr(publisher_module, "_PUBLISH_TIMEOUT_S", _BOUND_S)
    for name in ("_SILENCE_S", "_CONFIRM_TIMEOUT_S", "_RECONNECT_PAUSE_S"):
        monkeypatch.setattr(subscriber_module, name, _BOUND_S)
    socket = running_valkey.url.removeprefix("unix://")
    async with silenceable(running_valkey, lambda: socket, request.param) as way:
        way.url = f"redis://127.0.0.1:{way.port}"
        yield way


async def test_a_cache_loses_no_place_and_comes_back(way, monkeypatch):
    monkeypatch.setattr(limits, "CACHE_REST_MS", 0)  # everybody asks
    cache = Cache(way.url)

    async def ask():
        return await cache.ask(lambda client: client.ping())

    await asyncio.gather(*(ask() for _ in range(20)))
    async with way.silent():
        told = await asyncio.gather(*(ask() for _ in range(50)), return_exceptions=True)
        assert {type(each) for each in told} == {Unavailable}
        leavers = [asyncio.create_task(ask()) for _ in range(20)]
        await asyncio.sleep(0.05)
        for leaver in leavers:
            leaver.cancel()
        await asyncio.wait(leavers)

    async def all_places():
        await asyncio.gather(*(ask() for _ in range(20)))

    await until(all_places)
    await cache.close()


async def test_a_cache_is_closed_in_the_silence(way):
    cache = Cache(way.url)
    await cache.ask(lambda client: client.ping())
    async with way.silent():
        busy = asyncio.create_task(cache.ask(lambda client: client.ping()))
        await asyncio.sleep(0)
        await cache.close()
        with pytest.raises(Unavailable):
            await busy


async def test_a_publication_takes_its_time_once(way, running_valkey):
    """Not once for each try of the client: what waits behind would not be dropped for minutes."""
    publisher = RedisPublisher(way.url, SESSION)
    async with way.silent():
        for version in range(20):
            publisher.publish(BeatPublication(1, version))
        while publisher._waiting:  # noqa: ASYNC110 - nobody is told, by design
            await asyncio.sleep(0.01)
    client = redis.asyncio.Redis.from_url(running_valkey.url)
    async with client, client.pubsub() as subscription, asyncio.timeout(PATIENCE_S):
        await subscription.subscribe(channel_of(SESSION))
        version = 20
        while True:
            publisher.publish(BeatPublication(1, version))
            version += 1
            message = await subscription.get_message(ignore_subscribe_messages=True, timeout=0.1)
            if message and decode_publication(message["data"]).version >= 20:
                break
    await publisher.close()


async def test_a_subscriber_notices_the_silence_and_hears_again(way, running_valkey, caplog):
    heard = asyncio.Queue()
    subscriber = Subscriber(way.url)
    await subscriber.subscribe(SESSION, heard.put_nowait)
    async with way.silent():
        while "redis_away" not in caplog.text:  # noqa: ASYNC110 - it tells the log alone
            await asyncio.sleep(0.01)
        # Rooms that open meanwhile go on without Redis.
        await subscriber.subscribe(SessionId("another"), heard.put_nowait)
        subscriber.unsubscribe(SessionId("another"))
    async with (
        redis.asyncio.Redis.from_url(running_valkey.url) as client,
        asyncio.timeout(PATIENCE_S),
    ):
        while not await client.publish(channel_of(SESSION), b"again"):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        assert await heard.get() == b"again"
    async with way.silent():
        await subscriber.close()
