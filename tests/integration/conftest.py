"""Tests against the real services of the embedded profile."""

import asyncio
import shutil
import tempfile
from pathlib import Path

import pytest

from actors.postgres import create_pool
from migrations import Migrator
from serve_app.embedded.postgres import Postgres


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.service)


@pytest.fixture(scope="session")
def database_url():
    """A PostgreSQL of its own with today's schema, for as long as the tests run."""
    # Not pytest's own folder: the path of a Unix socket is 107 bytes at most.
    run = Path(tempfile.mkdtemp(prefix="rq-test-"))
    run.chmod(0o711)
    sockets = run / "pg"
    sockets.mkdir()
    server = Postgres(run / "data", sockets)
    try:
        server.start()
        asyncio.run(Migrator(server.url).up())
        yield server.url
    finally:
        server.stop()
        shutil.rmtree(run, ignore_errors=True)


@pytest.fixture
async def pool(database_url):
    """Connections to a database whose tables are empty."""
    pool = await create_pool(database_url, size_max=2)
    await pool.execute(
        "TRUNCATE quizzes, quiz_versions, sessions, participants, answers, session_events"
    )
    yield pool
    await pool.close()
