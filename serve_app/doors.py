"""Whether a session takes somebody new, for people who have not typed a name yet."""

from __future__ import annotations

import asyncio
import logging
import time

from actors.tasks import SharedWork
from engine import limits
from engine.errors import QuizError
from engine.ids import SessionId
from engine.session import Lock
from serve_app.batcher import Gateway
from serve_app.rate import Recent

log = logging.getLogger(__name__)

_KEPT_MAX = 2 * limits.SESSIONS_LIVE_MAX


class Doors:
    """Asks a session's actor at most once within ``DOOR_TTL_MS``, however many look."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._known = Recent[SessionId, tuple[float, str]](_KEPT_MAX)
        self._asking = SharedWork[SessionId, str]()

    async def state(self, session_id: SessionId) -> str:
        """What :func:`engine.session.door_of` says, as far as it can be told at once.

        The join itself is what decides.
        """
        until, door = self._known.get(session_id, (0.0, Lock.OPEN.value))
        if time.monotonic() < until:
            return door
        return await self._asking.do(session_id, lambda: self._ask(session_id))

    async def _ask(self, session_id: SessionId) -> str:
        door = Lock.OPEN.value
        try:
            async with asyncio.timeout(limits.DOOR_ANSWER_MS_MAX / 1000):
                door = await self._gateway.call(session_id, "lock")
        except (QuizError, TimeoutError, AttributeError) as error:
            # Away, busy, or an actor of the version before, which has no lock.
            log.info("action=door_unknown session=%s reason=%r", session_id, error)
        self._known[session_id] = (time.monotonic() + limits.DOOR_TTL_MS / 1000, door)
        return door
