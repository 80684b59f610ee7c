"""Dead letters on a real broker: looked through as often as one likes, and sent back once."""

import asyncio
import json
import subprocess
import sys
import uuid
from pathlib import Path

import aio_pika
import pytest

from actors.dead_letters import list_dead_letters, replay_dead_letters
from actors.log_message import LOG_VERSION, BatchMessage, encode_log_message
from actors.rabbitmq import declare_partition, queue_name
from engine.errors import Unavailable

_PARTITION = 5
_WAIT_S_MAX = 30


@pytest.fixture
async def queue(channel, dead):
    """A partition of the test's own."""
    queue = await declare_partition(channel, _PARTITION)
    await queue.purge()
    return queue


@pytest.fixture
def die(channel, queue):
    """Publish to the partition and reject it, as a writer does with what it cannot store."""

    async def die(body):
        await channel.default_exchange.publish(aio_pika.Message(body), queue.name)
        await (await taken(queue)).reject(requeue=False)

    return die


async def taken(queue):
    async with queue.iterator(timeout=_WAIT_S_MAX) as messages:
        return await anext(messages)


async def until_dead(broker, count):
    async with asyncio.timeout(_WAIT_S_MAX):
        while len(found := await list_dead_letters(broker.url)) != count:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    return found


def _batch(session_id):
    row = (1, 7, 0, 1, "", 700, True, 980, 1, 5_000)
    return encode_log_message(BatchMessage(LOG_VERSION, session_id, 3, [row], [], []))


async def test_looking_tells_what_they_are_and_changes_nothing(broker, die):
    session_id = str(uuid.uuid4())
    await die(_batch(session_id))
    await die(b"not a message")
    first = await until_dead(broker, 2)
    assert {letter.session_id: (letter.epoch, letter.rows) for letter in first} == {
        session_id: (3, 1),
        "": (0, 0),
    }
    assert {letter.queue for letter in first} == {queue_name(_PARTITION)}
    assert {letter.reason for letter in first} == {"rejected"}
    assert all(letter.died_at for letter in first)
    assert [bool(letter.problem) for letter in first] == [not letter.session_id for letter in first]
    assert sorted(await list_dead_letters(broker.url)) == sorted(first)


async def test_replayed_ones_are_in_their_partition_again_and_dead_no_more(broker, queue, die):
    body = _batch(str(uuid.uuid4()))
    await die(body)
    await until_dead(broker, 1)
    assert await replay_dead_letters(broker.url) == 1
    incoming = await taken(queue)
    assert incoming.body == body
    await incoming.ack()
    assert await list_dead_letters(broker.url) == []
    assert await replay_dead_letters(broker.url) == 0


async def test_one_of_unknown_origin_stays(broker, channel, dead):
    await channel.default_exchange.publish(aio_pika.Message(b"lost"), dead.name)
    assert await replay_dead_letters(broker.url) == 0
    (letter,) = await list_dead_letters(broker.url)
    assert (letter.queue, letter.reason, letter.bytes) == ("", "", 4)


async def test_a_broker_that_is_away():
    with pytest.raises(Unavailable):
        await list_dead_letters("amqp://guest:guest@127.0.0.1:9/")


async def test_the_command(broker, die, tmp_path):
    session_id = str(uuid.uuid4())
    rayquiz = str(Path(sys.executable).with_name("rayquiz"))

    async def run(*arguments, url=broker.url):
        process = await asyncio.create_subprocess_exec(
            rayquiz,
            "dead-letters",
            *arguments,
            "--data",
            str(tmp_path),
            env={"RAYQUIZ_RABBITMQ_URL": url, "COLUMNS": "200"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        said, complaint = await process.communicate()
        return process.returncode, said.decode(), complaint.decode()

    assert await run("list") == (0, "no dead letters\n", "")
    await die(_batch(session_id))
    await until_dead(broker, 1)
    status, said, _ = await run("list")
    assert status == 1
    assert session_id in said
    status, said, _ = await run("list", "--json")
    assert status == 1
    assert json.loads(said)[0]["session_id"] == session_id
    assert await run("replay") == (0, "replayed 1\n", "")
    assert await run("list") == (0, "no dead letters\n", "")
    status, _, complaint = await run("list", url="")
    assert status == 2
    assert "RAYQUIZ_RABBITMQ_URL" in complaint
