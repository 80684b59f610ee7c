"""Real servers for tests, each started once for a worker: a plugin that several folders share."""

import asyncio
import os
import secrets
import shutil
import subprocess
import tempfile
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from actors.library import QuizLibrary
from actors.postgres import create_pool
from actors.shards import partition_of
from actors.sql import queries
from engine import limits
from engine.ids import Pin, SessionId
from engine.model import SessionSettings
from engine.testing.factories import make_quiz
from migrations import Migrator
from serve_app.embedded.ports import PortBlock
from serve_app.embedded.postgres import Postgres, Standby
from serve_app.embedded.rabbitmq import RabbitMQ
from serve_app.embedded.valkey import Valkey

#: Where Linux keeps files in memory, and how much must be free: a server takes some 100 MB, and Ray needs
#: room there as well.
_MEMORY, _MEMORY_BYTES_MIN = Path("/dev/shm"), 4 * 1024**3


def _in_memory():
    """The file system in memory, where there is one with room; None: the usual place.

    These tests kill servers and never the machine, so it is the same to them. A server waits there for
    no disk, and most of the time that it takes to start and to stop is such waiting.
    """
    if not os.access(_MEMORY, os.W_OK) or shutil.disk_usage(_MEMORY).free < _MEMORY_BYTES_MIN:
        return None
    return _MEMORY


@contextmanager
def _run_folder():
    # Not pytest's own folder: the path of a Unix socket is 107 bytes at most.
    run = Path(tempfile.mkdtemp(prefix="rq-test-", dir=_in_memory()))
    run.chmod(0o711)
    (run / "sockets").mkdir()
    try:
        yield run
    finally:
        shutil.rmtree(run, ignore_errors=True)


@pytest.fixture(scope="session")
def prepared_data():
    """The data of a PostgreSQL with today's schema: a copy takes a quarter of the time."""
    with _run_folder() as run:
        server = Postgres(run / "data", run / "sockets")
        try:
            server.start()
            asyncio.run(Migrator(server.url).up())
        finally:
            server.stop()
        yield run / "data"


@contextmanager
def _postgres(prepared_data):
    with _run_folder() as run:
        # Not `shutil`: the files keep their owner.
        subprocess.run(["cp", "-a", prepared_data, run / "data"], check=True)
        server = Postgres(run / "data", run / "sockets")
        try:
            server.start()
            yield server
        finally:
            server.stop()


@pytest.fixture(scope="session")
def database_url(prepared_data):
    """A PostgreSQL of its own with today's schema, for as long as the tests run."""
    with _postgres(prepared_data) as server:
        yield server.url


@pytest.fixture
def own_postgres(prepared_data):
    """A PostgreSQL with today's schema that one test may kill."""
    with _postgres(prepared_data) as server:
        yield server


@pytest.fixture
def own_standby(own_postgres):
    """A standby of ``own_postgres`` that one test may pause and kill."""
    with _run_folder() as run:
        server = Standby(run / "data", run / "sockets", own_postgres)
        try:
            server.start()
            yield server
        finally:
            server.stop()


@pytest.fixture
async def pool(database_url):
    """Connections to a database whose tables are empty."""
    pool = await create_pool(database_url, size_max=4)
    await pool.execute(
        "TRUNCATE quizzes, quiz_versions, sessions, participants, answers, session_events"
    )
    yield pool
    await pool.close()


@pytest.fixture(scope="session")
def redis_url():
    """A Valkey of its own, for as long as the tests run."""
    with _run_folder() as run:
        server = Valkey(run, run / "sockets")
        try:
            server.start()
            yield server.url
        finally:
            server.stop()


@pytest.fixture
def own_valkey():
    """A Valkey that one test may kill; not started yet."""
    with _run_folder() as run:
        server = Valkey(run, run / "sockets")
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture
def running_valkey(own_valkey):
    """A Valkey that one test may kill."""
    own_valkey.start()
    return own_valkey


@pytest.fixture(scope="session")
def broker():
    """A RabbitMQ of its own, for as long as the tests run; who kills it starts it again."""
    with _rabbitmq() as server:
        yield server


@pytest.fixture
def broker_url(broker):
    """Its address."""
    return broker.url


@contextmanager
def _rabbitmq():
    ports = PortBlock.claim()
    with _run_folder() as run:
        server = RabbitMQ(run / "rabbitmq", ports.take(RabbitMQ.PORTS))
        try:
            server.start()
            yield server
        finally:
            server.stop()
            ports.release()


class NewSession(NamedTuple):
    """A session in the tables, assigned to an actor that nobody has started."""

    session_id: SessionId
    actor_name: str


@pytest.fixture
def make_session():
    """Make sessions in the tables that are assigned to an actor which nobody has started."""

    async def make(pool, quiz=None, settings=None):
        quiz_row = await QuizLibrary(pool).create(quiz or make_quiz())
        session_id = SessionId(str(uuid.uuid4()))
        actor_name = f"session-actor:{session_id}"
        body = msgspec.json.encode(settings or SessionSettings()).decode()
        pin = Pin(f"{secrets.randbelow(10**limits.PIN_DIGITS):0{limits.PIN_DIGITS}}")
        create = queries["create_session"]
        assert await pool.fetchrow(
            create, session_id, quiz_row.quiz_id, pin, body, partition_of(session_id), 0
        )
        assert await pool.fetchrow(queries["assign_actor"], session_id, actor_name, None)
        return NewSession(session_id, actor_name)

    return make
