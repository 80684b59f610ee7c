"""What is done to which process, in the middle of a burst."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from threading import Timer
from typing import NamedTuple

import psutil

from engine import limits
from tests.acceptance.rounds import Round, kill, replica_pids

_PAUSE_S, _LONG_PAUSE_S, _CUT_S, _AWAY_S = 10.0, 60.0, 10.0, 20.0
#: Longer than Ray needs to take a silent node for dead.
_NODE_FROZEN_S = 100.0
#: By then no reading of an epoch is young any more: only the broker can tell who may acknowledge.
_LEASE_IS_OVER_S = limits.LEASE_MS / 1000 + 1.0


Strike = Callable[[], None]


class Fault(NamedTuple):
    """One kind of harm.

    Attributes:
        name: what the table says.
        aim: looks who is to be harmed, and returns what does it, at once and without looking: answers
            that come before the harm would be taken for such as flow again. What is stopped goes on
            by itself later.
        flows_from_s: an answer counts as one that flows again if it was sent so long after the harm.
        away_s: for so long what was harmed stays away, and answers must flow meanwhile.
        mend: brings it back then.
        moves: whether another actor must have taken the session over in the end, or must not.
    """

    name: str
    aim: Callable[[Round], Strike]
    flows_from_s: float = 0.1
    away_s: float = 0.0
    mend: Callable[[Round], None] = lambda _played: None
    moves: bool | None = None


def _session_actor(played: Round) -> list[int]:
    return [played.session_actor_pid()]


def _notificator(_played: Round) -> list[int]:
    return replica_pids("notificator")


def _writer(_played: Round) -> list[int]:
    return [
        process.pid
        for process in psutil.Process().children(recursive=True)
        if process.name().startswith("ray::CheckpointW")
    ]


def _broker(played: Round) -> list[int]:
    return [played.site.stack.rabbitmq.pid]


def _valkey(played: Round) -> list[int]:
    return [played.site.stack.valkey.pid]


def _database(played: Round) -> list[int]:
    main = psutil.Process(played.site.stack.postgres.pid)
    return [main.pid, *(child.pid for child in main.children(recursive=True))]


Find = Callable[[Round], list[int]]


def _nobody(_played: Round) -> Strike:
    return lambda: None


def _killed(*finds: Find) -> Callable[[Round], Strike]:
    def aim(played: Round) -> Strike:
        pids = [pid for find in finds for pid in find(played)]

        def strike() -> None:
            for pid in pids:
                with suppress(ProcessLookupError):  # it ended with the one before it
                    kill(pid)

        return strike

    return aim


def _killed_and_started(find: Find, server: str) -> Callable[[Round], Strike]:
    def aim(played: Round) -> Strike:
        pid = find(played)[0]

        def strike() -> None:
            kill(pid)
            getattr(played.site.stack, server).start()

        return strike

    return aim


def _paused(find: Find, seconds: float = _PAUSE_S) -> Callable[[Round], Strike]:
    def aim(played: Round) -> Strike:
        pids = find(played)

        def strike() -> None:
            for pid in pids:
                with suppress(ProcessLookupError):  # a backend whose client has left meanwhile
                    os.kill(pid, signal.SIGSTOP)
            Timer(seconds, _wake, [pids]).start()

        return strike

    return aim


def _wake(pids: list[int]) -> None:
    for pid in pids:
        if psutil.pid_exists(pid):
            os.kill(pid, signal.SIGCONT)


def _node(played: Round) -> list[int]:
    """The node on which the session's actor runs; there are always two to choose from."""
    return list(played.site.nodes.of(played.session_actor_pid()))


def _drained(played: Round) -> Strike:
    nodes, node_id = played.site.nodes, played.session_actor_node()
    return lambda: nodes.drain(node_id)


def _head_lost(played: Round) -> Strike:
    return played.site.head.aim()


def _scaled(replicas: int) -> Callable[[Round], Strike]:
    def aim(played: Round) -> Strike:
        from ray import serve  # noqa: PLC0415 - only once the stack has set its environment

        from serve_app.deploy import targets  # noqa: PLC0415

        changes = {"notificator_replicas": replicas}
        wanted = targets(played.site.stack.settings.model_copy(update=changes))
        return lambda: serve.run_many(wanted, wait_for_applications_running=False)

    return aim


def _all_at_once(played: Round) -> Strike:
    ray = _killed(_session_actor, _notificator, _writer)(played)
    broker = _killed_and_started(_broker, "rabbitmq")(played)
    database = _killed_and_started(_database, "postgres")(played)

    def strike() -> None:
        ray()
        time.sleep(1)
        broker()
        database()

    return strike


#: The short form, and what the long one adds.
SHORT = (
    Fault("SessionActor and writer killed", _killed(_session_actor, _writer)),
    Fault(
        "database away 20 s",
        _killed(lambda played: [played.site.stack.postgres.pid]),
        flows_from_s=_LEASE_IS_OVER_S,
        away_s=_AWAY_S,
        mend=lambda played: played.site.stack.postgres.start(),
    ),
)
LONG = (
    Fault("nothing", _nobody),
    Fault("SessionActor killed", _killed(_session_actor)),
    Fault("database killed", _killed_and_started(_database, "postgres")),
    *SHORT,
    Fault("writer killed", _killed(_writer)),
    Fault("broker killed", _killed_and_started(_broker, "rabbitmq")),
    Fault("Notificator killed", _killed(_notificator)),
    Fault("Notificator added", _scaled(2)),
    Fault("Notificator removed", _scaled(1)),
    Fault("Valkey killed", _killed_and_started(_valkey, "valkey")),
    Fault("SessionActor paused 10 s", _paused(_session_actor)),
    Fault("SessionActor paused 60 s", _paused(_session_actor, _LONG_PAUSE_S)),
    Fault("Notificator paused 10 s", _paused(_notificator)),
    Fault("writer paused 10 s", _paused(_writer)),
    Fault("broker paused 10 s", _paused(_broker)),
    Fault("database paused 10 s", _paused(_database)),
    Fault("database paused 60 s", _paused(_database, _LONG_PAUSE_S)),
    Fault("Valkey paused 10 s", _paused(_valkey)),
    Fault("actor, replica, writer, then broker, then database", _all_at_once),
)

#: With nodes beside the head, which has room for no SessionActor.
NODES = (
    Fault("nothing", _nobody),
    Fault("node drained", _drained, moves=True),
    Fault("node killed", _killed(_node), moves=True),
    Fault("node frozen", _paused(_node, _NODE_FROZEN_S), moves=True),
)

#: With a head whose state outlives it. It has room for no SessionActor, so none is lost with it.
HEAD = (
    Fault("nothing", _nobody),
    Fault("head node killed", _head_lost, moves=False),
)


def _cut(*names: str) -> Callable[[Round], Strike]:
    return lambda played: lambda: played.site.wires.cut(*names)


def _cut_for_a_while(*names: str, find: Find | None = None) -> Callable[[Round], Strike]:
    def aim(played: Round) -> Strike:
        wires, pids = played.site.wires, find(played) if find is not None else None

        def strike() -> None:
            wires.cut(*names, pids=pids)
            Timer(_CUT_S, wires.mend).start()

        return strike

    return aim


def _mend(played: Round) -> None:
    played.site.wires.mend()


_ALL = ("database", "broker", "valkey")
#: With wires to the servers that can be cut, for everybody or for one process.
NETWORK = (
    Fault("nothing", _nobody),
    Fault(
        "database cut off 20 s",
        _cut("database"),
        flows_from_s=_LEASE_IS_OVER_S,
        away_s=_AWAY_S,
        mend=_mend,
    ),
    Fault(
        "database's packets dropped 60 s",
        _cut("database"),
        flows_from_s=_LEASE_IS_OVER_S,
        away_s=_LONG_PAUSE_S,
        mend=_mend,
    ),
    Fault("Valkey cut off 20 s", _cut("valkey"), away_s=_AWAY_S, mend=_mend),
    Fault("broker cut off 10 s", _cut_for_a_while("broker")),
    Fault("SessionActor cut off 10 s", _cut_for_a_while(*_ALL, find=_session_actor)),
    Fault("Notificator cut off 10 s", _cut_for_a_while(*_ALL, find=_notificator)),
    Fault("writer cut off 10 s", _cut_for_a_while(*_ALL, find=_writer)),
)
