"""The actor without Ray: its life from blank to gone, on the real database and channel."""

import asyncio

import pytest

from actors import session_actor as module
from actors.postgres import create_pool
from actors.session_actor import SessionActor
from actors.settings import Settings
from actors.sql import queries
from engine import limits
from engine.errors import Unavailable
from engine.model import SessionSettings
from engine.phases import Phase, Step
from engine.testing.driver import PLAIN
from engine.testing.factories import make_quiz
from engine.wire import (
    AnswerItem,
    DoneReply,
    FaultReply,
    JoinedReply,
    JoinItem,
    MoveItem,
    ReceiptReply,
    decode_batch_answer,
    decode_snapshot,
    encode_pack,
)


@pytest.fixture
async def make_actor(database_url, redis_url, end_actor, monkeypatch):
    """A factory of actors of a name; leaving the process is noted in ``make_actor.left``."""
    actors = []

    def make(name):
        actors.append(SessionActor(name))
        return actors[-1]

    def use(url):
        settings = Settings(
            database_url=url,
            redis_url=redis_url,
            secret="a-secret-of-at-least-32-characters",
            public_url="http://localhost",
        )
        for variable, value in settings.to_env().items():
            monkeypatch.setenv(variable, value)

    make.left = []
    make.use = use
    use(database_url)
    monkeypatch.setattr(module.os, "_exit", make.left.append)
    yield make
    for actor in actors:
        await end_actor(actor)


async def ask(actor, *items):
    answer = decode_batch_answer(await actor.submit(encode_pack(items)))
    return answer.epoch, answer.replies


async def play(actor, *steps, opening_no=0):
    """Send the host's commands from the lobby on; Mia (1) joins before."""
    _, [joined] = await ask(actor, JoinItem("key-of-mia", "Mia"))
    assert joined == JoinedReply(1, "Mia")
    phase = Phase.LOBBY
    for step in steps:
        command = MoveItem(step, phase, opening_no, f"command-{step}", 0, 0)
        _, [done] = await ask(actor, command)
        assert isinstance(done, DoneReply), done
        phase, opening_no = done.phase, done.opening_no


async def until(condition):
    async with asyncio.timeout(20):
        while not await condition():  # noqa: ASYNC110 - an actor is asked, it tells nobody
            await asyncio.sleep(0.01)


async def test_a_blank_actor_says_retry_and_finds_its_session_when_it_is_asked_again(
    pool, make_session, make_actor
):
    session = await make_session(pool)
    await pool.execute("UPDATE sessions SET actor_name = NULL")
    actor = make_actor(session.actor_name)
    assert await actor.open() is False
    assert "phase" not in await actor.ping()
    epoch, [reply] = await ask(actor, JoinItem("key-of-mia", "Mia"))
    assert (epoch, reply.code, reply.retryable) == (0, "retry", True)
    assert await actor.snapshot() == b""
    for empty in (actor.scoreboard(0, 10), actor.people()):
        with pytest.raises(Unavailable):
            await empty
    await pool.fetch(queries["assign_actor"], session.session_id, session.actor_name, None)
    epoch, [reply] = await ask(actor, JoinItem("key-of-mia", "Mia"))
    assert (epoch, reply) == (1, JoinedReply(1, "Mia"))
    assert await actor.open() is True
    ping = await actor.ping()
    assert (ping["phase"], ping["leaving"]) == ("lobby", 0)


async def test_an_actor_that_comes_back_goes_on_and_the_one_before_it_leaves(
    pool, make_session, make_actor
):
    session = await make_session(pool, settings=PLAIN)
    first = make_actor(session.actor_name)
    await play(first, Step.START)
    _, [receipt] = await ask(first, AnswerItem(1, 1, 0b10, "", -1))
    assert isinstance(receipt, ReceiptReply)
    second = make_actor(session.actor_name)
    assert await second.open()
    epoch, [again] = await ask(second, AnswerItem(1, 1, 0b01, "", -1))
    assert (epoch, again) == (2, receipt)
    view = decode_snapshot(await second.snapshot()).view
    assert (view.epoch, view.phase, view.answers_count) == (2, Phase.QUESTION_OPEN, 1)
    assert await second.people() == [(1, "Mia")]
    assert make_actor.left == []
    epoch, [refused] = await ask(first, JoinItem("key-of-ben", "Ben"))
    assert (epoch, refused.code) == (1, "retry")
    assert make_actor.left == [1]
    assert await pool.fetchval("SELECT count(*) FROM participants") == 1


async def test_an_actor_that_comes_back_reads_its_quiz_from_redis(pool, make_session, make_actor):
    session = await make_session(pool, settings=PLAIN)
    await play(make_actor(session.actor_name))
    # Only the tables lose it: who has it still must have it from elsewhere.
    await pool.execute("UPDATE quiz_versions SET body = '{}'")
    again = make_actor(session.actor_name)
    assert await again.open()
    assert again._host.state.quiz == make_quiz()


async def test_an_actor_that_is_born_while_the_database_is_away_waits_for_it(
    own_postgres, make_session, make_actor
):
    pool = await create_pool(own_postgres.url, size_max=1)
    session = await make_session(pool)
    await pool.close()
    make_actor.use(own_postgres.url)
    await asyncio.to_thread(own_postgres.stop)
    actor = make_actor(session.actor_name)
    assert (await actor.ping())["leaving"] == 0
    await asyncio.to_thread(own_postgres.start)
    assert await actor.open()
    assert (await actor.ping())["epoch"] == 1


async def test_a_take_over_that_takes_long_is_not_begun_anew_by_everybody_who_asks(
    pool, make_session, make_actor, monkeypatch
):
    session = await make_session(pool)
    await pool.execute("UPDATE sessions SET actor_name = NULL")
    actor = make_actor(session.actor_name)
    await asyncio.gather(*actor._tasks)  # the look that it is born with has found nothing
    await pool.fetch(queries["assign_actor"], session.session_id, session.actor_name, None)
    may_fold, begun = asyncio.Event(), 0
    take_over = module.take_over

    async def slow(*args, **more):
        nonlocal begun
        begun += 1
        found = await take_over(*args, **more)
        await may_fold.wait()
        return found

    monkeypatch.setattr(module, "take_over", slow)
    monkeypatch.setattr(limits, "CONFIRM_WAIT_MS", 20)
    for _ in range(3):
        _, [reply] = await ask(actor, JoinItem("key-of-mia", "Mia"))
        assert isinstance(reply, FaultReply)
    monkeypatch.undo()
    may_fold.set()
    epoch, [reply] = await ask(actor, JoinItem("key-of-mia", "Mia"))
    assert (epoch, begun) == (1, 1)
    assert reply == JoinedReply(1, "Mia")


async def test_when_the_quiz_is_over_the_actor_lingers_and_leaves_and_the_pin_is_free(
    pool, make_session, make_actor, monkeypatch
):
    session = await make_session(pool, settings=PLAIN)
    pin = await pool.fetchval("SELECT pin FROM sessions")
    actor = make_actor(session.actor_name)
    await play(actor, Step.START, Step.FINISH)

    async def noted(column):
        return await pool.fetchval(f"SELECT {column} IS NOT NULL FROM sessions")

    await until(lambda: noted("finished_at"))
    assert not await noted("ended_at")
    assert (await actor.ping())["leaving"] == 0
    assert await actor.scoreboard(0, 10) == [(1, "Mia", 0, 1)]
    # One that comes back while it lingers notes the end again, and leaves in its turn.
    monkeypatch.setenv("RAYQUIZ_LINGER_MS", "10")
    again = make_actor(session.actor_name)

    async def leaves():
        return (await again.ping())["leaving"] == 1

    await until(leaves)
    assert await noted("ended_at")
    other = await make_session(pool)
    take_pin = "UPDATE sessions SET pin = $1 WHERE session_id = $2"  # the index would refuse it
    await pool.execute(take_pin, pin, other.session_id)
    assert await again.open() is True
    _, [reply] = await ask(again, JoinItem("key-of-ben", "Ben"))
    assert reply.code == "session_over"


async def test_when_memory_and_tables_differ_at_the_end_the_tables_win(
    pool, make_session, make_actor, caplog
):
    session = await make_session(pool, settings=PLAIN)
    actor = make_actor(session.actor_name)
    await play(actor, Step.START)
    _, [receipt] = await ask(actor, AnswerItem(1, 1, 0b10, "", 100))
    assert isinstance(receipt, ReceiptReply)
    assert receipt.points
    await pool.execute("UPDATE answers SET points = 1")
    _, [done] = await ask(
        actor, MoveItem(Step.FINISH, Phase.QUESTION_OPEN, 1, "command-finish", 0, 0)
    )
    assert isinstance(done, DoneReply), done
    await until(lambda: asyncio.sleep(0, make_actor.left == [1]))
    assert "reconciliation_differs" in caplog.text
    again = make_actor(session.actor_name)
    assert await again.scoreboard(0, 10) == [(1, "Mia", 1, 1)]


async def test_the_end_is_noted_before_the_tables_are_compared(
    pool, make_session, make_actor, monkeypatch
):
    """Comparing takes seconds for a large session, and its results can be read meanwhile."""
    compares = asyncio.Event()

    async def never(*_args):
        compares.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(module, "digest_of_tables", never)
    session = await make_session(pool, settings=PLAIN)
    actor = make_actor(session.actor_name)
    await play(actor, Step.START, Step.FINISH)
    await asyncio.wait_for(compares.wait(), 30)
    assert await pool.fetchval("SELECT finished_at IS NOT NULL FROM sessions")
    assert (await actor.ping())["phase"] == "finished"


async def test_a_removal_between_the_two_looks_is_no_difference(
    pool, make_session, make_actor, monkeypatch
):
    compared = []
    digest_of_tables = module.digest_of_tables

    async def digest(connection, state, epoch):
        compared.append(await digest_of_tables(connection, state, epoch))
        return compared[-1] if len(compared) > 1 else "before the removal"

    monkeypatch.setattr(module, "digest_of_tables", digest)
    session = await make_session(pool, settings=PLAIN)
    actor = make_actor(session.actor_name)
    await play(actor, Step.START, Step.FINISH)
    await until(lambda: asyncio.sleep(0, len(compared) == 2))
    assert make_actor.left == []


async def test_an_actor_that_was_replaced_at_the_end_notices_when_it_notes_it(
    pool, make_session, make_actor, monkeypatch
):
    # A claim may arrive behind its claimant's death: nobody else is there, and this one comes back.
    monkeypatch.setenv("RAYQUIZ_LINGER_MS", "300")
    session = await make_session(pool, settings=PLAIN)
    await play(make_actor(session.actor_name), Step.START, Step.FINISH)

    async def finished():
        return await pool.fetchval("SELECT finished_at IS NOT NULL FROM sessions")

    await until(finished)
    await pool.execute("UPDATE sessions SET epoch = epoch + 1")

    async def left():
        return make_actor.left == [1]

    await until(left)
    assert await pool.fetchval("SELECT ended_at IS NULL FROM sessions")


async def test_a_cancelled_session_is_noted_as_cancelled(pool, make_session, make_actor):
    session = await make_session(pool, settings=SessionSettings())
    await play(make_actor(session.actor_name), Step.CANCEL)

    async def cancelled():
        return await pool.fetchval("SELECT cancelled FROM sessions")

    await until(cancelled)


async def test_the_actor_of_a_cancelled_session_leaves_at_once(
    pool, make_session, make_actor, monkeypatch
):
    monkeypatch.setattr(limits, "CANCELLED_LINGER_MS", 1)
    session = await make_session(pool, settings=SessionSettings())
    actor = make_actor(session.actor_name)
    await play(actor, Step.CANCEL)

    async def leaves():
        return (await actor.ping())["leaving"] == 1

    await until(leaves)
    row = await pool.fetchrow("SELECT cancelled, ended_at IS NOT NULL AS ended FROM sessions")
    assert tuple(row) == (True, True), "its PIN and its place are free"
