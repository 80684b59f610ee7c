"""The embedded profile with its real servers; Ray, which other tests start, is left out."""

import asyncio

import asyncpg
import psutil
import pytest
import redis

from migrations import check_schema
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
