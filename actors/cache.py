"""A Redis that may be away or empty: what it knows saves work, and nobody waits for it.

Everything in it can be known without it (docs/adr/0015-what-redis-holds.md).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, TypeVar

import msgspec
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from actors.tasks import SharedWork
from engine import limits
from engine.errors import Unavailable

log = logging.getLogger(__name__)

_T = TypeVar("_T")

#: What the scripts begin with that Redis runs: its own clock, because those of the processes differ.
NOW_MS: Final = """
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
"""

#: For every client of Redis: its own ten tries would make ten of each bound.
ONE_TRY: Final = Retry(NoBackoff(), 0)

_ANSWER_S_MAX = limits.CACHE_ANSWER_MS_MAX / 1000
_CONNECTIONS_MAX = 8
_FILL_POLL_S = 0.01


class Cache:
    """One process's way to Redis. After a failure it is left alone for ``CACHE_REST_MS``."""

    def __init__(self, url: str) -> None:
        pool = redis.asyncio.BlockingConnectionPool.from_url(
            url,
            max_connections=_CONNECTIONS_MAX,
            timeout=_ANSWER_S_MAX,
            socket_timeout=_ANSWER_S_MAX,
            socket_connect_timeout=_ANSWER_S_MAX,
            retry=ONE_TRY,
        )
        self._redis = redis.asyncio.Redis.from_pool(pool)
        self._rests_until = 0.0
        self._reading = SharedWork[str, bytes]()

    async def ask(self, work: Callable[[Any], Awaitable[_T]]) -> _T:
        """Have the client (``redis.asyncio.Redis``) do something.

        Raises:
            Unavailable: Redis is away, or was a moment ago; whether it was done is unknown.
        """
        if time.monotonic() < self._rests_until:
            raise Unavailable("Redis was away a moment ago")
        try:
            return await work(self._redis)
        except (RedisError, OSError, TimeoutError) as error:
            if isinstance(error, ResponseError) and "WRONGTYPE" in str(error):
                # Another version keeps something else under this key: no reason to leave the others.
                log.warning("action=cache_key_of_another_type reason=%s", error)
                raise Unavailable(f"Redis has something else there: {error}") from error
            if time.monotonic() >= self._rests_until:
                log.warning("action=cache_away reason=%r", error)
            self._rests_until = time.monotonic() + limits.CACHE_REST_MS / 1000
            raise Unavailable(f"Redis is away: {error!r}") from error

    async def read_through(
        self,
        key: str,
        ttl_ms: int,
        fill: Callable[[], Awaitable[bytes]],
        decode: Callable[[bytes], _T],
    ) -> _T:
        """What is kept under a key; filled once when it is missing, however many ask here and elsewhere.

        What cannot be decoded is missing: another version of this program has put it there.

        Raises:
            whatever ``fill`` raises; nothing is kept then.
            whatever ``decode`` raises on what was just filled.
        """
        for _ in range(2):
            found = await self._reading.do(key, lambda: self._read_through(key, ttl_ms, fill))
            try:
                return decode(found)
            except (msgspec.MsgspecError, ValueError) as error:
                log.warning("action=cache_unreadable key=%s reason=%s", key, error)
                await self.forget(key)
        return decode(await fill())

    async def _read_through(
        self, key: str, ttl_ms: int, fill: Callable[[], Awaitable[bytes]]
    ) -> bytes:
        lock = f"{key}:filling"
        with suppress(Unavailable):
            found = await self._found_or_locked(key, lock)
            if found is not None:
                return found
        try:
            filled = await fill()
            with suppress(Unavailable):
                await self.ask(lambda client: client.set(key, filled, px=ttl_ms))
        finally:
            with suppress(Unavailable):
                await self.ask(lambda client: client.delete(lock))
        return filled

    async def _found_or_locked(self, key: str, lock: str) -> bytes | None:
        """The value, or None when this process shall fill it: nobody else does, or not in time."""
        give_up_at = time.monotonic() + limits.CACHE_FILL_MS / 1000
        while True:
            found: bytes | None = await self.ask(lambda client: client.get(key))
            if found is not None:
                return found
            if time.monotonic() > give_up_at:
                return None
            if await self.ask(
                lambda client: client.set(lock, b"", nx=True, px=limits.CACHE_FILL_MS)
            ):
                # Since it was looked for, somebody may have filled it and given the lock back.
                found = await self.ask(lambda client: client.get(key))
                if found is not None:
                    await self.ask(lambda client: client.delete(lock))
                return found
            await asyncio.sleep(_FILL_POLL_S)

    async def forget(self, key: str) -> None:
        """Drop what is kept under a key, because it changes; while Redis is away it ends by its TTL."""
        with suppress(Unavailable):
            await self.ask(lambda client: client.delete(key))

    async def close(self) -> None:
        """Give the connections back."""
        await self._redis.aclose()
        await self._redis.connection_pool.disconnect()
