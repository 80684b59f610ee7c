"""Sessions in a real PostgreSQL, their actors in a Ray that is none: who is found, and who is given."""

import asyncio
from collections import Counter

import asyncpg
import msgspec
import pytest
import ray

from actors import directory as module
from actors import sessions as sessions_module
from actors.cache import Cache
from actors.directory import Directory
from actors.library import QuizLibrary
from actors.postgres import create_pool
from actors.sessions import open_session
from actors.shards import Shards
from engine import limits
from engine.errors import Conflict, Malformed, NotFound, ServerFault, TooMany, Unavailable
from engine.model import SessionSettings
from engine.pins import PinStyle, group_pin
from engine.testing.driver import SELF_PACED
from engine.testing.factories import make_quiz

NOBODY = "00000000-0000-4000-8000-000000000001"


class FakeSupervisor:
    """Assigns names by the row, as the real one; its replies may be lost, late or errors."""

    def __init__(self, pool):
        self.pool = pool
        self.calls = []
        self.error = None
        self.works = True
        self.answers = asyncio.Event()
        self.answers.set()

    @property
    def assign(self):
        return self

    async def remote(self, session_id, lost_actor):
        self.calls.append((session_id, lost_actor))
        name = f"actor-{len(self.calls)}"
        if self.works:
            await self.pool.execute(
                "UPDATE sessions SET actor_name = $1 WHERE session_id = $2", name, session_id
            )
        await self.answers.wait()
        if self.error is not None:
            raise self.error
        return name


@pytest.fixture
async def boss(pool, monkeypatch):
    boss = FakeSupervisor(pool)
    monkeypatch.setattr(module, "supervisor", lambda _namespace: boss)
    return boss


@pytest.fixture
def actors(monkeypatch):
    """The names that Ray knows; each handle is its name in capitals."""
    names = set()

    def get_actor(name, namespace):
        assert namespace == "a-namespace"
        if name not in names:
            raise ValueError(name)
        return name.upper()

    monkeypatch.setattr(module.ray, "get_actor", get_actor)
    return names


@pytest.fixture
async def cache(redis_url):
    cache = Cache(redis_url)
    yield cache
    await cache.ask(lambda client: client.flushall())
    await cache.close()


@pytest.fixture
def directory(pool, boss, actors, cache):
    return Directory(Shards([pool]), "a-namespace", cache)


async def end(pool, session_id):
    await pool.execute("UPDATE sessions SET ended_at = now() WHERE session_id = $1", session_id)


# --- finding --------------------------------------------------------------------------------------


async def test_a_session_is_found_by_its_id_and_while_it_lives_by_its_pin(
    pool, make_session, directory
):
    session = await make_session(pool, settings=SELF_PACED)
    info = await directory.by_id(session.session_id)
    assert await directory.by_pin(info.pin) == info
    assert (info.title, info.mode, info.actor_name) == ("A quiz", "self_paced", session.actor_name)
    assert (info.finished, info.ended) == (False, False)
    await end(pool, session.session_id)
    assert (await directory.by_id(session.session_id)).ended
    assert await directory.by_pin(info.pin) == info, "for a few seconds"
    with pytest.raises(Conflict, match="over"):
        await directory.handle(info.session_id)
    await directory.forget_pin(info.pin)
    with pytest.raises(NotFound):
        await directory.by_pin(info.pin)


@pytest.mark.parametrize("entry", [b"of another version", msgspec.msgpack.encode(["too", "short"])])
async def test_what_another_version_keeps_of_a_pin_is_read_anew(
    pool, make_session, directory, cache, entry
):
    session = await make_session(pool)
    info = await directory.by_id(session.session_id)
    await cache.ask(lambda client: client.set(module._pin_key(info.pin), entry))
    assert await directory.by_pin(info.pin) == info


async def test_a_hall_that_joins_at_once_reads_the_row_once(
    pool, make_session, directory, monkeypatch
):
    session = await make_session(pool)
    info = await directory.by_id(session.session_id)
    reads = []
    look = directory._info

    async def counted(*args):
        reads.append(args)
        return await look(*args)

    monkeypatch.setattr(directory, "_info", counted)
    found = await asyncio.gather(*(directory.by_pin(info.pin) for _ in range(1_000)))
    assert set(found) == {info}
    assert len(reads) == 1


async def test_a_pin_that_was_another_sessions_a_moment_ago_leads_to_the_new_one(
    pool, directory, actors, monkeypatch
):
    monkeypatch.setattr(sessions_module.secrets, "randbelow", lambda _: 4_711)
    actors |= {"actor-1", "actor-2"}
    row = await QuizLibrary(pool).create(make_quiz())
    first = await open_session(directory, row.quiz_id, SessionSettings())
    assert (await directory.by_pin(first.pin)).session_id == first.session_id
    await end(pool, first.session_id)
    second = await open_session(directory, row.quiz_id, SessionSettings())
    assert second.pin == first.pin
    assert (await directory.by_pin(second.pin)).session_id == second.session_id


@pytest.fixture
def asked(cache, pool, monkeypatch):
    """The statements and the commands that look-ups come to."""
    asked = Counter()
    ask, fetch = cache.ask, asyncpg.Pool.fetch

    async def counted_ask(work):
        asked["commands"] += 1
        return await ask(work)

    async def counted_fetch(self, query, *args, **options):
        asked["statements"] += 1
        return await fetch(self, query, *args, **options)

    monkeypatch.setattr(cache, "ask", counted_ask)
    monkeypatch.setattr(asyncpg.Pool, "fetch", counted_fetch)
    return asked


async def test_any_number_of_pins_that_are_not_there_costs_a_few_statements_and_no_command(
    make_session, pool, directory, asked
):
    info = await directory.by_id((await make_session(pool)).session_id)
    asked.clear()
    guesses = [f"{n:06}" for n in range(2_000) if f"{n:06}" != info.pin]
    got = await asyncio.gather(*map(directory.by_pin, guesses), return_exceptions=True)
    assert {type(error) for error in got} == {NotFound}
    assert asked == {"statements": 1}
    for guess in guesses[:3]:
        with pytest.raises(NotFound):
            await directory.by_pin(guess)
    assert asked == {"statements": 4}


async def test_a_pin_is_found_as_soon_as_its_session_is_open(pool, directory, quiz_id):
    other = Directory(directory.shards, "a-namespace", directory._cache)  # of another replica
    for _ in range(3):
        with pytest.raises(NotFound):
            await other.by_pin("000000")  # it has just read which PINs are live
        opened = await open_session(directory, quiz_id, SessionSettings())
        for look in (directory, other):
            assert (await look.by_pin(opened.pin)).session_id == opened.session_id


async def test_a_pin_of_any_style_is_found_as_people_type_it(pool, directory, quiz_id):
    for style in PinStyle:
        opened = await open_session(directory, quiz_id, SessionSettings(), style)
        typed = f" {group_pin(opened.pin).lower().replace(' ', '-')} "
        assert (await directory.by_pin(typed)).session_id == opened.session_id
        assert (await directory.by_pin(typed)).pin == opened.pin


async def test_a_session_that_has_ended_is_looked_for_once_and_then_no_more(
    pool, make_session, directory, asked
):
    info = await directory.by_id((await make_session(pool)).session_id)
    await directory.by_pin(info.pin)
    await end(pool, info.session_id)
    await directory.forget_pin(info.pin)
    with pytest.raises(NotFound):
        await directory.by_pin(info.pin)
    asked.clear()
    with pytest.raises(NotFound):
        await directory.by_pin(info.pin)
    assert asked == {"statements": 1}


async def test_while_the_database_is_away_what_redis_knows_is_found(
    make_session, pool, directory, monkeypatch
):
    info = await directory.by_id((await make_session(pool)).session_id)
    await directory.by_pin(info.pin)

    async def away(*_):
        raise ConnectionRefusedError

    monkeypatch.setattr(asyncpg.Pool, "fetch", away)
    fresh = Directory(directory.shards, "a-namespace", directory._cache)
    assert await fresh.by_pin(info.pin) == info
    with pytest.raises(Unavailable):
        await fresh.by_pin("000000" if info.pin != "000000" else "111111")


@pytest.mark.parametrize("key", [NOBODY, "", "no uuid", "nul\0inside"])
async def test_what_is_no_session_is_not_found(directory, key):
    for look in (directory.by_id, directory.by_pin, directory.handle):
        with pytest.raises(NotFound):
            await look(key)


async def test_a_known_actor_is_asked_for_once_until_it_fails(
    pool, make_session, directory, actors, boss
):
    session = await make_session(pool)
    actors.add(session.actor_name)
    handles = await asyncio.gather(*(directory.handle(session.session_id) for _ in range(5)))
    assert set(handles) == {session.actor_name.upper()}
    actors.clear()
    assert await directory.handle(session.session_id) == session.actor_name.upper()
    assert boss.calls == []
    directory.forget(session.session_id)
    actors.add("actor-1")
    assert await directory.handle(session.session_id) == "ACTOR-1"
    assert boss.calls == [(session.session_id, session.actor_name)]


async def test_many_who_miss_an_actor_have_it_assigned_once(
    pool, make_session, directory, actors, boss
):
    session = await make_session(pool)
    actors.add("actor-1")
    boss.answers.clear()
    waiting = [asyncio.create_task(directory.handle(session.session_id)) for _ in range(5)]
    async with asyncio.timeout(20):
        while not boss.calls:  # noqa: ASYNC110 - the search tells nobody
            await asyncio.sleep(0.01)
    waiting[0].cancel()  # whoever began the search may leave
    boss.answers.set()
    assert await asyncio.gather(*waiting[1:]) == ["ACTOR-1"] * 4
    assert len(boss.calls) == 1


async def test_an_actor_that_is_not_there_yet_is_away(pool, make_session, directory, boss):
    session = await make_session(pool)
    with pytest.raises(Unavailable, match="actor-1 is not there yet"):
        await directory.handle(session.session_id)


async def test_a_session_that_has_ended_gets_no_actor(pool, make_session, directory, boss):
    session = await make_session(pool)
    await end(pool, session.session_id)
    with pytest.raises(Conflict) as caught:
        await directory.handle(session.session_id)
    assert caught.value.code == "session_over"
    assert boss.calls == []


@pytest.mark.parametrize(
    "error",
    [
        ray.exceptions.ActorUnavailableError("away", b"1" * 16),
        ray.exceptions.RayTaskError("assign", "traceback", Unavailable("the database is away")),
    ],
)
async def test_a_supervisor_that_fails_is_away(pool, make_session, directory, boss, error):
    session = await make_session(pool)
    boss.error = error
    with pytest.raises(Unavailable):
        await directory.handle(session.session_id)


async def test_a_fault_of_the_supervisor_s_code_is_none_to_wait_out(
    pool, make_session, directory, boss
):
    session = await make_session(pool)
    boss.error = ray.exceptions.RayTaskError("assign", "traceback", ZeroDivisionError())
    with pytest.raises(ServerFault) as caught:
        await directory.handle(session.session_id)
    assert (caught.value.code, caught.value.retryable) == ("internal", False)


async def test_a_supervisor_that_hangs_is_away(pool, make_session, directory, boss, monkeypatch):
    session = await make_session(pool)
    monkeypatch.setattr(limits, "ACTOR_CALL_MS_MAX", 20)
    boss.answers.clear()
    with pytest.raises(Unavailable, match="does not answer"):
        await directory.handle(session.session_id)


async def test_handles_of_sessions_that_are_over_do_not_pile_up(
    pool, make_session, directory, actors, monkeypatch
):
    monkeypatch.setattr(module, "_HANDLES_MAX", 3)
    for _ in range(5):
        session = await make_session(pool)
        actors.add(session.actor_name)
        await directory.handle(session.session_id)
    assert len(directory._handles) == 2


async def test_a_database_that_is_away_is_said_to_be(tmp_path, cache):
    pool = await create_pool(f"postgresql://postgres@/rayquiz?host={tmp_path}", size_max=1)
    directory = Directory(Shards([pool]), "a-namespace", cache)
    with pytest.raises(Unavailable):
        await directory.by_pin("123456")
    with pytest.raises(Unavailable):
        await open_session(directory, NOBODY, SessionSettings())
    await pool.close()


# --- opening --------------------------------------------------------------------------------------


@pytest.fixture
async def quiz_id(pool):
    return (await QuizLibrary(pool).create(make_quiz())).quiz_id


@pytest.fixture
def pins(monkeypatch):
    """The PINs that chance will give, the first one first."""
    coming = []
    monkeypatch.setattr(sessions_module.secrets, "randbelow", lambda _top: coming.pop(0))
    return coming


async def test_an_opened_session_can_be_found_and_has_an_actor(pool, directory, quiz_id, pins):
    pins += [42]
    opened = await open_session(directory, quiz_id, SessionSettings())
    assert opened.pin == "000042"
    info = await directory.by_pin("000042")
    assert (info.session_id, info.actor_name) == (opened.session_id, "actor-1")


async def test_a_pin_in_use_is_passed_over_and_comes_back_when_its_session_has_ended(
    pool, directory, quiz_id, pins
):
    pins += [1, 1, 1, 2, 1]
    first = await open_session(directory, quiz_id, SessionSettings())
    second = await open_session(directory, quiz_id, SessionSettings())
    assert (first.pin, second.pin) == ("000001", "000002")
    await end(pool, first.session_id)
    third = await open_session(directory, quiz_id, SessionSettings())
    assert third.pin == "000001"
    assert (await directory.by_pin("000001")).session_id == third.session_id


async def test_when_no_pin_is_free_it_is_to_be_tried_again(pool, directory, quiz_id, pins):
    pins += [1] * 20
    await open_session(directory, quiz_id, SessionSettings())
    with pytest.raises(Unavailable, match="no free PIN"):
        await open_session(directory, quiz_id, SessionSettings())


@pytest.mark.parametrize("missing", [NOBODY, "no uuid", "nul\0inside"])
async def test_a_session_of_nothing_is_not_found(pool, directory, missing):
    with pytest.raises(NotFound):
        await open_session(directory, missing, SessionSettings())
    assert await pool.fetchval("SELECT count(*) FROM sessions") == 0


async def test_settings_that_do_not_fit_are_refused(pool, directory, quiz_id):
    with pytest.raises(Malformed):
        await open_session(directory, quiz_id, SessionSettings(preview_ms=-1))


async def test_so_many_sessions_live_and_no_more(pool, directory, quiz_id, monkeypatch):
    monkeypatch.setattr(limits, "SESSIONS_LIVE_MAX", 1)
    first = await open_session(directory, quiz_id, SessionSettings())
    with pytest.raises(TooMany, match="at most 1 may be"):
        await open_session(directory, quiz_id, SessionSettings())
    await end(pool, first.session_id)
    await open_session(directory, quiz_id, SessionSettings())


async def test_a_session_without_an_actor_does_not_keep_its_pin(pool, directory, quiz_id, boss):
    boss.works, boss.error = False, Unavailable("the supervisor is away")
    with pytest.raises(Unavailable):
        await open_session(directory, quiz_id, SessionSettings())
    assert await pool.fetchval("SELECT count(*) FROM sessions") == 0


async def test_a_session_whose_actor_was_given_and_the_reply_lost_is_open(
    pool, directory, quiz_id, boss
):
    boss.error = Unavailable("the supervisor is away")
    opened = await open_session(directory, quiz_id, SessionSettings())
    assert (await directory.by_id(opened.session_id)).actor_name == "actor-1"
