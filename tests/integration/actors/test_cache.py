"""What is kept in a real Valkey, and that nobody misses it when it is empty, killed or silent."""

import asyncio
import os
import signal
import time

import pytest
import redis

from actors.cache import Cache
from engine import limits
from engine.errors import NotFound, Unavailable

_TTL_MS = 60_000


@pytest.fixture
async def make_cache(running_valkey):
    """Make caches as processes have them: each its own."""
    caches = []

    def make():
        caches.append(Cache(running_valkey.url))
        return caches[-1]

    yield make
    for cache in caches:
        await cache.close()


@pytest.fixture
def cache(make_cache):
    return make_cache()


class Source:
    """Where values come from, slowly; it counts how often it was asked."""

    def __init__(self, value=b"value"):
        self.value, self.asked = value, 0

    async def __call__(self):
        self.asked += 1
        await asyncio.sleep(0.05)
        if isinstance(self.value, Exception):
            raise self.value
        return self.value


async def test_a_value_is_asked_for_once_however_many_want_it_and_wherever(make_cache):
    source, caches = Source(), [make_cache() for _ in range(5)]
    found = await asyncio.gather(
        *(cache.read_through("key", _TTL_MS, source, bytes) for cache in caches for _ in range(200))
    )
    assert set(found) == {b"value"}
    assert source.asked == 1


async def test_what_was_filled_between_the_look_and_the_lock_is_not_asked_for_again(
    cache, running_valkey, monkeypatch
):
    source, ask = Source(b"ours"), cache.ask
    with redis.Redis.from_url(running_valkey.url) as other:

        async def look_first(work):
            monkeypatch.setattr(cache, "ask", ask)
            found = await ask(work)
            other.set("key", b"theirs")
            return found

        monkeypatch.setattr(cache, "ask", look_first)
        assert await cache.read_through("key", _TTL_MS, source, bytes) == b"theirs"
        assert source.asked == 0
        assert other.keys() == [b"key"], "the lock is given back"


async def test_a_value_is_kept_for_its_time_and_no_longer(cache):
    source = Source()
    for _ in range(3):
        await cache.read_through("key", _TTL_MS, source, bytes)
    assert source.asked == 1
    assert 0 < await cache.ask(lambda client: client.pttl("key")) <= _TTL_MS
    await cache.read_through("another", 100, source, bytes)
    await asyncio.sleep(0.15)
    await cache.read_through("another", 100, source, bytes)
    assert source.asked == 3


async def test_what_is_forgotten_or_lost_is_asked_for_again(cache, running_valkey):
    source = Source()
    await cache.read_through("key", _TTL_MS, source, bytes)
    source.value = b"newer"
    await cache.forget("key")
    assert await cache.read_through("key", _TTL_MS, source, bytes) == b"newer"
    source.value = b"newest"
    with redis.Redis.from_url(running_valkey.url) as client:
        client.flushall()
    assert await cache.read_through("key", _TTL_MS, source, bytes) == b"newest"


async def test_that_something_is_missing_is_not_kept(cache):
    source = Source(NotFound("no"))
    for _ in range(2):
        with pytest.raises(NotFound):
            await cache.read_through("key", _TTL_MS, source, bytes)
    source.value = b"there by now"
    assert await cache.read_through("key", _TTL_MS, source, bytes) == b"there by now"


async def test_whoever_dies_while_it_fills_holds_nobody_up_for_long(cache):
    await cache.ask(lambda client: client.set("key:filling", b"", px=60_000))
    async with asyncio.timeout(limits.CACHE_FILL_MS / 1000 + 5):
        assert await cache.read_through("key", _TTL_MS, Source(), bytes) == b"value"


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
async def test_without_redis_the_source_answers_and_redis_is_asked_again_later(
    cache, running_valkey, how, monkeypatch
):
    monkeypatch.setattr(limits, "CACHE_REST_MS", 60_000)
    await cache.read_through("key", _TTL_MS, Source(b"old"), bytes)
    os.kill(running_valkey.pid, how)
    source, begun = Source(), time.monotonic()
    for _ in range(3):
        assert await cache.read_through("key", _TTL_MS, source, bytes) == b"value"
    assert source.asked == 3
    assert time.monotonic() - begun < 2, "only the first one may have waited for Redis"
    with pytest.raises(Unavailable):
        await cache.ask(lambda client: client.ping())
    if how is signal.SIGKILL:
        await asyncio.to_thread(running_valkey.start)
    else:
        os.kill(running_valkey.pid, signal.SIGCONT)
    cache._rests_until = 0.0
    assert await cache.ask(lambda client: client.ping())


async def test_what_another_version_has_put_there_is_filled_anew_and_once(make_cache):
    source, caches = Source(b"7"), [make_cache() for _ in range(3)]
    await caches[0].ask(lambda client: client.set("key", b"of another version"))
    found = await asyncio.gather(
        *(cache.read_through("key", _TTL_MS, source, int) for cache in caches for _ in range(50))
    )
    assert set(found) == {7}
    assert source.asked == 1
    assert await caches[0].ask(lambda client: client.get("key")) == b"7"


async def test_what_the_source_itself_has_wrong_is_told(cache):
    with pytest.raises(ValueError, match="invalid literal"):
        await cache.read_through("key", _TTL_MS, Source(b"no number"), int)


async def test_a_key_of_another_type_is_overwritten_and_keeps_nobody_from_the_others(cache):
    await cache.ask(lambda client: client.hset("key", "of", "another version"))
    assert await cache.read_through("key", _TTL_MS, Source(), bytes) == b"value"
    assert await cache.ask(lambda client: client.get("key")) == b"value", "Redis was not left alone"
