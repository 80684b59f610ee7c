"""Plays one seed from its first callback to its last check."""

from __future__ import annotations

import asyncio
import gc
import logging
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from engine.model import Mode, Quiz, ScoringPolicy, SessionSettings
from engine.testing.factories import make_question
from engine.wire import BatchItem, BatchReply
from serve_app.hub import Room
from tests.simulation.ablations import ABLATIONS
from tests.simulation.audit import Auditor
from tests.simulation.cluster import Cluster
from tests.simulation.faults import Faults
from tests.simulation.loop import Gone, Process, SeededLoop
from tests.simulation.options import Options, draw, draw_more
from tests.simulation.people import People
from tests.simulation.witness import Witness, secret_of

#: After all is healed everything must be over by then, virtual seconds: each of a few waits for a
#: connection, a batch, a barrier and a lease, one behind the other.
_SETTLE_S_MAX = 180.0
#: When all is settled, every page shows what the session has published by then, virtual seconds: a
#: page leaves a silent socket after 12, waits for a result for 4, and comes back within 2.
_QUIET_S_MAX = 40.0
#: Before everything heals, whatever is under way.
_ROUGH_S_MIN = 15.0
#: A process plays so many seeds in a row; the cycles that they leave behind are collected then.
SEEDS_AT_ONCE = 20
_LOGGERS = ("actors", "serve_app")


@dataclass(frozen=True)
class Outcome:
    """What came of a seed.

    Attributes:
        violations: (invariant, what was seen); empty when all is well.
        steps, virtual_s: how much happened, and in what time.
        acknowledged, epochs: how much there was to lose, how often the session was taken over.
        acknowledged_away: what was acknowledged on the broker's word alone.
    """

    seed: int
    without: str
    profile: str
    options: Options
    violations: tuple[tuple[str, str], ...]
    steps: int
    virtual_s: float
    acknowledged: int
    acknowledged_away: int
    epochs: int

    def __str__(self) -> str:
        """Everything that is needed to see it again."""
        command = f".venv/bin/python -m tests.simulation --seed {self.seed}"
        command += f" --profile {self.profile}"
        if self.without:
            command += f" --without {self.without}"
        lines = [f"seed {self.seed} after {self.virtual_s:.3f} s:"]
        lines += [f"  VIOLATED: {invariant}\n    {seen}" for invariant, seen in self.violations]
        return "\n".join((*lines, "options:", str(self.options), f"again: {command} --verbose"))


class _World:
    def __init__(self, seed: int, profile: str, tell: Callable[[str], None] | None) -> None:
        rng = random.Random(seed)
        whims = random.Random(f"{seed}: more")
        self.options = draw_more(whims, draw(rng), has_sockets=profile == "sockets")
        self._tell = tell
        self.loop = SeededLoop(random.Random(rng.random()))
        self.loop.set_exception_handler(self._unhandled)
        quiz, settings = _quiz(self.options), _settings(self.options)
        chance = random.Random(rng.random())
        self.cluster = Cluster(self.loop, chance, self.options, quiz, settings, profile)
        self._process = Process(self.loop, "world")
        self._stop = asyncio.Event()
        self.auditor = Auditor(quiz, settings, self.cluster.database, self._violated)
        self.witness = Witness(self.auditor, self.options.questions)
        self._whims = whims
        self._is_ending = False
        self.steps = 0
        self.violations: tuple[tuple[str, str], ...] = ()

    def note(self, what: str) -> None:
        """Tell what happens, to whoever wants to read it."""
        if self._tell is not None:
            self._tell(f"{self.loop.time():9.4f}  {what}")

    def _violated(self) -> None:
        self.note(f"VIOLATED: {': '.join(self.auditor.violations[-1])}")
        self._stop.set()

    def failed(self, record: logging.LogRecord) -> None:
        """The code under test has logged an error."""
        if not self._is_ending and record.exc_info is not None:
            self.auditor.violate(
                "nothing fails inside", f"{record.getMessage()} {record.exc_info[1]!r}"
            )

    def _unhandled(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not self._is_ending and error is not None and not isinstance(error, Gone):
            self.auditor.violate("nothing fails inside", f"{context['message']}: {error!r}")

    def run(self) -> None:
        self._process.context.run(
            self.loop.run_until_complete, self._process.spawn(self._supervise())
        )

    def end(self) -> None:
        # What is cancelled now, the dead among it, proves nothing any more.
        self._is_ending = True
        self.steps = self.loop.steps
        self.violations = tuple(self.auditor.violations)
        self.loop.end()

    async def _supervise(self) -> None:
        """Let it play, heal it, and let it settle; leave at the first violation."""
        cluster = self.cluster
        cluster.on_ready = self._ready
        faults = Faults(cluster, self.note)
        cluster.on_submit = self._submitted
        cluster.violate = self.auditor.violate
        process = Process(self.loop, "people")
        people = People(cluster, self.witness, process, self.note, self._whims)
        seen = cluster.on_frame
        cluster.on_frame = lambda p: (self.auditor.published(p), seen(p))
        cluster.start()
        playing = people.process.spawn(people.play())
        rough_s = max(_ROUGH_S_MIN, faults.over_s)
        await self._until(lambda: playing.done() and self._is_settled(), rough_s)
        faults.heal()
        if not await self._until(lambda: playing.done() and self._is_settled(), _SETTLE_S_MAX):
            self.auditor.violate("everything settles", self._standing(playing))
        elif not self.auditor.violations:
            await self._until(lambda: not self._blind(), _QUIET_S_MAX)
            host = cluster.incarnation.host
            assert host is not None
            for seen in self.witness.blind(host):
                self.auditor.violate("pages show what is published", seen)
            self.auditor.settled(host)
            if cluster.broker.dead:
                self.auditor.violate("no message is given up", f"{len(cluster.broker.dead)} dead")

    async def _until(self, is_done: Callable[[], bool], for_s: float) -> bool:
        """Whether something came about in time; true as well when there is no need to go on."""
        end_s = self.loop.time() + for_s
        while not is_done() and not self._stop.is_set():
            if self.loop.time() > end_s:
                return False
            await asyncio.sleep(0.25)
        return True

    def _is_settled(self) -> bool:
        cluster = self.cluster
        return (
            cluster.broker.is_drained
            and bool(cluster.database.session["finished"])
            and cluster.incarnation.host is not None
            and cluster.incarnation.process.is_alive
        )

    def _blind(self) -> list[str]:
        host = self.cluster.incarnation.host
        return self.witness.blind(host) if host is not None else ["no actor"]

    def _submitted(self, item: BatchItem, room: Room | None) -> Callable[[BatchReply], None]:
        heard = self.auditor.submitted(item, room)

        def tell(reply: BatchReply) -> None:
            self.note(f"{item} -> {reply}")
            heard(reply)

        return tell

    def _standing(self, playing: asyncio.Task[None]) -> str:
        cluster, host = self.cluster, self.cluster.incarnation.host
        return (
            f"people done: {playing.done()}, queue drained: {cluster.broker.is_drained}, "
            f"finished: {cluster.database.session['finished']}, "
            f"actor: {host.statistics() if host is not None else 'not ready'}, "
            f"epoch in the tables: {cluster.database.session['epoch']}"
        )

    def _ready(self, host: Any) -> None:
        self.note(f"ready: {host.statistics()}")
        self.auditor.ready(host)


def simulate(
    seed: int,
    without: str = "",
    profile: str = "cluster",
    tell: Callable[[str], None] | None = None,
) -> Outcome:
    """Play a seed of a profile, perhaps without one of the safeguards.

    A safeguard belongs to a profile, which is played then. ``tell`` hears what happens.
    """
    if without:
        profile = ABLATIONS[without].profile
    world = _World(seed, profile, tell)
    was_collecting = gc.isenabled()
    # Tasks of the dead lie in cycles; collected half-way they would still run their ends.
    gc.disable()
    try:
        with pytest.MonkeyPatch.context() as patch, _errors_told_to(world):
            world.cluster.install(patch)
            if without:
                ABLATIONS[without].remove(patch)
            try:
                world.run()
            finally:
                world.end()
    finally:
        if was_collecting:
            gc.enable()
    return Outcome(
        seed=seed,
        without=without,
        profile=profile,
        options=world.options,
        violations=world.violations,
        steps=world.steps,
        virtual_s=world.loop.time(),
        acknowledged=len(world.auditor.acknowledged),
        acknowledged_away=world.auditor.acknowledged_away,
        epochs=world.cluster.database.session["epoch"],
    )


def simulate_some(without: str, profile: str, end: int, start: int) -> list[Outcome]:
    """Play the next :data:`SEEDS_AT_ONCE` seeds below ``end``, and collect what they leave behind."""
    seeds = range(start, min(start + SEEDS_AT_ONCE, end))
    outcomes = [simulate(seed, without, profile) for seed in seeds]
    gc.collect()
    return outcomes


@contextmanager
def _errors_told_to(world: _World) -> Iterator[None]:
    handler = logging.Handler(logging.ERROR)
    handler.emit = world.failed  # type: ignore[method-assign]
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    before = [(logger.level, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
        logger.propagate = False
        logger.addHandler(handler)
    try:
        yield
    finally:
        for logger, (level, propagate) in zip(loggers, before, strict=True):
            logger.setLevel(level)
            logger.propagate = propagate
            logger.removeHandler(handler)


def _quiz(options: Options) -> Quiz:
    questions = (
        make_question(time_limit_ms=options.time_limit_ms, explanation=secret_of(number))
        for number in range(1, options.questions + 1)
    )
    return Quiz("A quiz", tuple(questions))


def _settings(options: Options) -> SessionSettings:
    return SessionSettings(
        mode=Mode.SELF_PACED if options.self_paced else Mode.LIVE,
        scoring=ScoringPolicy.SPEED if options.by_speed else ScoringPolicy.ACCURACY,
        streak_bonus=options.streak_bonus,
        preview_ms=options.preview_ms,
        close_when_all_answered=options.early_close,
    )
