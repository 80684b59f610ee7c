"""What a seed draws: the quiz, the people, the network and every fault, all of it printed on failure."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final

Rng = random.Random

#: What a server has just done, or is about to do, when an ambush strikes.
POINTS: Final = (
    "publish:batch",
    "publish:barrier",
    "deliver",
    "ack",
    "mailbox",
    "sql:take_over",
    "sql:note_place",
    "sql:session_epoch",
    "sql:stored_barrier",
    "sql:stored_joins",
    "sql:stored_events",
    "sql:barriers",
    "sql:store_answers",
    "commit",
)


@dataclass(frozen=True)
class Fault:
    """One misfortune.

    Attributes:
        kind: a method of :class:`tests.simulation.faults.Faults`.
        at_s: when it comes, or from when its ambush waits.
        for_s: how long it lasts: a pause, an outage, the time until what was killed comes back.
        successor_s: for an actor that Ray takes for dead, after which time another is started;
            negative: never.
        killed_s: when that one is killed in its turn; negative: never.
        same_node: whether the successor starts where the earlier one ran.
        index: which writer or replica, or which kind of connection.
        point, nth, is_before: the ambush: at the nth time that a server is reached by, or has just
            done, this. It then strikes whoever asked for it, if it is of the kind.
    """

    kind: str
    at_s: float
    for_s: float = 0.0
    successor_s: float = -1.0
    killed_s: float = -1.0
    same_node: bool = False
    index: int = 0
    point: str = ""
    nth: int = 1
    is_before: bool = False


@dataclass(frozen=True)
class Sockets:
    """What is drawn for a play in which people have websockets.

    Attributes:
        socket_share: of the participants; the others, and the host by the same share, ask by HTTP.
        published_lost_share: of what Redis hands on to a replica.
        stall_share, cut_share, reload_share: of the seconds in which a page begins to read nothing,
            its connection breaks, or it is loaded anew.
        stall_s_max: how long a page reads nothing at the most.
        wire_bytes: what the network between a replica and a page takes up before the replica must
            keep it.
        buffer_bytes: from how much on that is kept a socket is slow; see :meth:`bounds`.
        snapshots_slow_share: of the snapshots that an actor gives; frames overtake them.
        faults: as in :class:`Options`.
    """

    socket_share: float
    published_lost_share: float
    stall_share: float
    stall_s_max: float
    cut_share: float
    reload_share: float
    wire_bytes: int
    buffer_bytes: int
    snapshots_slow_share: float
    faults: tuple[Fault, ...]

    @property
    def bounds(self) -> dict[str, int]:
        """Bounds of a replica's buffers, by their names in :mod:`engine.limits`.

        Small ones, because people here send and are sent a few hundred bytes. But a snapshot fits into
        a socket's buffer, as it does into the real one: else catching up would begin again each time.
        """
        return {
            "SOCKET_BUFFER_BYTES_MAX": self.buffer_bytes,
            "SOCKET_WAITING_BYTES_MAX": 2 * self.buffer_bytes,
            "REPLICA_WAITING_BYTES_MAX": 5 * self.buffer_bytes // 2,
        }


@dataclass(frozen=True)
class Options:
    """Everything that was drawn before the play begins; what comes later is drawn by the way."""

    # --- the quiz
    self_paced: bool
    questions: int
    time_limit_ms: int
    preview_ms: int
    streak_bonus: bool
    by_speed: bool
    early_close: bool
    # --- the people
    participants: int
    late_joiners: int
    think_s_max: float
    repeat_share: float
    impatient_s: float
    extend_share: float
    close_share: float
    remove_share: float
    end_early_share: float
    # --- the machines
    replicas: int
    writers: int
    skew_ms_max: int
    stale_route_share: float
    frames_lost_share: float
    # --- the network
    latency_s: float
    slow_share: float
    slow_s_max: float
    cut_share: float
    calls_lost_share: float
    calls_doubled_share: float
    # --- what goes wrong
    faults: tuple[Fault, ...] = field(default=())
    # --- drawn by :func:`draw_more`
    lock_share: float = 0.0
    bulk_share: float = 0.0
    sockets: Sockets | None = None

    @property
    def all_faults(self) -> tuple[Fault, ...]:
        """Those of the sockets among them."""
        return self.faults + (self.sockets.faults if self.sockets is not None else ())

    def __str__(self) -> str:
        """One line for each option, and for each fault."""
        lines = _lines(self)
        if self.sockets is not None:
            lines += _lines(self.sockets)
        return "\n".join((*lines, *(f"  {fault}" for fault in self.all_faults)))


def _lines(options: Options | Sockets) -> list[str]:
    return [
        f"  {entry.name} = {_short(getattr(options, entry.name))}"
        for entry in fields(options)
        if entry.name not in ("faults", "sockets")
    ]


def _short(value: object) -> object:
    return round(value, 4) if isinstance(value, float) else value


def draw(rng: Rng) -> Options:
    """Options of one seed. Half of the seeds have a quiet network, so that a fault stands alone.

    A third begins with what is hardest: an actor that Ray takes for dead, and that goes on. In some
    the database leaves for long, at times when the actor has just been taken over or is about to be,
    so that the broker alone can tell the two apart.
    """
    is_rough = rng.random() < 0.5
    self_paced = rng.random() < 0.15
    questions = rng.randint(1, 3)
    time_limit_ms = rng.choice((2_000, 3_000, 5_000))
    # Most questions take about as long as that, and faults that come later hit nobody.
    quiz_s = 1.0 + questions * (time_limit_ms / 1000 + 1.0)
    return Options(
        self_paced=self_paced,
        questions=questions,
        time_limit_ms=time_limit_ms,
        preview_ms=rng.choice((0, 0, 300)),
        streak_bonus=not self_paced and rng.random() < 0.3,
        by_speed=not self_paced and rng.random() < 0.7,
        early_close=rng.random() < 0.4,
        participants=rng.randint(2, 6),
        late_joiners=rng.choice((0, 0, 1, 2)),
        think_s_max=rng.choice((0.3, 1.0, 4.0)),
        repeat_share=rng.choice((0.1, 0.5, 0.9)),
        impatient_s=rng.choice((0.7, 3.0, 15.0)),
        extend_share=rng.choice((0.0, 0.2, 0.5)),
        close_share=rng.choice((0.0, 0.2)),
        remove_share=rng.choice((0.0, 0.0, 0.1)),
        end_early_share=rng.choice((0.0, 0.0, 0.1)),
        replicas=rng.randint(1, 3),
        writers=rng.randint(1, 2),
        skew_ms_max=rng.choice((0, 50, 1_000)),
        stale_route_share=rng.choice((0.0, 0.7, 1.0)),
        frames_lost_share=rng.choice((0.0, 0.05)),
        latency_s=rng.choice((0.001, 0.005, 0.03)),
        slow_share=rng.choice((0.005, 0.03)) if is_rough else 0.0,
        slow_s_max=rng.choice((0.5, 2.0, 8.0)),
        cut_share=rng.choice((0.0, 0.002, 0.01)) if is_rough else 0.0,
        calls_lost_share=rng.choice((0.0, 0.02, 0.1)) if is_rough else 0.0,
        calls_doubled_share=rng.choice((0.0, 0.05)),
        faults=tuple(
            Fault(kind="actor_doubled", at_s=_about(rng, quiz_s / 3), **_draw_double(rng))
            for _ in range(rng.choice((0, 0, 1)))
        )
        + tuple(_draw_fault(rng, quiz_s) for _ in range(rng.choice((0, 1, 1, 2, 2, 3, 4))))
        + (_draw_eclipse(rng, quiz_s) if rng.random() < 0.2 else ()),
    )


def draw_more(rng: Rng, options: Options, *, has_sockets: bool) -> Options:
    """What a generator of its own draws: how the host keeps the door, and people's websockets."""
    quiz_s = 1.0 + options.questions * (options.time_limit_ms / 1000 + 1.0)
    return replace(
        options,
        lock_share=rng.choice((0.0, 0.0, 0.2)),
        bulk_share=rng.choice((0.0, 0.0, 0.2)),
        sockets=_draw_sockets(rng, quiz_s) if has_sockets else None,
    )


def _draw_sockets(rng: Rng, quiz_s: float) -> Sockets:
    kinds = rng.choices(("redis_away", "replica_crash"), k=rng.choice((0, 0, 1, 1, 2)))
    return Sockets(
        socket_share=rng.choice((0.5, 0.9)),
        published_lost_share=rng.choice((0.0, 0.05, 0.3)),
        stall_share=rng.choice((0.0, 0.2)),
        stall_s_max=rng.choice((1.0, 5.0, 30.0)),
        cut_share=rng.choice((0.0, 0.0, 0.05)),
        reload_share=rng.choice((0.0, 0.0, 0.05)),
        wire_bytes=rng.choice((100, 500, 2_000)),
        buffer_bytes=rng.choice((2_000, 2_500)),
        snapshots_slow_share=rng.choice((0.0, 0.0, 0.3)),
        faults=tuple(
            Fault(
                kind=kind,
                at_s=_about(rng, quiz_s / 2),
                for_s=_about(rng, rng.choice((0.3, 3.0, 8.0))),
                index=rng.randint(0, 3),
            )
            for kind in kinds
        ),
    )


def _draw_eclipse(rng: Rng, quiz_s: float) -> tuple[Fault, ...]:
    at_s = _about(rng, quiz_s / 4)
    away = Fault(kind="database_away", at_s=at_s, for_s=round(5.0 + 20 * rng.random(), 3))
    if rng.random() < 0.4:
        return (away,)
    pause = Fault(
        kind="actor_pause",
        at_s=max(0.0, at_s - _about(rng, 3.0)),
        for_s=_about(rng, 5.0),
        successor_s=_about(rng, 0.1),
        same_node=rng.random() < 0.5,
    )
    return (pause, away)


_KINDS: Final = (
    ("actor_crash", 4),
    ("actor_pause", 4),
    ("actor_doubled", 5),
    ("writer_crash", 3),
    ("writer_pause", 2),
    ("replica_crash", 1),
    ("broker_away", 2),
    ("database_away", 2),
    ("database_slow", 1),
    ("cut", 2),
)


def _draw_fault(rng: Rng, quiz_s: float) -> Fault:
    kind = rng.choices([name for name, _ in _KINDS], [weight for _, weight in _KINDS])[0]
    is_ambush = rng.random() < 0.6 and kind not in ("replica_crash", "database_slow")
    return Fault(
        kind=kind,
        at_s=_about(rng, quiz_s / 2),
        # Around the lease's length lie the narrow escapes.
        for_s=_about(rng, rng.choice((0.3, 1.0, 3.0, 5.0, 8.0))),
        **_draw_double(rng),
        index=rng.randint(0, 3),
        point=rng.choice(POINTS) if is_ambush else "",
        nth=rng.choice((1, 1, 1, 2, 3, 5)) if is_ambush else 1,
        is_before=is_ambush and rng.random() < 0.4,
    )


def _draw_double(rng: Rng) -> dict[str, Any]:
    return {
        "successor_s": _about(rng, rng.choice((-1.0, 0.05, 0.05, 1.0, 3.0))),
        "killed_s": _about(rng, rng.choice((-1.0, -1.0, 0.3, 2.0, 4.0))),
        "same_node": rng.random() < 0.5,
    }


def _about(rng: Rng, middle_s: float) -> float:
    return round(2 * middle_s * rng.random(), 3)
