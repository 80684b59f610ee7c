"""This replica's one connection to Redis channels, opened anew whenever it breaks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import redis.asyncio
from redis.exceptions import RedisError

from actors.publisher import channel_of
from engine.ids import SessionId

log = logging.getLogger(__name__)

_RECONNECT_PAUSE_S = 0.5
#: How long a room waits for the confirmation of its subscription; without Redis it goes on by
#: asking the actor (``Room.watch``).
_CONFIRM_TIMEOUT_S = 1.0
#: Keeps the connection in subscribed mode while no room is open.
_IDLE_CHANNEL = "rayquiz:idle"


class Subscriber:
    """Channels to callbacks. A callback that fails is logged and disturbs no other."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._callbacks: dict[str, Callable[[bytes], None]] = {}
        self._confirmed: dict[str, asyncio.Event] = {}
        self._pubsub: Any = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._spawn(self._run())

    async def subscribe(self, session_id: SessionId, callback: Callable[[bytes], None]) -> None:
        """Route a session's channel to a callback; returns when Redis has confirmed, or is away."""
        channel = channel_of(session_id)
        self._callbacks[channel] = callback
        confirmed = self._confirmed[channel] = asyncio.Event()
        try:
            if self._pubsub is not None:
                await self._pubsub.subscribe(channel)
            await asyncio.wait_for(confirmed.wait(), _CONFIRM_TIMEOUT_S)
        except (RedisError, OSError, TimeoutError) as error:
            log.warning("action=subscribe_unconfirmed channel=%s reason=%r", channel, error)

    def unsubscribe(self, session_id: SessionId) -> None:
        """Stop routing a session's channel."""
        channel = channel_of(session_id)
        self._callbacks.pop(channel, None)
        self._confirmed.pop(channel, None)
        self._spawn(self._unsubscribe(channel))

    async def _unsubscribe(self, channel: str) -> None:
        try:
            if self._pubsub is not None and channel not in self._callbacks:
                await self._pubsub.unsubscribe(channel)
        except (RedisError, OSError):
            log.debug("action=unsubscribe_failed channel=%s", channel)

    async def _run(self) -> None:
        while True:
            client = redis.asyncio.Redis.from_url(self._url, health_check_interval=5)
            try:
                self._pubsub = client.pubsub()
                await self._pubsub.subscribe(_IDLE_CHANNEL, *self._callbacks)
                async for message in self._pubsub.listen():
                    self._handle(message)
            except (RedisError, OSError) as error:
                log.warning("action=redis_away reason=%r", error)
            finally:
                self._pubsub = None
                await client.aclose()
            await asyncio.sleep(_RECONNECT_PAUSE_S)

    def _handle(self, message: dict[str, Any]) -> None:
        channel = message["channel"].decode()
        if message["type"] == "subscribe":
            if (confirmed := self._confirmed.get(channel)) is not None:
                confirmed.set()
            return
        callback = self._callbacks.get(channel)
        if message["type"] != "message" or callback is None:
            return
        try:
            callback(message["data"])
        except Exception:
            log.exception("action=publication_failed channel=%s", channel)

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
