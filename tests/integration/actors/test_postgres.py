"""Connections to a real PostgreSQL: how long they wait, and what they say when it is away."""

import asyncio

import asyncpg
import pytest

from actors import postgres
from actors.postgres import LoneConnection, create_pool
from actors.session_store import take_over
from engine.errors import Unavailable


@pytest.fixture
async def connection(database_url):
    connection = LoneConnection(database_url)
    yield connection
    await connection.close()


SETTINGS = {
    "statement_timeout": "10s",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "5s",
    "tcp_user_timeout": "5s",
    "application_name": "rayquiz",
}


async def test_every_connection_waits_for_locks_and_paused_clients_only_so_long(
    pool, connection, database_url
):
    other = await create_pool(database_url, size_max=1)
    for name, value in SETTINGS.items():
        if name == "tcp_user_timeout":  # on a Unix socket the server shows 0
            continue
        assert (await connection.fetch(f"SHOW {name}"))[0][0] == value
        assert await other.fetchval(f"SHOW {name}") == value
    assert postgres.SERVER_SETTINGS == SETTINGS
    await other.close()


async def test_a_statement_that_takes_too_long_is_given_up_at_the_server_too(
    pool, connection, monkeypatch
):
    monkeypatch.setattr(postgres, "STATEMENT_TIMEOUT_S", 2.0)
    monkeypatch.setitem(postgres.SERVER_SETTINGS, "statement_timeout", "2500ms")
    with pytest.raises(Unavailable):
        await connection.fetch("SELECT pg_sleep(3600)")
    assert (await connection.fetch("SELECT 1"))[0][0] == 1
    runs = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%pg_sleep(3600)'"
    async with asyncio.timeout(20):
        while await pool.fetchval(runs):  # noqa: ASYNC110 - a server tells nobody
            await asyncio.sleep(0.01)


async def test_a_lock_that_is_held_too_long_makes_the_outcome_unknown(
    pool, make_session, connection, monkeypatch
):
    monkeypatch.setitem(postgres.SERVER_SETTINGS, "lock_timeout", "100ms")
    session = await make_session(pool)
    async with pool.acquire() as holder, holder.transaction():
        await holder.fetch("SELECT FROM sessions FOR SHARE")
        with pytest.raises(Unavailable, match="LockNotAvailable"):
            await take_over(connection, session.actor_name)
    assert (await take_over(connection, session.actor_name)).epoch == 1


async def test_a_paused_client_does_not_hold_a_session_for_ever(
    pool, make_session, connection, database_url, monkeypatch
):
    session = await make_session(pool)
    paused = await asyncpg.connect(
        database_url, server_settings={"idle_in_transaction_session_timeout": "300ms"}
    )
    await paused.execute("BEGIN")
    await paused.fetch("SELECT FROM sessions FOR SHARE")
    assert (await take_over(connection, session.actor_name)).epoch == 1
    paused.terminate()


async def test_a_cut_connection_is_opened_anew(pool, connection):
    [[pid]] = await connection.fetch("SELECT pg_backend_pid()")
    sleeping = asyncio.create_task(connection.fetch("SELECT pg_sleep(3600)"))
    await asyncio.sleep(0)
    await pool.fetchval("SELECT pg_terminate_backend($1, 10000)", pid)
    with pytest.raises(Unavailable):
        await sleeping
    [[other]] = await connection.fetch("SELECT pg_backend_pid()")
    assert other != pid


async def test_statements_of_several_tasks_run_one_by_one(connection):
    rows = await asyncio.gather(*(connection.fetch("SELECT $1::int", n) for n in range(20)))
    assert [row[0][0] for row in rows] == list(range(20))


async def test_a_task_that_is_cancelled_leaves_the_connection_usable(connection):
    await connection.fetch("SELECT 1")
    sleeping = asyncio.create_task(connection.fetch("SELECT pg_sleep(3600)"))
    await asyncio.sleep(0)
    sleeping.cancel()
    await asyncio.wait([sleeping])
    assert sleeping.cancelled()
    assert (await connection.fetch("SELECT 1"))[0][0] == 1


async def test_a_server_that_was_never_there_is_away(tmp_path):
    connection = LoneConnection(f"postgresql://postgres@/rayquiz?host={tmp_path}")
    with pytest.raises(Unavailable):
        await connection.fetch("SELECT 1")
    await connection.close()
