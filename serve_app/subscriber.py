"""This replica's one connection to Redis channels, opened anew whenever it breaks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

import redis.asyncio
from redis.exceptions import RedisError

from actors.cache import ONE_TRY
from actors.publisher import channel_of
from actors.tasks import cancel
from engine.ids import SessionId

log = logging.getLogger(__name__)

#: Pause before a broken connection is opened anew, seconds.
_RECONNECT_PAUSE_S = 0.5
#: How long a room waits for the confirmation of its subscription; without Redis it goes on by
#: asking the actor (``Room.watch``).
_CONFIRM_TIMEOUT_S = 1.0
#: After so long a silence Redis is asked whether it is there; after another, it is not.
_SILENCE_S = 5.0
#: Keeps the connection in subscribed mode while no room is open.
_IDLE_CHANNEL = "rayquiz:idle"


class Subscriber:
    """Channels to callbacks. A callback that fails is logged and disturbs no other."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._callbacks: dict[str, Callable[[bytes], None]] = {}
        self._confirmed: dict[str, asyncio.Event] = {}
        #: The subscribed connection; None while there is none.
        self._pubsub: Any = None
        # One command at a time, so that a channel left and entered again ends up subscribed.
        self._command = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._spawn(self._run())

    async def subscribe(self, session_id: SessionId, callback: Callable[[bytes], None]) -> None:
        """Route a session's channel to a callback; returns when Redis has confirmed, or is away."""
        channel = channel_of(session_id)
        self._callbacks[channel] = callback
        confirmed = self._confirmed[channel] = asyncio.Event()
        try:
            async with asyncio.timeout(_CONFIRM_TIMEOUT_S):
                async with self._command:
                    if self._pubsub is not None:
                        await self._pubsub.subscribe(channel)
                await confirmed.wait()
        except (RedisError, OSError) as error:
            log.warning("action=subscribe_unconfirmed channel=%s reason=%r", channel, error)

    def unsubscribe(self, session_id: SessionId) -> None:
        """Stop routing a session's channel."""
        channel = channel_of(session_id)
        self._callbacks.pop(channel, None)
        self._confirmed.pop(channel, None)
        self._spawn(self._unsubscribe(channel))

    async def close(self) -> None:
        """Stop, and give the connection back."""
        await cancel(self._tasks)

    async def _unsubscribe(self, channel: str) -> None:
        async with self._command:
            if self._pubsub is None or channel in self._callbacks:
                return
            try:
                await self._pubsub.unsubscribe(channel)
            except (RedisError, OSError):
                log.debug("action=unsubscribe_failed channel=%s", channel)

    async def _run(self) -> None:
        while True:
            client = redis.asyncio.Redis.from_url(
                self._url,
                socket_timeout=_SILENCE_S,
                socket_connect_timeout=_SILENCE_S,
                retry=ONE_TRY,
            )
            try:
                async with self._command:
                    pubsub = client.pubsub()
                    await pubsub.subscribe(_IDLE_CHANNEL, *self._callbacks)
                    self._pubsub = pubsub
                await self._listen(pubsub)
            except (RedisError, OSError) as error:
                log.warning("action=redis_away reason=%r", error)
            except Exception:
                log.exception("action=subscriber_failed")
            finally:
                self._pubsub = None
                await client.aclose()
            await asyncio.sleep(_RECONNECT_PAUSE_S)

    async def _listen(self, pubsub: Any) -> None:
        """Hand messages on until the connection breaks, or is silent although it was asked."""
        is_asked = False
        while True:
            message = await pubsub.get_message(timeout=_SILENCE_S)
            if message is not None:
                is_asked = False
                self._handle(message)
            elif is_asked:
                raise TimeoutError("no reply to a ping")
            else:
                is_asked = True
                await pubsub.ping()

    def _handle(self, message: dict[str, Any]) -> None:
        if message["type"] not in ("subscribe", "message"):
            return
        channel = message["channel"].decode()
        if message["type"] == "subscribe":
            if (confirmed := self._confirmed.get(channel)) is not None:
                confirmed.set()
            return
        callback = self._callbacks.get(channel)
        if callback is None:
            return
        try:
            callback(message["data"])
        except Exception:
            log.exception("action=publication_failed channel=%s", channel)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
