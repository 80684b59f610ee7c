"""Who is connected, over all replicas: told to Redis now and then, forgotten when it is told no more."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Collection, Iterator, Sequence
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

#: Returns until when they are believed, by Redis's clock.
_TELL: Final = f"""{NOW_MS}
local until_ms = now_ms + tonumber(ARGV[1])
for number = 2, #ARGV do
    redis.call('ZADD', KEYS[1], until_ms, ARGV[number])
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now_ms)
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return until_ms
"""
#: Members and what was told of each; those whom another replica has told since are there yet.
_LEAVE: Final = """
for number = 1, #ARGV, 2 do
    if tonumber(redis.call('ZSCORE', KEYS[1], ARGV[number]) or -1) == tonumber(ARGV[number + 1]) then
        redis.call('ZREM', KEYS[1], ARGV[number])
    end
end
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


def _batches(members: Collection[str]) -> Iterator[list[str]]:
    ordered = list(members)
    for first in range(0, len(ordered), _BATCH):
        yield ordered[first : first + _BATCH]


class Present(NamedTuple):
    """Who is connected to a session: participants, each once, and sockets of those who watch."""

    participants: int
    viewers: int


def _keys(session_id: SessionId) -> tuple[str, str]:
    key = f"rayquiz:present:{session_id}"
    return f"{key}:participants", f"{key}:viewers"


async def present_in(cache: Cache, session_id: SessionId) -> Present:
    """How many are connected; those of a replica that has died are counted for ``PRESENCE_TTL_MS``.

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
        #: Key -> member -> until when it was told to be there.
        self._told: dict[str, dict[str, int]] = {}
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        interval, look = limits.PRESENCE_INTERVAL_MS, limits.PRESENCE_LOOK_MS
        waited_ms = 0
        while True:
            await asyncio.sleep(look / 1000)
            waited_ms += look
            with suppress(Unavailable):  # told again soon
                if waited_ms >= interval:
                    waited_ms = 0
                    await self.tell()
                else:
                    await self.tell_changes()

    async def tell(self) -> None:
        """Tell who is connected here now, so that nobody forgets them.

        Raises:
            Unavailable: Redis is away.
        """
        here = self._here()
        await self._leave(here)
        for key, members in here.items():
            await self._tell(key, members)

    async def tell_changes(self) -> None:
        """Tell who has come or gone since it was last told. O(connections), and nothing if nobody has.

        Raises:
            Unavailable: Redis is away.
        """
        here = self._here()
        await self._leave(here)
        for key, members in here.items():
            await self._tell(key, members - self._told.get(key, {}).keys())

    def _here(self) -> dict[str, set[str]]:
        """Key -> its members who are connected to this replica."""
        here: dict[str, set[str]] = {}
        for room in self._hub.rooms():
            participants, viewers = _keys(room.session_id)
            here[participants] = {str(who) for who in room.participants}
            here[viewers] = {
                f"{self._replica}:{id(viewer)}"
                for viewer in room.viewers
                if not viewer.participant_id
            }
        return here

    async def _tell(self, key: str, members: Collection[str]) -> None:
        for some in _batches(members):
            until_ms: int = await self._eval(_TELL, key, limits.PRESENCE_TTL_MS, *some)
            self._told.setdefault(key, {}).update(dict.fromkeys(some, until_ms))

    async def _leave(self, here: dict[str, set[str]]) -> None:
        """Tell of those who were told and are here no more."""
        for key, told in list(self._told.items()):
            gone = told.keys() - here.get(key, set())
            for some in _batches(gone):
                await self._eval(_LEAVE, key, *(part for who in some for part in (who, told[who])))
                for who in some:
                    del told[who]
            if not told:
                del self._told[key]

    async def _eval(self, script: str, key: str, *args: str | int) -> int:
        answered: int = await self._cache.ask(lambda client: client.eval(script, 1, key, *args))
        return answered

    async def close(self) -> None:
        """Tell no more."""
        await cancel([self._task])
