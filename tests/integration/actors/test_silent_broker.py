"""A RabbitMQ that falls silent instead of refusing: everything gives up in its time, and comes back."""

import asyncio
import uuid
from urllib.parse import urlsplit

import pytest

from actors import checkpoint_writer
from actors import rabbitmq as module
from actors.checkpoint_writer import CheckpointWriter
from actors.dead_letters import list_dead_letters, replay_dead_letters, replay_given_up
from actors.log_message import LOG_VERSION, BatchMessage
from actors.postgres import create_pool
from actors.rabbitmq import Publisher, SessionPublisher
from engine.errors import Unavailable
from engine.ids import Epoch, SessionId
from tests.silence import KINDS, silenceable, until

_PARTITION = 1
_BOUND_S = 0.5
#: RabbitMQ that was stopped for a while may take long to answer the first request after it.
_PATIENCE_S = 90.0


@pytest.fixture(params=KINDS)
async def way(request, broker, monkeypatch):
    for name in ("CONFIRM_S_MAX", "_CONNECT_S_MAX", "_PREPARE_S_MAX"):
        monkeypatch.setattr(module, name, 4 * _BOUND_S)
    monkeypatch.setattr("actors.dead_letters.CONFIRM_S_MAX", 4 * _BOUND_S)
    port = urlsplit(broker.url).port
    async with silenceable(broker, lambda: port, request.param) as way:
        way.url = broker.url.replace(f":{port}", f":{way.port}")
        yield way


@pytest.fixture
def no_heartbeats(monkeypatch):
    """They would end what waits; here the bound of each wait must do it."""
    monkeypatch.setattr(module, "_HEARTBEAT_S", 3_600)


def batch(session_id, who):
    row = (1, who, 0, 1, "", 700, True, 980, who, 5_000)
    return BatchMessage(LOG_VERSION, session_id, 1, [row], [], [])


@pytest.mark.usefixtures("no_heartbeats")
async def test_publishers_give_up_and_publish_again(way):
    session_id = SessionId(str(uuid.uuid4()))
    publisher = Publisher(way.url, _PARTITION)
    own = SessionPublisher(way.url, _PARTITION, session_id, Epoch(1), pytest.fail)
    await until(lambda: publisher.publish(batch(session_id, 1)), patience_s=_PATIENCE_S)
    await until(own.check, patience_s=_PATIENCE_S)
    async with way.silent():
        for _ in range(2):  # over the old connection, and over a new one
            with pytest.raises(Unavailable):
                await publisher.publish(batch(session_id, 1))
            with pytest.raises(Unavailable):
                await own.check()
    await until(lambda: publisher.publish(batch(session_id, 1)), patience_s=_PATIENCE_S)
    await until(own.check, patience_s=_PATIENCE_S)
    async with way.silent():
        await publisher.close()
        await own.close()


@pytest.mark.usefixtures("no_heartbeats", "dead")
@pytest.mark.parametrize("work", [list_dead_letters, replay_dead_letters, replay_given_up])
async def test_whoever_looks_through_the_dead_letters_gives_up(way, work, monkeypatch):
    connect = module.connect

    async def connect_and_fall_silent(url):
        connection = await connect(url)
        fell_silent.set()
        await is_silent.wait()
        return connection

    monkeypatch.setattr("actors.dead_letters.connect", connect_and_fall_silent)
    fell_silent, is_silent = asyncio.Event(), asyncio.Event()
    looking = asyncio.create_task(work(way.url))
    await fell_silent.wait()
    async with way.silent():
        is_silent.set()
        with pytest.raises(Unavailable):
            await looking
    await until(lambda: work(way.url), patience_s=_PATIENCE_S)


async def test_a_writer_leaves_a_silent_broker_and_stores_when_it_speaks_again(
    way, broker, database_url, caplog, monkeypatch
):
    monkeypatch.setattr(module, "_HEARTBEAT_S", 1)
    monkeypatch.setattr(checkpoint_writer, "_BACKOFF_S_MAX", 2 * _BOUND_S)
    session_id = str(uuid.uuid4())
    writer = CheckpointWriter(0, 1, way.url, database_url)
    publisher = Publisher(broker.url, _PARTITION)
    async with await create_pool(database_url, size_max=1) as pool:

        async def publish_and_find(who):
            await until(lambda: publisher.publish(batch(session_id, who)), patience_s=_PATIENCE_S)
            query = "SELECT FROM answers WHERE session_id = $1 AND participant_id = $2"
            async with asyncio.timeout(_PATIENCE_S):
                while not await pool.fetch(query, session_id, who):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)

        await publish_and_find(1)
        async with way.silent(_PATIENCE_S):
            while "writer_waits" not in caplog.text:  # noqa: ASYNC110 - it tells the log alone
                await asyncio.sleep(0.05)
        await publish_and_find(2)
        async with way.silent(_PATIENCE_S):
            await writer.close()
    await publisher.close()
