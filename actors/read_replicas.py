"""Reads that may be a little old go to replicas of the database; how old is measured and bounded.

What a replica lacks is told by positions in the primary's write-ahead log: one that has replayed
the position which the primary was at a second ago shows everything that was committed until then.
So the lag is counted by this process's clock alone, and an idle primary leaves nothing to wait for
(docs/adr/0014-reads-from-replicas.md).
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import asyncpg
from prometheus_client import Counter, Gauge

from actors.postgres import AWAY, Database, LoneConnection, Pool, create_pool
from actors.sql import queries
from actors.tasks import cancel
from engine import limits
from engine.errors import QuizError, Unavailable

log = logging.getLogger(__name__)

_T = TypeVar("_T")

#: Connections of one process to one replica.
_POOL_SIZE = 8
_LOOK_PAUSE_S = 0.01
_READ_S_MAX = limits.REPLICA_READ_MS_MAX / 1000

READS = Counter("quiz_reads_total", "Reads that a replica may answer, by who did", ["server"])
LAG = Gauge(
    "quiz_replica_lag_ms",
    "How old what a read replica shows may be, by its place in the setting; +Inf: not known",
    ["replica"],
    multiprocess_mode="livemax",
)
USABLE = Gauge(
    "quiz_replica_usable",
    "1 while every process reads from the replica, else 0",
    ["replica"],
    multiprocess_mode="livemin",
)


class Position(NamedTuple):
    """A place in the write-ahead log of one database cluster, in bytes."""

    position: int
    system_identifier: int


class Freshness:
    """How old what one replica shows may be. Times are seconds of one monotonic clock."""

    def __init__(self) -> None:
        #: What the replica had replayed at the last measurement.
        self.replayed = 0
        self._complete_until = -math.inf
        #: When the primary was asked, and where it was: what the replica has not replayed yet. When
        #: it is full, the oldest stay, since they are reached first.
        self._ahead: deque[tuple[float, int]] = deque()

    def note(self, asked_at: float, primary: int, replica: int) -> None:
        """Take a measurement: the primary was asked at that time, the replica after it."""
        if replica < self.replayed:  # it was killed, or made anew, and replays again
            self.forget()
        self.replayed = replica
        if len(self._ahead) < limits.REPLICA_POSITIONS_MAX:
            self._ahead.append((asked_at, primary))
        while self._ahead and self._ahead[0][1] <= replica:
            self._complete_until, _ = self._ahead.popleft()

    def forget(self) -> None:
        """Nothing is known any more."""
        self._complete_until = -math.inf
        self._ahead.clear()

    def lag_ms(self, now: float) -> float:
        """What was committed longer ago than this is shown; infinite when nothing is known."""
        return (now - self._complete_until) * 1000


class ReadReplica:
    """One replica: its connections, and what is known of it."""

    def __init__(self, number: int, url: str) -> None:
        self.number = number
        #: There while the replica answers measurements.
        self.pool: Pool | None = None
        self._url = url
        self._connection = LoneConnection(url, _READ_S_MAX, is_primary=False)
        self._freshness = Freshness()
        self._failed = False
        self._was_usable = False

    @property
    def usable(self) -> bool:
        """Whether it may be read from now."""
        return (
            self.pool is not None
            and not self._failed
            and self._freshness.lag_ms(time.monotonic()) <= limits.REPLICA_LAG_MS_MAX
        )

    def rest(self, error: Exception) -> None:
        """Read nothing from it until the next measurement, because a read has failed."""
        if not self._failed:
            self._failed = True
            log.warning("action=replica_read_failed replica=%d reason=%s", self.number, error)
            self.tell()

    async def measure(self, asked_at: float, primary: Position) -> None:
        """Compare it with where the primary was after ``asked_at``, and tell what came of it."""
        try:
            found = await position_of(self._connection.fetch, "replica_position")
            _require_same_cluster(found, primary)
        except (Unavailable, asyncpg.PostgresError) as error:
            if self.pool is not None:
                log.warning("action=replica_away replica=%d reason=%s", self.number, error)
            self._freshness.forget()
            self._drop_pool()
        else:
            self._freshness.note(asked_at, primary.position, found.position)
            self._failed = False
            if self.pool is None:
                self.pool = await create_pool(self._url, _POOL_SIZE, self._check, is_primary=False)
        self.tell()

    async def read(self, work: Callable[[Database], Awaitable[_T]]) -> _T:
        """Do some reading over one connection, so that later statements see no less than earlier ones.

        Raises:
            QuizError: what ``work`` raises; Unavailable also when the replica is away.
        """
        assert self.pool is not None
        try:
            async with self.pool.acquire() as connection:
                return await work(connection)
        except (*AWAY, asyncpg.PostgresError) as error:  # it may lack a migration yet
            raise Unavailable(f"the replica cannot answer: {error!r}") from error

    async def _check(self, connection: Database) -> None:
        """Refuse a new connection to a server that was started again and is not as far as before."""
        found = await position_of(connection.fetch, "replica_position")
        if found.position < self._freshness.replayed:
            raise ConnectionRefusedError("the replica replays what it had replayed before")

    def tell(self) -> None:
        """Set the metrics, and log a change of state."""
        usable = self.usable
        lag_ms = self._freshness.lag_ms(time.monotonic())
        if usable is not self._was_usable:
            self._was_usable = usable
            log.warning(
                "action=replica_%s replica=%d lag_ms=%.0f",
                "used" if usable else "left",
                self.number,
                lag_ms,
            )
        LAG.labels(self.number).set(lag_ms)
        USABLE.labels(self.number).set(usable)

    def _drop_pool(self) -> None:
        """End its connections; reads that wait on them fail, and are asked of the primary."""
        if self.pool is not None:
            self.pool.terminate()
            self.pool = None

    async def close(self) -> None:
        """Give the connections back."""
        self._drop_pool()
        await self._connection.close()


class ReadReplicas:
    """The read replicas of a primary, and the primary for what they cannot answer.

    Args:
        primary: connections to the primary.
        primary_url: its address, for measuring.
        urls: the replicas' addresses; none, and the primary answers everything.
    """

    def __init__(self, primary: Pool, primary_url: str, urls: Sequence[str]) -> None:
        self._primary = primary
        self._connection = LoneConnection(primary_url, _READ_S_MAX)
        self._replicas = [ReadReplica(number, url) for number, url in enumerate(urls, 1)]
        self._turns = itertools.count()
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self) -> None:
        """Begin to measure the replicas; none is read from before."""
        for replica in self._replicas:
            self._spawn(self._watch(replica))

    async def read(self, work: Callable[[Database], Awaitable[_T]], *, newest: bool) -> _T:
        """Do some reading on a replica, and on the primary where that is not enough.

        What a replica refuses is asked of the primary, because it may only not know it yet; so is
        what it has not answered within ``REPLICA_READ_MS_MAX``.

        Args:
            work: reads from the database that it is given; it may be called twice.
            newest: nothing that was committed before the call may be missing.

        Raises:
            QuizError: what ``work`` raises on the primary.
        """
        replica = None if newest else self._choose()
        if replica is not None:
            try:
                found = await self._in_time(replica.read(work))
            except Unavailable as error:
                replica.rest(error)
            except QuizError as error:
                log.debug("action=asked_again replica=%d reason=%s", replica.number, error)
            else:
                READS.labels("replica").inc()
                return found
        READS.labels("primary").inc()
        return await work(self._primary)

    def _choose(self) -> ReadReplica | None:
        usable = [replica for replica in self._replicas if replica.usable]
        return usable[next(self._turns) % len(usable)] if usable else None

    async def _in_time(self, reading: Awaitable[_T]) -> _T:
        """Not by ``asyncio.timeout``: a connection whose server hangs holds up whoever gives it back."""
        task = self._spawn(reading)
        try:
            await asyncio.wait([task], timeout=_READ_S_MAX)
        finally:
            task.cancel()  # of one that is done, nothing comes
        if not task.done():
            raise Unavailable(f"no answer in {_READ_S_MAX:.0f} s")
        return task.result()

    async def _watch(self, replica: ReadReplica) -> None:
        """Each by itself: one that hangs holds up no other."""
        while True:
            asked_at = time.monotonic()
            try:
                primary = await position_of(self._connection.fetch, "primary_position")
                await replica.measure(asked_at, primary)
            except (Unavailable, asyncpg.PostgresError) as error:
                log.debug("action=primary_position_unknown reason=%s", error)
                replica.tell()  # what is certain about it grows older
            except Exception:  # whatever it was, the next measurement comes
                log.exception("action=measure_failed replica=%d", replica.number)
            await asyncio.sleep(limits.REPLICA_CHECK_INTERVAL_MS / 1000)

    def _spawn(self, work: Awaitable[_T]) -> asyncio.Task[_T]:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._reap)
        return task

    def _reap(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # told to those who still wait

    async def close(self) -> None:
        """Stop measuring, and give the connections back, except the pool, which has another owner."""
        await cancel(list(self._tasks))
        for replica in self._replicas:
            await replica.close()
        await self._connection.close()


def _require_same_cluster(found: Position, primary: Position) -> None:
    """Positions in the logs of two clusters say nothing about each other."""
    if found.system_identifier != primary.system_identifier:
        raise Unavailable("it is no replica of this primary")


async def position_of(
    fetch: Callable[[str], Awaitable[list[asyncpg.Record]]], query: str
) -> Position:
    """Where a server is in the log; ``query`` is ``primary_position`` or ``replica_position``.

    Raises:
        Unavailable: the server is away, or follows no primary.
    """
    [row] = await fetch(queries[query])
    if row["position"] is None:
        raise Unavailable("it follows no primary")
    return Position(row["position"], row["system_identifier"])


async def catch_up_ms(primary_url: str, url: str) -> float:
    """How long a replica takes to show what is committed on its primary now, for a single look.

    Raises:
        Unavailable: one of them is away, it is no replica of that primary, or it takes longer than
            a replica that is read from may lag.
    """
    primary = LoneConnection(primary_url, _READ_S_MAX)
    replica = LoneConnection(url, _READ_S_MAX, is_primary=False)
    try:
        wanted = await position_of(primary.fetch, "primary_position")
        begun = time.monotonic()
        while True:
            found = await position_of(replica.fetch, "replica_position")
            _require_same_cluster(found, wanted)
            took_ms = (time.monotonic() - begun) * 1000
            if took_ms > limits.REPLICA_LAG_MS_MAX:
                raise Unavailable(f"it lags by more than {limits.REPLICA_LAG_MS_MAX} ms")
            if found.position >= wanted.position:
                return took_ms
            await asyncio.sleep(_LOOK_PAUSE_S)
    finally:
        await primary.close()
        await replica.close()
