"""The embedded log on a real PostgreSQL: who may write, and what survives its death."""

import asyncio
import os
import signal

import asyncpg
import pytest

from actors.direct_log import DirectLog
from actors.outbox import Outbox
from actors.ports import Record
from actors.postgres import LoneConnection, create_pool
from actors.session_store import take_over
from actors.sql import queries
from engine.errors import Fenced, Unavailable
from engine.events import AnswerAccepted, Joined


def answer(who, opening_no=1):
    return AnswerAccepted(who, opening_no, 0, 0b10, "", 700, True, 980, 1_000 + who)


def answers(first, count):
    return [Record(n, answer(n)) for n in range(first, first + count)]


@pytest.fixture
async def make_actor(database_url):
    """A factory of actors: each takes the session over and gets a log of its own."""
    connections = []

    async def make(session, url=database_url):
        connections.append(LoneConnection(url))
        found = await take_over(connections[-1], session.actor_name)
        return DirectLog(connections[-1], session.session_id, found.epoch)

    yield make
    for connection in connections:
        await connection.close()


async def stored(pool, session):
    rows = await pool.fetch(
        "SELECT participant_id, epoch FROM answers WHERE session_id = $1", session.session_id
    )
    return {row["participant_id"]: row["epoch"] for row in rows}


async def waits_for_a_lock(pool, statement):
    """Whether a session of the server waits for a lock in this statement."""
    return await pool.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE $1",
        f"%{statement}%",
    )


async def until(condition):
    async with asyncio.timeout(20):
        while not await condition():  # noqa: ASYNC110 - a server tells nobody
            await asyncio.sleep(0.01)


async def test_a_take_over_waits_for_the_statement_that_is_under_way_and_finds_what_it_wrote(
    pool, make_session, make_actor, database_url
):
    session = await make_session(pool)
    await make_actor(session)
    connection = LoneConnection(database_url)
    async with pool.acquire() as earlier:
        transaction = earlier.transaction()
        await transaction.start()
        mia = ([1], ["key-of-mia"], ["Mia"], [1], [1_000], [""])
        rows = await earlier.fetch(queries["append_joins"], session.session_id, 1, *mia)
        assert rows[0]["fence"]
        later = asyncio.create_task(take_over(connection, session.actor_name))
        await until(lambda: waits_for_a_lock(pool, "UPDATE sessions SET epoch"))
        assert not later.done()
        await transaction.commit()
    found = await later
    assert (found.epoch, found.next_seq) == (2, 2)
    assert [person.nickname for person in found.state.participants.values()] == ["Mia"]
    await connection.close()


async def test_a_statement_that_waited_for_a_take_over_writes_nothing(
    pool, make_session, make_actor
):
    session = await make_session(pool)
    log = await make_actor(session)
    async with pool.acquire() as later:
        transaction = later.transaction()
        await transaction.start()
        await later.fetch(queries["take_over"], session.actor_name, 1)
        append = asyncio.create_task(log.append(answers(1, 3)))
        await until(lambda: waits_for_a_lock(pool, "WITH fence"))
        await transaction.commit()
    with pytest.raises(Fenced):
        await append
    assert await stored(pool, session) == {}


async def test_of_two_that_race_the_later_one_finds_all_that_the_earlier_one_was_told(
    pool, make_session, make_actor, database_url
):
    session = await make_session(pool)
    log = await make_actor(session)
    told = []

    async def write():
        for n in range(1, 100_000):
            await log.append(answers(n, 1))
            told.append(n)

    writer = asyncio.create_task(write())
    await until(lambda: asyncio.sleep(0, len(told) >= 20))
    connection = LoneConnection(database_url)
    [row] = await connection.fetch(queries["take_over"], session.actor_name, 1)
    seen = await stored(pool, session)
    with pytest.raises(Fenced):
        await writer
    assert row["epoch"] == 2
    assert set(told) == set(seen)
    assert await stored(pool, session) == seen
    await connection.close()


async def test_an_actor_that_lost_its_session_is_fenced_for_ever(pool, make_session, make_actor):
    session = await make_session(pool)
    earlier = await make_actor(session)
    await make_actor(session)
    for records in (answers(1, 2), [Record(9, Joined(1, "a-key-of", "Mia", 1))]):
        with pytest.raises(Fenced):
            await earlier.append(records)
    assert await stored(pool, session) == {}
    assert await pool.fetchval("SELECT count(*) FROM participants") == 0


async def test_a_record_that_no_row_can_hold_is_no_reason_to_wait(pool, make_session, make_actor):
    log = await make_actor(await make_session(pool))
    with pytest.raises(asyncpg.DataError):
        await log.append([Record(1, Joined(1, "nul\0inside", "Mia", 1))])
    await log.append(answers(1, 1))


async def test_a_killed_postgresql_loses_nothing_that_was_acknowledged_and_keeps_nothing_twice(
    own_postgres, make_session, make_actor
):
    pool = await create_pool(own_postgres.url, size_max=2)
    session = await make_session(pool)
    log = await make_actor(session, own_postgres.url)
    applied, failures, told = [], [], []
    outbox = Outbox(log, 1, applied.extend, failures.append)
    people = 0

    async def answer_and_wait(first):
        await outbox.add([answer(n) for n in range(first, first + 10)])
        told.extend(range(first, first + 10))

    async with asyncio.TaskGroup() as group:

        def more():
            nonlocal people
            group.create_task(answer_and_wait(people + 1))
            people += 10

        for kill in range(1, 4):
            enough = people + 300
            while len(told) < enough:
                if people < enough + 300:  # a slow machine must not be given ever more
                    more()
                await asyncio.sleep(0.001)
            more()
            await asyncio.sleep(0)
            assert len(outbox) > 0
            os.kill(own_postgres.pid, signal.SIGKILL)
            told_before = set(told)
            more()
            await asyncio.to_thread(own_postgres.stop)
            await asyncio.to_thread(own_postgres.start)
            rows = await pool.fetch("SELECT participant_id FROM answers")
            assert told_before <= {row["participant_id"] for row in rows}, f"kill {kill}"
    assert sorted(told) == list(range(1, people + 1))
    assert sorted(event.participant_id for event in applied) == sorted(told)
    assert failures == []
    counts = await pool.fetchrow(
        "SELECT count(*) AS rows, count(DISTINCT participant_id) AS people,"
        " count(DISTINCT seq) AS seqs FROM answers"
    )
    assert tuple(counts) == (people, people, people)
    await outbox.close()
    await pool.close()


async def test_what_is_acknowledged_survives_a_power_cut(make_session, pool, make_actor):
    log = await make_actor(await make_session(pool))
    for setting in ("fsync", "synchronous_commit", "full_page_writes"):
        assert (await log._connection.fetch(f"SHOW {setting}"))[0][0] == "on"


async def test_a_log_whose_server_is_away_says_that_the_outcome_is_unknown(
    own_postgres, make_session, make_actor
):
    pool = await create_pool(own_postgres.url, size_max=1)
    log = await make_actor(await make_session(pool), own_postgres.url)
    await pool.close()
    await asyncio.to_thread(own_postgres.stop)
    with pytest.raises(Unavailable):
        await log.append(answers(1, 1))
    await asyncio.to_thread(own_postgres.start)
    await log.append(answers(1, 1))
