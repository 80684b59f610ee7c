"""Who is connected, over all replicas: told to Redis now and then, forgotten when it is told no more."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, NamedTuple

from actors.cache import NOW_MS, Cache
from actors.tasks import cancel
from engine import limits
from engine.errors import Unavailable
from engine.ids import ParticipantId, SessionId
from serve_app.hub import Hub

#: Connections that are told in one command.
_BATCH = 1_000

_TELL: Final = f"""{NOW_MS}
local until_ms = now_ms + tonumber(ARGV[1])
for number = 2, #ARGV do
    redis.call('ZADD', KEYS[1], until_ms, ARGV[number])
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now_ms)
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 0
"""
_COUNT: Final = f"""{NOW_MS}
return {{redis.call('ZCOUNT', KEYS[1], now_ms, '+inf'), redis.call('ZCOUNT', KEYS[2], now_ms, '+inf')}}
"""


_CONNECTED: Final = f"""{NOW_MS}
local found = {{}}
for number = 1, #ARGV do
    local until_ms = tonumber(redis.call('ZSCORE', KEYS[1], ARGV[number]) or 0)
    found[number] = until_ms >= now_ms and 1 or 0
end
return found
"""


class Present(NamedTuple):
    """Who is connected to a session: participants, each once, and sockets of those who watch."""

    participants: int
    viewers: int


def _keys(session_id: SessionId) -> tuple[str, str]:
    key = f"rayquiz:present:{session_id}"
    return f"{key}:participants", f"{key}:viewers"


async def present_in(cache: Cache, session_id: SessionId) -> Present:
    """How many are connected; those that left a moment ago are counted for ``PRESENCE_TTL_MS``.

    Raises:
        Unavailable: Redis is away.
    """
    found: Sequence[int] = await cache.ask(
        lambda client: client.eval(_COUNT, 2, *_keys(session_id))
    )
    return Present(*found)


async def connected_of(
    cache: Cache, session_id: SessionId, participants: Sequence[ParticipantId]
) -> set[ParticipantId] | None:
    """Who of some participants is connected; None while Redis, which knows, is away."""
    if not participants:
        return set()
    key, _ = _keys(session_id)
    members = [str(who) for who in participants]
    try:
        found: Sequence[int] = await cache.ask(
            lambda client: client.eval(_CONNECTED, 1, key, *members)
        )
    except Unavailable:
        return None
    return {who for who, is_there in zip(participants, found, strict=True) if is_there}


class Presence:
    """Tells of the sockets of one replica, as long as it lives."""

    def __init__(self, cache: Cache, hub: Hub) -> None:
        self._cache = cache
        self._hub = hub
        self._replica = uuid.uuid4().hex[:12]
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(limits.PRESENCE_INTERVAL_MS / 1000)
            with suppress(Unavailable):  # told again soon
                await self.tell()

    async def tell(self) -> None:
        """Tell who is connected here now.

        Raises:
            Unavailable: Redis is away.
        """
        for room in self._hub.rooms():
            participants = [str(who) for who in room.participants]
            viewers = [
                f"{self._replica}:{id(viewer)}"
                for viewer in room.viewers
                if not viewer.participant_id
            ]
            for key, members in zip(_keys(room.session_id), (participants, viewers), strict=True):
                for first in range(0, len(members), _BATCH):
                    await self._tell(key, members[first : first + _BATCH])

    async def _tell(self, key: str, members: list[str]) -> None:
        await self._cache.ask(
            lambda client: client.eval(_TELL, 1, key, limits.PRESENCE_TTL_MS, *members)
        )

    async def close(self) -> None:
        """Tell no more."""
        await cancel([self._task])
