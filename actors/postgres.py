"""PostgreSQL as every process uses it: pools, one lone connection, and which errors mean "away"."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeAlias

import asyncpg

from engine.errors import Unavailable

#: A statement that takes longer is given up, seconds; its outcome is then unknown.
STATEMENT_TIMEOUT_S = 10.0

#: Sent with every connection. A paused client must not hold a session's row (its fence) for long,
#: and what a client has given up must not run on at the server.
SERVER_SETTINGS = {
    "application_name": "rayquiz",
    "statement_timeout": "10s",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "5s",
    "tcp_user_timeout": "5s",
}

#: What a server that is away, starting, stopping or failing over looks like from here; all of them
#: leave the outcome unknown. Deadlock and serialization failures are among them: try again.
AWAY = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # a connection that was cut between two steps of a statement
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.TransactionRollbackError,
    asyncpg.LockNotAvailableError,
    asyncpg.PostgresSystemError,
    asyncpg.ReadOnlySQLTransactionError,
)


Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"


class Database(Protocol):
    """What runs statements: a pool, or one connection of it, whose statements run one by one."""

    async def fetch(self, query: str, /, *args: Any) -> list[asyncpg.Record]:
        """Run one statement and return its rows."""


async def create_pool(
    url: str,
    size_max: int,
    check: Callable[[Database], Coroutine[Any, Any, None]] | None = None,
) -> Pool:
    """A pool that opens its connections when they are needed.

    Args:
        url: of the server.
        size_max: connections at once.
        check: asked of each new connection; what it raises, whoever needed the connection is told.
    """
    return await asyncpg.create_pool(
        url,
        min_size=0,
        max_size=size_max,
        command_timeout=STATEMENT_TIMEOUT_S,
        server_settings=SERVER_SETTINGS,
        init=check,
    )


async def connect(url: str, timeout_s: float | None = None) -> asyncpg.Connection[asyncpg.Record]:
    """A connection with the settings that all have.

    Args:
        url: of the server.
        timeout_s: how long connecting, and then each statement, may take.

    Raises:
        AWAY: the server is away.
    """
    timeout_s = timeout_s or STATEMENT_TIMEOUT_S
    return await asyncpg.connect(
        url,
        timeout=timeout_s,
        command_timeout=timeout_s,
        server_settings=SERVER_SETTINGS,
    )


class LoneConnection:
    """One connection, opened at need and after every failure anew. Statements run one by one.

    Args:
        url: of the server.
        timeout_s: as for :func:`connect`.
    """

    def __init__(self, url: str, timeout_s: float | None = None) -> None:
        self._url = url
        self._timeout_s = timeout_s
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None
        self._lock = asyncio.Lock()

    async def fetch(self, query: str, *args: Any) -> list[asyncpg.Record]:
        """Run one statement and return its rows.

        Raises:
            Unavailable: the server is away; whether the statement ran is unknown.
        """
        async with self._lock:
            try:
                if self._connection is None or self._connection.is_closed():
                    self._connection = await connect(self._url, self._timeout_s)
                return await self._connection.fetch(query, *args)
            except AWAY as error:
                self._drop()
                raise Unavailable(f"the database is away: {error!r}") from error
            except asyncio.CancelledError:
                self._drop()  # busy, for as long as the server likes
                raise

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def close(self) -> None:
        """Close the connection, waiting for its last statement only shortly."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(*AWAY):
                await connection.close(timeout=2.0)
