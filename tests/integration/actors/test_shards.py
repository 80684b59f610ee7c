"""Sessions on two real primaries: spread, found, played, ended, and what one knows of the other."""

import asyncio
import os
import signal

import pytest

from actors import directory as directory_module
from actors import session_actor as actor_module
from actors import sessions as sessions_module
from actors import supervisor as supervisor_module
from actors.cache import Cache
from actors.checkpoint_writer import CheckpointWriter
from actors.directory import Directory
from actors.library import QuizLibrary
from actors.log_message import LOG_VERSION, BatchMessage
from actors.played import PlayedSession
from actors.postgres import create_pool
from actors.quarantine import list_quarantined, retry_quarantined
from actors.rabbitmq import Publisher
from actors.results import ResultsReader
from actors.session_actor import SessionActor
from actors.sessions import open_session
from actors.settings import Settings
from actors.shards import Shards, new_session_id, partition_of, shard_of
from actors.sql import queries
from actors.supervisor import Supervisor
from engine import limits
from engine.errors import Conflict, NotFound, TooMany, Unavailable
from engine.phases import Phase, Step
from engine.testing.driver import PLAIN
from engine.testing.factories import make_quiz
from engine.wire import (
    DoneReply,
    FaultReply,
    JoinedReply,
    JoinItem,
    MoveItem,
    decode_batch_answer,
    encode_pack,
)


class Site:
    """Two primaries, and sessions on them whose actors are plain objects.

    Attributes:
        shards: connections to both.
        directory: over them, with a supervisor that gives names and starts no actor.
        names: what each session's actor is called.
    """

    def __init__(self, shards, cache):
        self.shards = shards
        self.cache = cache
        self.directory = Directory(shards, "a-namespace", cache)
        self.names = {}
        self.actors = []
        self.error = None

    @property
    def assign(self):
        return self

    async def remote(self, session_id, lost_actor):
        if self.error is not None:
            raise self.error
        name = f"actor-of-{session_id}"
        database = self.shards.of(session_id)
        assert await database.fetch(queries["assign_actor"], session_id, name, lost_actor)
        self.names[session_id] = name
        return name

    async def open(self, quiz_id=None):
        """A session, of a new quiz if none is given."""
        if quiz_id is None:
            quiz_id = (await QuizLibrary(self.shards.catalogue).create(make_quiz())).quiz_id
        return (await open_session(self.directory, quiz_id, PLAIN)).session_id

    def actor(self, session_id):
        self.actors.append(SessionActor(self.names[session_id]))
        return self.actors[-1]

    async def rows(self, table, shard):
        """Whose rows are in a table of a primary."""
        found = await self.shards.databases[shard].fetch(f"SELECT session_id FROM {table}")
        return {str(row["session_id"]) for row in found}

    async def played(self, session_id):
        """What is stored of a session, on its own primary."""

        async def read(work):
            return await work(self.shards.of(session_id))

        return await PlayedSession(session_id, read).overview()

    async def entry(self, session_id):
        """The session's row in the catalogue."""
        query = "SELECT * FROM sessions WHERE session_id = $1"
        return await self.shards.catalogue.fetchrow(query, session_id)


async def ask(actor, item):
    [reply] = decode_batch_answer(await actor.submit(encode_pack([item]))).replies
    return reply


async def until(condition):
    async with asyncio.timeout(20):
        while not await condition():  # noqa: ASYNC110 - a database tells nobody
            await asyncio.sleep(0.02)


@pytest.fixture
async def site(pool, own_postgres, database_url, redis_url, end_actor, monkeypatch):
    """The catalogue is everybody's, the second primary the test's own."""
    settings = Settings(
        database_url=database_url,
        shard_urls=own_postgres.url,
        redis_url=redis_url,
        secret="a-secret-of-at-least-32-characters",
        public_url="http://localhost",
        linger_ms=0,
        warm_pool_size=0,
    )
    for variable, value in settings.to_env().items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setattr(actor_module.os, "_exit", lambda _status: None)
    other = await create_pool(own_postgres.url, size_max=4)
    site = Site(Shards([pool, other]), Cache(redis_url))
    monkeypatch.setattr(directory_module, "supervisor", lambda _namespace: site)
    yield site
    for actor in site.actors:
        await end_actor(actor)
    await site.cache.ask(lambda client: client.flushall())
    await site.cache.close()
    other.terminate()


@pytest.fixture
async def sweep(site, monkeypatch):
    """The supervisor's sweep; no actor lives."""

    class NoActors:
        util = exceptions = None

        @staticmethod
        def list_named_actors():
            return []

    NoActors.util = NoActors
    monkeypatch.setattr(supervisor_module, "ray", NoActors)
    supervisor = Supervisor()
    supervisor._task.cancel()
    await asyncio.gather(supervisor._task, return_exceptions=True)
    yield supervisor._end_abandoned
    for database in supervisor._shards.databases:
        await database.close()


@pytest.fixture
def pins(monkeypatch):
    """The PINs that chance will give, the first one first."""
    coming = []
    monkeypatch.setattr(sessions_module.secrets, "randbelow", lambda _top: coming.pop(0))
    return coming


# --- opening --------------------------------------------------------------------------------------


async def test_sessions_are_spread_and_found_by_pin_and_id(site):
    opened = [await site.open() for _ in range(6)]
    assert sorted(shard_of(session_id) for session_id in opened) == [0, 0, 0, 1, 1, 1]
    for session_id in opened:
        info = await site.directory.by_id(session_id)
        assert (info.title, info.actor_name) == ("A quiz", site.names[session_id])
        assert (await site.directory.by_pin(info.pin)).session_id == session_id
    assert await site.rows("sessions", 0) == set(opened), "the catalogue has an entry for each"
    assert await site.rows("sessions", 1) == {s for s in opened if shard_of(s) == 1}


async def test_the_list_of_all_sessions_is_the_catalogues(site):
    opened = [await site.open() for _ in range(5)]
    reader, found, cursor = ResultsReader(site.shards.catalogue), [], None
    for _ in range(3):
        rows, cursor = await reader.page(2, cursor)
        found += [row.session_id for row in rows]
    assert (found, cursor) == (opened[::-1], None)


async def test_a_pin_is_unique_over_all_primaries(site, pins):
    pins += [1, 1, 2, 2, 3]
    opened = [await site.open() for _ in range(3)]
    assert [shard_of(session_id) for session_id in opened] == [0, 1, 0]
    found = [(await site.directory.by_id(session_id)).pin for session_id in opened]
    assert found == ["000001", "000002", "000003"]
    assert len(await site.rows("sessions", 1)) == 1, "what had no PIN was taken back"


async def test_each_primary_takes_so_many_and_no_more(site, monkeypatch):
    monkeypatch.setattr(limits, "SESSIONS_LIVE_MAX", 2)
    opened = [await site.open() for _ in range(4)]
    assert sorted(shard_of(session_id) for session_id in opened) == [0, 0, 1, 1]
    with pytest.raises(TooMany, match="at most 4 may be"):
        await site.open()


async def test_a_primary_that_is_added_takes_new_sessions_and_the_old_ones_stay(site):
    alone = Site(Shards([site.shards.catalogue]), site.cache)
    alone.names = site.names
    before = site.directory
    site.directory = alone.directory
    old = [await site.open() for _ in range(3)]
    site.directory = before
    new = [await site.open() for _ in range(3)]
    assert [shard_of(session_id) for session_id in old + new] == [0, 0, 0, 1, 1, 1]
    for session_id in old + new:
        assert (await site.directory.by_id(session_id)).session_id == session_id
    for session_id in new:
        with pytest.raises(NotFound):
            await alone.directory.by_id(session_id)


async def test_a_changed_quiz_is_pinned_in_its_newest_version_on_each_primary(site):
    library = QuizLibrary(site.shards.catalogue)
    quiz = await library.create(make_quiz())
    opened = [await site.open(quiz.quiz_id) for _ in range(2)]
    await library.update(quiz.quiz_id, make_quiz(*make_quiz().questions[:3]))
    opened += [await site.open(quiz.quiz_id) for _ in range(2)]
    assert sorted(shard_of(session_id) for session_id in opened) == [0, 0, 1, 1]
    found = [len((await site.played(s)).quiz.questions) for s in opened]
    assert found == [4, 4, 3, 3]


async def test_a_session_without_an_actor_is_taken_back_from_both(site, monkeypatch):
    await site.open()
    site.error = Unavailable("the supervisor is away")
    with pytest.raises(Unavailable):
        await site.open()
    assert await site.rows("sessions", 1) == set()
    assert len(await site.rows("sessions", 0)) == 1


# --- playing --------------------------------------------------------------------------------------


async def play(actor):
    """Mia joins and sees a quiz to its end."""
    assert await ask(actor, JoinItem("key-of-mia", "Mia")) == JoinedReply(1, "Mia")
    assert isinstance(
        await ask(actor, MoveItem(Step.START, Phase.LOBBY, 0, "command-1", 0, 0)), DoneReply
    )
    finish = MoveItem(Step.FINISH, Phase.QUESTION_OPEN, 1, "command-2", 0, 0)
    assert isinstance(await ask(actor, finish), DoneReply)


async def test_what_is_played_is_on_the_sessions_primary_alone(site):
    first, second = [await site.open() for _ in range(2)]
    assert (shard_of(first), shard_of(second)) == (0, 1)
    for session_id in (first, second):
        await play(site.actor(session_id))
    for table in ("participants", "session_events"):
        assert await site.rows(table, 0) == {first}
        assert await site.rows(table, 1) == {second}
    for session_id in (first, second):
        found = await site.played(session_id)
        assert [row.nickname for row in found.scoreboard] == ["Mia"]


async def test_the_end_of_a_session_reaches_its_entry_and_frees_the_pin(site):
    await site.open()
    session_id = await site.open()
    assert shard_of(session_id) == 1
    await play(site.actor(session_id))

    async def ended():
        return (await site.entry(session_id))["ended_at"] is not None

    await until(ended)
    query = "SELECT finished_at, ended_at FROM sessions WHERE session_id = $1"
    own = await site.shards.of(session_id).fetchrow(query, session_id)
    entry = await site.entry(session_id)
    assert (entry["finished_at"], entry["ended_at"]) == tuple(own)
    with pytest.raises(NotFound):
        await site.directory.by_pin(entry["pin"])
    with pytest.raises(Conflict):
        await site.directory.handle(session_id)


async def test_an_actor_that_starts_again_finds_its_session_on_any_primary(site):
    for session_id in [await site.open() for _ in range(2)]:
        actor = site.actor(session_id)
        assert await ask(actor, JoinItem("key-of-mia", "Mia")) == JoinedReply(1, "Mia")
        again = site.actor(session_id)
        assert await ask(again, JoinItem("key-of-mia", "Mia")) == JoinedReply(1, "Mia")
        assert await ask(again, JoinItem("key-of-ben", "Ben")) == JoinedReply(2, "Ben")
        assert (again._host.epoch, again._host.state.session_id) == (2, session_id)


async def test_a_primary_that_is_killed_takes_its_own_sessions_with_it_and_no_other(
    site, own_postgres
):
    here, there = [await site.open() for _ in range(2)]
    assert (shard_of(here), shard_of(there)) == (0, 1)
    actors = {session_id: site.actor(session_id) for session_id in (here, there)}
    for actor in actors.values():
        assert isinstance(await ask(actor, JoinItem("key-of-mia", "Mia")), JoinedReply)
    os.kill(own_postgres.pid, signal.SIGKILL)

    assert await ask(actors[here], JoinItem("key-of-ben", "Ben")) == JoinedReply(2, "Ben")
    again = site.actor(here)
    assert await ask(again, JoinItem("key-of-zoe", "Zoe")) == JoinedReply(3, "Zoe")
    assert shard_of(await site.open()) == 0, "the other one would be next"
    assert (await site.directory.by_id(here)).session_id == here
    with pytest.raises(Unavailable):
        await site.directory.by_id(there)
    reply = await ask(actors[there], JoinItem("key-of-ben", "Ben"))
    assert isinstance(reply, FaultReply)
    assert reply.code == "retry"

    await asyncio.to_thread(own_postgres.start)
    lost = site.actor(there)
    assert await ask(lost, JoinItem("key-of-mia", "Mia")) == JoinedReply(1, "Mia")


async def test_a_catalogue_that_is_away_stops_no_session_of_another_primary(
    site, own_postgres, pool, tmp_path, monkeypatch
):
    await site.open()
    session_id = await site.open()
    monkeypatch.setenv("RAYQUIZ_DATABASE_URL", f"postgresql://postgres@/rayquiz?host={tmp_path}")
    actor = site.actor(session_id)
    await play(actor)

    async def left():
        return (await actor.ping())["leaving"] == 1

    await until(left)


# --- what is left over ------------------------------------------------------------------------------


async def test_the_sweep_tells_the_catalogue_what_an_actor_could_not(site, sweep):
    await site.open()
    session_id = await site.open()
    own = site.shards.of(session_id)
    soon = "now() + interval '1 minute'"  # nobody lingers here
    await own.execute(f"UPDATE sessions SET finished_at = {soon}, actor_name = 'lost'")
    await sweep()
    entry = await site.entry(session_id)
    assert (entry["finished_at"] is not None, entry["ended_at"]) == (True, None)
    await own.execute("UPDATE sessions SET finished_at = now() - interval '1 day'")
    await sweep()
    assert (await site.entry(session_id))["ended_at"] is not None


async def test_the_sweep_does_not_end_entries_whose_sessions_live(site, sweep):
    opened = [await site.open() for _ in range(2)]
    long = "UPDATE sessions SET created_at = now() - interval '30 days' WHERE session_id = $1"
    await site.shards.catalogue.execute(long, opened[1])
    await sweep()
    assert (await site.entry(opened[1]))["ended_at"] is None


async def test_an_opening_that_died_before_its_entry_holds_no_pin_and_is_ended(site, sweep, pins):
    pins += [1, 7, 7]
    await site.open()
    quiz = await QuizLibrary(site.shards.catalogue).create(make_quiz())
    orphan = new_session_id(1)
    other = site.shards.databases[1]
    row = (orphan, quiz.quiz_id, "000007", "{}", partition_of(orphan), 1)
    assert await other.fetch(queries["create_session_on_shard"], *row, 1, "A quiz", 4, "{}")
    await other.execute("UPDATE sessions SET created_at = now() - interval '30 days'")
    await sweep()
    assert await other.fetchval("SELECT ended_at IS NOT NULL FROM sessions") is True
    session_id = await site.open()
    assert (await site.directory.by_id(session_id)).pin == "000007"


async def test_an_entry_without_a_session_is_ended(site, sweep):
    await site.open()
    session_id = await site.open()
    await site.shards.of(session_id).execute("DELETE FROM sessions")
    await sweep()
    entry = await site.entry(session_id)
    assert entry["ended_at"] is not None
    assert entry["cancelled"]


async def test_a_sweep_goes_on_where_one_primary_is_away(site, sweep, own_postgres, caplog):
    here = await site.open()
    await site.open()
    own_postgres.stop()
    await site.shards.catalogue.execute(
        "UPDATE sessions SET finished_at = now() - interval '1 day' WHERE session_id = $1", here
    )
    await sweep()
    assert (await site.entry(here))["ended_at"] is not None
    assert "action=sweep_failed shard=1" in caplog.text


# --- behind a broker --------------------------------------------------------------------------------


async def test_a_writer_stores_the_partitions_of_its_own_primary(
    site, broker, database_url, own_postgres
):
    writers = [
        CheckpointWriter(0, 1, broker.url, url, shard)
        for shard, url in enumerate((database_url, own_postgres.url))
    ]
    sessions = [await site.open() for _ in range(2)]
    publishers = [Publisher(broker.url, partition_of(session_id)) for session_id in sessions]
    for session_id, publisher in zip(sessions, publishers, strict=True):
        joins = [(1, "key-of-mia", "Mia", 1, 5_000)]
        async with asyncio.timeout(60):
            while True:
                try:
                    await publisher.publish(BatchMessage(LOG_VERSION, session_id, 1, [], joins, []))
                    break
                except Unavailable:
                    await asyncio.sleep(0.05)
    for shard, session_id in enumerate(sessions):
        async with asyncio.timeout(60):
            while await site.rows("participants", shard) != {session_id}:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    for part in (*publishers, *writers):
        await part.close()


async def test_a_session_beside_the_catalogue_is_set_aside_and_retried_with_its_entry(
    site, monkeypatch
):
    monkeypatch.setattr(limits, "TAKE_OVERS_MAX", 2)
    monkeypatch.setattr(limits, "TAKE_OVER_PAUSE_MS_MIN", 1)
    quiz_id = (await QuizLibrary(site.shards.catalogue).create(make_quiz())).quiz_id
    sessions = [await site.open(quiz_id) for _ in range(2)]
    [session_id] = [each for each in sessions if shard_of(each)]
    other = site.shards.of(session_id)
    query = "INSERT INTO session_events (session_id, seq, epoch, event) VALUES ($1, 9, 1, '{}')"
    await other.execute(query, session_id)
    assert await site.actor(session_id).open() is False
    assert (await site.entry(session_id))["ended_at"] is not None, "its PIN is free"
    [found] = await list_quarantined(site.shards)
    assert found.session_id == session_id

    await other.execute("DELETE FROM session_events WHERE session_id = $1", session_id)
    await retry_quarantined(site.shards, session_id)
    assert (await site.entry(session_id))["ended_at"] is None
    await site.remote(session_id, None)
    reply = await ask(site.actor(session_id), JoinItem("key-of-mia", "Mia"))
    assert reply == JoinedReply(1, "Mia")
