"""PostgreSQL as every process uses it: pools, one lone connection, and which errors mean "away".

A server may fall silent instead of refusing: its packets are lost, or it is paused. Every wait on one
has a bound of its own here, and a connection that reaches its bound is ended, never waited for again.
A server that takes no writes is no primary, however well it answers: see
docs/adr/0020-silence-and-demotion.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any, Final, Protocol

import asyncpg

from engine.errors import Unavailable

#: A statement that takes longer is given up, seconds; its outcome is then unknown.
STATEMENT_TIMEOUT_S = 10.0
#: How long opening a connection may take, seconds. A lost first packet is sent again after one and
#: after three, so that a server which is reachable again is found within this time.
CONNECT_TIMEOUT_S = 5.0
#: How long anybody waits for a connection of a pool, and then for giving it back, seconds.
ACQUIRE_TIMEOUT_S = 5.0
#: How long a statement waits for the earlier ones of its lone connection, seconds.
TURN_TIMEOUT_S = 30.0
#: How long the last statements may take when connections are given back, seconds.
CLOSE_TIMEOUT_S = 2.0
#: The driver's own bound comes first, because it tells the server to give up, too. This one holds
#: where the driver has none, as when it ends prepared statements.
_LAST_BOUND_MARGIN_S = 1.0

#: Set on our end of each connection over TCP: what is sent and not received for so long ends the
#: connection, and one that is idle is probed, so that a cut is noticed before it is needed.
_TCP_USER_TIMEOUT_MS = 10_000
_TCP_OPTIONS: Final = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 2),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _TCP_USER_TIMEOUT_MS),
)

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


class Database(Protocol):
    """What runs statements: a pool, or one connection of it, whose statements run one by one."""

    async def fetch(self, query: str, /, *args: Any) -> list[asyncpg.Record]:
        """Run one statement and return its rows."""


if TYPE_CHECKING:
    _Connection = asyncpg.Connection[asyncpg.Record]
    _Pool = asyncpg.Pool[asyncpg.Record]
else:
    _Connection, _Pool = asyncpg.Connection, asyncpg.Pool


class Connection(_Connection):
    """A connection to a server that may only be read, whose statements end in bounded time."""

    def __init__(self, protocol: Any, transport: asyncio.Transport, *args: Any) -> None:
        super().__init__(protocol, transport, *args)
        own: socket.socket = transport.get_extra_info("socket")
        if own.family != socket.AF_UNIX:
            for option in _TCP_OPTIONS:
                own.setsockopt(*option)

    async def fetch(  # type: ignore[override]
        self, query: str, /, *args: Any, **options: Any
    ) -> list[asyncpg.Record]:
        """Run one statement and return its rows.

        Raises:
            AWAY, asyncpg.PostgresError: it failed; whether it ran is unknown if the server is away.
        """
        with ended_after(self, STATEMENT_TIMEOUT_S + _LAST_BOUND_MARGIN_S):
            return await super().fetch(query, *args, **options)


class PrimaryConnection(Connection):
    """A connection to a server that must take writes, or all that it says counts for nothing.

    PostgreSQL tells its clients in which state it is, without being asked: before a connection is
    used first, and behind each statement before which the state has changed.
    """

    async def fetch(  # type: ignore[override]
        self, query: str, /, *args: Any, **options: Any
    ) -> list[asyncpg.Record]:
        """As :meth:`Connection.fetch`; rows from a server that takes no writes are not returned."""
        rows = await super().fetch(query, *args, **options)
        settings = self.get_settings()
        # Not by `transaction_read_only`, which would have to be asked for.
        if "on" in (settings.default_transaction_read_only, settings.in_hot_standby):
            self.terminate()
            raise asyncpg.ReadOnlySQLTransactionError("the server takes no writes")
        return rows


@contextlib.contextmanager
def ended_after(connection: asyncpg.Connection[asyncpg.Record], seconds: float) -> Iterator[None]:
    """End a connection that is still in use after some time; whoever waits for it is told at once."""
    last = asyncio.get_running_loop().call_later(seconds, connection.terminate)
    try:
        yield
    finally:
        last.cancel()


class Pool(_Pool):
    """Connections that are opened when they are needed; waiting for one has a bound."""

    def acquire(self, *, timeout: float | None = None) -> Any:
        """A connection, as of :class:`asyncpg.Pool`.

        Raises:
            TimeoutError: none was to be had within ``ACQUIRE_TIMEOUT_S``.
        """
        return super().acquire(timeout=timeout or ACQUIRE_TIMEOUT_S)

    async def close(self) -> None:
        """Close all connections; those that are still in use after a while are ended."""
        with contextlib.suppress(*AWAY):  # asyncpg ends all of them when it is cancelled
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await super().close()


async def create_pool(
    url: str,
    size_max: int,
    check: Callable[[Database], Coroutine[Any, Any, None]] | None = None,
    *,
    is_primary: bool = True,
) -> Pool:
    """A pool that opens its connections when they are needed.

    Args:
        url: of the server.
        size_max: connections at once.
        check: asked of each new connection; what it raises, whoever needed the connection is told.
        is_primary: whether the server must take writes.
    """
    return await Pool(
        url,
        min_size=0,
        max_size=size_max,
        max_queries=50_000,
        max_inactive_connection_lifetime=300.0,
        setup=None,
        init=check,
        loop=None,
        record_class=asyncpg.Record,
        **_settings(
            is_primary=is_primary, statement_s=STATEMENT_TIMEOUT_S, connect_s=CONNECT_TIMEOUT_S
        ),
    )


async def connect(
    url: str, timeout_s: float | None = None, *, is_primary: bool = True
) -> asyncpg.Connection[asyncpg.Record]:
    """A connection with the settings that all have.

    Args:
        url: of the server.
        timeout_s: how long connecting, and then each statement, may take.
        is_primary: whether the server must take writes.

    Raises:
        AWAY: the server is away, or takes no writes.
    """
    timeout_s = timeout_s or STATEMENT_TIMEOUT_S
    return await asyncpg.connect(
        url,
        **_settings(
            is_primary=is_primary,
            statement_s=timeout_s,
            connect_s=min(timeout_s, CONNECT_TIMEOUT_S),
        ),
    )


def _settings(*, is_primary: bool, statement_s: float, connect_s: float) -> dict[str, Any]:
    return {
        "connection_class": PrimaryConnection if is_primary else Connection,
        # One address of several may lead to a server that was demoted.
        "target_session_attrs": "read-write" if is_primary else "any",
        "timeout": connect_s,
        "command_timeout": statement_s,
        # The driver ends statements that it has kept for long, and waits for that without a bound.
        "max_cached_statement_lifetime": 0,
        "server_settings": SERVER_SETTINGS,
    }


class LoneConnection:
    """One connection, opened at need and after every failure anew. Statements run one by one.

    Args:
        url: of the server.
        timeout_s, is_primary: as for :func:`connect`.
    """

    def __init__(
        self, url: str, timeout_s: float | None = None, *, is_primary: bool = True
    ) -> None:
        self._url = url
        self._timeout_s = timeout_s
        self._is_primary = is_primary
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None
        self._lock = asyncio.Lock()

    async def fetch(self, query: str, *args: Any) -> list[asyncpg.Record]:
        """Run one statement and return its rows.

        Raises:
            Unavailable: the server is away; whether the statement ran is unknown.
        """
        try:
            async with asyncio.timeout(TURN_TIMEOUT_S):
                await self._lock.acquire()
        except TimeoutError:
            raise Unavailable("the statements before this one take too long") from None
        try:
            if self._connection is None or self._connection.is_closed():
                self._connection = await connect(
                    self._url, self._timeout_s, is_primary=self._is_primary
                )
            return await self._connection.fetch(query, *args)
        except AWAY as error:
            self._drop()
            raise Unavailable(f"the database is away: {error!r}") from error
        except asyncio.CancelledError:
            self._drop()  # busy, for as long as the server likes
            raise
        finally:
            self._lock.release()

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def close(self) -> None:
        """Close the connection, waiting for its last statement only shortly."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(*AWAY):
                await connection.close(timeout=CLOSE_TIMEOUT_S)
