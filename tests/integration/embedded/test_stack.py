"""The embedded profile with its real servers; Ray, which other tests start, is left out."""

import asyncio
import os

import asyncpg
import psutil
import pytest
import redis

from actors.settings import Settings
from migrations import Migrator, check_schema
from serve_app.embedded import stack as module
from serve_app.embedded.data_folder import DataFolder
from serve_app.embedded.errors import StartError
from serve_app.embedded.stack import EmbeddedStack, Profile


class NoRay:
    """In the place of Ray: starts nothing, or fails to."""

    dashboard_url = "http://127.0.0.1:1"
    error = None

    def __init__(self, *_args, **_more):
        pass

    def start(self, **_more):
        if self.error is not None:
            raise self.error

    def stop(self):
        pass


@pytest.fixture
def no_ray(monkeypatch):
    monkeypatch.setattr(module, "RayRuntime", NoRay)
    return monkeypatch


async def ask(url, query):
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


def children():
    return [
        p.pid for p in psutil.Process().children() if p.name().startswith(("postgres", "valkey"))
    ]


def test_everything_starts_is_announced_and_stops(no_ray, tmp_path):
    before, said = children(), []
    with EmbeddedStack(tmp_path / "data", 0, progress=said.append) as stack:
        asyncio.run(check_schema(stack.settings.database_url))
        with redis.Redis.from_url(stack.settings.redis_url) as client:
            assert client.ping()
        assert DataFolder(tmp_path / "data").running() == stack.settings
        assert sorted(said) == ["PostgreSQL and its schema", "Ray, Serve and HAProxy", "Valkey"]
        assert len(children()) == len(before) + 2
    assert children() == before
    assert DataFolder(tmp_path / "data").running() is None


def test_the_cluster_profile_reads_from_a_standby(no_ray, tmp_path):
    before, said = children(), []
    stack = EmbeddedStack(tmp_path / "data", 0, progress=said.append, profile=Profile.CLUSTER)
    with stack:
        [url] = stack.settings.replicas
        assert url == stack.standby.url != stack.settings.database_url
        assert asyncio.run(ask(url, "SELECT pg_is_in_recovery()")) is True
        asyncio.run(check_schema(url))
        assert "a standby of PostgreSQL" in said
    assert children() == before


def test_a_second_start_finds_the_data_and_the_secret_again(no_ray, tmp_path):
    with EmbeddedStack(tmp_path / "data", 0) as stack:
        secret = stack.settings.secret
        asyncio.run(ask(stack.settings.database_url, "CREATE TABLE kept AS SELECT 7 AS n"))
    with EmbeddedStack(tmp_path / "data", 0) as stack:
        assert stack.settings.secret == secret
        assert asyncio.run(ask(stack.settings.database_url, "SELECT n FROM kept")) == 7


@pytest.fixture
def outside(monkeypatch, own_postgres, running_valkey):
    """Servers that somebody else runs, and the variables that name them."""
    monkeypatch.setenv("RAYQUIZ_DATABASE_URL", own_postgres.url)
    monkeypatch.setenv("RAYQUIZ_REDIS_URL", running_valkey.url)
    return own_postgres


def test_servers_that_run_elsewhere_are_used_and_stay(no_ray, outside, tmp_path):
    before, said = children(), []
    stack = EmbeddedStack(tmp_path / "data", 0, progress=said.append, profile=Profile.EXTERNAL)
    with stack:
        assert stack.settings.database_url == outside.url
        assert stack.settings.public_url.startswith("http://localhost:")
        assert stack.settings.secret == DataFolder(tmp_path / "data").make_keys()
        assert Settings.from_env() == stack.settings
        assert said == ["the schema", "Ray, Serve and HAProxy"]
        assert children() == before
    assert children() == before
    assert "RAYQUIZ_SECRET" not in os.environ
    asyncio.run(check_schema(outside.url))


def test_what_the_environment_says_goes_before_what_this_machine_knows(no_ray, outside, tmp_path):
    no_ray.setenv("RAYQUIZ_PUBLIC_URL", "https://quiz.example.org")
    no_ray.setenv("RAYQUIZ_SECRET", "s" * 32)
    with EmbeddedStack(tmp_path / "data", 0, profile=Profile.EXTERNAL) as stack:
        assert stack.settings.public_url == "https://quiz.example.org"
        assert stack.settings.secret == "s" * 32


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("RAYQUIZ_REDIS_URL", None, "RAYQUIZ_REDIS_URL: field required"),
        ("RAYQUIZ_WRITERS", "0", "RAYQUIZ_WRITERS: input should be greater than or equal to 1"),
        ("RAYQUIZ_DATABASE_URL", "postgresql://localhost:1/quiz", "cannot be asked"),
    ],
)
def test_servers_that_are_not_there_are_a_sentence(
    no_ray, outside, tmp_path, variable, value, message
):
    if value is None:
        no_ray.delenv(variable)
    else:
        no_ray.setenv(variable, value)
    with pytest.raises(StartError, match=message):
        EmbeddedStack(tmp_path / "data", 0, profile=Profile.EXTERNAL).start()


def test_a_schema_elsewhere_is_never_migrated_by_a_start(no_ray, outside, tmp_path):
    asyncio.run(Migrator(outside.url).down(0))
    said = []
    stack = EmbeddedStack(tmp_path / "data", 0, progress=said.append, profile=Profile.EXTERNAL)
    with pytest.raises(StartError, match="run `rayquiz migrate up` first"):
        stack.start()
    assert said == ["the schema"]
    assert not any(line.applied for line in asyncio.run(Migrator(outside.url).status()))


@pytest.mark.parametrize("part", ["ray", "valkey", "schema"])
def test_when_a_part_fails_the_others_are_stopped_and_the_folder_is_free(no_ray, tmp_path, part):
    def fail(*_args):
        raise StartError("it cannot be")

    if part == "ray":
        no_ray.setattr(NoRay, "error", StartError("it cannot be"))
    elif part == "valkey":
        no_ray.setattr(module.Valkey, "start", fail)
    else:
        no_ray.setattr(module.Migrator, "up", fail)
    before = children()
    with pytest.raises(StartError, match="it cannot be"):
        EmbeddedStack(tmp_path / "data", 0).start()
    assert children() == before
    folder = DataFolder(tmp_path / "data")
    folder.claim()
    folder.release()
