"""Does what the options name: kills, pauses, outages and cuts, at a time or from an ambush."""

from __future__ import annotations

from collections.abc import Callable

from tests.simulation.cluster import Cluster, Incarnation
from tests.simulation.loop import Process
from tests.simulation.network import Vanished
from tests.simulation.options import Fault

#: A broker closes a connection whose client it has not heard for two heartbeats, seconds.
_HEARTBEATS_S = 10.0


class Faults:
    """Brings the faults of the options; each is a method below, by its kind (:class:`Fault`)."""

    def __init__(self, cluster: Cluster, note: Callable[[str], None]) -> None:
        self._cluster = cluster
        self._note = note
        self._process = Process(cluster.loop, "faults")
        self._ambushes: dict[int, tuple[Fault, int]] = {}
        self._paused: list[Process] = []
        cluster.notice = self._notice
        for number, fault in enumerate(cluster.options.all_faults):
            self._process.call_at(fault.at_s, self._begin, number, fault)

    @property
    def over_s(self) -> float:
        """When the last one that comes by itself is over."""
        return max((f.at_s + f.for_s for f in self._cluster.options.all_faults), default=0.0)

    def heal(self) -> None:
        """Undo what lasts, and let nothing new happen."""
        self._ambushes.clear()
        cluster = self._cluster
        cluster.network.is_healed = True
        cluster.broker.is_up = cluster.database.is_up = cluster.redis.is_up = True
        cluster.database.slow_s = 0.0
        for process in self._paused:
            process.resume()
        self._note("all is healed")

    def _begin(self, number: int, fault: Fault) -> None:
        if self._cluster.network.is_healed:
            return
        if fault.point:
            self._ambushes[number] = (fault, fault.nth)
        else:
            self._strike(fault, None)

    def _notice(self, point: str, client: Process, is_before: bool) -> None:
        if not is_before:
            self._note(f"{client.name}: {point}")
        for number, (fault, left) in list(self._ambushes.items()):
            if (fault.point, fault.is_before) != (point, is_before):
                continue
            if left > 1:
                self._ambushes[number] = (fault, left - 1)
                continue
            del self._ambushes[number]
            # After the server's own turn: what it has just answered is under way by then.
            self._process.call_at(self._cluster.loop.time(), self._strike, fault, client)
            if is_before:
                raise Vanished

    def _strike(self, fault: Fault, client: Process | None) -> None:
        self._note(f"{fault.kind} {client.name if client else ''} {fault}")
        getattr(self, fault.kind)(fault, client)

    def _later(self, after_s: float, callback: Callable[..., object], *args: object) -> None:
        self._process.call_at(self._cluster.loop.time() + after_s, callback, *args)

    # --- the kinds ------------------------------------------------------------------------------

    def _actor(self, client: Process | None) -> Incarnation:
        for incarnation in self._cluster.incarnations:
            if incarnation.process is client:
                return incarnation
        return self._cluster.incarnation

    def actor_crash(self, fault: Fault, client: Process | None) -> None:
        """The actor's process is killed."""
        self._cluster.kill_actor(self._actor(client), fault.for_s, same_node=fault.same_node)

    def actor_pause(self, fault: Fault, client: Process | None) -> None:
        """The actor stops for a while; Ray may take it for dead, and start another one meanwhile."""
        self._pause(self._actor(client).process, fault.for_s)
        self.actor_doubled(fault, client)

    def actor_doubled(self, fault: Fault, client: Process | None) -> None:
        """Ray cannot reach the actor, takes it for dead and starts another one, which may die, too."""
        first = self._actor(client)
        if fault.successor_s >= 0 and first is self._cluster.incarnation:
            self._later(fault.successor_s, self._succeed, first, fault)

    def _succeed(self, first: Incarnation, fault: Fault) -> None:
        if first is not self._cluster.incarnation or not first.process.is_alive:
            return
        node = f"node {len(self._cluster.incarnations) + 1}"
        second = self._cluster.start_actor(first.process.node if fault.same_node else node)
        if fault.killed_s >= 0:
            self._later(
                fault.killed_s, lambda: self._cluster.kill_actor(second, 0.5, same_node=True)
            )

    def _pause(self, process: Process, for_s: float) -> None:
        process.pause()
        self._paused.append(process)
        self._later(for_s, process.resume)
        if for_s > _HEARTBEATS_S:
            for link in list(process.links):
                if link.server is self._cluster.broker:
                    self._later(_HEARTBEATS_S, link.server_gone)

    def _writer(self, fault: Fault, client: Process | None) -> int:
        for index, process in self._cluster.writers.items():
            if process is client:
                return index
        return fault.index % len(self._cluster.writers)

    def writer_crash(self, fault: Fault, client: Process | None) -> None:
        """A writer's process is killed, where there are any."""
        if self._cluster.writers:
            self._cluster.kill_writer(self._writer(fault, client), fault.for_s)

    def writer_pause(self, fault: Fault, client: Process | None) -> None:
        """A writer stops for a while; after some time the broker gives its partition to another."""
        if self._cluster.writers:
            self._pause(self._cluster.writers[self._writer(fault, client)], 2 * fault.for_s)

    def replica_crash(self, fault: Fault, _client: Process | None) -> None:
        """A replica's process is killed."""
        if replicas := self._cluster.replicas:
            self._cluster.kill_replica(replicas[fault.index % len(replicas)], fault.for_s)

    def broker_away(self, fault: Fault, _client: Process | None) -> None:
        """The broker is killed and comes back."""
        broker = self._cluster.broker
        broker.crash()
        self._later(fault.for_s, setattr, broker, "is_up", True)

    def database_away(self, fault: Fault, _client: Process | None) -> None:
        """The database is killed and comes back."""
        database = self._cluster.database
        database.crash()
        self._later(fault.for_s, setattr, database, "is_up", True)

    def redis_away(self, fault: Fault, _client: Process | None) -> None:
        """Redis is killed and comes back."""
        redis = self._cluster.redis
        redis.crash()
        self._later(fault.for_s, setattr, redis, "is_up", True)

    def database_slow(self, fault: Fault, _client: Process | None) -> None:
        """Every statement takes longer, some too long."""
        database = self._cluster.database
        database.slow_s = (0.1, 1.0, 3.0, 11.0)[fault.index]
        self._later(fault.for_s, setattr, database, "slow_s", 0.0)

    def cut(self, fault: Fault, client: Process | None) -> None:
        """A connection to the broker or the database breaks."""
        links = self._cluster.network.links
        mine = [link for link in links if link.client is client] or links
        if mine:
            mine[fault.index % len(mine)].cut()
