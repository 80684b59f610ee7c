"""The quizzes of live sessions: from a real Valkey, a real standby, the primary, whichever there is."""

import asyncio
import os
import signal

import msgspec
import pytest
import redis

from actors.library import QuizLibrary
from actors.pinned_quizzes import PinnedQuizzes
from actors.postgres import LoneConnection, create_pool
from engine import limits
from engine.errors import Unavailable
from engine.testing.factories import make_quiz

#: Nobody listens there.
NOWHERE = "postgresql://rayquiz@127.0.0.1:1/rayquiz"


def titled(title):
    return msgspec.structs.replace(make_quiz(), title=title)


@pytest.fixture
def kept(running_valkey):
    """What is in Redis, as somebody else sees it."""
    with redis.Redis.from_url(running_valkey.url) as client:
        yield client


@pytest.fixture
async def make_quizzes(running_valkey):
    """Make them as processes have them: each its own way to Redis."""
    made = []

    def make(*replica_urls):
        made.append(PinnedQuizzes(running_valkey.url, replica_urls))
        return made[-1]

    yield make
    for quizzes in made:
        await quizzes.close()


@pytest.fixture
async def primary(own_postgres):
    connection = LoneConnection(own_postgres.url)
    yield connection
    await connection.close()


@pytest.fixture
def no_primary():
    """A primary that is away: it is not asked, or the test fails."""
    return LoneConnection(NOWHERE)


@pytest.fixture
async def stored(own_postgres):
    """A quiz whose first version is not its newest, and which is out of the library."""
    async with await create_pool(own_postgres.url, size_max=1) as pool:
        library = QuizLibrary(pool)
        row = await library.create(titled("Pinned"))
        await library.update(row.quiz_id, titled("Newer"))
        await library.delete(row.quiz_id)
    return row.quiz_id


async def test_what_a_replica_has_the_primary_is_not_asked_for_and_redis_keeps_it_for_its_time(
    make_quizzes, stored, own_standby, no_primary, kept
):
    quiz = await _when_replayed(make_quizzes(own_standby.url), no_primary, stored)
    assert quiz == titled("Pinned")
    [key] = kept.keys()
    assert key == f"rayquiz:quiz:{stored}:1".encode()
    assert 0 < kept.pttl(key) <= limits.PINNED_QUIZ_TTL_MS
    assert await make_quizzes(NOWHERE).read(no_primary, stored, 1) == quiz
    kept.flushall()
    with pytest.raises(Unavailable):
        await make_quizzes(NOWHERE).read(no_primary, stored, 1)


async def _when_replayed(quizzes, primary, quiz_id):
    async with asyncio.timeout(20):
        while True:
            try:
                return await quizzes.read(primary, quiz_id, 1)
            except Unavailable:  # the standby lags, so that the primary was asked
                await asyncio.sleep(0.05)


async def test_many_sessions_of_one_quiz_read_a_database_once(
    make_quizzes, stored, primary, monkeypatch
):
    asked = []
    fetch = primary.fetch

    async def count(*args):
        asked.append(args)
        await asyncio.sleep(0.05)
        return await fetch(*args)

    monkeypatch.setattr(primary, "fetch", count)
    readers = [make_quizzes() for _ in range(10)]
    found = await asyncio.gather(*(reader.read(primary, stored, 1) for reader in readers))
    assert found == [titled("Pinned")] * 10
    assert len(asked) == 1


async def test_what_a_replica_lacks_the_primary_has(
    make_quizzes, stored, primary, own_standby, caplog
):
    standby = LoneConnection(own_standby.url, is_primary=False)
    await standby.fetch("SELECT pg_wal_replay_pause()")
    async with await create_pool(primary._url, size_max=1) as pool:
        row = await QuizLibrary(pool).create(titled("Just made"))
    quiz = await make_quizzes(own_standby.url).read(primary, row.quiz_id, 1)
    assert quiz.title == "Just made"
    assert "quiz_replica_failed" not in caplog.text
    await standby.close()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
async def test_a_replica_that_is_away_or_silent_costs_a_moment(
    make_quizzes, stored, primary, own_standby, monkeypatch, caplog, how
):
    monkeypatch.setattr(limits, "REPLICA_READ_MS_MAX", 200)
    os.kill(own_standby.pid, how)
    try:
        async with asyncio.timeout(5):
            quiz = await make_quizzes(own_standby.url).read(primary, stored, 1)
    finally:
        if how is signal.SIGSTOP:
            os.kill(own_standby.pid, signal.SIGCONT)
    assert quiz.title == "Pinned"
    assert "action=quiz_replica_failed" in caplog.text


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
async def test_without_redis_the_tables_answer(make_quizzes, stored, primary, running_valkey, how):
    os.kill(running_valkey.pid, how)
    try:
        async with asyncio.timeout(5):
            assert (await make_quizzes().read(primary, stored, 1)).title == "Pinned"
    finally:
        if how is signal.SIGSTOP:
            os.kill(running_valkey.pid, signal.SIGCONT)


async def test_what_redis_has_and_cannot_be_read_is_read_anew(
    make_quizzes, stored, primary, kept, caplog
):
    key = f"rayquiz:quiz:{stored}:1"
    for rubbish in (b"", b"{", b'{"title": 1}'):
        caplog.clear()
        kept.set(key, rubbish)
        assert (await make_quizzes().read(primary, stored, 1)).title == "Pinned"
        assert b'"title":"Pinned"' in kept.get(key), "and put right"
        assert f"action=cache_unreadable key={key}" in caplog.text
