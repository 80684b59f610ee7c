"""Reads through the API from a real standby: who has changed something sees it, on any process."""

import asyncio
import contextlib
import math
import os
import socket
import sys
import uuid

import httpx
import msgspec
import pytest

from actors.postgres import connect, create_pool
from actors.sql import queries
from engine import limits
from engine.testing.factories import make_quiz
from serve_app.auth import Role, Tokens

SECRET = "a secret of at least thirty-two bytes"
QUIZ = msgspec.to_builtins(make_quiz())
SERVER = (
    "import sys, uvicorn; from serve_app.api.app import create_api_app; "
    "uvicorn.run(create_api_app(), fd=int(sys.argv[1]), log_level='warning')"
)


@contextlib.asynccontextmanager
async def api_process(environment, metrics):
    """The address of an API in a process of its own, once it reads from the standby."""
    metrics.mkdir()
    environment = {**environment, "PROMETHEUS_MULTIPROC_DIR": str(metrics)}
    with socket.create_server(("127.0.0.1", 0)) as listening:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", SERVER, str(listening.fileno())),
            env=environment,
            pass_fds=[listening.fileno()],
        )
        try:
            address = f"http://127.0.0.1:{listening.getsockname()[1]}"
            await until_it_reads_from_the_standby(address)
            yield address
        finally:
            process.terminate()
            await process.wait()


@pytest.fixture
async def site(own_postgres, own_standby, tmp_path):
    """Two processes of the API that read from the standby; their addresses."""
    environment = {
        **os.environ,
        "RAYQUIZ_DATABASE_URL": own_postgres.url,
        "RAYQUIZ_REPLICA_URLS": own_standby.url,
        "RAYQUIZ_REDIS_URL": "redis://unused",
        "RAYQUIZ_SECRET": SECRET,
        "RAYQUIZ_PUBLIC_URL": "http://test",
    }
    async with (
        api_process(environment, tmp_path / "1") as first,
        api_process(environment, tmp_path / "2") as second,
    ):
        yield first, second


async def until_it_reads_from_the_standby(address):
    async with asyncio.timeout(30), httpx.AsyncClient(headers=operator(), timeout=30) as client:
        while not await reads_by_the_standby(address):
            await client.get(f"{address}/quizzes")


async def metric(address, name):
    """The value of a metric of one process; 0 while it has none."""
    async with httpx.AsyncClient(timeout=30) as client:
        door = {"x-rayquiz-door": "metrics"}
        text = (await client.get(f"{address}/metrics", headers=door)).text
    return next((float(line.split()[-1]) for line in text.splitlines() if name in line), 0.0)


async def reads_by_the_standby(address):
    return await metric(address, 'quiz_reads_total{server="replica"}')


def operator():
    return {"authorization": f"Bearer {Tokens(SECRET).operator()}"}


@pytest.fixture
async def standby(own_standby):
    connection = await connect(own_standby.url, is_primary=False)
    yield connection
    connection.terminate()


def titles(response):
    assert response.status_code == 200, response.text
    return [item["title"] for item in response.json()["items"]]


async def test_who_changes_the_library_sees_it_on_every_process(site, standby):
    """The replay is paused from the start: the standby never shows any of it."""
    first, second = site
    await standby.execute("SELECT pg_wal_replay_pause()")
    async with (
        httpx.AsyncClient(headers=operator(), timeout=30) as mine,
        httpx.AsyncClient(headers=operator(), timeout=30) as others,
    ):
        created = await mine.post(f"{first}/quizzes", json=QUIZ)
        assert created.status_code == 201
        assert f"Max-Age={limits.OWN_WRITES_MS // 1000};" in created.headers["set-cookie"]
        path = f"{second}/quizzes/{created.json()['quiz_id']}"
        assert titles(await mine.get(f"{second}/quizzes")) == ["A quiz"]
        # Nobody else has to wait for it by its address; in the listing it is missing for a moment,
        # or this test would show nothing.
        assert (await others.get(path)).status_code == 200
        assert titles(await others.get(f"{second}/quizzes")) == []

        assert (await mine.put(path, json={**QUIZ, "title": "New"})).status_code == 200
        mine.cookies.delete("rayquiz_changed")
        again = await mine.put(path, json={**QUIZ, "title": "Newer"})
        assert "rayquiz_changed" in again.cookies
        assert (await mine.get(path.replace(second, first))).json()["title"] == "Newer"
        assert (await mine.get(f"{path}/export".replace(second, first))).json()["title"] == "Newer"

        assert (await mine.delete(path)).status_code == 204
        assert titles(await mine.get(f"{first}/quizzes")) == []
        assert (await mine.get(path.replace(second, first))).status_code == 404


async def test_what_is_deleted_and_not_yet_so_on_the_standby(site, own_postgres, standby):
    first, second = site
    async with httpx.AsyncClient(headers=operator(), timeout=30) as mine:
        created = await mine.post(f"{first}/quizzes", json=QUIZ)
        path = f"/quizzes/{created.json()['quiz_id']}"
        async with httpx.AsyncClient(headers=operator(), timeout=30) as others, asyncio.timeout(20):
            before = await reads_by_the_standby(second)
            while titles(await others.get(f"{second}/quizzes")) != ["A quiz"]:
                pass
            assert await reads_by_the_standby(second) > before
            await standby.execute("SELECT pg_wal_replay_pause()")
            await mine.delete(f"{first}{path}")
            assert titles(await others.get(f"{second}/quizzes")) == ["A quiz"]
            assert titles(await mine.get(f"{second}/quizzes")) == []
            assert (await mine.get(f"{second}{path}")).status_code == 404
            # The bound: nobody misses it for longer than a replica may lag.
            await asyncio.sleep(limits.REPLICA_LAG_MS_MAX / 1000)
            assert titles(await others.get(f"{second}/quizzes")) == []


async def test_results_are_whole_for_whoever_sees_the_session_finished(
    site, own_postgres, standby, make_session
):
    """The host's moves go over the websocket, so no cookie helps: the standby's row must tell."""
    async with await create_pool(own_postgres.url, size_max=2) as pool:
        session = await make_session(pool)
        host = Tokens(SECRET).of_session(Role.HOST, session.session_id, "123456")
        url = f"{site[1]}/sessions/{session.session_id}/results"
        async with httpx.AsyncClient(
            headers={"authorization": f"Bearer {host}"}, timeout=30
        ) as client:
            assert (await client.get(url)).status_code == 409
            await standby.execute("SELECT pg_wal_replay_pause()")
            joined = (session.session_id, 0, [1], ["key-of-mia"], ["Mia"], [1], [0], [""])
            await pool.fetch(queries["append_joins"], *joined)
            assert await pool.fetch(queries["note_finished"], session.actor_name, 0)
            found = await client.get(url)
            assert found.status_code == 200, found.text
            assert [row["nickname"] for row in found.json()["scoreboard"]] == ["Mia"]
            await standby.execute("SELECT pg_wal_replay_resume()")
            before = await reads_by_the_standby(site[1])
            async with asyncio.timeout(20):
                while await reads_by_the_standby(site[1]) == before:
                    assert (await client.get(url)).json() == found.json()
            missing = url.replace(session.session_id, str(uuid.uuid4()))
            assert (await client.get(missing)).status_code == 401


async def test_the_metrics_tell_how_far_the_standby_is_behind(site, own_standby):
    usable, lag_ms = 'quiz_replica_usable{replica="1"}', 'quiz_replica_lag_ms{replica="1"}'
    assert await metric(site[0], usable) == 1
    assert 0 < await metric(site[0], lag_ms) < limits.REPLICA_LAG_MS_MAX
    own_standby.stop()
    async with asyncio.timeout(20):
        while await metric(site[0], usable) == 1:
            pass
    assert await metric(site[0], lag_ms) == math.inf
    async with httpx.AsyncClient(headers=operator(), timeout=30) as client:
        assert titles(await client.get(f"{site[0]}/quizzes")) == []
