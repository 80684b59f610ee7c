"""Keeps SessionActors warm, gives them to sessions, ends the done, wakes the stuck, moves them.

A session belongs to the actor that its row names, and the row changes by compare-and-set only; so
two supervisors, or one that was restarted in the middle, cannot give a session to two actors.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
import uuid
from collections import deque
from typing import Any, cast

import asyncpg
import ray
from ray.actor import ActorHandle

from actors.checkpoint_writer import CheckpointWriter
from actors.logs import install_logs
from actors.nodes import Nodes
from actors.pool import Demand
from actors.postgres import Database, LoneConnection
from actors.session_actor import SessionActor
from actors.settings import Settings
from actors.shards import Shards, tell_ends
from actors.sql import queries
from actors.tasks import cancel
from engine import limits
from engine.errors import Unavailable
from engine.ids import SessionId

log = logging.getLogger(__name__)

SUPERVISOR_NAME = "supervisor"
_ACTOR_PREFIX = "session-actor:"
WRITER_PREFIX = "writer:"
_WRITER_CPUS = 0.1
#: What one SessionActor asks of its node: an idle one was measured at 92 MB resident and next to
#: no CPU; small real numbers, so that pending actors make a node come and idle nodes can go.
SESSION_ACTOR_CPUS = 0.01
SESSION_ACTOR_BYTES = 128 * 1024**2
_WATCH_INTERVAL_S = 2.0
_PING_TIMEOUT_S = 3.0
#: An actor that lets so many pings in a row pass is killed, and comes back by recovery.
_SILENCES_MAX = 2
_SWEEP_INTERVAL_S = 60.0


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
        # Ray's head would keep the last 100,000 batches of answers, to show in its dashboard.
        "enable_task_events": False,
    }
    handle: Any = ray.remote(SessionActor).options(**options).remote(name)
    return cast("ActorHandle[Any]", handle)


class Supervisor:
    """See the module. An async actor; its methods run side by side on one loop."""

    def __init__(self) -> None:
        install_logs()
        self._settings = Settings.from_env()
        #: Blank actors, the oldest first; the newest may still be starting.
        self._warm: deque[tuple[str, ActorHandle[Any]]] = deque()
        #: Those that have not answered yet: no more at once than there are cores to start them.
        self._starting: set[asyncio.Task[None]] = set()
        self._starts_max = os.cpu_count() or 1
        self._demand = Demand(self._settings.warm_pool_size)
        #: Set when an actor was given away, or one more may be started.
        self._refill = asyncio.Event()
        #: Set once the actors of an earlier supervisor are known.
        self._adopted = asyncio.Event()
        #: Actors whose assignment is being written: one at the most.
        self._in_hand = 0
        self._busy: dict[str, ActorHandle[Any]] = {}
        #: Pings in a row that a busy actor has let pass, from its first answer on: one that has not
        #: answered yet is still starting.
        self._silences: dict[str, int] = {}
        self._nodes = Nodes()
        #: Nodes that will go, once what runs there can run elsewhere.
        self._leaving: set[str] = set()
        #: Nodes that will go, as long as nothing can run elsewhere.
        self._without_room: set[str] = set()
        #: Held while a row gets an actor, and while actors and rows are compared.
        self._rows_lock = asyncio.Lock()
        urls = self._settings.primaries
        self._shards = Shards([LoneConnection(url) for url in urls])
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def assign(self, session_id: str, lost_actor: str | None) -> str:
        """Give a session an actor and return the actor's name.

        Args:
            session_id: an existing session.
            lost_actor: the name that the session's row held when the caller found no such actor;
                None for a new session. When the row holds another name by now, that one is
                returned: somebody was faster.

        Raises:
            NotFound: the session names a primary that is not there.
            Unavailable: the database is away, the session is over, or there are too many actors.
        """
        database = self._shards.of(SessionId(session_id))
        async with self._rows_lock:
            if not self._warm and not self._has_room():
                raise Unavailable("as many actors run as may; some of them are about to end")
            name, handle = self._warm.popleft() if self._warm else self._create()
            self._in_hand = 1
            try:
                rows = await database.fetch(queries["assign_actor"], session_id, name, lost_actor)
            except (Unavailable, asyncpg.PostgresError):
                # The row may name it or not. Killed, it is lost to the session in either case,
                # which is given another one.
                ray.kill(handle, no_restart=True)
                raise
            finally:
                self._in_hand = 0
            if rows:
                self._busy[name] = handle
                self._demand.note(time.monotonic())
                self._refill.set()
                # Unnoticed failure is fine: a replica's first call waits, and the actor looks again.
                handle.open.remote()
                return name
            self._warm.append((name, handle))
        rows = await database.fetch(queries["session_by_id"], session_id)
        if not rows or rows[0]["actor_name"] is None or rows[0]["ended_at"] is not None:
            raise Unavailable(f"session {session_id} has no actor and can be given none")
        return str(rows[0]["actor_name"])

    async def statistics(self) -> dict[str, Any]:
        """Warm actors, and the statistics of each session's actor by its name."""
        busy = dict(self._busy)
        found = await asyncio.gather(*(self._ping(handle) for handle in busy.values()))
        return {"warm": len(self._warm), "sessions": dict(zip(busy, found, strict=True))}

    def _create(self) -> tuple[str, ActorHandle[Any]]:
        name = f"{_ACTOR_PREFIX}{uuid.uuid4().hex}"
        handle = create_session_actor(name, self._settings.ray_namespace)
        start = asyncio.get_running_loop().create_task(self._await_start(handle))
        self._starting.add(start)
        start.add_done_callback(self._note_start)
        return name, handle

    # --- the pool -------------------------------------------------------------------------------------

    async def _await_start(self, handle: ActorHandle[Any]) -> None:
        """Return when an actor has answered, or has taken too long."""
        with contextlib.suppress(TimeoutError, ray.exceptions.RayError):
            async with asyncio.timeout(limits.ACTOR_START_MS_MAX / 1000):
                await handle.ping.remote()

    def _note_start(self, start: asyncio.Task[None]) -> None:
        self._starting.discard(start)
        self._refill.set()

    async def _keep_warm(self) -> None:
        """Refill the pool as soon as an actor was given away, whatever the watch waits for."""
        await self._adopted.wait()
        while True:
            self._refill.clear()
            try:
                await self._fill()
            except Exception:
                log.exception("action=pool_failed")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_WATCH_INTERVAL_S):
                    await self._refill.wait()

    async def _fill(self) -> None:
        """Start blank actors that are wanted, and end those that are not."""
        free_bytes = await asyncio.to_thread(self._nodes.free_memory_bytes)
        more = int(free_bytes) * limits.POOL_MEMORY_PERCENT // 100 // SESSION_ACTOR_BYTES
        room = max(0, len(self._warm) - self._settings.warm_pool_size) + more
        now_s, live = time.monotonic(), len(self._busy)
        wanted = self._demand.wanted(now_s, live, room)
        while (
            len(self._warm) < wanted and len(self._starting) < self._starts_max and self._has_room()
        ):
            self._warm.append(self._create())
        kept = max(wanted, self._demand.kept(now_s, live, room))
        while len(self._warm) > kept:
            name, handle = self._warm.pop()
            ray.kill(handle, no_restart=True)
            log.info("action=warm_actor_ended actor=%s", name)

    # --- the watch ------------------------------------------------------------------------------------

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(self._watch()), loop.create_task(self._keep_warm())]
        try:
            await asyncio.gather(*tasks)
        finally:
            await cancel([*tasks, *self._starting])

    async def _watch(self) -> None:
        next_sweep = 0.0
        while True:
            try:
                if not self._adopted.is_set():
                    await self._adopt()
                    self._start_writers()
                    self._adopted.set()
                await self._look_at_nodes()
                await asyncio.gather(*(self._examine(*busy) for busy in list(self._busy.items())))
                if time.monotonic() >= next_sweep:
                    await self._end_abandoned()
                    next_sweep = time.monotonic() + _SWEEP_INTERVAL_S
            except Exception:  # whatever it was, sessions must be watched
                log.exception("action=watch_failed")
            await asyncio.sleep(_WATCH_INTERVAL_S)

    async def _look_at_nodes(self) -> None:
        """Note which nodes will go; end blank actors there, so that no session gets one."""
        leaving = await asyncio.to_thread(self._nodes.leaving)
        if leaving and not await asyncio.to_thread(
            self._nodes.have_room, SESSION_ACTOR_CPUS, SESSION_ACTOR_BYTES, leaving
        ):
            # Moved now they would wait for a node to come; where they are they still run.
            if leaving != self._without_room:
                log.warning("action=no_room_to_move nodes=%s", ",".join(sorted(leaving)))
            self._without_room, leaving = leaving, set()
        else:
            self._without_room = set()
        self._leaving = leaving
        if not leaving:
            return
        for warm in list(self._warm):
            name, handle = warm
            if (await self._ping(handle)).get("node") in leaving and warm in self._warm:
                self._warm.remove(warm)
                ray.kill(handle, no_restart=True)
                log.info("action=warm_actor_ended actor=%s", name)

    def _start_writers(self) -> None:
        """Where a broker stands before the tables: whoever brings them together, unless it is there.

        Each primary has writers of its own, so that one that is away holds up no other's answers.
        """
        settings = self._settings
        if not settings.rabbitmq_url:
            return
        for number in range(settings.writers * len(settings.primaries)):
            shard, index = divmod(number, settings.writers)
            options: dict[str, Any] = {
                "name": f"{WRITER_PREFIX}{number}",
                "namespace": settings.ray_namespace,
                "lifetime": "detached",
                "get_if_exists": True,
                "max_restarts": -1,
                "num_cpus": _WRITER_CPUS,
            }
            url = settings.primaries[shard]
            ray.remote(CheckpointWriter).options(**options).remote(
                index, settings.writers, settings.rabbitmq_url, url, shard
            )

    def _has_room(self) -> bool:
        most = limits.SESSIONS_LIVE_MAX * len(self._settings.primaries)
        return len(self._warm) + self._in_hand + len(self._busy) < most

    async def _adopt(self) -> None:
        """After a restart: find the actors that an earlier supervisor started.

        Those that are blank end at the first look: a row that was being written while it died may
        name one of them by now, so none can be given away.
        """
        async with self._rows_lock:  # an actor that is being assigned is no stray
            for name in await asyncio.to_thread(ray.util.list_named_actors):
                if name.startswith(_ACTOR_PREFIX) and name not in self._known():
                    with contextlib.suppress(ValueError):  # it has gone meanwhile
                        handle = ray.get_actor(name, namespace=self._settings.ray_namespace)
                        self._busy[name] = handle

    def _known(self) -> set[str]:
        return {*self._busy, *(name for name, _ in self._warm)}

    async def _examine(self, name: str, handle: ActorHandle[Any]) -> None:
        """Look after one actor: end it when it is done, restart it when it hangs."""
        found = await self._ping(handle)
        if found.get("dead"):
            self._forget(name)
        elif found.get("silent"):
            # A process that is stopped or stuck fails no call; it only never answers.
            if name in self._silences:
                self._silences[name] += 1
                if self._silences[name] >= _SILENCES_MAX:
                    log.error("action=actor_hangs actor=%s", name)
                    del self._silences[name]
                    ray.kill(handle, no_restart=False)
        elif "unreachable" not in found:
            self._silences[name] = 0
            if found["node"] in self._leaving:
                # The ordinary recovery takes the session to another node.
                log.warning("action=actor_moved actor=%s node=%s", name, found["node"])
                ray.kill(handle, no_restart=False)
            elif found["leaving"] or ("phase" not in found and await self._is_blank(handle)):
                self._forget(name)
                ray.kill(handle, no_restart=True)
                log.info("action=actor_ended actor=%s", name)

    def _forget(self, name: str) -> None:
        self._busy.pop(name, None)
        self._silences.pop(name, None)

    async def _ping(self, handle: ActorHandle[Any]) -> dict[str, Any]:
        try:
            async with asyncio.timeout(_PING_TIMEOUT_S):
                found: dict[str, Any] = await handle.ping.remote()
        except ray.exceptions.RayTaskError as error:  # first: it is also one of its cause's class
            # It is there and plays its session; only what it tells of itself failed.
            log.exception("action=ping_failed")
            return {"unreachable": repr(error.cause)}
        except TimeoutError:
            return {"unreachable": "no answer", "silent": True}
        except ray.exceptions.ActorDiedError as error:
            return {"unreachable": repr(error), "dead": True}
        except ray.exceptions.RayError as error:
            return {"unreachable": repr(error)}
        return found

    @staticmethod
    async def _is_blank(handle: ActorHandle[Any]) -> bool:
        """Whether an actor has looked and found no session, as one that crashed after the end."""
        try:
            async with asyncio.timeout(_PING_TIMEOUT_S):
                return not await handle.open.remote()
        except (TimeoutError, ray.exceptions.RayError):
            return False  # the database may be away: it looks on

    async def _end_abandoned(self) -> None:
        """Free the PINs of sessions whose actors have gone with the cluster that they lived in."""
        async with self._rows_lock:
            names = await asyncio.to_thread(ray.util.list_named_actors)
            for shard, database in enumerate(self._shards.databases):
                try:
                    await self._sweep(shard, database, names)
                except Unavailable as error:
                    log.warning("action=sweep_failed shard=%d reason=%r", shard, error)

    async def _sweep(self, shard: int, database: Database, names: list[str]) -> None:
        ended = await database.fetch(
            queries["end_abandoned"], names, self._settings.linger_ms, limits.IDLE_MS_MAX, shard
        )
        for row in ended:
            log.info("action=abandoned_ended session=%s", row["session_id"])
        catalogue = self._shards.catalogue
        if database is not catalogue:
            entries = await catalogue.fetch(queries["entries"], shard)
            if entries:
                ids = [SessionId(str(row["session_id"])) for row in entries]
                await tell_ends(catalogue, database, ids)


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
