"""Where is the actor of a session? Replicas ask here, and remember the answer."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from typing import Any, NamedTuple

import asyncpg
import msgspec
import ray
from ray.actor import ActorHandle

from actors.cache import Cache
from actors.calls import actor_call
from actors.postgres import AWAY, Database
from actors.quarantine import quarantined
from actors.shards import Shards
from actors.sql import queries
from actors.supervisor import supervisor
from actors.tasks import PacedWork, SharedWork
from engine import limits
from engine.errors import Conflict, NotFound, Unavailable
from engine.ids import Pin, SessionId
from engine.pins import read_pin

log = logging.getLogger(__name__)

#: Handles remembered; those of sessions that are over are never asked for again.
_HANDLES_MAX = 2 * limits.SESSIONS_LIVE_MAX


class SessionInfo(NamedTuple):
    """What the row of a session tells."""

    session_id: SessionId
    pin: Pin
    title: str
    mode: str
    actor_name: str | None
    finished: bool
    ended: bool
    #: Set aside because no actor could take it over; it is ended, too.
    quarantined: bool


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(SessionInfo)


#: Of SessionInfo in Redis; raised when it changes, so that two versions that run side by side do not
#: overwrite each other's entries all the time.
_FORMAT = 2


def _pin_key(pin: Pin) -> str:
    return f"rayquiz:pin:v{_FORMAT}:{pin}"


class Directory:
    """Looks sessions up in Redis and PostgreSQL, their actors in Ray; holds handles until one fails.

    Args:
        shards: connections to the primaries.
        namespace: Ray's, where the actors are.
        cache: Redis.
    """

    def __init__(self, shards: Shards[Database], namespace: str, cache: Cache) -> None:
        self.shards = shards
        self._namespace = namespace
        self._cache = cache
        self._handles: dict[SessionId, ActorHandle[Any]] = {}
        #: The PINs of live sessions, and when they were read.
        self._pins: set[str] = set()
        self._pins_at = -math.inf
        self._reading_pins = PacedWork[None, None](limits.LIVE_PINS_INTERVAL_MS)
        self._finding = SharedWork[SessionId, ActorHandle[Any]]()

    async def has_pin(self, pin: Pin) -> bool:
        """Whether a live session has a PIN.

        The PINs of all live sessions are few, so a process knows them: one that is not among them costs
        neither Redis nor a statement of its own, however many of them are asked for, but waits until
        they have been read again. A session that was opened before the question is found.

        Raises:
            Unavailable: the database is away, and Redis does not know the PIN.
        """
        age_ms = (time.monotonic() - self._pins_at) * 1000
        if pin in self._pins and age_ms < limits.LIVE_PINS_TTL_MS:
            return True
        try:
            await self._reading_pins.do(None, self._read_pins)
        except Unavailable:
            if await self._cache.ask(lambda client: client.exists(_pin_key(pin))):
                return True
            raise
        return pin in self._pins

    async def _read_pins(self) -> None:
        began = time.monotonic()
        rows = await self._rows(self.shards.catalogue, "live_pins")
        self._pins = {row["pin"] for row in rows}
        self._pins_at = began

    async def by_pin(self, typed: str) -> SessionInfo:
        """The live session of a PIN, as it was ``SESSION_INFO_TTL_MS`` ago at most.

        Its actor knows better: it is looked up anew by :meth:`handle`, which refuses what is over.
        What is told of a session on another primary than the catalogue does not name its actor.

        Raises:
            NotFound: there is none.
            Unavailable: the database is away, and Redis does not know it.
        """
        missing = f"pin: no live session has {typed[: limits.PIN_TYPED_CHARS_MAX]}"
        pin = read_pin(typed)
        if pin is None or not await self.has_pin(pin):
            raise NotFound(missing)

        async def fill() -> bytes:
            catalogue = self.shards.catalogue
            try:
                return _encoder.encode(await self._info(catalogue, "session_by_pin", pin, missing))
            except NotFound:
                self._pins.discard(pin)  # it has ended since they were read
                raise

        key = _pin_key(pin)
        return await self._cache.read_through(
            key, limits.SESSION_INFO_TTL_MS, fill, _decoder.decode
        )

    async def forget_pin(self, pin: Pin) -> None:
        """A PIN belongs to another session from now on."""
        await self._cache.forget(_pin_key(pin))

    async def by_id(self, session_id: SessionId) -> SessionInfo:
        """A session, live or over.

        Raises:
            NotFound, Unavailable: as above.
        """
        missing = f"session: {session_id} does not exist"
        return await self._info(self.shards.of(session_id), "session_by_id", session_id, missing)

    async def _rows(self, database: Database, query: str, *args: str) -> list[asyncpg.Record]:
        try:
            return await database.fetch(queries[query], *args)
        except AWAY as error:
            raise Unavailable(f"the database is away: {error!r}") from error

    async def _info(self, database: Database, query: str, key: str, missing: str) -> SessionInfo:
        try:
            rows = await self._rows(database, query, key)
        except asyncpg.DataError:
            raise NotFound(missing) from None
        if not rows:
            raise NotFound(missing)
        row = rows[0]
        return SessionInfo(
            SessionId(str(row["session_id"])),
            Pin(row["pin"]),
            row["title"],
            row["mode"],
            row["actor_name"],
            row["finished_at"] is not None,
            row["ended_at"] is not None,
            row["quarantined_at"] is not None,
        )

    async def handle(self, session_id: SessionId) -> ActorHandle[Any]:
        """The actor of a live session; one is assigned when Ray has lost it.

        Raises:
            Conflict: the session is over and its actor gone (code ``session_over``).
            ServerFault: no actor could take it over (code ``quarantined``).
            NotFound, Unavailable: as above.
        """
        known = self._handles.get(session_id)
        if known is not None:
            return known
        return await self._finding.do(session_id, lambda: self._find_and_remember(session_id))

    def forget(self, session_id: SessionId) -> None:
        """Drop a handle that has failed; the next :meth:`handle` looks anew."""
        self._handles.pop(session_id, None)

    async def _find_and_remember(self, session_id: SessionId) -> ActorHandle[Any]:
        found = await self._find(session_id)
        if len(self._handles) >= _HANDLES_MAX:
            self._handles.clear()
        self._handles[session_id] = found
        return found

    async def _find(self, session_id: SessionId) -> ActorHandle[Any]:
        info = await self.by_id(session_id)
        if info.quarantined:
            raise quarantined(session_id)
        if info.ended:
            raise Conflict("the session is over", "session_over")
        lost = info.actor_name
        if lost is not None:
            found = await asyncio.to_thread(self._lookup, lost)
            if found is not None:
                return found
            log.warning("action=actor_lost session=%s actor=%s", session_id, lost)
        name = await self.assign(session_id, lost)
        found = await asyncio.to_thread(self._lookup, name)
        if found is None:
            raise Unavailable(f"actor {name} is not there yet")
        return found

    async def assign(self, session_id: SessionId, lost_actor: str | None) -> str:
        """Have the supervisor give the session an actor.

        Raises:
            QuizError: see :meth:`actors.supervisor.Supervisor.assign` and
                :func:`actors.calls.actor_call`.
        """
        try:
            master = await asyncio.to_thread(supervisor, self._namespace)
        except ray.exceptions.RayError as error:
            raise Unavailable(f"the supervisor is away: {error!r}") from error
        name: str = await actor_call(
            master.assign.remote(session_id, lost_actor), "the supervisor of the sessions"
        )
        return name

    def _lookup(self, name: str) -> ActorHandle[Any] | None:
        try:
            found: ActorHandle[Any] = ray.get_actor(name, namespace=self._namespace)
        except ValueError:
            return None
        return found
