"""Frames on the session's Redis channel: encoded once, told once, never waited for."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Protocol

import redis.asyncio
from redis.exceptions import RedisError

from actors.cache import ONE_TRY
from actors.tasks import cancel
from engine.ids import SessionId
from engine.wire import Publication, encode_pack

log = logging.getLogger(__name__)

#: Publications that may wait for Redis; older ones are dropped, a replica that misses one sees the
#: gap and asks for a snapshot.
_WAITING_MAX = 64
#: How long one publication may take, seconds.
_PUBLISH_TIMEOUT_S = 2.0
#: How long the last publications may take altogether, seconds.
_CLOSE_TIMEOUT_S = 5.0


def channel_of(session_id: SessionId) -> str:
    """The Redis channel on which a session's frames travel."""
    return f"rayquiz:session:{session_id}"


class Publisher(Protocol):
    """Where a session's frames go."""

    def publish(self, publication: Publication) -> None:
        """Hand a publication over, in order; never blocks, never raises."""

    async def close(self) -> None:
        """Send what is waiting, in order and not for long, and stop."""


class RedisPublisher:
    """:class:`Publisher` over one Redis connection. Redis away costs freshness, nothing else."""

    def __init__(self, url: str, session_id: SessionId) -> None:
        self._redis = redis.asyncio.Redis.from_url(
            url,
            socket_timeout=_PUBLISH_TIMEOUT_S,
            socket_connect_timeout=_PUBLISH_TIMEOUT_S,
            retry=ONE_TRY,
        )
        self._channel = channel_of(session_id)
        self._waiting: deque[bytes] = deque(maxlen=_WAITING_MAX)
        self._wakened = asyncio.Event()
        self._closing = False
        self._away = False
        self._task = asyncio.get_running_loop().create_task(self._run())

    def publish(self, publication: Publication) -> None:
        """See :meth:`Publisher.publish`."""
        self._waiting.append(encode_pack(publication))
        self._wakened.set()

    async def close(self) -> None:
        """See :meth:`Publisher.close`."""
        self._closing = True
        self._wakened.set()
        # A Redis that hangs takes its time for each; the session does not wait for all of them.
        await asyncio.wait([self._task], timeout=_CLOSE_TIMEOUT_S)
        await cancel([self._task])
        await self._redis.aclose()

    async def _run(self) -> None:
        while True:
            await self._wakened.wait()
            self._wakened.clear()
            while self._waiting:
                await self._send(self._waiting.popleft())
            if self._closing:
                return

    async def _send(self, publication: bytes) -> None:
        try:
            await self._redis.publish(self._channel, publication)
        except (RedisError, OSError, TimeoutError) as error:
            if not self._away:
                log.warning("action=publish_failed channel=%s reason=%s", self._channel, error)
            self._away = True
        else:
            self._away = False
