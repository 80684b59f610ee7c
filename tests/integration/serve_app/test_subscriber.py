"""One connection to a real Valkey: channels come and go, the server goes and comes back."""

import asyncio
import os
import signal

import pytest
import redis.asyncio

from actors import tasks
from actors.publisher import channel_of
from engine.ids import SessionId
from serve_app import subscriber as module
from serve_app.subscriber import Subscriber

ONE, TWO = SessionId("session-one"), SessionId("session-two")
_WAIT_S_MAX = 30


async def until(holds):
    """Return when something holds of which the server tells nobody."""
    async with asyncio.timeout(_WAIT_S_MAX):
        while not await holds():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


class Listener:
    """Notes what its channel brings."""

    def __init__(self):
        self._heard = asyncio.Queue()

    def __call__(self, data):
        self._heard.put_nowait(data)

    async def next(self):
        return await asyncio.wait_for(self._heard.get(), _WAIT_S_MAX)

    @property
    def is_quiet(self):
        return self._heard.empty()


@pytest.fixture
async def subscribe_to():
    """Make a Subscriber of an address."""
    made = []

    def make(url):
        made.append(Subscriber(url))
        return made[-1]

    yield make
    for each in made:
        await each.close()


@pytest.fixture
def publish():
    """Publish once somebody listens; a channel is subscribed a moment after Redis has come back."""

    async def publish(url, session_id, data):
        async with redis.asyncio.Redis.from_url(url) as client:
            await until(lambda: client.publish(channel_of(session_id), data))

    return publish


async def test_a_subscription_is_confirmed_before_it_returns(redis_url, subscribe_to):
    subscriber, one = subscribe_to(redis_url), Listener()
    await subscriber.subscribe(ONE, one)
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        assert await client.publish(channel_of(ONE), b"at once") == 1
    assert await one.next() == b"at once"


async def test_channels_do_not_mix_and_one_that_fails_disturbs_no_other(
    redis_url, subscribe_to, publish, caplog
):
    def fail(_data):
        raise LookupError("a fault of the callback")

    subscriber, two = subscribe_to(redis_url), Listener()
    await subscriber.subscribe(ONE, fail)
    await subscriber.subscribe(TWO, two)
    await publish(redis_url, ONE, b"for one")
    await publish(redis_url, TWO, b"for two")
    assert await two.next() == b"for two"
    assert "a fault of the callback" in caplog.text


async def test_a_channel_that_is_left_and_entered_at_once_is_heard(
    redis_url, subscribe_to, publish
):
    subscriber = subscribe_to(redis_url)
    for number in range(20):
        before, listener = Listener(), Listener()
        await subscriber.subscribe(ONE, before)
        subscriber.unsubscribe(ONE)
        await subscriber.subscribe(ONE, listener)
        await publish(redis_url, ONE, b"%d" % number)
        assert await listener.next() == b"%d" % number
        assert before.is_quiet


async def test_a_channel_that_is_left_is_given_back(redis_url, subscribe_to):
    subscriber = subscribe_to(redis_url)
    await subscriber.subscribe(ONE, Listener())
    subscriber.unsubscribe(ONE)
    async with redis.asyncio.Redis.from_url(redis_url) as client:

        async def is_given_back():
            return not await client.pubsub_channels(channel_of(ONE))

        await until(is_given_back)


async def test_it_closes_at_whatever_moment_it_is_told_to(redis_url, subscribe_to, monkeypatch):
    monkeypatch.setattr(tasks, "_AGAIN_S", 0.05)
    for number in range(60):
        subscriber = subscribe_to(redis_url)
        await asyncio.sleep(number / 20_000)  # from before its first command until it listens
        async with asyncio.timeout(_WAIT_S_MAX):
            await subscriber.close()
        assert not subscriber._tasks


async def test_rooms_are_opened_without_redis_and_hear_it_once_it_is_there(
    own_valkey, subscribe_to, publish, monkeypatch
):
    monkeypatch.setattr(module, "_CONFIRM_TIMEOUT_S", 0.05)
    monkeypatch.setattr(module, "_RECONNECT_PAUSE_S", 0.01)
    subscriber, one = subscribe_to(own_valkey.url), Listener()
    await subscriber.subscribe(ONE, one)
    await asyncio.to_thread(own_valkey.start)
    await publish(own_valkey.url, ONE, b"there")
    assert await one.next() == b"there"


async def test_channels_are_subscribed_again_when_redis_was_killed(
    own_valkey, subscribe_to, publish, monkeypatch
):
    monkeypatch.setattr(module, "_RECONNECT_PAUSE_S", 0.01)
    await asyncio.to_thread(own_valkey.start)
    subscriber, one, two = subscribe_to(own_valkey.url), Listener(), Listener()
    await subscriber.subscribe(ONE, one)
    os.kill(own_valkey.pid, signal.SIGKILL)
    await asyncio.to_thread(own_valkey.start)
    await subscriber.subscribe(TWO, two)
    for session_id, listener in ((ONE, one), (TWO, two)):
        await publish(own_valkey.url, session_id, b"again")
        assert await listener.next() == b"again"


async def test_a_redis_that_says_nothing_any_more_is_left(
    own_valkey, subscribe_to, publish, monkeypatch, caplog
):
    monkeypatch.setattr(module, "_SILENCE_S", 0.1)
    monkeypatch.setattr(module, "_RECONNECT_PAUSE_S", 0.01)
    await asyncio.to_thread(own_valkey.start)
    subscriber, one = subscribe_to(own_valkey.url), Listener()
    await subscriber.subscribe(ONE, one)

    async def is_left():
        return "action=redis_away" in caplog.text

    os.kill(own_valkey.pid, signal.SIGSTOP)
    try:
        await until(is_left)
    finally:
        os.kill(own_valkey.pid, signal.SIGCONT)
    await publish(own_valkey.url, ONE, b"awake")
    assert await one.next() == b"awake"
