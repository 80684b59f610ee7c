"""Sessions that no actor can take over are set aside, told, and tried again: on real servers."""

import asyncio
import json

import pytest
from typer.testing import CliRunner

from actors import session_actor as module
from actors import session_store
from actors.cache import Cache
from actors.checkpoint_writer import CheckpointWriter
from actors.directory import Directory
from actors.postgres import LoneConnection
from actors.quarantine import list_quarantined, retry_quarantined
from actors.session_actor import SessionActor
from actors.session_store import claim
from actors.settings import Settings
from actors.shards import Shards
from actors.sql import queries
from engine import limits
from engine.errors import Conflict, NotFound, ServerFault, Unavailable
from engine.wire import JoinedReply, JoinItem, decode_batch_answer, encode_pack
from serve_app.cli import app as command_line
from serve_app.cli import doctor
from serve_app.embedded.errors import StartError

_TRIES = 3


@pytest.fixture(autouse=True)
def few_and_quick_tries(monkeypatch):
    monkeypatch.setattr(limits, "TAKE_OVERS_MAX", _TRIES)
    monkeypatch.setattr(limits, "TAKE_OVER_PAUSE_MS_MIN", 1)


@pytest.fixture(params=["embedded", "cluster"])
async def make_actor(request, database_url, redis_url, end_actor, monkeypatch):
    """A factory of actors of a name, in both profiles; who leaves the process is noted."""
    rabbitmq_url = request.getfixturevalue("broker_url") if request.param == "cluster" else ""
    writer = CheckpointWriter(0, 1, rabbitmq_url, database_url) if rabbitmq_url else None
    settings = Settings(
        database_url=database_url,
        redis_url=redis_url,
        rabbitmq_url=rabbitmq_url,
        secret="a-secret-of-at-least-32-characters",
        public_url="http://localhost",
    )
    for variable, value in settings.to_env().items():
        monkeypatch.setenv(variable, value)
    actors = []

    def make(name):
        actors.append(SessionActor(name))
        return actors[-1]

    make.left = []
    monkeypatch.setattr(module.os, "_exit", make.left.append)
    yield make
    for actor in actors:
        await end_actor(actor)
    if writer is not None:
        await writer.close()


async def join(actor, name):
    answer = decode_batch_answer(
        await actor.submit(encode_pack([JoinItem(f"key-of-{name}", name)]))
    )
    [reply] = answer.replies
    return reply


#: What makes a session's fold or decode raise, and what mends it.
FAULTS = {
    "an event that cannot be decoded": (
        """INSERT INTO session_events (session_id, seq, epoch, event)
        VALUES ($1, 1000, 1, '{"type":"opened"}')""",
        "DELETE FROM session_events WHERE session_id = $1 AND seq = 1000",
    ),
    "an answer that belongs to nothing": (
        "INSERT INTO answers VALUES ($1, 7, 1, 0, 1, '', 1, true, 1, 1, 1, 1)",
        "DELETE FROM answers WHERE session_id = $1",
    ),
    "settings that cannot be decoded": (
        """UPDATE sessions SET settings = '{"mode":"of a later version"}' WHERE session_id = $1""",
        "UPDATE sessions SET settings = '{}' WHERE session_id = $1",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_session_that_cannot_be_folded_is_set_aside_and_goes_on_when_it_is_mended(
    pool, make_session, make_actor, fault, caplog
):
    session, other = await make_session(pool), await make_session(pool)
    damage, mend = FAULTS[fault]
    await pool.execute(damage, session.session_id)
    actor = make_actor(session.actor_name)
    assert await actor.open() is False
    for call in (join(actor, "Mia"), actor.snapshot(), actor.people()):
        with pytest.raises(ServerFault) as caught:
            await call
        assert (caught.value.code, caught.value.retryable) == ("quarantined", False)
    assert (await actor.ping())["leaving"] == 1, "the supervisor ends its process"
    assert caplog.text.count("action=take_over_failed") == _TRIES
    assert make_actor.left == []
    # The others go on, and its place and its PIN are free.
    assert await join(make_actor(other.actor_name), "Zoe") == JoinedReply(1, "Zoe")
    [live] = await pool.fetch(queries["live_sessions"])
    assert live["live"] == 1
    shards = Shards([pool])
    [found] = await list_quarantined(shards)
    assert (found.session_id, found.tries) == (session.session_id, _TRIES)
    assert 0 < len(found.reason) <= limits.QUARANTINE_REASON_CHARS_MAX
    # Whoever comes later is one of the pool that knows nothing of it.
    assert await make_actor(session.actor_name).open() is False

    await pool.execute(mend, session.session_id)
    await retry_quarantined(shards, session.session_id)
    assert await list_quarantined(shards) == []
    name = "the actor of the retry"
    assert await pool.fetch(queries["assign_actor"], session.session_id, name, None)
    assert await join(make_actor(name), "Mia") == JoinedReply(1, "Mia")


async def test_take_overs_that_end_their_process_are_counted_in_the_row(
    pool, make_session, make_actor, database_url
):
    session = await make_session(pool)
    connection = LoneConnection(database_url)
    for _ in range(_TRIES):  # as processes that were killed while they folded
        assert await claim(connection, session.actor_name)
    await connection.close()
    assert await make_actor(session.actor_name).open() is False
    [found] = await list_quarantined(Shards([pool]))
    assert "ended with their process" in found.reason


NEWER = """INSERT INTO session_events (session_id, seq, epoch, event)
VALUES ($1, 1000, 1, '{"type":"of a later version","at_ms":1}')"""


async def test_an_actor_that_does_not_know_an_event_leaves_the_session_to_one_that_does(
    pool, make_session, make_actor, end_actor, monkeypatch, caplog
):
    monkeypatch.setattr(limits, "DECLINED_PAUSE_MS_MIN", 1)
    session = await make_session(pool)
    await pool.execute(NEWER, session.session_id)
    for number in range(1, _TRIES):
        actor = make_actor(session.actor_name)
        assert await actor.open() is False
        assert make_actor.left == [1] * number, "Ray starts it anew, maybe as a later version"
        await end_actor(actor)
    assert caplog.text.count("action=take_over_declined") == _TRIES - 1
    assert await list_quarantined(Shards([pool])) == []
    # The upgrade is through.
    await pool.execute("DELETE FROM session_events WHERE seq = 1000")
    assert await join(make_actor(session.actor_name), "Mia") == JoinedReply(1, "Mia")


@pytest.mark.parametrize("make_actor", ["embedded"], indirect=True)
async def test_people_are_told_to_wait_while_an_actor_declines(
    pool, make_session, make_actor, monkeypatch, caplog
):
    monkeypatch.setattr(limits, "CONFIRM_WAIT_MS", 50)
    session = await make_session(pool)
    await pool.execute(NEWER, session.session_id)
    actor = make_actor(session.actor_name)
    told = await join(actor, "Mia")
    assert (told.code, told.retryable) == ("retry", True)
    async with asyncio.timeout(20):
        while "action=take_over_declined" not in caplog.text:  # noqa: ASYNC110 - a log
            await asyncio.sleep(0.01)
    assert (await actor.ping())["leaving"] == 0
    assert make_actor.left == [], "it does not try again at once, nor does the next"


async def test_a_session_that_no_upgrade_has_helped_is_set_aside_with_the_reason(
    pool, make_session, make_actor, monkeypatch
):
    session = await make_session(pool)
    await pool.execute(NEWER, session.session_id)
    await pool.execute("UPDATE sessions SET take_overs = $1", _TRIES - 1)
    assert await make_actor(session.actor_name).open() is False
    [found] = await list_quarantined(Shards([pool]))
    assert "type 'of a later version' are of a later version" in found.reason
    assert make_actor.left == []


@pytest.fixture
async def refuses_poison(pool):
    """The tables refuse a name, for no reason that the engine knows."""
    await pool.execute(
        "ALTER TABLE participants ADD CONSTRAINT no_poison CHECK (nickname <> 'Poison')"
    )
    yield
    await pool.execute("ALTER TABLE participants DROP CONSTRAINT IF EXISTS no_poison")


@pytest.mark.parametrize("make_actor", ["embedded"], indirect=True)
async def test_a_session_whose_appends_are_always_refused_is_set_aside(
    pool, make_session, make_actor, end_actor, refuses_poison, monkeypatch
):
    monkeypatch.setattr(limits, "APPEND_FAILURES_MAX", 2)
    session = await make_session(pool)
    for number in range(1, _TRIES + 1):
        actor = make_actor(session.actor_name)
        async with asyncio.timeout(20):
            told, _ = await asyncio.gather(join(actor, "Poison"), join(actor, f"Zoe {number}"))
        assert (told.code, told.retryable) == ("retry", True)
        assert make_actor.left == [1] * number, "it leaves, and Ray starts it anew"
        await end_actor(actor)
    assert await make_actor(session.actor_name).open() is False
    [found] = await list_quarantined(Shards([pool]))
    assert found.session_id == session.session_id


@pytest.mark.parametrize("make_actor", ["embedded"], indirect=True)
async def test_a_take_over_whose_appends_fail_does_not_count_as_one_that_lasts(
    pool, make_session, make_actor, refuses_poison, monkeypatch, caplog
):
    monkeypatch.setattr(limits, "APPEND_FAILURES_MAX", 1_000)
    session = await make_session(pool)
    actor = make_actor(session.actor_name)
    joining = asyncio.create_task(join(actor, "Poison"))
    async with asyncio.timeout(20):
        while "append_failed" not in caplog.text:  # noqa: ASYNC110 - a log
            await asyncio.sleep(0.01)
    monkeypatch.setattr(limits, "TAKE_OVER_LASTS_MS", 1)
    noting = asyncio.create_task(actor._note_that_it_lasts())
    await asyncio.sleep(0.1)
    assert await pool.fetchval("SELECT take_overs FROM sessions") == 1
    await pool.execute("ALTER TABLE participants DROP CONSTRAINT no_poison")
    await noting
    assert await pool.fetchval("SELECT take_overs FROM sessions") == 0
    assert await joining == JoinedReply(1, "Poison")
    assert make_actor.left == []


async def test_kills_of_a_session_that_runs_do_not_count(
    pool, make_session, make_actor, monkeypatch, end_actor
):
    monkeypatch.setattr(limits, "TAKE_OVER_LASTS_MS", 1)
    session = await make_session(pool)
    for _ in range(_TRIES + 2):
        actor = make_actor(session.actor_name)
        assert await actor.open()
        async with asyncio.timeout(20):
            while await pool.fetchval("SELECT take_overs FROM sessions"):  # noqa: ASYNC110 - a row
                await asyncio.sleep(0.01)
        await end_actor(actor)
    assert await list_quarantined(Shards([pool])) == []


async def test_waiting_for_a_part_that_is_away_does_not_count(
    pool, make_session, make_actor, monkeypatch
):
    monkeypatch.setattr(module, "_TAKE_OVER_PAUSE_S", 0.001)
    session = await make_session(pool)
    fold, failures = session_store.fold, _TRIES + 5

    async def away_at_first(*args):
        nonlocal failures
        if failures:
            failures -= 1
            raise Unavailable("the database is away")
        return await fold(*args)

    monkeypatch.setattr(session_store, "fold", away_at_first)
    monkeypatch.setattr(module, "fold", away_at_first)
    actor = make_actor(session.actor_name)
    assert await actor.open()
    assert failures == 0
    assert await pool.fetchval("SELECT take_overs FROM sessions") <= 1


# --- whoever asks for one -----------------------------------------------------------------------------


async def set_aside(pool, session):
    await pool.execute("UPDATE sessions SET epoch = 1 WHERE session_id = $1", session.session_id)
    assert await pool.fetch(queries["quarantine"], session.session_id, 1, "why")


async def test_whoever_asks_for_it_is_told_and_no_actor_is_given_to_it(
    pool, make_session, redis_url
):
    session = await make_session(pool)
    await set_aside(pool, session)
    cache = Cache(redis_url)
    directory = Directory(Shards([pool]), "a-namespace", cache)
    with pytest.raises(ServerFault) as caught:
        await directory.handle(session.session_id)
    assert (caught.value.code, caught.value.retryable) == ("quarantined", False)
    assert not await pool.fetch(queries["assign_actor"], session.session_id, "an actor", None)
    await cache.close()


async def test_a_session_whose_pin_is_taken_waits_for_it(pool, make_session):
    session = await make_session(pool)
    await set_aside(pool, session)
    other = await make_session(pool)
    await pool.execute(
        "UPDATE sessions SET pin = (SELECT pin FROM sessions WHERE session_id = $1)"
        " WHERE session_id = $2",
        session.session_id,
        other.session_id,
    )
    shards = Shards([pool])
    with pytest.raises(Conflict, match="PIN"):
        await retry_quarantined(shards, session.session_id)
    await pool.execute(
        "UPDATE sessions SET ended_at = now() WHERE session_id = $1", other.session_id
    )
    await retry_quarantined(shards, session.session_id)
    assert await pool.fetchval(
        "SELECT ended_at IS NULL FROM sessions WHERE session_id = $1", session.session_id
    )


@pytest.mark.parametrize("session_id", ["00000000-0000-4000-8000-000000000009", "no uuid", ""])
async def test_what_is_not_set_aside_cannot_be_retried(pool, make_session, session_id):
    live = await make_session(pool)
    for each in (session_id, live.session_id):
        with pytest.raises(NotFound, match="not quarantined"):
            await retry_quarantined(Shards([pool]), each)


async def test_the_operator_is_told_and_retries(pool, make_session, database_url, monkeypatch):
    monkeypatch.setenv("RAYQUIZ_DATABASE_URL", database_url)
    session = await make_session(pool)

    async def run(*arguments):
        return await asyncio.to_thread(CliRunner().invoke, command_line, ["quarantine", *arguments])

    assert await asyncio.to_thread(doctor._sessions, [database_url]) == "none is quarantined"
    await set_aside(pool, session)
    with pytest.raises(StartError, match=rf"{session.session_id} is quarantined \(why\)"):
        await asyncio.to_thread(doctor._sessions, [database_url])
    listed = await run("list", "--json")
    assert listed.exit_code == 1
    [found] = json.loads(listed.stdout)
    assert (found["session_id"], found["reason"]) == (session.session_id, "why")
    assert "why" in (await run("list")).stdout
    done = await run("retry", session.session_id)
    assert (done.exit_code, "is live again" in done.stdout) == (0, True)
    assert (await run("list")).exit_code == 0
    assert (await run("retry", session.session_id)).exit_code == 1
