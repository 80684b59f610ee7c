"""Reads from a real standby: how far behind it may be, and what happens when it is away."""

import asyncio
import math
import os
import signal
import time

import msgspec
import psutil
import pytest
from prometheus_client import REGISTRY

from actors import read_replicas
from actors.library import QuizLibrary
from actors.postgres import connect, create_pool
from actors.read_replicas import Position, ReadReplica, ReadReplicas, catch_up_ms, position_of
from actors.results import ResultsReader
from engine import limits
from engine.errors import Conflict, NotFound, Unavailable
from engine.testing.factories import make_quiz

LAG_MS_MAX = 1_000


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(limits, "REPLICA_LAG_MS_MAX", LAG_MS_MAX)
    monkeypatch.setattr(limits, "REPLICA_CHECK_INTERVAL_MS", 50)
    for gauge in (read_replicas.LAG, read_replicas.USABLE):
        gauge.labels(1).set(math.nan)  # else it is what an earlier test measured


@pytest.fixture
async def primary(own_postgres):
    """Connections to the primary."""
    async with await create_pool(own_postgres.url, size_max=4) as pool:
        yield pool


@pytest.fixture
async def standby(own_standby):
    """A connection to the standby that pauses and resumes its replay."""
    connection = await connect(own_standby.url, is_primary=False)
    yield connection
    connection.terminate()


@pytest.fixture
async def make_reads(primary, own_postgres):
    """A factory of readers that measure the replicas of some addresses."""
    made = []

    def make(*urls):
        reads = ReadReplicas(primary, own_postgres.url, urls)
        made.append(reads)
        reads.start()
        return reads

    yield make
    for reads in made:
        await reads.close()


@pytest.fixture
async def reads(make_reads, own_standby):
    """The reader of a primary and a standby that is read from."""
    reads = make_reads(own_standby.url)
    await until(lambda: usable() == 1)
    return reads


def named(title):
    return msgspec.structs.replace(make_quiz(), title=title)


def usable():
    return REGISTRY.get_sample_value("quiz_replica_usable", {"replica": "1"})


def lag_ms():
    return REGISTRY.get_sample_value("quiz_replica_lag_ms", {"replica": "1"})


def reads_by(server):
    return REGISTRY.get_sample_value("quiz_reads_total", {"server": server}) or 0


async def until(condition, seconds=20):
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - a measurement tells nobody
            await asyncio.sleep(0.01)


async def is_standby(database):
    return (await database.fetch("SELECT pg_is_in_recovery()"))[0][0]


async def titles(database):
    rows, _ = await QuizLibrary(database).page(100, None)
    return [row.title for row in rows]


async def replayed_by(connection):
    return (await position_of(connection.fetch, "replica_position")).position


async def replayed(primary, own_standby):
    """Return the position of what is committed now, once the standby shows it all."""
    at = await position_of(primary.fetch, "primary_position")
    connection = await connect(own_standby.url, is_primary=False)
    async with asyncio.timeout(20):
        while await replayed_by(connection) < at.position:  # noqa: ASYNC110 - a server tells nobody
            await asyncio.sleep(0.01)
    await connection.close()
    return at.position


async def test_a_read_goes_to_the_standby_unless_it_must_see_the_newest(reads):
    before = reads_by("replica"), reads_by("primary")
    assert await reads.read(is_standby, newest=False) is True
    assert await reads.read(is_standby, newest=True) is False
    assert (reads_by("replica"), reads_by("primary")) == (before[0] + 1, before[1] + 1)
    assert 0 <= lag_ms() < LAG_MS_MAX


async def test_without_replicas_the_primary_answers(make_reads):
    assert await make_reads().read(is_standby, newest=False) is False


async def test_reads_are_spread_over_the_replicas(make_reads, own_standby):
    reads = make_reads(own_standby.url, own_standby.url)
    await until(lambda: all(replica.usable for replica in reads._replicas))
    chosen = [reads._choose().number for _ in range(10)]
    assert sorted(chosen) == [1] * 5 + [2] * 5


async def test_what_was_committed_longer_ago_than_the_limit_is_always_seen(
    reads, primary, standby, own_standby
):
    """With the replay paused: for a while the standby answers without it, then the primary with it."""
    library = QuizLibrary(primary)
    await library.create(named("old"))
    await replayed(primary, own_standby)
    await standby.execute("SELECT pg_wal_replay_pause()")
    await library.create(named("new"))
    committed = time.monotonic()
    stale = 0
    while time.monotonic() < committed + 3 * LAG_MS_MAX / 1000:
        asked = time.monotonic()
        found = await reads.read(titles, newest=False)
        assert found in (["old"], ["new", "old"])
        if found == ["old"]:
            stale += 1
            assert (asked - committed) * 1000 <= LAG_MS_MAX
        await asyncio.sleep(0.01)
    assert stale > 0, "the pause was never felt"
    assert usable() == 0
    assert lag_ms() > LAG_MS_MAX

    await standby.execute("SELECT pg_wal_replay_resume()")
    await until(lambda: usable() == 1)
    assert lag_ms() < LAG_MS_MAX
    assert await reads.read(is_standby, newest=False) is True
    assert await reads.read(titles, newest=False) == ["new", "old"]


async def test_while_nothing_is_written_a_paused_standby_does_not_lag(
    reads, primary, standby, own_standby
):
    async with asyncio.timeout(60):
        before = None
        # A server notes now and then by itself what is under way.
        while (await position_of(primary.fetch, "primary_position")).position != before:
            await standby.execute("SELECT pg_wal_replay_resume()")
            before = await replayed(primary, own_standby)
            await standby.execute("SELECT pg_wal_replay_pause()")
            await asyncio.sleep(2 * LAG_MS_MAX / 1000)
            lag = lag_ms()
    assert lag < LAG_MS_MAX
    assert await reads.read(is_standby, newest=False) is True


async def test_what_a_standby_does_not_know_yet_is_asked_of_the_primary(
    reads, primary, standby, make_session
):
    session = await make_session(primary)
    await until(lambda: usable() == 1)
    await standby.execute("SELECT pg_wal_replay_pause()")
    created = await QuizLibrary(primary).create(named("new"))
    await primary.execute("UPDATE sessions SET finished_at = now()")

    async def get(database):
        return await QuizLibrary(database).get(created.quiz_id)

    async def finished(database):
        await ResultsReader(database).require_finished(session.session_id)
        return await is_standby(database)

    async with reads._replicas[0].pool.acquire() as replica:
        with pytest.raises(NotFound):
            await get(replica)
        with pytest.raises((Conflict, NotFound)):
            await finished(replica)
    row, _ = await reads.read(get, newest=False)
    assert row == created
    assert await reads.read(finished, newest=False) is False

    async def missing(database):
        await QuizLibrary(database).get(session.session_id)

    with pytest.raises(NotFound):
        await reads.read(missing, newest=False)


async def test_a_standby_that_is_killed_in_the_middle_of_reads_fails_none(
    reads, primary, own_standby
):
    asked_of, stop = set(), asyncio.Event()

    async def slowly(database):
        await database.fetch("SELECT pg_sleep(0.02)")
        await ResultsReader(database).page(10, None)
        return await is_standby(database)

    async def keep_reading():
        while not stop.is_set():
            asked_of.add(await reads.read(slowly, newest=False))

    readers = [asyncio.create_task(keep_reading()) for _ in range(12)]
    await until(lambda: asked_of)
    assert asked_of == {True}
    os.kill(own_standby.pid, signal.SIGKILL)
    await until(lambda: usable() == 0)
    await until(lambda: asked_of == {True, False})
    assert lag_ms() == math.inf

    await asyncio.to_thread(own_standby.start)
    await until(lambda: usable() == 1)
    asked_of.clear()
    await until(lambda: True in asked_of)
    stop.set()
    await asyncio.gather(*readers)


async def test_a_standby_that_hangs_holds_a_read_up_only_so_long(reads, own_standby, monkeypatch):
    monkeypatch.setattr(read_replicas, "_READ_S_MAX", 2.0)
    family = processes_of(own_standby.pid)
    for process in family:
        process.suspend()
    try:
        begun = time.monotonic()
        assert await reads.read(is_standby, newest=False) is False
        assert time.monotonic() - begun < 4
        begun = time.monotonic()
        assert await reads.read(is_standby, newest=False) is False
        assert time.monotonic() - begun < 1.5, "once was enough to find out"
    finally:
        for process in family:
            process.resume()
    await until(lambda: usable() == 1)
    assert await reads.read(is_standby, newest=False) is True


def processes_of(pid):
    server = psutil.Process(pid)
    return [server, *server.children()]


async def test_a_server_that_follows_no_primary_is_not_read_from(make_reads, own_postgres):
    reads = make_reads(own_postgres.url)
    await until(lambda: lag_ms() == math.inf and usable() == 0)
    await asyncio.sleep(0.2)
    assert reads._choose() is None


async def test_a_replica_of_another_primary_is_not_read_from(own_standby):
    replica = ReadReplica(1, own_standby.url)
    connection = await connect(own_standby.url, is_primary=False)
    here = await position_of(connection.fetch, "replica_position")
    await connection.close()
    await replica.measure(time.monotonic(), here)
    assert replica.usable
    await replica.measure(time.monotonic(), Position(here.position, here.system_identifier + 1))
    assert not replica.usable
    await replica.close()


async def test_a_standby_that_was_started_again_and_is_not_as_far_is_not_read_from(
    reads, monkeypatch
):
    """Between two measurements nothing else would tell: its old connections are gone."""
    replica = reads._replicas[0]
    next_measurement = asyncio.Event()
    monkeypatch.setattr(replica, "measure", lambda *_: next_measurement.wait())
    await asyncio.sleep(0)
    await replica.pool.expire_connections()
    replica._freshness.replayed += 10**12
    assert await reads.read(is_standby, newest=False) is False


async def test_a_primary_that_is_away_makes_the_lag_grow(reads, own_postgres):
    own_postgres.stop()
    await until(lambda: usable() == 0)
    assert LAG_MS_MAX < lag_ms() < math.inf
    await asyncio.to_thread(own_postgres.start)
    await until(lambda: usable() == 1)


async def test_a_single_look_at_a_standby(primary, standby, own_postgres, own_standby):
    await QuizLibrary(primary).create(make_quiz())
    assert await catch_up_ms(own_postgres.url, own_standby.url) < LAG_MS_MAX
    await standby.execute("SELECT pg_wal_replay_pause()")
    await QuizLibrary(primary).create(make_quiz())
    with pytest.raises(Unavailable, match=f"lags by more than {LAG_MS_MAX} ms"):
        await catch_up_ms(own_postgres.url, own_standby.url)
    with pytest.raises(Unavailable, match="follows no primary"):
        await catch_up_ms(own_postgres.url, own_postgres.url)
