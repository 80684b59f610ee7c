"""One per node: keeps blank SessionActors warm, gives them to sessions, ends those that are done.

A session belongs to the actor that its row names, and the row changes by compare-and-set only; so
two supervisors, or one that was restarted in the middle, cannot give a session to two actors.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections import deque
from typing import Any, cast

import ray
from ray.actor import ActorHandle

from actors.postgres import create_pool
from actors.session_actor import SessionActor
from actors.settings import Settings
from actors.sql import queries
from engine import limits
from engine.errors import Unavailable

log = logging.getLogger(__name__)

SUPERVISOR_NAME = "supervisor"
_ACTOR_PREFIX = "session-actor:"
#: What one SessionActor asks of its node: an idle one was measured at 92 MB resident and next to
#: no CPU; small real numbers, so that pending actors make a node come and idle nodes can go.
SESSION_ACTOR_CPUS = 0.01
SESSION_ACTOR_BYTES = 128 * 1024**2
_WATCH_INTERVAL_S = 2.0
_PING_TIMEOUT_S = 5.0


def create_session_actor(name: str, namespace: str) -> ActorHandle[Any]:
    """Start a blank SessionActor that outlives its creator and comes back after a crash.

    ``max_task_retries=0``: a call that failed may have run; our own retries carry keys.
    """
    options: dict[str, Any] = {
        "name": name,
        "namespace": namespace,
        "lifetime": "detached",
        "max_restarts": -1,
        "max_task_retries": 0,
        "num_cpus": SESSION_ACTOR_CPUS,
        "memory": SESSION_ACTOR_BYTES,
    }
    handle: Any = ray.remote(SessionActor).options(**options).remote(name)
    return cast("ActorHandle[Any]", handle)


class Supervisor:
    """See the module. An async actor; its methods run side by side on one loop."""

    def __init__(self) -> None:
        self._settings = Settings.from_env()
        self._warm: deque[tuple[str, ActorHandle[Any]]] = deque()
        self._busy: dict[str, ActorHandle[Any]] = {}
        self._pool: Any = None
        self._task = asyncio.get_running_loop().create_task(self._watch())

    async def assign(self, session_id: str, lost_actor: str | None) -> str:
        """Give a session an actor and return the actor's name.

        Args:
            session_id: an existing session.
            lost_actor: the name that the session's row held when the caller found no such actor;
                None for a new session. When the row holds another name by now, that one is
                returned: somebody was faster.

        Raises:
            Unavailable: the database is away, or the session is over.
        """
        name, handle = self._warm.popleft() if self._warm else self._create()
        pool = await self._connected()
        rows = await pool.fetch(queries["assign_actor"], session_id, name, lost_actor)
        if rows:
            self._busy[name] = handle
            # Unnoticed failure is fine: a replica's first call waits, and the actor looks again.
            handle.open.remote()
            return name
        self._warm.append((name, handle))
        rows = await pool.fetch(queries["session_by_id"], session_id)
        if not rows or rows[0]["actor_name"] is None or rows[0]["ended_at"] is not None:
            raise Unavailable(f"session {session_id} has no actor and can be given none")
        return str(rows[0]["actor_name"])

    async def statistics(self) -> dict[str, Any]:
        """Warm actors, and the statistics of each session's actor by its name."""
        found = await asyncio.gather(*(self._ping(handle) for handle in self._busy.values()))
        return {"warm": len(self._warm), "sessions": dict(zip(self._busy, found, strict=True))}

    def _create(self) -> tuple[str, ActorHandle[Any]]:
        name = f"{_ACTOR_PREFIX}{uuid.uuid4().hex}"
        return name, create_session_actor(name, self._settings.ray_namespace)

    async def _connected(self) -> Any:
        if self._pool is None:
            self._pool = await create_pool(self._settings.database_url, size_max=2)
        return self._pool

    async def _adopt(self) -> None:
        """After a restart: find the actors that an earlier supervisor started."""
        for name in await asyncio.to_thread(ray.util.list_named_actors):
            if name.startswith(_ACTOR_PREFIX):
                handle = ray.get_actor(name, namespace=self._settings.ray_namespace)
                found = await self._ping(handle)
                if "phase" in found or "unreachable" in found:
                    self._busy[name] = handle
                else:
                    self._warm.append((name, handle))

    async def _watch(self) -> None:
        await self._adopt()
        while True:
            while len(self._warm) < self._settings.warm_pool_size and self._has_room():
                self._warm.append(self._create())
            for name, handle in list(self._busy.items()):
                if (await self._ping(handle)).get("leaving"):
                    ray.kill(handle, no_restart=True)
                    del self._busy[name]
                    log.info("action=actor_ended actor=%s", name)
            await asyncio.sleep(_WATCH_INTERVAL_S)

    def _has_room(self) -> bool:
        return len(self._warm) + len(self._busy) < limits.SESSIONS_LIVE_MAX

    async def _ping(self, handle: ActorHandle[Any]) -> dict[str, Any]:
        try:
            found: dict[str, Any] = await asyncio.wait_for(handle.ping.remote(), _PING_TIMEOUT_S)
        except (ray.exceptions.RayError, TimeoutError) as error:
            return {"unreachable": repr(error)}
        return found


def supervisor(namespace: str) -> ActorHandle[Any]:
    """The supervisor, started when there is none."""
    options: dict[str, Any] = {
        "name": SUPERVISOR_NAME,
        "namespace": namespace,
        "lifetime": "detached",
        "get_if_exists": True,
        "max_restarts": -1,
        "num_cpus": 0,
    }
    handle: Any = ray.remote(Supervisor).options(**options).remote()
    return cast("ActorHandle[Any]", handle)
