"""The database that a command works on: named by the environment, running, or started for it."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import asyncpg
import typer

from actors.postgres import create_pool
from engine.errors import QuizError
from migrations import MigrationError, Migrator, check_schema
from serve_app.cli.console import complain
from serve_app.embedded.data_folder import DataFolder
from serve_app.embedded.postgres import Postgres

_T = TypeVar("_T")
_POOL_SIZE = 2


@contextmanager
def database(data: Path, *, migrate: bool = False) -> Iterator[str]:
    """The address of the database, for as long as the command works.

    Args:
        data: the data folder; a server is started on it when none is running.
        migrate: bring a database that is started here to the newest schema.

    Raises:
        typer.Exit: status 1, after a sentence that says what is wrong.
    """
    try:
        if url := os.environ.get("RAYQUIZ_DATABASE_URL"):
            yield url
            return
        folder = DataFolder(data)
        if settings := folder.running():
            yield settings.database_url
            return
        folder.claim()
        with tempfile.TemporaryDirectory(prefix="rq-") as sockets:
            server = Postgres(folder.postgres, Path(sockets))
            try:
                server.start()
                if migrate:
                    asyncio.run(Migrator(server.url).up())
                yield server.url
            finally:
                server.stop()
                folder.release()
    except (MigrationError, QuizError, OSError) as error:
        complain(error)
        raise typer.Exit(1) from error


def run_on_database(
    data: Path, work: Callable[[asyncpg.Pool[asyncpg.Record]], Awaitable[_T]]
) -> _T:
    """Do some work on a database that has this program's schema.

    Raises:
        typer.Exit: status 1, after a sentence that says what is wrong.
    """

    async def run(url: str) -> _T:
        await check_schema(url)
        async with await create_pool(url, _POOL_SIZE) as pool:
            return await work(pool)

    with database(data, migrate=True) as url:
        return asyncio.run(run(url))
