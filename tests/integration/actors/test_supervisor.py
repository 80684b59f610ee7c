"""The supervisor over a real PostgreSQL and a Ray that is none: which actors live, and which end."""

import asyncio
import uuid

import pytest
import ray

from actors import supervisor as module
from actors.settings import Settings
from actors.supervisor import Supervisor
from engine import limits
from engine.errors import Unavailable


class FakeActor:
    """An actor of Ray: blank, or of a session, or leaving, hung, dead."""

    def __init__(self, cluster, name):
        self._cluster, self.name = cluster, name
        self.phase, self.leaving, self.hangs, self.error = None, 0, False, None
        self.node = "node-1"
        self.pings = self.opens = 0
        #: Cleared while its process starts: calls wait until then.
        self.started = asyncio.Event()
        self.started.set()

    @property
    def ping(self):
        return _Method(self._ping)

    @property
    def open(self):
        return _Method(self._open)

    async def _ping(self):
        await self.started.wait()
        self.pings += 1
        if self.error is not None:
            raise self.error
        if self.hangs:
            await asyncio.Event().wait()
        found = {"node": self.node, "pid": 1, "leaving": self.leaving}
        return found if self.phase is None else {**found, "phase": self.phase}

    async def _open(self):
        self.opens += 1
        query = "SELECT count(*) FROM sessions WHERE actor_name = $1 AND ended_at IS NULL"
        if await self._cluster.pool.fetchval(query, self.name):
            self.phase = "lobby"
        return self.phase is not None


class _Method:
    def __init__(self, call):
        self._call = call

    def remote(self):
        return asyncio.get_running_loop().create_task(self._call())


class FakeRay:
    """The named actors of a cluster, and who was killed."""

    exceptions = ray.exceptions

    def __init__(self, pool):
        self.pool = pool
        self.actors, self.ended, self.restarted = {}, [], []
        self.util = self

    def create(self, name, _namespace):
        self.actors[name] = FakeActor(self, name)
        return self.actors[name]

    def list_named_actors(self):
        return list(self.actors)

    def get_actor(self, name, namespace):
        assert namespace == "rayquiz"
        if name not in self.actors:
            raise ValueError(name)
        return self.actors[name]

    def kill(self, handle, *, no_restart):
        if no_restart:
            self.ended.append(handle.name)
            self.actors.pop(handle.name, None)
        else:
            self.restarted.append(handle.name)
            handle.hangs, handle.node = False, "node-2"


class FakeNodes:
    """Two nodes, each with room for more."""

    def __init__(self):
        self.drained, self.full = set(), set()
        #: None of it for actors that are only expected, unless a test is about those.
        self.free = 0

    def free_memory_bytes(self):
        return self.free

    def leaving(self):
        return set(self.drained)

    def have_room(self, _cpus, _memory_bytes, without):
        return bool({"node-1", "node-2"} - self.full - without)


@pytest.fixture
def nodes(monkeypatch):
    nodes = FakeNodes()
    monkeypatch.setattr(module, "Nodes", lambda: nodes)
    return nodes


@pytest.fixture
async def cluster(pool, nodes, monkeypatch):
    cluster = FakeRay(pool)
    monkeypatch.setattr(module, "ray", cluster)
    monkeypatch.setattr(module, "create_session_actor", cluster.create)
    monkeypatch.setattr(module, "_WATCH_INTERVAL_S", 0.01)
    monkeypatch.setattr(module, "_PING_TIMEOUT_S", 0.3)
    return cluster


@pytest.fixture
async def make_supervisor(cluster, database_url, monkeypatch):
    """A factory of supervisors with one warm actor each."""
    supervisors = []

    def make(url=database_url, warm=1):
        settings = Settings(
            database_url=url,
            redis_url="unix:///nowhere",
            secret="a-secret-of-at-least-32-characters",
            public_url="http://localhost",
            warm_pool_size=warm,
        )
        for name, value in settings.to_env().items():
            monkeypatch.setenv(name, value)
        supervisors.append(Supervisor())
        return supervisors[-1]

    yield make
    for supervisor in supervisors:
        supervisor._task.cancel()
        await asyncio.gather(supervisor._task, return_exceptions=True)
        for database in supervisor._shards.databases:
            await database.close()


@pytest.fixture
async def orphan(pool, make_session):
    """A session that has no actor yet."""
    session = await make_session(pool)
    await pool.execute("UPDATE sessions SET actor_name = NULL")
    return session.session_id


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - the watch tells nobody
            await asyncio.sleep(0.01)


async def rounds(actor, count=3):
    """Let the watch look at an actor some more times."""
    before = actor.pings
    await until(lambda: actor.pings >= before + count)


async def actor_name(pool, session_id):
    return await pool.fetchval("SELECT actor_name FROM sessions WHERE session_id = $1", session_id)


# --- the pool -------------------------------------------------------------------------------------


@pytest.fixture
def open_wave(pool, make_session):
    """Open sessions one after the other."""

    async def open_wave(supervisor, count):
        for _ in range(count):
            session = await make_session(pool)
            await pool.execute("UPDATE sessions SET actor_name = NULL")
            await supervisor.assign(session.session_id, None)
            await pool.execute("UPDATE sessions SET actor_name = gen_random_uuid()::text")

    return open_wave


async def test_the_pool_is_refilled_at_once_and_follows_the_openings(
    cluster, nodes, make_supervisor, open_wave, monkeypatch
):
    nodes.free = 64 * 1024**3
    monkeypatch.setattr(module, "_WATCH_INTERVAL_S", 60)  # the refill waits for no look
    supervisor = make_supervisor()
    await until(lambda: len(supervisor._warm) == 1)
    await open_wave(supervisor, 3)
    await until(lambda: len(supervisor._warm) == 3)
    assert cluster.ended == []


async def test_no_more_actors_start_at_once_than_there_are_cores(
    cluster, make_supervisor, monkeypatch
):
    starting = []
    create = cluster.create

    def slowly(name, namespace):
        actor = create(name, namespace)
        actor.started.clear()
        starting.append(actor)
        return actor

    monkeypatch.setattr(module, "create_session_actor", slowly)
    monkeypatch.setattr(module.os, "cpu_count", lambda: 2)
    supervisor = make_supervisor(warm=5)
    await until(lambda: len(starting) == 2)
    await asyncio.sleep(0.1)
    assert len(starting) == 2
    while len(starting) < 5:
        count = len(starting)
        starting[count - 1].started.set()
        await until(lambda count=count: len(starting) > count)
    for actor in starting:
        actor.started.set()
    await until(lambda: not supervisor._starting)
    assert len(supervisor._warm) == 5


async def test_when_nobody_opens_anything_any_more_the_pool_shrinks(
    cluster, nodes, make_supervisor, open_wave, monkeypatch
):
    nodes.free = 64 * 1024**3
    supervisor = make_supervisor()
    await until(lambda: len(supervisor._warm) == 1)
    await open_wave(supervisor, 2)
    await until(lambda: len(supervisor._warm) == 2)
    monkeypatch.setattr(limits, "OPENINGS_WINDOW_MS", 0)
    monkeypatch.setattr(limits, "POOL_REST_MS", 0)
    await until(lambda: len(supervisor._warm) == 1)
    assert cluster.ended


async def test_a_machine_without_memory_keeps_what_is_always_kept_and_no_more(
    cluster, make_supervisor, open_wave
):
    supervisor = make_supervisor()
    await until(lambda: len(supervisor._warm) == 1)
    await open_wave(supervisor, 3)
    await until(lambda: len(supervisor._warm) == 1)
    await asyncio.sleep(0.1)
    assert len(supervisor._warm) == 1


async def test_processes_do_not_pile_up_however_many_sessions_are_opened(
    pool, make_session, cluster, make_supervisor, monkeypatch
):
    monkeypatch.setattr(limits, "SESSIONS_LIVE_MAX", 3)
    supervisor = make_supervisor()
    refused = 0
    for _ in range(8):  # each is cancelled at once, but its process has not ended yet
        session = await make_session(pool)
        await pool.execute("UPDATE sessions SET actor_name = NULL WHERE ended_at IS NULL")
        try:
            name = await supervisor.assign(session.session_id, None)
            cluster.actors[name].phase = "cancelled"
        except Unavailable:
            refused += 1
        assert len(cluster.actors) <= 3
        await pool.execute("UPDATE sessions SET ended_at = now()")
    assert refused
    for actor in cluster.actors.values():
        actor.leaving = 1
    await until(lambda: not supervisor._busy)


# --- assigning ------------------------------------------------------------------------------------


async def test_a_session_gets_a_warm_actor_and_another_one_is_warmed(
    pool, cluster, make_supervisor, orphan
):
    supervisor = make_supervisor()
    await until(lambda: len(cluster.actors) == 1)
    [warm] = cluster.actors
    assert await supervisor.assign(orphan, None) == warm == await actor_name(pool, orphan)
    await until(lambda: len(cluster.actors) == 2)
    await until(lambda: cluster.actors[warm].opens >= 1)
    await rounds(cluster.actors[warm])
    statistics = await supervisor.statistics()
    assert statistics["warm"] == 1
    assert statistics["sessions"][warm]["phase"] == "lobby"
    assert cluster.ended == []


async def test_without_a_warm_actor_one_is_started(pool, cluster, make_supervisor, orphan):
    name = await make_supervisor(warm=0).assign(orphan, None)
    assert list(cluster.actors) == [name]


async def test_whoever_is_slower_gets_the_actor_of_whoever_was_faster(
    cluster, make_supervisor, orphan
):
    supervisor = make_supervisor()
    names = await asyncio.gather(*(supervisor.assign(orphan, None) for _ in range(5)))
    assert len(set(names)) == 1
    assert cluster.ended == []


async def test_a_lost_actor_is_replaced_and_only_by_who_names_it(pool, make_supervisor, orphan):
    supervisor = make_supervisor()
    first = await supervisor.assign(orphan, None)
    assert await supervisor.assign(orphan, "somebody else") == first
    second = await supervisor.assign(orphan, first)
    assert second != first
    assert await actor_name(pool, orphan) == second


async def test_a_session_that_is_over_gets_no_actor(pool, cluster, make_supervisor, orphan):
    await pool.execute("UPDATE sessions SET ended_at = now()")
    supervisor = make_supervisor()
    for session_id in (orphan, str(uuid.uuid4())):
        with pytest.raises(Unavailable, match="can be given none"):
            await supervisor.assign(session_id, None)
    # One more than wanted, when the watch filled the pool up while the first was out of it.
    assert supervisor._warm
    assert cluster.ended == []


async def test_while_the_database_is_away_no_actor_is_given_away_or_lost(
    cluster, make_supervisor, orphan, pool, tmp_path
):
    supervisor = make_supervisor(f"postgresql://postgres@/rayquiz?host={tmp_path}")
    await until(lambda: len(supervisor._warm) == 1)
    [(name, _)] = supervisor._warm
    with pytest.raises(Unavailable, match="the database is away"):
        await supervisor.assign(orphan, None)
    assert cluster.ended == [name]
    await until(lambda: len(supervisor._warm) == 1)
    assert [name for name, _ in supervisor._warm] == list(cluster.actors)


# --- watching -------------------------------------------------------------------------------------


async def test_an_actor_that_leaves_is_ended(cluster, make_supervisor, orphan):
    name = await make_supervisor().assign(orphan, None)
    actor = cluster.actors[name]
    await rounds(actor)
    assert cluster.ended == []
    actor.leaving = 1
    await until(lambda: cluster.ended == [name])


async def test_an_actor_that_came_back_after_the_end_of_its_session_is_ended(
    pool, cluster, make_supervisor, orphan
):
    name = await make_supervisor().assign(orphan, None)
    actor = cluster.actors[name]
    await rounds(actor)
    await pool.execute("UPDATE sessions SET ended_at = now()")
    actor.phase = None  # it crashed, and finds no session any more
    await until(lambda: cluster.ended == [name])


async def test_an_actor_that_hangs_is_restarted_and_one_that_is_starting_is_not(
    cluster, make_supervisor, orphan, monkeypatch
):
    monkeypatch.setattr(module, "_PING_TIMEOUT_S", 0.02)
    supervisor = make_supervisor()
    await until(lambda: len(supervisor._warm) == 1)
    [(name, actor)] = supervisor._warm
    actor.hangs = True  # its process is starting
    await supervisor.assign(orphan, None)
    await rounds(actor, 5)
    assert cluster.restarted == []
    actor.hangs = False
    await rounds(actor, 2)
    actor.hangs = True
    await until(lambda: cluster.restarted == [name])
    await rounds(actor)
    assert cluster.restarted == [name]
    assert cluster.ended == []


async def test_an_actor_that_is_away_for_the_moment_is_left_alone_and_a_dead_one_forgotten(
    cluster, make_supervisor, orphan
):
    supervisor = make_supervisor()
    name = await supervisor.assign(orphan, None)
    actor = cluster.actors[name]
    actor.error = ray.exceptions.ActorUnavailableError("away", b"1" * 16)
    await rounds(actor, 5)
    assert (await supervisor.statistics())["sessions"][name]["unreachable"]
    assert cluster.restarted == cluster.ended == []
    actor.error = ray.exceptions.ActorDiedError()
    await until(lambda: name not in supervisor._busy)


async def test_a_restarted_supervisor_adopts_sessions_and_ends_what_is_blank(
    pool, cluster, make_supervisor, orphan
):
    first = make_supervisor()
    busy = await first.assign(orphan, None)
    await rounds(cluster.actors[busy])
    await until(lambda: len(cluster.actors) == 2)
    [blank] = set(cluster.actors) - {busy}
    first._task.cancel()
    cluster.create("another-actor", "rayquiz")
    second = make_supervisor()
    await until(lambda: blank in cluster.ended)
    await rounds(cluster.actors[busy])
    assert set(second._busy) == {busy}
    assert cluster.ended == [blank]
    assert "another-actor" in cluster.actors


async def test_the_watch_survives_what_it_did_not_expect(
    cluster, make_supervisor, orphan, monkeypatch, caplog
):
    supervisor = make_supervisor()
    name = await supervisor.assign(orphan, None)
    cluster.actors[name].error = ZeroDivisionError()
    await until(lambda: "watch_failed" in caplog.text)
    cluster.actors[name].error = None
    await rounds(cluster.actors[name])


# --- nodes that will go ---------------------------------------------------------------------------


async def test_what_runs_on_a_node_that_is_drained_moves_and_the_blank_end(
    cluster, nodes, make_supervisor, orphan
):
    supervisor = make_supervisor()
    name = await supervisor.assign(orphan, None)
    await until(lambda: len(supervisor._warm) == 1)
    [(warm, _)] = supervisor._warm
    await rounds(cluster.actors[name])
    assert cluster.restarted == []
    nodes.drained = {"node-1"}
    await until(lambda: cluster.restarted == [name])
    await until(lambda: warm in cluster.ended)
    cluster.actors[name].pings = 0
    await rounds(cluster.actors[name])
    assert cluster.restarted == [name], "where it is now it can stay"


async def test_nothing_moves_while_there_is_no_room_elsewhere(
    cluster, nodes, make_supervisor, orphan, caplog
):
    supervisor = make_supervisor()
    name = await supervisor.assign(orphan, None)
    nodes.full, nodes.drained = {"node-2"}, {"node-1"}
    await rounds(cluster.actors[name], 5)
    assert cluster.restarted == cluster.ended == []
    assert caplog.text.count("action=no_room_to_move") == 1
    nodes.full = set()
    await until(lambda: cluster.restarted == [name])


# --- what an earlier cluster left -----------------------------------------------------------------

HOUR = "interval '1 hour'"


async def age(pool, session_id, column, interval):
    await pool.execute(
        f"UPDATE sessions SET {column} = now() - {interval} WHERE session_id = $1", session_id
    )


@pytest.fixture
async def sweep(pool, cluster, make_supervisor):
    """Run the sweep once and return the sessions that have ended."""
    supervisor = make_supervisor()
    supervisor._task.cancel()  # its watch would sweep while the test is still making its sessions
    await asyncio.gather(supervisor._task, return_exceptions=True)

    async def sweep():
        await supervisor._end_abandoned()
        rows = await pool.fetch("SELECT session_id FROM sessions WHERE ended_at IS NOT NULL")
        return {str(row["session_id"]) for row in rows}

    return sweep


async def test_a_session_that_finished_long_ago_with_a_lost_actor_is_ended(
    pool, make_session, sweep
):
    just_now, long_ago = [(await make_session(pool)).session_id for _ in range(2)]
    await age(pool, just_now, "finished_at", f"{limits.LINGER_MS - 60_000} * interval '1 ms'")
    await age(pool, long_ago, "finished_at", f"{limits.LINGER_MS + 60_000} * interval '1 ms'")
    assert await sweep() == {long_ago}
    assert not await pool.fetchval("SELECT bool_or(cancelled) FROM sessions")


async def test_a_session_that_nobody_touched_for_hours_is_cancelled(pool, make_session, sweep):
    fresh, old, played = [(await make_session(pool)).session_id for _ in range(3)]
    long = f"{limits.IDLE_MS_MAX + 60_000} * interval '1 ms'"
    for session_id in (old, played):
        await age(pool, session_id, "created_at", long)
    await pool.execute(
        "INSERT INTO participants VALUES ($1, 1, 'a-key-of', 'Mia', 1, 1, "
        "extract(epoch FROM now()) * 1000)",
        played,
    )
    assert await sweep() == {old}
    query = "SELECT cancelled FROM sessions WHERE session_id = $1"
    assert await pool.fetchval(query, old) is True
    assert await pool.fetchval(query, fresh) is False


async def test_a_session_whose_actor_lives_is_its_actors_business(
    pool, make_session, cluster, sweep
):
    session = await make_session(pool)
    cluster.create(session.actor_name, "rayquiz")
    await age(pool, session.session_id, "created_at", "interval '30 days'")
    await age(pool, session.session_id, "finished_at", "interval '30 days'")
    assert await sweep() == set()


async def test_the_sweep_is_part_of_the_watch(pool, make_session, make_supervisor):
    session = await make_session(pool)
    await age(pool, session.session_id, "finished_at", HOUR)
    make_supervisor()
    async with asyncio.timeout(20):
        while not await pool.fetchval("SELECT ended_at IS NOT NULL FROM sessions"):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_sweep_without_a_database_is_put_off(make_supervisor, tmp_path, caplog):
    supervisor = make_supervisor(f"postgresql://postgres@/rayquiz?host={tmp_path}")
    supervisor._task.cancel()
    await supervisor._end_abandoned()
    assert "sweep_failed" in caplog.text
