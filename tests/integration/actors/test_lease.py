"""Who may acknowledge, on a real broker and a database that a test stops, kills and starts."""

import asyncio
import os
import signal

import pytest

from actors.log_message import LOG_VERSION, BarrierMessage
from actors.ports import Record
from actors.postgres import LoneConnection, create_pool
from actors.rabbitmq import BrokerLog, SessionPublisher
from actors.session_store import claim
from engine import limits
from engine.errors import Fenced, Unavailable
from engine.events import AnswerAccepted, Opened

#: RabbitMQ 3.10 that another test has killed may leave a request without a reply for a minute.
_WAIT_S_MAX = 120.0
_ANSWERS = [Record(n, AnswerAccepted(n, 1, 0, 1, "", 700, True, 980, 2_700)) for n in range(1, 9)]
_OPENED = Record(
    20, Opened(at_ms=2_000, command_id="open", opening_no=1, question_index=0, closes_ms=9)
)


class _Actor:
    """As much of one as speaks with the broker and the database; several may have one session."""

    def __init__(self, broker_url, database_url, claimed):
        self.overtaken = asyncio.get_running_loop().create_future()
        self.epoch = claimed.epoch
        self.connection = LoneConnection(database_url)
        self.publisher = SessionPublisher(
            broker_url, claimed.partition, claimed.session_id, claimed.epoch, self._overtaken
        )
        self.log = BrokerLog(self.publisher, self.connection, claimed.session_id, claimed.epoch)

    def _overtaken(self, error):
        if not self.overtaken.done():
            self.overtaken.set_result(error)

    async def lose_connection(self):
        """Lose the one to the broker; it is opened anew at need."""
        await self.publisher.close()


@pytest.fixture
async def make_actor(broker_url, own_postgres, make_session, monkeypatch):
    """Make actors of one session, each of a higher epoch."""
    monkeypatch.setattr(limits, "LEASE_MS", 300)
    monkeypatch.setattr(limits, "EPOCH_READ_INTERVAL_MS", 100)
    pool = await create_pool(own_postgres.url, size_max=2)
    session = await make_session(pool)
    await pool.close()
    connection = LoneConnection(own_postgres.url)
    actors = []

    async def make():
        claimed = await claim(connection, session.actor_name)
        actors.append(_Actor(broker_url, own_postgres.url, claimed))
        return actors[-1]

    yield make
    for actor in actors:
        await actor.log.close()
    await connection.close()


@pytest.fixture
async def actor(make_actor):
    """An actor that has its mailbox, and has read its epoch since."""
    actor = await make_actor()
    await actor.log.append(_ANSWERS[:1])
    await asyncio.sleep(3 * limits.EPOCH_READ_INTERVAL_MS / 1000)
    return actor


async def outlast_lease():
    await asyncio.sleep((2 * limits.LEASE_MS + limits.EPOCH_READ_INTERVAL_MS) / 1000)


@pytest.fixture(params=["killed", "paused"])
def silence(request, own_postgres):
    """Make the database say no more, one way or another; it is told when it may speak again."""
    pid = own_postgres.pid
    if request.param == "killed":
        yield lambda: os.kill(pid, signal.SIGKILL)
        return
    from psutil import Process  # noqa: PLC0415 - beside its only use

    family = [Process(pid), *Process(pid).children(recursive=True)]

    def pause():
        family[1:] = Process(pid).children(recursive=True)
        for process in family:
            process.suspend()

    yield pause
    for process in family:
        process.resume()


async def test_answers_and_openings_go_on_while_the_database_is_away(actor, silence):
    silence()
    await outlast_lease()
    async with asyncio.timeout(_WAIT_S_MAX):
        await actor.log.append(_ANSWERS)
        await actor.log.append([_OPENED])
        await actor.log.hold(actor.log.moment())


async def test_a_new_connection_to_the_broker_says_nothing_before_the_epoch_is_read(
    actor, own_postgres
):
    await asyncio.to_thread(own_postgres.stop)
    await outlast_lease()
    await actor.lose_connection()
    with pytest.raises(Unavailable):
        await actor.log.hold(actor.log.moment())
    appending = asyncio.ensure_future(actor.log.append(_ANSWERS))
    done, _ = await asyncio.wait([appending], timeout=1.0)
    assert not done
    await asyncio.to_thread(own_postgres.start)
    async with asyncio.timeout(_WAIT_S_MAX):
        await appending


async def take_mailbox(earlier, later):
    """The earlier one learns that it is overtaken and gives its connection up; the later one has it."""
    barrier = BarrierMessage(LOG_VERSION, later.log._session_id, later.epoch, 0)
    async with asyncio.timeout(_WAIT_S_MAX):
        assert isinstance(await earlier.overtaken, Fenced)
        await earlier.lose_connection()
        while True:
            try:
                await later.publisher.publish(barrier)
                return
            except Unavailable:
                # It may have looked once more before it learned of it from the tables, too.
                await earlier.lose_connection()
                await asyncio.sleep(0.05)


async def test_nobody_else_publishes_while_an_actor_has_the_mailbox(actor, make_actor):
    later = await make_actor()
    barrier = BarrierMessage(LOG_VERSION, later.log._session_id, later.epoch, 0)
    with pytest.raises(Unavailable):
        await later.publisher.publish(barrier)
    await take_mailbox(actor, later)
    with pytest.raises(Fenced):
        await actor.log.append(_ANSWERS)
    assert not later.overtaken.done()


async def test_an_actor_that_says_nothing_learns_from_the_tables_that_it_is_overtaken(
    actor, make_actor
):
    await make_actor()
    async with asyncio.timeout(_WAIT_S_MAX):
        assert isinstance(await actor.overtaken, Fenced)


async def test_without_a_database_an_earlier_actor_cannot_take_the_mailbox_back(
    actor, make_actor, own_postgres
):
    """The later one is gone, and nobody can ask the tables: the earlier one speaks no more."""
    later = await make_actor()
    await take_mailbox(actor, later)
    await asyncio.to_thread(own_postgres.stop)
    await outlast_lease()
    await later.log.close()
    appending = asyncio.ensure_future(actor.log.append(_ANSWERS))
    done, _ = await asyncio.wait([appending], timeout=1.0)
    assert not done
    appending.cancel()
