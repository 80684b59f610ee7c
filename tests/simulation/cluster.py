"""The machines: Ray, replicas, writers; and where the real code meets the fakes below it.

A replica has the real Gateway, and where people have sockets the real Hub, Subscriber and Viewers.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import aio_pika
import asyncpg
import msgspec
import pytest
import ray
import redis.asyncio

from actors import checkpoint_writer, clock, handover, session_actor
from actors.checkpoint_writer import CheckpointWriter
from actors.publisher import RedisPublisher
from actors.session_actor import SessionActor
from actors.session_host import SessionHost
from actors.session_store import Place
from actors.settings import Settings
from engine import limits
from engine.ids import SessionId
from engine.model import Quiz, SessionSettings
from engine.testing.driver import SESSION_ID, START_MS
from engine.wire import BatchItem, BatchReply, Publication
from serve_app import hub, viewer
from serve_app.auth import Tokens
from serve_app.batcher import Gateway
from serve_app.hub import Hub, Room
from serve_app.rate import TokenBucket
from serve_app.subscriber import Subscriber
from serve_app.viewer import Viewer, message_rate
from serve_app.websocket import uvicorn_picows
from tests.simulation.broker import Broker
from tests.simulation.channels import Redis
from tests.simulation.loop import Gone, Process, SeededLoop, current
from tests.simulation.network import Network
from tests.simulation.options import Options, Sockets
from tests.simulation.sockets import Reader, Socket, Waiting
from tests.simulation.tables import Database

_ACTOR_NAME = "session-actor:1"
#: With a broker in front of the tables, as in the cluster profile, and without one; and without one
#: for people with websockets, whose host locks the session and removes several at once.
SETTINGS = {
    name: Settings(
        database_url="postgresql://simulated",
        redis_url="redis://simulated",
        rabbitmq_url=broker,
        secret="a-secret-of-at-least-32-characters",
        public_url="http://localhost",
    )
    for name, broker in (("cluster", "amqp://simulated"), ("embedded", ""), ("sockets", ""))
}
#: How long a replica may go on calling an actor that was replaced and lives, seconds.
_STALE_ROUTE_S_MAX = 8.0
#: How long a slow snapshot is under way at the most, seconds; many frames are published meanwhile.
_SLOW_SNAPSHOT_S = 4.0

Heard = Callable[[BatchReply], object]


class Incarnation:
    """One process that runs the session's actor."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.actor: SessionActor | None = None
        self.calls: dict[asyncio.Future[Any], None] = {}

    async def boot(self) -> None:
        """Construct the actor, on its own loop as Ray does."""
        self.actor = SessionActor(_ACTOR_NAME)

    @property
    def host(self) -> SessionHost | None:
        """The session, once it is taken over."""
        return self.actor._host if self.actor is not None else None


class Replica:
    """A Serve replica: its process, its gateway and hub, and the actor that it believes in."""

    def __init__(self, cluster: Cluster, number: int) -> None:
        self._cluster = cluster
        self.process = Process(cluster.loop, f"replica {number}")
        self.gateway: _Gateway
        self._hub: Hub
        self.stale: tuple[float, Incarnation] | None = None
        self.process.context.run(self._boot)

    def _boot(self) -> None:
        self.gateway = _Gateway(self._cluster, self)
        if self._cluster.options.sockets is not None:
            self._hub = Hub(self.gateway, Subscriber("redis://simulated"))

    def viewer(self) -> Viewer:
        """The server's side of a new socket."""
        return _Viewer(
            self._cluster.next_number(),
            self._hub,
            self.gateway,
            self._cluster.tokens,
            message_rate(limits.MESSAGES_PER_S_MAX),
            said_hello=_nothing,
            counted=_nothing,
        )

    @property
    def room(self) -> Room | None:
        """The session here, if somebody looks at it."""
        return next(iter(self._hub.rooms()), None)

    # --- the Directory that its gateway asks, and the handle that it gets ----------------------

    async def handle(self, _session_id: SessionId) -> Replica:
        """The actor; Ray itself finds out where it runs by now."""
        return self

    def forget(self, _session_id: SessionId) -> None:
        """Nothing is remembered here."""

    @property
    def submit(self) -> _Method:
        """The actor's method."""
        return _Method(self._cluster, self, "submit")

    @property
    def snapshot(self) -> _Method:
        """The actor's method."""
        return _Method(self._cluster, self, "snapshot")

    def route(self) -> Incarnation:
        """Where a call goes now."""
        if self.stale is not None:
            until_s, earlier = self.stale
            if earlier.process.is_alive and self._cluster.loop.time() < until_s:
                return earlier
            self.stale = None
        return self._cluster.incarnation


class _Viewer(Viewer):
    """The real one; rooms keep them in sets, whose order must not depend on addresses."""

    def __init__(self, number: int, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._number = number

    def __hash__(self) -> int:
        return self._number

    def __eq__(self, other: object) -> bool:
        return self is other


class _Gateway(Gateway):
    """The real one; what it is given, and what it is told of that, is heard by the auditor."""

    def __init__(self, cluster: Cluster, replica: Replica) -> None:
        super().__init__(replica)  # type: ignore[arg-type]
        self._cluster = cluster
        self._replica = replica

    def submit(self, session_id: SessionId, item: BatchItem, done: Heard) -> None:
        """See :meth:`Gateway.submit`; this is what a Viewer calls."""
        self._submit(session_id, item, done, self._replica.room)

    def submit_by_http(self, item: BatchItem, done: Heard) -> None:
        """Take what did not come over a socket."""
        self._submit(SESSION_ID, item, done, None)

    def _submit(
        self, session_id: SessionId, item: BatchItem, done: Heard, room: Room | None
    ) -> None:
        # At the replica: what it was told is acknowledged, whether it still reaches anybody.
        hear = self._cluster.on_submit(item, room)
        super().submit(session_id, item, lambda reply: (hear(reply), done(reply)))


class _Method:
    """``handle.method``, with ``remote`` as Ray has it: at most once, and perhaps never answered."""

    def __init__(self, cluster: Cluster, replica: Replica, name: str) -> None:
        self._cluster = cluster
        self._replica = replica
        self._name = name

    def remote(self, *args: object) -> asyncio.Future[Any]:
        cluster, caller = self._cluster, current()
        target = self._replica.route()
        future: asyncio.Future[Any] = cluster.loop.create_future()
        if not target.process.is_alive:
            caller.call_at(cluster.soon_s(1.0), _set_away, future)
            return future
        target.calls[future] = None
        future.add_done_callback(lambda done: target.calls.pop(done, None))
        for _ in range(cluster.copies()):
            target.process.call_at(cluster.soon_s(), self._arrive, target, caller, future, args)
        return future

    def _arrive(
        self,
        target: Incarnation,
        caller: Process,
        future: asyncio.Future[Any],
        args: tuple[object, ...],
    ) -> None:
        target.process.spawn(self._run(target, caller, future, args))

    async def _run(
        self,
        target: Incarnation,
        caller: Process,
        future: asyncio.Future[Any],
        args: tuple[object, ...],
    ) -> None:
        assert target.actor is not None, "Ray queues calls until the constructor has run"
        result = await getattr(target.actor, self._name)(*args)
        if self._cluster.copies():
            more_s = self._cluster.snapshot_takes_s() if self._name == "snapshot" else 0.0
            caller.call_at(self._cluster.soon_s(more_s), _set_result, future, result)


def _set_result(future: asyncio.Future[Any], result: Any) -> None:
    if not future.done():
        future.set_result(result)


def _set_away(future: asyncio.Future[Any]) -> None:
    if not future.done():
        future.set_exception(ray.exceptions.RayError("the actor is away"))


class Cluster:
    """Everything that runs, and how it is started and ended.

    Attributes:
        profile: which of :data:`SETTINGS` is simulated.
        incarnation: the process in which Ray has the actor now.
        writers, replicas: those that run now.
        on_ready, on_frame: told of a host that has taken over, and of what it publishes.
        on_submit: told of each item that a replica takes, and of the room of the socket that it came
            over; what it returns is told the reply.
        violate: told of a bound that does not hold.
        tokens: of the session's people. They are of the real day, and outlast every play.
    """

    def __init__(
        self,
        loop: SeededLoop,
        rng: random.Random,
        options: Options,
        quiz: Quiz,
        settings: SessionSettings,
        profile: str,
    ) -> None:
        self.profile = profile
        self.loop = loop
        self.rng = rng
        self.options = options
        self.quiz = quiz
        self.network = Network(rng, options)
        self.notice: Callable[[str, Process, bool], None] = lambda *_: None
        self.on_ready: Callable[[SessionHost], None] = lambda _: None
        self.on_frame: Callable[[Publication], None] = lambda _: None
        self.on_submit: Callable[[BatchItem, Room | None], Heard] = lambda *_: _nothing
        self.violate: Callable[[str, str], None] = _nothing
        self.tokens = Tokens(SETTINGS[profile].secret)
        lost_share = options.sockets.published_lost_share if options.sockets is not None else 0.0
        self.redis = Redis(Process(loop, "redis"), self.network, rng, lost_share)
        self.broker = Broker(Process(loop, "broker"), self.network, self._notice)
        session = {
            "session_id": SESSION_ID,
            "actor_name": _ACTOR_NAME,
            "epoch": 0,
            "partition": 0,
            "settings": msgspec.json.encode(settings),
            "quiz_id": "a quiz",
            "quiz_version": 1,
            "actor_node": None,
            "actor_pid": None,
            "barrier_epoch": 0,
            "barrier_number": 0,
            "finished": False,
            "ended": False,
            "take_overs": 0,
        }
        self.database = Database(Process(loop, "database"), self.network, self._notice, session)
        self.incarnations: list[Incarnation] = []
        self.writers: dict[int, Process] = {}
        self.replicas: list[Replica] = []
        self._ray = Process(loop, "ray")
        self._replicas_count = 0
        self._numbers_count = 0

    def _notice(self, point: str, client: Process, is_before: bool) -> None:
        self.notice(point, client, is_before)

    # --- chance ---------------------------------------------------------------------------------

    def soon_s(self, more_s: float = 0.0) -> float:
        """When something arrives that leaves now."""
        return self.loop.time() + self.network.delay_s() + self.rng.random() * more_s

    def copies(self) -> int:
        """How many of one message arrive between a replica and the actor."""
        if not self.network.is_healed and self.rng.random() < self.options.calls_lost_share:
            return 0
        return 1 + (self.rng.random() < self.options.calls_doubled_share)

    def snapshot_takes_s(self) -> float:
        """How long a snapshot may be under way, beside what the network takes for anything."""
        sockets = self.options.sockets
        if sockets is None or self.network.is_healed:
            return 0.0
        return _SLOW_SNAPSHOT_S if self.rng.random() < sockets.snapshots_slow_share else 0.0

    # --- Ray ------------------------------------------------------------------------------------

    @property
    def incarnation(self) -> Incarnation:
        """The newest one: it is where Ray believes the actor to be."""
        return self.incarnations[-1]

    def start(self) -> None:
        """Start everything."""
        self.start_actor("node 1")
        if SETTINGS[self.profile].rabbitmq_url:
            for index in range(self.options.writers):
                self.start_writer(index)
        for _ in range(self.options.replicas):
            self.start_replica()

    def start_actor(self, node: str) -> Incarnation:
        """Start the actor in a new process; replicas may believe in the earlier one for a while."""
        skew_ms = self.rng.randint(-1, 1) * self.options.skew_ms_max
        number = len(self.incarnations) + 1
        started = Incarnation(Process(self.loop, f"actor {number} on {node}", node, skew_ms))
        now_s = self.loop.time()
        for replica in self.replicas:
            if self.rng.random() < self.options.stale_route_share:
                until_s = now_s + self.rng.random() * _STALE_ROUTE_S_MAX
                replica.stale = (until_s, replica.route())
        self.incarnations.append(started)
        started.process.spawn(started.boot())
        return started

    def kill_actor(self, incarnation: Incarnation, back_s: float, *, same_node: bool) -> None:
        """End an actor's process; Ray starts it anew, unless it has done so already."""
        if not incarnation.process.is_alive:
            return
        incarnation.process.kill()
        for future in list(incarnation.calls):
            self._ray.call_at(self.soon_s(1.0), _set_away, future)
        if incarnation is self.incarnation:
            node = incarnation.process.node
            if not same_node:
                node = f"node {len(self.incarnations) + 1}"
            self._ray.call_at(self.loop.time() + back_s, self._restart, incarnation, node)

    def _restart(self, lost: Incarnation, node: str) -> None:
        if self.incarnation is lost:
            self.start_actor(node)

    def leave(self, status: int) -> None:
        """Stand in for ``os._exit``."""
        process = current()
        assert status == 1
        [incarnation] = [i for i in self.incarnations if i.process is process]
        self.kill_actor(incarnation, 0.3 + self.rng.random(), same_node=True)
        raise Gone

    def start_writer(self, index: int) -> None:
        """Start a writer."""
        process = Process(self.loop, f"writer {index}")
        self.writers[index] = process
        process.spawn(self._write(index))

    async def _write(self, index: int) -> None:
        CheckpointWriter(index, self.options.writers, "amqp://simulated", "postgresql://simulated")

    def kill_writer(self, index: int, back_s: float) -> None:
        """End a writer; Ray starts it anew."""
        if self.writers[index].is_alive:
            self.writers[index].kill()
            self._ray.call_at(self.loop.time() + back_s, self.start_writer, index)

    def start_replica(self) -> None:
        """Start a replica."""
        self._replicas_count += 1
        self.replicas.append(Replica(self, self._replicas_count))

    def kill_replica(self, replica: Replica, back_s: float) -> None:
        """End a replica; Serve starts another."""
        replica.process.kill()
        self.replicas.remove(replica)
        self._ray.call_at(self.loop.time() + back_s, self.start_replica)

    def has_pid(self, pid: int) -> bool:
        """Stand in for ``psutil.pid_exists``, on the caller's node."""
        node = current().node
        return any(
            i.process.pid == pid and i.process.node == node and i.process.is_alive
            for i in self.incarnations
        )

    # --- from people to replicas and back -------------------------------------------------------

    def ask(self, replica: Replica, item: BatchItem, answered: Heard) -> None:
        """Bring an item to a replica; ``answered`` hears its reply there, if there ever is one."""
        replica.process.call_at(self.soon_s(), replica.gateway.submit_by_http, item, answered)

    def open_socket(self, replica: Replica, reader: Reader) -> Socket:
        """Connect a page to a replica."""
        sockets = self.options.sockets
        assert sockets is not None
        return Socket(
            self.network,
            reader,
            replica.process,
            replica.viewer,
            sockets.wire_bytes,
            self._violated,
        )

    def next_number(self) -> int:
        """One that no socket has had."""
        self._numbers_count += 1
        return self._numbers_count

    def _violated(self, invariant: str, seen: str) -> None:
        self.violate(invariant, seen)

    # --- where the real code meets the fakes ----------------------------------------------------

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Put the fakes below the real code."""
        patch.setattr(aio_pika, "connect", self.broker.connect)
        patch.setattr(asyncpg, "connect", self.database.connect)
        patch.setattr(limits, "PARTITIONS", 1)
        time = _Time(self.loop)
        patch.setattr(clock, "time", time)
        patch.setattr(handover, "psutil", _Psutil(self))
        patch.setattr(Settings, "from_env", lambda: SETTINGS[self.profile])
        # A collection in the middle of a seed would run the ends of tasks of earlier ones.
        patch.setattr(session_actor, "collect_seldom", _nothing)
        # Like those of finished sessions, actors of cancelled ones stay for longer than a seed lasts.
        patch.setattr(limits, "CANCELLED_LINGER_MS", limits.LINGER_MS)
        # The double has no dead letters to count or to replay: a message that cannot be stored is a
        # fault here.
        patch.setattr(checkpoint_writer, "_DEAD_LETTERS_INTERVAL_S", 1e9)
        patch.setattr(limits, "REPLAY_INTERVAL_MS", 1e12)
        if self.options.sockets is None:
            patch.setattr(session_actor, "RedisPublisher", lambda *_: _Frames(self))
        else:
            self._install_sockets(patch, time, self.options.sockets)
        patch.setattr(session_actor, "PinnedQuizzes", lambda *_: _Quizzes(self.quiz))
        patch.setattr(session_actor, "SessionHost", self._make_host)
        patch.setattr(session_actor, "os", _Os(self))
        patch.setattr(session_actor, "_here", _here)

    def _install_sockets(self, patch: pytest.MonkeyPatch, time: _Time, sockets: Sockets) -> None:
        patch.setattr(redis.asyncio.Redis, "from_url", self.redis.from_url)
        patch.setattr(session_actor, "RedisPublisher", lambda *args: _Publisher(self, *args))
        patch.setattr(hub, "time", time)
        patch.setattr(viewer, "time", time)
        patch.setattr(viewer, "TokenBucket", lambda rate: TokenBucket(rate, time.monotonic))
        patch.setattr(uvicorn_picows, "WAITING", Waiting(self._violated))
        for name, value in sockets.bounds.items():
            patch.setattr(limits, name, value)

    def _make_host(self, *args: Any, **more: Any) -> SessionHost:
        host = SessionHost(*args, **more)
        self.on_ready(host)
        return host


def _nothing(*_args: object) -> None:
    """Stand in for what does not matter here."""


class _Quizzes:
    """The quizzes of sessions, at hand: where they come from decides nothing."""

    def __init__(self, quiz: Quiz) -> None:
        self._quiz = quiz

    async def read(self, *_: object) -> Quiz:
        return self._quiz

    async def close(self) -> None:
        """Nothing is held open."""


class _Frames:
    """The session's Redis channel, as the actor sees it."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def publish(self, publication: Publication) -> None:
        self._cluster.on_frame(publication)

    async def close(self) -> None:
        """Nothing is held open."""


class _Publisher(RedisPublisher):
    """The real one; what it is given is heard by the auditor."""

    def __init__(self, cluster: Cluster, url: str, session_id: SessionId) -> None:
        super().__init__(url, session_id)
        self._cluster = cluster

    def publish(self, publication: Publication) -> None:
        self._cluster.on_frame(publication)
        super().publish(publication)


class _Time:
    """``time``, as far as clock, hub and viewers ask it: virtual, with each machine's own error."""

    CLOCK_BOOTTIME = 7

    def __init__(self, loop: SeededLoop) -> None:
        self._loop = loop

    def time_ns(self) -> int:
        return (START_MS + current().skew_ms) * 1_000_000 + round(self._loop.time() * 1e9)

    def time(self) -> float:
        return self.time_ns() / 1e9

    def monotonic_ns(self) -> int:
        return round(self._loop.time() * 1e9)

    def monotonic(self) -> float:
        return self._loop.time()

    def clock_gettime_ns(self, clock_id: int) -> int:
        assert clock_id == self.CLOCK_BOOTTIME, "a suspended machine must not stop it"
        # The machine was on for a while before.
        return round((self._loop.time() + 1_000.0) * 1e9)


class _Psutil:
    def __init__(self, cluster: Cluster) -> None:
        self.pid_exists = cluster.has_pid


class _Os:
    def __init__(self, cluster: Cluster) -> None:
        self._exit = cluster.leave

    @staticmethod
    def getpid() -> int:
        return current().pid


def _here() -> Place:
    return Place(current().node, current().pid)
