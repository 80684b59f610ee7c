"""A rate that replicas share over a real Valkey."""

import asyncio
import os
import signal

import pytest

from actors.cache import Cache
from engine import limits
from serve_app.rate import Rate
from serve_app.shared_rate import SharedAllowance, SharedRate

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
    rate = make_rate(Rate(per_s=0.001, burst=10_000))
    tasks = []
    # So many that Redis' reply comes in the middle of them.
    for _ in range(100):
        # More in one turn of the loop than are granted at once, whatever else happens in that turn.
        tasks += [
            asyncio.ensure_future(rate.take("a")) for _ in range(limits.JOINS_CREDIT_MAX + 20)
        ]
        await asyncio.sleep(0)
    assert all(await asyncio.gather(*tasks))


async def test_a_bucket_fills_again(make_rate):
    rate = make_rate(Rate(per_s=1_000, burst=5))
    assert await taken([rate], "a", 10) >= 5
    await asyncio.sleep(0.05)
    assert await rate.take("a")


async def test_a_trickle_uses_up_what_it_takes_and_no_more(make_rate, monkeypatch):
    monkeypatch.setattr(limits, "JOINS_CREDIT_MS", 1)
    rate, got = make_rate(Rate(per_s=0.001, burst=20)), 0
    for _ in range(30):
        got += await rate.take("a")
        await asyncio.sleep(0.002)  # whatever was taken beyond it lapses
    assert got == 20


async def test_a_refusal_is_remembered_until_there_may_be_a_token(make_rate, monkeypatch):
    monkeypatch.setattr(limits, "JOINS_CREDIT_MS", 60_000)
    rate, asked = make_rate(Rate(per_s=0.01, burst=1)), []
    ask = rate._cache.ask

    async def counted(work):
        asked.append(work)
        return await ask(work)

    monkeypatch.setattr(rate._cache, "ask", counted)
    assert [await rate.take("a") for _ in range(100)] == [True] + [False] * 99
    assert len(asked) == 2


async def test_tokens_that_nobody_used_lapse(make_rate, monkeypatch):
    monkeypatch.setattr(limits, "JOINS_CREDIT_MS", 0)
    rate = make_rate(Rate(per_s=0.001, burst=limits.JOINS_CREDIT_MAX))
    assert not await rate.take("a"), "all of them were taken at once, and have lapsed"


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
async def test_without_redis_each_replica_keeps_the_rate(make_rate, running_valkey, how):
    rates = [make_rate() for _ in range(2)]
    os.kill(running_valkey.pid, how)
    async with asyncio.timeout(10):
        assert await taken(rates, "a", 150) == 2 * _SLOW.burst
    if how is signal.SIGSTOP:
        os.kill(running_valkey.pid, signal.SIGCONT)


# --- allowances --------------------------------------------------------------------------------------


@pytest.fixture
def make_allowance(make_rate):
    """Make a replica's part of one allowance."""

    def make(rate=_SLOW):
        return SharedAllowance(make_rate()._cache, "deeds", rate, keys_max=10)

    return make


async def test_what_is_done_at_any_replica_counts_at_all_that_ask(make_allowance):
    one, other = make_allowance(), make_allowance()
    await asyncio.gather(*(one.charge("a") for _ in range(60)))
    assert one.left("a") == pytest.approx(40, abs=0.1)
    await other.charge("a")
    assert other.left("a") == pytest.approx(39, abs=0.1)
    assert other.left("b") == _SLOW.burst


async def test_who_does_too_much_at_once_owes_the_rest_and_no_more_than_a_burst(make_allowance):
    allowance = make_allowance(Rate(per_s=1_000, burst=100))
    await asyncio.gather(*(allowance.charge("a") for _ in range(1_000)))
    assert -100 <= allowance.left("a") < 1
    async with asyncio.timeout(20):
        while allowance.left("a") < 1:  # noqa: ASYNC110 - time alone brings it back
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
async def test_without_redis_each_replica_counts_its_own(make_allowance, running_valkey, how):
    one, other = make_allowance(), make_allowance()
    os.kill(running_valkey.pid, how)
    async with asyncio.timeout(10):
        await asyncio.gather(*(one.charge("a") for _ in range(30)))
    assert one.left("a") == pytest.approx(70, abs=0.1)
    assert other.left("a") == 100
    if how is signal.SIGSTOP:
        os.kill(running_valkey.pid, signal.SIGCONT)
