"""What the tests on the broker share."""

import pytest

from actors.rabbitmq import connect, declare_dead_letters


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
