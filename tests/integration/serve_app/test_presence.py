"""Who is connected, by what replicas tell a real Valkey."""

import asyncio
from types import SimpleNamespace

import pytest

from actors.cache import Cache
from engine import limits
from engine.ids import ParticipantId, SessionId
from serve_app import presence as module
from serve_app.presence import Presence, Present, connected_of, present_in

SESSION = SessionId("a-session")
OTHER = SessionId("another-session")


def watcher():
    return SimpleNamespace(participant_id=ParticipantId(0))


class Replica:
    """A replica's hub, as far as it is asked, and what tells of it."""

    def __init__(self, url, session_id, participants, viewers):
        people = {ParticipantId(who): SimpleNamespace(participant_id=who) for who in participants}
        self.room = SimpleNamespace(
            session_id=session_id,
            participants=people,
            viewers={id(one): one for one in people.values()}
            | {n: watcher() for n in range(viewers)},
        )
        self.room.viewers = list(self.room.viewers.values())
        self.cache = Cache(url)
        self.presence = Presence(self.cache, SimpleNamespace(rooms=lambda: [self.room]))

    async def end(self):
        await self.presence.close()
        await self.cache.close()


@pytest.fixture
async def make_replica(redis_url, monkeypatch):
    monkeypatch.setattr(limits, "PRESENCE_LOOK_MS", 60_000)
    replicas = []

    def make(session_id, participants, viewers=0):
        replicas.append(Replica(redis_url, session_id, participants, viewers))
        return replicas[-1]

    yield make
    for replica in replicas:
        await replica.cache.ask(lambda client: client.flushall())
        await replica.end()


async def test_all_replicas_are_counted_and_each_participant_once(make_replica):
    first = make_replica(SESSION, participants=[1, 2, 3], viewers=2)
    second = make_replica(SESSION, participants=[3, 4], viewers=1)
    elsewhere = make_replica(OTHER, participants=[1])
    for replica in (first, second, elsewhere, first):
        await replica.presence.tell()
    assert await present_in(first.cache, SESSION) == Present(participants=4, viewers=3)
    assert await present_in(first.cache, OTHER) == Present(participants=1, viewers=0)


async def test_who_of_a_page_is_connected(make_replica):
    replica = make_replica(SESSION, participants=[1, 3, 250])
    await replica.presence.tell()
    assert await connected_of(replica.cache, SESSION, [4, 3, 2, 1]) == {1, 3}
    assert await connected_of(replica.cache, OTHER, [1]) == set()
    assert await connected_of(replica.cache, SESSION, []) == set()


async def test_who_is_connected_is_unknown_without_redis():
    cache = Cache("unix:///nowhere")
    assert await connected_of(cache, SESSION, [1]) is None
    await cache.close()


async def test_many_are_told_in_several_commands(make_replica, monkeypatch):
    monkeypatch.setattr(module, "_BATCH", 10)
    replica = make_replica(SESSION, participants=range(1, 36), viewers=11)
    await replica.presence.tell()
    assert await present_in(replica.cache, SESSION) == Present(35, 11)


async def test_those_of_whom_nobody_tells_any_more_are_forgotten(make_replica, monkeypatch):
    monkeypatch.setattr(limits, "PRESENCE_TTL_MS", 300)
    lives, dies = make_replica(SESSION, [1, 2], 1), make_replica(SESSION, [3], 1)
    await dies.presence.tell()
    async with asyncio.timeout(10):
        while True:
            await lives.presence.tell()
            if await present_in(lives.cache, SESSION) == Present(2, 1):
                break
            await asyncio.sleep(0.05)


async def test_who_comes_and_goes_is_told_as_a_change(make_replica):
    replica = make_replica(SESSION, [1, 2], viewers=1)
    await replica.presence.tell_changes()
    assert await present_in(replica.cache, SESSION) == Present(2, 1)
    replica.room.participants[ParticipantId(3)] = SimpleNamespace(participant_id=ParticipantId(3))
    del replica.room.participants[ParticipantId(1)]
    replica.room.viewers = []
    await replica.presence.tell_changes()
    assert await present_in(replica.cache, SESSION) == Present(2, 0)
    assert await connected_of(replica.cache, SESSION, [1, 2, 3]) == {2, 3}
    replica.presence._hub.rooms = list
    await replica.presence.tell_changes()
    assert await present_in(replica.cache, SESSION) == Present(0, 0)
    assert not replica.presence._told


async def test_who_has_come_back_through_another_replica_stays(make_replica):
    before, after = make_replica(SESSION, [1]), make_replica(SESSION, [1])
    await before.presence.tell()
    async with asyncio.timeout(10):
        while True:  # until the two are told in different milliseconds
            await after.presence.tell()
            if after.presence._told != before.presence._told:
                break
    before.room.participants.clear()
    await before.presence.tell_changes()
    assert await present_in(before.cache, SESSION) == Present(1, 0)


async def test_a_replica_tells_by_itself(make_replica, monkeypatch):
    monkeypatch.setattr(limits, "PRESENCE_LOOK_MS", 20)
    replica = make_replica(SESSION, [1])
    async with asyncio.timeout(10):
        while await present_in(replica.cache, SESSION) != Present(1, 0):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
