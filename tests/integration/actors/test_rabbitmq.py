"""Publishing to a real broker that does not answer."""

import asyncio
import os
import signal
import uuid

import psutil
import pytest

from actors import rabbitmq as module
from actors.log_message import LOG_VERSION, BarrierMessage
from actors.rabbitmq import Publisher, connect
from engine.errors import Unavailable

#: Less than it takes until missing heartbeats would tell.
_SOON_S = 4.0


class _PausesBroker(Publisher):
    """Its broker stands still between the connection and the first request."""

    def __init__(self, broker, partition):
        super().__init__(broker.url, partition)
        self.pid = broker.pid

    async def _prepare(self, connection):
        os.kill(self.pid, signal.SIGSTOP)
        return await super()._prepare(connection)


@pytest.fixture
def paused(broker):
    """A publisher that pauses its broker; it goes on afterwards."""
    yield _PausesBroker(broker, 0)
    os.kill(broker.pid, signal.SIGCONT)


async def test_a_request_without_a_reply_is_not_waited_for(paused, monkeypatch):
    monkeypatch.setattr(module, "_PREPARE_S_MAX", 0.3)
    monkeypatch.setattr(module, "_CONNECT_S_MAX", 1.0)
    message = BarrierMessage(LOG_VERSION, str(uuid.uuid4()), 1, 0)
    async with asyncio.timeout(_SOON_S):
        with pytest.raises(Unavailable, match="the broker is away: TimeoutError"):
            await paused.publish(message)
    assert psutil.Process(paused.pid).status() == psutil.STATUS_STOPPED


async def test_what_waits_when_its_connection_is_given_up_is_unavailable(broker, monkeypatch):
    connections = []

    async def connect_and_keep(url):
        connections.append(await connect(url))
        return connections[-1]

    monkeypatch.setattr(module, "connect", connect_and_keep)
    publisher = Publisher(broker.url, 0)
    message = BarrierMessage(LOG_VERSION, str(uuid.uuid4()), 1, 0)
    await publisher.publish(message)
    os.kill(broker.pid, signal.SIGSTOP)
    try:
        waiting = asyncio.ensure_future(publisher.publish(message))
        await asyncio.sleep(0.1)
        # What its close(None) comes to, which its reader calls when it has ended in good order.
        await connections[0].transport.connection._cancel_tasks(None)
        with pytest.raises(Unavailable, match=r"the broker did not confirm: Exception\(\)"):
            await waiting
    finally:
        os.kill(broker.pid, signal.SIGCONT)
    await publisher.publish(message)
    await publisher.close()
