"""A rate that replicas share over a real Valkey."""

import asyncio
import os
import signal

import pytest

from actors.cache import Cache
from engine import limits
from serve_app.rate import Rate
from serve_app.shared_rate import SharedRate

_SLOW = Rate(per_s=0.001, burst=100)


@pytest.fixture
async def make_rate(running_valkey):
    """Make a replica's part of one rate."""
    caches = []

    def make(rate=_SLOW):
        caches.append(Cache(running_valkey.url))
        return SharedRate(caches[-1], "things", rate, keys_max=10)

    yield make
    for cache in caches:
        await cache.close()


async def taken(rates, key, tries):
    got = await asyncio.gather(*(rate.take(key) for rate in rates for _ in range(tries)))
    return sum(got)


async def test_all_replicas_together_take_no_more_than_the_burst(make_rate):
    rates = [make_rate() for _ in range(3)]
    assert await taken(rates, "a", 100) == _SLOW.burst
    assert await taken(rates, "b", 20) == 60, "another key has a bucket of its own"


async def test_those_who_come_while_tokens_arrive_get_theirs(make_rate):
    rate = make_rate(Rate(per_s=0.001, burst=5_000))
    tasks = []
    # So many that Redis' reply comes in the middle of them.
    for _ in range(100):
        # More in one turn of the loop than are granted at once, whatever else happens in that turn.
        tasks += [asyncio.ensure_future(rate.take("a")) for _ in range(limits.JOINS_CREDIT + 20)]
        await asyncio.sleep(0)
    assert all(await asyncio.gather(*tasks))


async def test_a_bucket_fills_again(make_rate):
    rate = make_rate(Rate(per_s=1_000, burst=5))
    assert await taken([rate], "a", 10) >= 5
    await asyncio.sleep(0.05)
    assert await rate.take("a")


async def test_tokens_that_nobody_used_lapse(make_rate, monkeypatch):
    monkeypatch.setattr(limits, "JOINS_CREDIT_MS", 0)
    rate = make_rate(Rate(per_s=0.001, burst=limits.JOINS_CREDIT))
    assert not await rate.take("a"), "all of them were taken at once, and have lapsed"


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
async def test_without_redis_each_replica_keeps_the_rate(make_rate, running_valkey, how):
    rates = [make_rate() for _ in range(2)]
    os.kill(running_valkey.pid, how)
    async with asyncio.timeout(10):
        assert await taken(rates, "a", 150) == 2 * _SLOW.burst
    if how is signal.SIGSTOP:
        os.kill(running_valkey.pid, signal.SIGCONT)
