"""The database that a command works on: named by the environment, running, or started for it.

It may have several primaries; see :mod:`actors.shards`.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

import typer

from actors.postgres import Pool, create_pool
from actors.settings import primaries_of
from actors.shards import Shards
from engine.errors import QuizError
from migrations import MigrationError, Migrator, check_schemas
from serve_app.cli.console import complain
from serve_app.embedded.data_folder import DataFolder
from serve_app.embedded.postgres import Postgres

_T = TypeVar("_T")
_POOL_SIZE = 2


@contextmanager
def database(data: Path, *, migrate: bool = False) -> Iterator[tuple[str, ...]]:
    """The addresses of the primaries, the catalogue first, for as long as the command works.

    Args:
        data: the data folder; a server is started on it when none is running.
        migrate: bring a database that is started here to the newest schema.

    Raises:
        typer.Exit: status 1, after a sentence that says what is wrong.
    """
    try:
        if url := os.environ.get("RAYQUIZ_DATABASE_URL"):
            yield primaries_of(url, os.environ.get("RAYQUIZ_SHARD_URLS", ""))
            return
        folder = DataFolder(data)
        if settings := folder.running():
            yield settings.primaries
            return
        folder.claim()
        with tempfile.TemporaryDirectory(prefix="rq-") as sockets:
            server = Postgres(folder.postgres, Path(sockets))
            try:
                server.start()
                if migrate:
                    asyncio.run(Migrator(server.url).up())
                yield (server.url,)
            finally:
                server.stop()
                folder.release()
    except (MigrationError, QuizError, OSError) as error:
        complain(error)
        raise typer.Exit(1) from error


def run_on_database(data: Path, work: Callable[[Shards[Pool]], Awaitable[_T]]) -> _T:
    """Do some work on a database that has this program's schema.

    Raises:
        typer.Exit: status 1, after a sentence that says what is wrong.
    """

    async def run(urls: Sequence[str]) -> _T:
        await check_schemas(urls)
        async with AsyncExitStack() as stack:
            pools = [
                await stack.enter_async_context(await create_pool(url, _POOL_SIZE)) for url in urls
            ]
            return await work(Shards(pools))

    with database(data, migrate=True) as urls:
        return asyncio.run(run(urls))
