"""Results and lists through the API and the command line, of sessions on two real primaries."""

import asyncio
import json

import pytest
from typer.testing import CliRunner

from actors.library import QuizLibrary
from actors.postgres import create_pool
from actors.settings import Settings
from actors.shards import Shards, new_session_id, partition_of
from actors.sql import queries
from engine.model import SessionSettings
from engine.testing.factories import make_quiz
from engine.wire import encode_json
from serve_app.cli import app as command_line
from serve_app.replica import Replica


@pytest.fixture
async def shards(pool, own_postgres):
    async with await create_pool(own_postgres.url, size_max=2) as other:
        yield Shards([pool, other])


@pytest.fixture
async def sessions(shards):
    """A finished session on each primary, in which one person joined, named after the primary."""
    row = await QuizLibrary(shards.catalogue).create(make_quiz())
    _, quiz = await QuizLibrary(shards.catalogue).get(row.quiz_id)
    settings, made = encode_json(SessionSettings()).decode(), []
    for shard, database in enumerate(shards.databases):
        session_id = new_session_id(shard)
        values = (
            session_id,
            row.quiz_id,
            f"00000{shard}",
            settings,
            partition_of(session_id),
            shard,
        )
        if shard:
            copied = (1, quiz.title, len(quiz.questions), encode_json(quiz).decode())
            await database.fetch(queries["create_session_on_shard"], *values, *copied)
        await shards.catalogue.fetch(queries["create_session"], *values)
        person = ([1], ["key-of-mia"], [f"Mia {shard}"], [1], [0], [""])
        await database.fetch(queries["append_joins"], session_id, 0, *person)
        await database.execute("UPDATE sessions SET finished_at = now()")
        made.append(session_id)
    return made


@pytest.fixture
def replica(shards, database_url, own_postgres):
    settings = Settings(
        database_url=database_url,
        shard_urls=own_postgres.url,
        redis_url="redis://unused",
        secret="a secret of at least thirty-two bytes",
        public_url="http://test",
    )
    return Replica(settings, shards)


async def test_results_come_from_the_sessions_own_primary(client, sessions):
    for shard, session_id in enumerate(sessions):
        found = await client.get(f"/sessions/{session_id}/results")
        assert found.status_code == 200, found.text
        assert [row["nickname"] for row in found.json()["scoreboard"]] == [f"Mia {shard}"]
    listed = (await client.get("/sessions")).json()["items"]
    assert [row["session_id"] for row in listed] == sessions[::-1]


@pytest.mark.parametrize("shard", [0, 1, 2])
async def test_a_session_that_is_on_no_primary_is_not_found(client, sessions, shard):
    response = await client.get(f"/sessions/{new_session_id(shard)}/results")
    assert (response.status_code, response.json()["code"]) == (404, "not_found")


async def test_a_primary_that_is_away_hides_its_own_sessions_alone(client, sessions, own_postgres):
    own_postgres.stop()
    assert (await client.get(f"/sessions/{sessions[0]}/results")).status_code == 200
    assert (await client.get(f"/sessions/{sessions[1]}/results")).status_code == 503
    assert (await client.get("/ready")).status_code == 200
    assert len((await client.get("/sessions")).json()["items"]) == 2


async def test_the_command_line_finds_them_too(sessions, database_url, own_postgres, monkeypatch):
    monkeypatch.setenv("RAYQUIZ_DATABASE_URL", database_url)
    monkeypatch.setenv("RAYQUIZ_SHARD_URLS", own_postgres.url)

    async def run(*arguments):
        done = await asyncio.to_thread(
            CliRunner().invoke, command_line, ["results", *arguments, "--json"]
        )
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    for shard, session_id in enumerate(sessions):
        found = await run(session_id)
        assert [row["nickname"] for row in found["scoreboard"]] == [f"Mia {shard}"]
    assert [row["session_id"] for row in await run()] == sessions[::-1]
