"""A database that falls silent instead of refusing, and one that answers but takes no writes.

Silence is a wire that swallows what is sent over it, or a server that is paused.
"""

import asyncio
import socket
import time
import uuid

import asyncpg
import pytest

from actors import checkpoint_writer, postgres
from actors.checkpoint_writer import Tables
from actors.lease import check_epoch
from actors.log_message import LOG_VERSION, BatchMessage
from actors.postgres import AWAY, LoneConnection, create_pool
from actors.sql import queries
from actors.tasks import SharedWork
from engine.errors import Fenced, Unavailable
from engine.ids import Epoch
from migrations import Migrator, migrator
from serve_app.replica import Replica
from tests.chaos.network import POSTGRES_SOCKET
from tests.silence import KINDS, PATIENCE_S, silenceable, tasks_of, until, wired

#: In the place of the real bounds, so that silence need not last for long.
_BOUND_S = 0.4

#: What a silent database is told as.
_AWAY = (*AWAY, Unavailable)


@pytest.fixture
def short_bounds(monkeypatch):
    for name in (
        "STATEMENT_TIMEOUT_S",
        "CONNECT_TIMEOUT_S",
        "ACQUIRE_TIMEOUT_S",
        "CLOSE_TIMEOUT_S",
        "_LAST_BOUND_MARGIN_S",
    ):
        monkeypatch.setattr(postgres, name, _BOUND_S)
    monkeypatch.setattr(checkpoint_writer, "_STORE_S_MAX", 2 * _BOUND_S)
    for name in ("_CONNECT_S_MAX", "_CLOSE_S_MAX", "_STATUS_S_MAX", "_LOCK_S_MAX", "_STEP_S_MAX"):
        monkeypatch.setattr(migrator, name, _BOUND_S)


def postgres_socket(server):
    return lambda: str(server.sockets / POSTGRES_SOCKET)


@pytest.fixture(params=KINDS)
async def way(request, own_postgres, short_bounds):
    async with silenceable(own_postgres, postgres_socket(own_postgres), request.param) as way:
        way.url = f"postgresql://postgres@127.0.0.1:{way.port}/rayquiz"
        yield way


async def test_a_lone_connection_gives_up_and_comes_back(way):
    connection = LoneConnection(way.url)
    await connection.fetch("SELECT 1")
    async with way.silent():
        told = await asyncio.gather(
            *(connection.fetch("SELECT 1") for _ in range(4)), return_exceptions=True
        )
        assert {type(each) for each in told} == {Unavailable}
    assert await until(lambda: connection.fetch("SELECT 2 AS two"), _AWAY) == [(2,)]
    async with way.silent():
        busy = asyncio.create_task(connection.fetch("SELECT 1"))
        await asyncio.sleep(0)
        await connection.close()
        await asyncio.wait([busy])


async def test_nobody_waits_for_ever_for_a_turn(way, monkeypatch):
    monkeypatch.setattr(postgres, "STATEMENT_TIMEOUT_S", 3_600.0)
    monkeypatch.setattr(postgres, "TURN_TIMEOUT_S", _BOUND_S)
    connection = LoneConnection(way.url)
    await connection.fetch("SELECT 1")
    async with way.silent():
        first = asyncio.create_task(connection.fetch("SELECT 1"))
        await asyncio.sleep(0)
        with pytest.raises(Unavailable, match="before this one"):
            await connection.fetch("SELECT 1")
        first.cancel()
        await asyncio.wait([first])
    assert await until(lambda: connection.fetch("SELECT 2 AS two"), _AWAY) == [(2,)]
    await connection.close()


async def test_a_pool_loses_no_place_and_leaves_nothing_that_hangs(way):
    size = 3
    async with await create_pool(way.url, size_max=size) as pool:
        await asyncio.gather(*(pool.fetch("SELECT pg_sleep(0.1)") for _ in range(size)))
        async with way.silent(3 * PATIENCE_S):
            begun = time.monotonic()
            told = await asyncio.gather(
                *(pool.fetch("SELECT 1") for _ in range(10 * size)), return_exceptions=True
            )
            assert all(isinstance(each, AWAY) for each in told)
            assert time.monotonic() - begun < PATIENCE_S
            # Some who leave, as clients do that hang up.
            leavers = [asyncio.create_task(pool.fetch("SELECT 1")) for _ in range(size)]
            await asyncio.sleep(0.05)
            for leaver in leavers:
                leaver.cancel()
            await asyncio.wait(leavers)

        async def all_places():
            async with asyncio.TaskGroup() as group:
                for _ in range(size):
                    group.create_task(pool.fetch("SELECT pg_sleep(0.3)"))

        async def works():
            try:
                await all_places()
            except BaseExceptionGroup as error:
                raise error.exceptions[0] from None

        await until(works, _AWAY)
        lives = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'rayquiz'"
        async with asyncio.timeout(PATIENCE_S):
            while (await pool.fetch(lives))[0][0] > size:  # noqa: ASYNC110 - a server tells nobody
                await asyncio.sleep(0.05)
            while tasks_of("asyncpg"):  # noqa: ASYNC110
                await asyncio.sleep(0.05)


async def test_a_pool_and_a_connection_are_given_back_in_the_silence(way):
    pool = await create_pool(way.url, size_max=2)
    await asyncio.gather(*(pool.fetch("SELECT pg_sleep(0.1)") for _ in range(2)))
    connection = LoneConnection(way.url)
    await connection.fetch("SELECT 1")
    async with way.silent():
        busy = asyncio.create_task(pool.fetch("SELECT 1"))
        await asyncio.sleep(0)
        await pool.close()
        await connection.close()
        with pytest.raises(AWAY):
            await busy
    assert not tasks_of("asyncpg")


async def test_a_writer_gives_up_and_stores_once_when_the_database_speaks_again(way):
    tables = Tables(way.url)
    session_id = str(uuid.uuid4())

    def batch(who):
        row = (1, who, 0, 1, "", 700, True, 980, who, 5_000)
        return BatchMessage(LOG_VERSION, session_id, 1, [row], [], [])

    await tables.store([batch(1)])
    async with way.silent():
        for _ in range(2):  # on the old connection, and on a new one
            with pytest.raises(Unavailable):
                await tables.store([batch(2)])
    await until(lambda: tables.store([batch(2)]), _AWAY)
    reader = LoneConnection(way.url)
    rows = await reader.fetch(
        "SELECT participant_id FROM answers WHERE session_id = $1", session_id
    )
    assert sorted(row[0] for row in rows) == [1, 2]
    await reader.close()
    await tables.close()


async def test_a_migrator_gives_up(way):
    async with way.silent():
        with pytest.raises(OSError):
            await Migrator(way.url).status()
        with pytest.raises(OSError):
            await Migrator(way.url).up()
    assert await until(Migrator(way.url).up, _AWAY) == []


async def test_our_own_sockets_notice_a_cut_that_nobody_tells(own_postgres):
    async with wired(postgres_socket(own_postgres)) as (_, port):
        connection = await postgres.connect(f"postgresql://postgres@127.0.0.1:{port}/rayquiz")
        own = connection._transport.get_extra_info("socket")
        assert own.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert own.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 10_000
        await connection.close()


# --- a server that answers, but is no primary ---------------------------------------------------------


async def test_a_standby_is_no_primary(own_standby):
    for database in (LoneConnection(own_standby.url), await create_pool(own_standby.url, 1)):
        with pytest.raises((Unavailable, asyncpg.InternalClientError)):
            await database.fetch("SELECT 1")
        await database.close()


async def test_a_demoted_primary_that_stays_up_is_left_and_vouches_for_nobody(
    own_postgres, own_standby, make_session
):
    """Its connections stay whole; the address leads to the new one for those that are opened."""
    async with (
        wired(postgres_socket(own_postgres)) as (wire, port),
        await create_pool(f"postgresql://postgres@127.0.0.1:{port}/rayquiz", 2) as pool,
    ):
        session = await make_session(pool)
        lone = LoneConnection(f"postgresql://postgres@127.0.0.1:{port}/rayquiz")
        rows = await lone.fetch(queries["take_over"], session.actor_name, 1)
        epoch = Epoch(rows[0]["epoch"])
        await check_epoch(lone, session.session_id, epoch)

        # The standby is promoted, and another actor takes the session over there.
        standby = await postgres.connect(own_standby.url, is_primary=False)
        await until_replayed(standby, session.session_id, epoch)
        await standby.execute("SELECT pg_promote()")
        successor = LoneConnection(own_standby.url)
        await until(lambda: successor.fetch(queries["take_over"], session.actor_name, 1), _AWAY)
        # The old one goes on answering.
        old = await asyncpg.connect(own_postgres.url)
        await old.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        await old.execute("SELECT pg_reload_conf()")
        async with asyncio.timeout(PATIENCE_S):
            while await old.fetchval("SHOW default_transaction_read_only") != "on":  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert await old.fetchval(queries["session_epoch"], session.session_id) == epoch
        wire.leads_to = postgres_socket(own_standby)

        # Nobody takes a reading of it for the truth, and the next one is the new primary's.
        with pytest.raises(Unavailable):
            await check_epoch(lone, session.session_id, epoch)
        with pytest.raises(Fenced):
            await check_epoch(lone, session.session_id, epoch)
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await pool.fetch("SELECT 1")
        await pool.fetch("UPDATE sessions SET ended_at = now()")
        for each in (old, standby, lone, successor):
            await each.close()


async def until_replayed(standby, session_id, epoch):
    async with asyncio.timeout(PATIENCE_S):
        while await standby.fetchval(queries["session_epoch"], session_id) != epoch:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_a_replica_of_a_service_is_not_ready_where_nothing_can_be_written(
    own_postgres, own_standby, monkeypatch
):
    replica = object.__new__(Replica)
    replica._asking = SharedWork()
    for server, is_ready in ((own_postgres, True), (own_standby, False)):
        async with await create_pool(server.url, 1) as replica.pool:
            if is_ready:
                await replica.require_writable()
            else:
                with pytest.raises(AWAY):
                    await replica.require_writable()
