"""Writers that die, one after the other, with messages in hand: real processes, a real broker."""

import asyncio
import subprocess
import sys
import uuid

import aio_pika
import pytest

from actors.checkpoint_writer import CheckpointWriter
from actors.dead_letters import list_dead_letters, replay_given_up
from actors.log_message import LOG_VERSION, BatchMessage, encode_log_message
from actors.postgres import create_pool
from actors.rabbitmq import (
    DEAD_QUEUE,
    EARLIER_DELIVERIES_MAX,
    Publisher,
    declare_dead_letters,
    declare_partition,
    queue_name,
)
from engine import limits

#: Each test has a partition of its own: its queue is gone afterwards.
_UNTOUCHED, _POISONED, _EARLIER, _GIVEN_UP, _BUSY = 0, 2, 4, 6, 7
_WAIT_S_MAX = 120.0
_CRASHES = 25

#: Lives as many times as it is told: a writer that is killed as soon as it holds so many messages, or,
#: with 0, dies of a message that has the poison in it. Says how often it died.
_LIVES = """
import asyncio, os, signal, sys
from actors import checkpoint_writer as module
broker_url, database_url, lives, holds = *sys.argv[1:3], int(sys.argv[3]), int(sys.argv[4])
decode = module.decode_log_message

def deadly(body):
    if b"poison" in body:
        os.kill(os.getpid(), signal.SIGKILL)
    return decode(body)

async def live():
    writer = module.CheckpointWriter(0, 1, broker_url, database_url)
    while True:
        found = await writer.statistics()
        if holds and found["waiting"] >= holds:
            os.kill(os.getpid(), signal.SIGKILL)
        if found["rejected"]:
            await asyncio.sleep(0.5)  # its note goes, too
            os._exit(0)
        await asyncio.sleep(0.02)

if holds:
    module._GATHER_S = 3600.0
else:
    module.decode_log_message = deadly
deaths = 0
for _ in range(lives):
    pid = os.fork()
    if pid == 0:
        asyncio.run(live())
    _, status = os.waitpid(pid, 0)
    if not os.WIFSIGNALED(status):
        break
    deaths += 1
print(deaths)
"""


@pytest.fixture
def die(broker, database_url):
    """Let writers live and die; return how many died."""

    async def run(lives, holds):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", _LIVES, broker.url, database_url, str(lives), str(holds)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        said, complaint = await asyncio.wait_for(process.communicate(), 4 * _WAIT_S_MAX)
        assert process.returncode == 0, complaint.decode()[-2_000:]
        return int(said)

    return run


@pytest.fixture
async def stored(database_url):
    """Whose answers of a session are in the tables."""
    async with await create_pool(database_url, size_max=1) as pool:

        async def ask(session_id):
            query = "SELECT participant_id FROM answers WHERE session_id = $1"
            return {row[0] for row in await pool.fetch(query, session_id)}

        yield ask
        assert await pool.fetch("DELETE FROM store_tries RETURNING digest") == []


@pytest.fixture
async def writer(broker, database_url):
    """Starts a healthy one."""
    writers = []
    yield lambda: writers.append(CheckpointWriter(0, 1, broker.url, database_url))
    for each in writers:
        await each.close()


@pytest.fixture
def publish(channel):
    async def publish_all(partition, session_id, people, text=""):
        for who in people:
            row = (1, who, 0, 1, text, 700, True, 980, who, 5_000)
            body = encode_log_message(BatchMessage(LOG_VERSION, session_id, 1, [row], [], []))
            await channel.default_exchange.publish(aio_pika.Message(body), queue_name(partition))

    return publish_all


@pytest.fixture(autouse=True)
async def no_queue_is_left(channel, dead):
    yield
    for partition in (_UNTOUCHED, _POISONED, _EARLIER, _GIVEN_UP, _BUSY):
        await channel.queue_delete(queue_name(partition))


async def until(works):
    async with asyncio.timeout(_WAIT_S_MAX):
        while not await works():  # noqa: ASYNC110 - neither broker nor writer tells
            await asyncio.sleep(0.05)


async def test_what_writers_held_that_were_killed_is_stored(
    broker, channel, publish, die, stored, writer
):
    """25 writers are killed as soon as they have all 500; the broker counts 25 deliveries of each."""
    session_id, people = str(uuid.uuid4()), set(range(limits.WRITER_HOLDS_MAX))
    await declare_partition(channel, _UNTOUCHED)
    await publish(_UNTOUCHED, session_id, people)
    assert await die(_CRASHES, len(people)) == _CRASHES
    assert await stored(session_id) == set()
    writer()
    await until(lambda: has(stored, session_id, people))
    assert await list_dead_letters(broker.url) == []


async def has(stored, session_id, people):
    return await stored(session_id) == people


@pytest.mark.parametrize("partition", [_POISONED, _EARLIER])
async def test_a_message_that_ends_every_writer_is_dead_alone(
    broker, channel, publish, die, stored, writer, partition
):
    """Also in a queue that the version before has made, in which the broker's own limit is 20.

    Each writer holds as many messages of another partition, and stores them among these.
    """
    session_id = str(uuid.uuid4())
    busy = range(1_000, 1_000 + limits.WRITER_HOLDS_MAX)
    await declare_partition(channel, _BUSY)
    if partition == _EARLIER:
        await declare_as_before(channel, partition)
    else:
        await declare_partition(channel, partition)
    before, after = range(300), range(301, 500)
    await publish(partition, session_id, before)
    await publish(partition, session_id, [300], text="poison")
    await publish(partition, session_id, after)
    await publish(_BUSY, session_id, busy)
    assert limits.STORE_TRIES_MAX <= await die(3 * _CRASHES, 0) < EARLIER_DELIVERIES_MAX
    # The one that gave it up has ended with it, maybe before it had stored what stands behind it.
    writer()
    await until(lambda: has(stored, session_id, {*before, *after, *busy}))
    assert [letter.reason for letter in await list_dead_letters(broker.url)] == ["rejected"]


async def test_a_queue_of_the_version_before_is_published_to_and_stored_from(
    broker, channel, stored, writer, caplog
):
    session_id = str(uuid.uuid4())
    await declare_as_before(channel, _EARLIER)
    writer()
    publisher = Publisher(broker.url, _EARLIER)
    for who in (1, 2):
        row = (1, who, 0, 1, "", 700, True, 980, who, 5_000)
        await publisher.publish(BatchMessage(LOG_VERSION, session_id, 1, [row], [], []))
        await until(lambda who=who: has(stored, session_id, set(range(1, who + 1))))
    assert publisher.connection_no == 1
    await publisher.close()
    assert "partition_lost" not in caplog.text


async def declare_as_before(channel, partition):
    await declare_dead_letters(channel)
    arguments = {
        "x-queue-type": "quorum",
        "x-single-active-consumer": True,
        "x-delivery-limit": EARLIER_DELIVERIES_MAX,
        "x-dead-letter-exchange": DEAD_QUEUE,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }
    # Another test's writer may have declared it as it is now.
    await channel.queue_delete(queue_name(partition))
    await channel.declare_queue(queue_name(partition), durable=True, arguments=arguments)


async def test_what_the_broker_gave_up_by_itself_is_stored_without_a_hand(
    broker, channel, publish, die, stored, writer, monkeypatch
):
    """In a queue that the version before has made; what a writer has refused stays where it is."""
    monkeypatch.setattr(limits, "REPLAY_INTERVAL_MS", 100)
    session_id, people = str(uuid.uuid4()), set(range(5))
    await declare_as_before(channel, _GIVEN_UP)
    await channel.default_exchange.publish(aio_pika.Message(b"refused"), queue_name(_GIVEN_UP))
    await publish(_GIVEN_UP, session_id, people)
    assert await die(EARLIER_DELIVERIES_MAX + 1, 1 + len(people)) == EARLIER_DELIVERIES_MAX + 1

    async def all_given_up():
        return len(await list_dead_letters(broker.url)) == 1 + len(people)

    await until(all_given_up)
    writer()
    await until(lambda: has(stored, session_id, people))

    async def refused():
        return [letter.reason for letter in await list_dead_letters(broker.url)] == ["rejected"]

    await until(refused)
    assert await replay_given_up(broker.url) == 0
