"""The private PostgreSQL and Valkey: started, stopped, killed, started again."""

import asyncio
import contextlib
import os
import shutil
import signal
import tempfile
import time
from pathlib import Path

import asyncpg
import psutil
import pytest
import redis

from serve_app.embedded import postgres as postgres_module
from serve_app.embedded.errors import StartError
from serve_app.embedded.postgres import Postgres, Standby
from serve_app.embedded.process import running_in
from serve_app.embedded.valkey import Valkey


@pytest.fixture
def run():
    """A folder with a short path."""
    folder = Path(tempfile.mkdtemp(prefix="rq-test-"))
    folder.chmod(0o711)
    (folder / "sockets").mkdir()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def postgres(run):
    server = Postgres(run / "data", run / "sockets")
    yield server
    server.stop()


@pytest.fixture
def valkey(run):
    server = Valkey(run, run / "sockets")
    yield server
    server.stop()


def ask(url, query):
    async def fetch():
        connection = await asyncpg.connect(url)
        try:
            return await connection.fetchval(query)
        finally:
            await connection.close()

    return asyncio.run(fetch())


def has_ended(pid):
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def listens(pid):
    found = []
    for process in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):  # one that served a connection ends with it
            found += process.net_connections("inet")
    return found


# --- PostgreSQL -----------------------------------------------------------------------------------


def test_postgresql_keeps_its_data_from_start_to_start_and_leaves_nothing_running(postgres, run):
    postgres.start()
    url, pid = postgres.url, postgres.pid
    assert listens(pid) == []
    ask(url, "CREATE TABLE kept AS SELECT 1 AS n")
    postgres.stop()
    assert has_ended(pid)
    assert running_in(run / "data", "postgres") == []
    postgres.stop()
    postgres.start()
    assert postgres.url == url
    assert postgres.pid != pid
    assert ask(url, "SELECT n FROM kept") == 1


def test_postgresql_comes_back_after_a_kill_with_all_that_was_committed(postgres):
    postgres.start()
    ask(postgres.url, "CREATE TABLE kept AS SELECT 1 AS n")
    os.kill(postgres.pid, signal.SIGKILL)
    postgres.stop()
    postgres.start()
    assert ask(postgres.url, "SELECT n FROM kept") == 1


def test_postgresql_comes_back_beside_what_a_killed_one_left(run, postgres):
    """Its processes may live on for a moment and hold the data; the next start waits for them."""
    postgres.start()
    family = psutil.Process(postgres.pid).children()
    stuck = family[0]
    stuck.suspend()
    os.kill(postgres.pid, signal.SIGKILL)
    postgres.stop()
    assert not has_ended(stuck.pid)
    other = Postgres(run / "data", run / "sockets")
    try:
        other.start()
        assert has_ended(stuck.pid)
        assert ask(other.url, "SELECT 1") == 1
    finally:
        other.stop()


def test_a_start_that_was_cut_short_while_data_was_made_is_begun_anew(postgres, run):
    (run / "data.new").mkdir()
    (run / "data.new" / "PG_VERSION").write_text("18")
    postgres.start()
    assert not (run / "data.new").exists()
    assert ask(postgres.url, "SELECT 1") == 1


def test_sorting_does_not_depend_on_the_machine(postgres, monkeypatch):
    monkeypatch.setenv("LC_ALL", "C")
    postgres.start()
    assert ask(postgres.url, "SHOW server_encoding") == "UTF8"
    assert ask(postgres.url, "SELECT lower('ÄÖ')") == "äö"
    assert ask(postgres.url, "SHOW timezone") == "UTC"


def test_data_of_something_else_gets_the_servers_own_words(run, postgres):
    (run / "data").mkdir(mode=0o700)
    with pytest.raises(StartError, match=r"PostgreSQL ended while starting.* It said: .*data"):
        postgres.start()
    assert (run / "postgres.log").exists()


def test_a_full_disk_while_data_is_made_gets_a_sentence(run, monkeypatch):
    def full(command, **_more):
        raise postgres_module.subprocess.CalledProcessError(
            1, command, stderr="initdb: error: No space left on device\n"
        )

    monkeypatch.setattr(postgres_module.subprocess, "run", full)
    server = Postgres(run / "data", run / "sockets")
    with pytest.raises(StartError, match=r"cannot make its data .*No space left on device"):
        server.start()
    assert not (run / "data").exists()


# --- its standby ----------------------------------------------------------------------------------


@pytest.fixture
def standby(postgres, run):
    (run / "more").mkdir()
    server = Standby(run / "standby", run / "more", postgres)
    yield server
    server.stop()


def replays(standby, query):
    """What a query says on the standby, as soon as that is not nothing."""
    deadline = time.monotonic() + 10
    while (found := ask(standby.url, query)) is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def test_a_standby_follows_from_start_to_start_and_leaves_nothing_running(postgres, standby, run):
    postgres.start()
    ask(postgres.url, "CREATE TABLE kept AS SELECT 1 AS n")
    standby.start()
    assert listens(standby.pid) == []
    assert ask(standby.url, "SELECT pg_is_in_recovery()") is True
    assert ask(standby.url, "SELECT n FROM kept") == 1
    ask(postgres.url, "INSERT INTO kept VALUES (2)")
    assert replays(standby, "SELECT n FROM kept WHERE n = 2") == 2
    pid = standby.pid
    standby.stop()
    assert has_ended(pid)
    assert running_in(run / "standby", "postgres") == []

    ask(postgres.url, "INSERT INTO kept VALUES (3)")
    standby.start()
    assert replays(standby, "SELECT n FROM kept WHERE n = 3") == 3


def test_a_standby_comes_back_after_a_kill(postgres, standby):
    postgres.start()
    standby.start()
    os.kill(standby.pid, signal.SIGKILL)
    standby.stop()
    standby.start()
    ask(postgres.url, "CREATE TABLE kept AS SELECT 1 AS n")
    assert replays(standby, "SELECT to_regclass('kept')::text") == "kept"


def test_a_standby_without_its_primary_gets_the_programs_own_words(standby, run):
    with pytest.raises(StartError, match=r"PostgreSQL's standby cannot make its data .*connection"):
        standby.start()
    assert not (run / "standby").exists()


# --- Valkey ---------------------------------------------------------------------------------------


def test_valkey_answers_on_its_socket_alone_and_leaves_nothing_running(valkey, run):
    valkey.start()
    pid = valkey.pid
    assert listens(pid) == []
    with redis.Redis.from_url(valkey.url) as client:
        assert client.ping()
        assert client.config_get("appendonly") == {"appendonly": "no"}
        assert client.config_get("save") == {"save": ""}
    valkey.stop()
    assert has_ended(pid)
    valkey.stop()
    assert sorted(path.name for path in run.iterdir()) == ["sockets", "valkey.log"]


def test_a_full_valkey_lets_go_of_what_would_end_anyway_and_of_nothing_else(valkey):
    valkey.start()
    with redis.Redis.from_url(valkey.url) as client:
        assert 0 < int(client.config_get("maxmemory")["maxmemory"]) <= 1024**3
        client.config_set("maxmemory", client.info("memory")["used_memory"] + 2 * 1024**2)
        client.set("somebody else's", b"kept")
        for number in range(100):
            client.set(f"ours {number}", bytes(100 * 1024), px=60_000)
        assert client.get("somebody else's") == b"kept"
        assert client.exists("ours 99")
        assert client.dbsize() < 50


def test_valkey_comes_back_after_a_kill_under_the_same_address(valkey):
    valkey.start()
    url = valkey.url
    os.kill(valkey.pid, signal.SIGKILL)
    valkey.stop()
    valkey.start()
    assert valkey.url == url
    with redis.Redis.from_url(url) as client:
        assert client.ping()
        assert client.dbsize() == 0


def test_a_socket_path_that_is_too_long_gets_the_servers_own_words(run):
    sockets = run / ("long" * 30)
    sockets.mkdir()
    server = Valkey(run, sockets)
    with pytest.raises(StartError, match="Valkey ended while starting"):
        server.start()
    server.stop()
