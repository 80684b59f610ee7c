"""What the tests of actors and of the broker share."""

import asyncio
import os

import pytest

from actors import session_actor
from actors.rabbitmq import connect, declare_dead_letters
from actors.session_store import Place


@pytest.fixture
async def channel(broker):
    """A channel of the test's own that takes one message at a time."""
    async with await connect(broker.url) as connection:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=1)
        yield channel


@pytest.fixture
async def dead(channel):
    """The queue of the dead letters: empty before the test, and after it for the next one."""
    queue = await declare_dead_letters(channel)
    await queue.purge()
    yield queue
    await queue.purge()


@pytest.fixture
def end_actor(monkeypatch):
    """SessionActors are plain objects, and no Ray says where they are.

    The fixture's value ends one, as the end of its process would.
    """
    here = Place(node="a-node", pid=os.getpid())
    monkeypatch.setattr(session_actor, "_here", lambda: here)

    async def end(actor):
        for task in actor._tasks:
            task.cancel()
        await asyncio.gather(*actor._tasks, return_exceptions=True)
        if actor._host is not None:
            await actor._host.close()
        await actor._quizzes.close()
        for database in actor._shards.databases:
            await database.close()

    return end
