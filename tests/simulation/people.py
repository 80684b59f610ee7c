"""The people: participants and the host behave as the real page does, and one viewer looks on.

Some, where there are sockets, have a page of their own (:mod:`tests.simulation.pages`).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from engine import limits
from engine.ids import OpeningNo, ParticipantId, Pin
from engine.phases import Phase, Step
from engine.session import Lock
from engine.testing.driver import SESSION_ID
from engine.view import Delta, View, apply
from engine.wire import (
    AnswerItem,
    BatchItem,
    BatchReply,
    DeltaFrame,
    FaultReply,
    FramePublication,
    JoinedReply,
    JoinItem,
    MoveItem,
    Publication,
    decode_server_message,
    decode_snapshot,
)
from serve_app.auth import Role
from tests.simulation.cluster import Cluster, Replica
from tests.simulation.loop import Process
from tests.simulation.pages import Page
from tests.simulation.witness import Witness

#: The right choice of every question, and a wrong one, as masks.
_RIGHT, _WRONG = 0b10, 0b01
_PATIENCE_S = 20.0
#: How often somebody who was removed tries to be let in again.
_COMES_BACK = 3


class Viewer:
    """What everybody sees: one view, kept as a replica's room keeps it."""

    def __init__(self, cluster: Cluster, process: Process) -> None:
        self._cluster = cluster
        self._process = process
        self.view: View | None = None
        self._heard_s = 0.0
        self._changed = asyncio.Event()
        self._behind = asyncio.Event()
        cluster.on_frame = self._publish

    def _publish(self, publication: Publication) -> None:
        """Take a publication from an actor to the viewer, unless it is lost on the way."""
        cluster = self._cluster
        if cluster.rng.random() >= cluster.options.frames_lost_share or cluster.network.is_healed:
            self._process.call_at(cluster.loop.time() + 0.001, self._receive, publication)

    def _receive(self, publication: Publication) -> None:
        stamp, mine = (publication.epoch, publication.version), self._stamp
        if stamp[0] < mine[0]:
            return
        self._heard_s = self._cluster.loop.time()
        if isinstance(publication, FramePublication) and self.view is not None:
            frame = decode_server_message(publication.frame)
            assert isinstance(frame, DeltaFrame)
            if stamp == (mine[0], mine[1] + 1):
                self._show(apply(Delta(*stamp, frame.changes), self.view))
                return
        if stamp > mine:
            self._behind.set()

    @property
    def _stamp(self) -> tuple[int, int]:
        return (self.view.epoch, self.view.version) if self.view is not None else (0, 0)

    def _show(self, view: View) -> None:
        self.view = view
        self._changed.set()
        self._changed.clear()

    async def changed(self, at_most_s: float) -> None:
        """Return when there is something new to see, or after a while."""
        try:
            await asyncio.wait_for(self._changed.wait(), at_most_s)
        except TimeoutError:
            self._behind.set()

    async def run(self) -> None:
        """Ask for a snapshot whenever something is missing, or all is silent."""
        loop = self._cluster.loop
        while True:
            silence_s = limits.CHANNEL_SILENCE_MS / 1000
            try:
                await asyncio.wait_for(self._behind.wait(), silence_s)
            except TimeoutError:
                if loop.time() - self._heard_s < silence_s and self.view is not None:
                    continue
            self._behind.clear()
            await self._ask()

    async def _ask(self) -> None:
        if not self._cluster.replicas:
            return
        replica = self._cluster.rng.choice(self._cluster.replicas)
        try:
            data = await asyncio.wait_for(replica.snapshot.remote(), 3.0)
        except Exception:  # noqa: BLE001 - asked again at the next silence
            return
        if data:
            view = decode_snapshot(data).view
            if (view.epoch, view.version) > self._stamp:
                self._heard_s = self._cluster.loop.time()
                self._show(view)


class _Caller:
    """Somebody who asks a replica by HTTP, sends again what was not answered, in the end elsewhere.

    Attributes:
        is_out: whether it was told that it is removed.
    """

    def __init__(self, people: People) -> None:
        self._people = people
        self._cluster = people.cluster
        self._rng = people.cluster.rng
        self._replica: Replica | None = None
        self.is_out = False

    @property
    def view(self) -> View | None:
        """What it sees."""
        return self._people.viewer.view

    async def changed(self, at_most_s: float) -> None:
        """Return when there is something new to see, or after a while."""
        await self._people.viewer.changed(at_most_s)

    def look(self, _opening_no: int) -> None:
        """Every question is on the screen."""

    async def submit(self, item: AnswerItem | MoveItem) -> bool:
        """Send an item until it is stored (true) or refused for good."""
        return not isinstance(await self.ask(item), FaultReply)

    async def ask(self, item: BatchItem) -> BatchReply:
        """Send an item until there is an answer to it that is not ``retry``."""
        while True:
            reply = await self._ask_once(item)
            if reply is not None and not (isinstance(reply, FaultReply) and reply.retryable):
                if isinstance(reply, FaultReply) and reply.code == "removed":
                    self.is_out = True
                return reply
            if self._rng.random() < 0.5:
                self._replica = None
            await asyncio.sleep(limits.RETRY_AFTER_MS / 1000 * (0.2 + self._rng.random()))

    async def _ask_once(self, item: BatchItem) -> BatchReply | None:
        """One try; None when nothing came back in time."""
        cluster, people = self._cluster, self._people
        if self._replica not in cluster.replicas:
            if not cluster.replicas:
                return None
            self._replica = self._rng.choice(cluster.replicas)
        assert self._replica is not None
        future: asyncio.Future[BatchReply] = cluster.loop.create_future()

        def answered(reply: BatchReply) -> None:
            if cluster.copies():
                people.process.call_at(cluster.soon_s(), _set, future, reply)

        cluster.ask(self._replica, item, answered)
        try:
            return await asyncio.wait_for(future, people.cluster.options.impatient_s)
        except TimeoutError:
            return None

    async def again(self, item: BatchItem, share: float) -> None:
        """Perhaps send something again that was answered, as a page does that was loaded anew."""
        if self._rng.random() < share:
            await asyncio.sleep(self._rng.random() * 3.0)
            if self._rng.random() < 0.5:
                self._replica = None
            await self.ask(item)


def _set(future: asyncio.Future[BatchReply], reply: BatchReply) -> None:
    if not future.done():
        future.set_result(reply)


class People:
    """Everybody. :meth:`play` returns when nobody wants anything any more."""

    def __init__(
        self,
        cluster: Cluster,
        witness: Witness,
        process: Process,
        note: Callable[[str], None],
        whims: random.Random,
    ) -> None:
        self.cluster = cluster
        self.process = process
        self.viewer = Viewer(cluster, process)
        self._witness = witness
        self._note = note
        self._options = cluster.options
        self._rng: random.Random = cluster.rng
        #: What belongs to :func:`tests.simulation.options.draw_more`.
        self._whims = whims
        self._joined_count = 0
        self._commands_count = 0
        self._tasks: list[asyncio.Task[None]] = []

    async def play(self) -> None:
        """Play the quiz to its end. Pages stay, and look on."""
        options = self._options
        watching = self.process.spawn(self.viewer.run())
        self._tasks = [self.process.spawn(self._host())]
        for number in range(1, options.participants + options.late_joiners + 1):
            is_late = number > options.participants
            self._tasks.append(self.process.spawn(self._participant(number, is_late=is_late)))
        await asyncio.gather(*self._tasks)
        watching.cancel()

    def _at_a_page(self, role: Role, who: ParticipantId) -> Page | None:
        """Somebody's own page, if it has one."""
        sockets, tokens = self._options.sockets, self.cluster.tokens
        if sockets is None or self._rng.random() >= sockets.socket_share:
            return None
        if role is Role.HOST:
            token = tokens.of_session(role, SESSION_ID, Pin("123456"))
        else:
            token = tokens.participant(SESSION_ID, who)
        page = Page(self.cluster, self.process, self._witness, self._note, token, who)
        self._tasks.append(self.process.spawn(page.run()))
        return page

    # --- a participant --------------------------------------------------------------------------

    async def _participant(self, number: int, *, is_late: bool) -> None:
        caller = _Caller(self)
        await asyncio.sleep(self._rng.random() * (5.0 if is_late else 1.0))
        join = JoinItem(f"join-key-{number}", f"Person {number}", f"device-{number}")
        reply = await self._join(caller, join)
        if not isinstance(reply, JoinedReply):
            return
        self._joined_count += 1
        repeats = [self.process.spawn(caller.again(join, self._options.repeat_share))]
        person = self._at_a_page(Role.PARTICIPANT, reply.participant_id) or caller
        done: set[int] = set()
        while not _is_over(person.view) and not person.is_out:
            openings = _openings(person.view) - done
            if not openings:
                await person.changed(_PATIENCE_S)
                continue
            opening_no = min(openings)
            done.add(opening_no)
            repeats += await self._answer(person, reply.participant_id, opening_no)
        if person.is_out:
            await self._come_back(number)
        await asyncio.gather(*repeats)

    async def _come_back(self, number: int) -> None:
        """Try to be let in again, at once and when the session may have another actor."""
        for key in range(_COMES_BACK):
            join = JoinItem(f"other-key-{number}-{key}", f"Other {number}", f"device-{number}")
            await _Caller(self).ask(join)
            await asyncio.sleep(5.0 * self._whims.random())

    async def _join(self, caller: _Caller, join: JoinItem) -> BatchReply:
        """Join, and try again for as long as the session is locked."""
        while True:
            reply = await caller.ask(join)
            if not isinstance(reply, FaultReply) or reply.code != "locked":
                return reply
            if _is_over(self.viewer.view):
                return reply
            await asyncio.sleep(0.5 + self._whims.random())

    async def _answer(
        self, person: _Caller | Page, who: ParticipantId, opening_no: int
    ) -> list[asyncio.Task[None]]:
        rng, options = self._rng, self._options
        think_s = rng.random() * options.think_s_max
        person.look(opening_no)
        await asyncio.sleep(think_s)
        elapsed_ms = -1 if rng.random() < 0.3 else round(think_s * 1000)
        mask = _RIGHT if rng.random() < 0.7 else _WRONG
        item = AnswerItem(who, OpeningNo(opening_no), mask, "", elapsed_ms)
        doubts = []
        if rng.random() < options.repeat_share / 2:
            # Another page of the same person, at the same time, with another mind.
            other = AnswerItem(who, OpeningNo(opening_no), 0b11 ^ mask, "", -1)
            doubts.append(self.process.spawn(_Caller(self).again(other, 1.0)))
        await person.submit(item)
        again = AnswerItem(who, OpeningNo(opening_no), 0b11 ^ mask, "", -1)
        doubts.append(self.process.spawn(person.again(again, options.repeat_share)))
        return doubts

    # --- the host -------------------------------------------------------------------------------

    async def _host(self) -> None:
        options = self._options
        person = self._at_a_page(Role.HOST, ParticipantId(0)) or _Caller(self)
        repeats: list[asyncio.Task[None]] = []
        if self._whims.random() < options.lock_share:
            await self._lock_for_a_while(person)
        while self._joined_count < options.participants and self.cluster.loop.time() < _PATIENCE_S:
            await person.changed(0.2)
        while not _is_over(person.view):
            view = person.view
            step = await self._choose(view)
            if view is None or step is None or view is not person.view:
                await person.changed(1.0)
                continue
            command = self._command(step, view)
            if await person.submit(command):
                repeats.append(self.process.spawn(person.again(command, options.repeat_share)))
            if view is person.view:
                await person.changed(1.0)
        await asyncio.gather(*repeats)

    async def _lock_for_a_while(self, person: _Caller | Page) -> None:
        """Shut the lobby while people come in."""
        while (view := person.view) is None:
            await person.changed(0.2)
        await person.submit(self._command(Step.LOCK, view))
        await asyncio.sleep(2 * self._whims.random())
        await person.submit(self._command(Step.UNLOCK, view))

    def _command(self, step: Step, view: View) -> MoveItem:
        """What the host wants, with a view before its eyes."""
        rng, options = self._rng, self._options
        self._commands_count += 1
        who, several = 0, ()
        if step is Step.REMOVE:
            who = rng.randint(1, options.participants)
            if self._whims.random() < 0.5:
                others = self._whims.sample(range(1, options.participants + 1), 2)
                who, several = 0, tuple(map(ParticipantId, others))
        return MoveItem(
            step,
            view.phase,
            view.opening_no,
            f"command-{self._commands_count}",
            limits.EXTEND_MS_MIN if step is Step.EXTEND else 0,
            ParticipantId(who),
            several,
        )

    def _look_after(self, view: View | None) -> Step | None:
        """What the host does about who is in, if anything."""
        if view is None:
            return None
        if self._whims.random() < self._options.lock_share:
            return Step.LOCK if view.lock is Lock.OPEN else Step.UNLOCK
        return Step.REMOVE if self._whims.random() < self._options.bulk_share else None

    async def _choose(self, view: View | None) -> Step | None:
        """What the host does next; None: waits."""
        rng, options = self._rng, self._options
        phase = view.phase if view is not None else Phase.LOBBY
        await asyncio.sleep(rng.random() * 0.5)
        if step := self._look_after(view):
            return step
        if phase is Phase.LOBBY:
            return Step.START
        if rng.random() < options.end_early_share:
            return rng.choice((Step.FINISH, Step.CANCEL))
        if rng.random() < options.remove_share:
            return Step.REMOVE
        if phase is Phase.SELF_PACED_OPEN:
            await asyncio.sleep(options.questions * (1.0 + options.think_s_max))
            return Step.FINISH
        if phase is Phase.QUESTION_OPEN:
            share, step = rng.choice(
                ((options.extend_share, Step.EXTEND), (options.close_share, Step.CLOSE))
            )
        else:
            share, step = (0.2 if phase is Phase.PREVIEW else 1.0), Step.NEXT
        return step if rng.random() < share else None


def _is_over(view: View | None) -> bool:
    return view is not None and view.phase.is_over


def _openings(view: View | None) -> set[int]:
    """The openings that take answers now."""
    if view is None:
        return set()
    if view.phase is Phase.SELF_PACED_OPEN:
        return set(range(1, view.question_count + 1))
    return {view.opening_no} if view.phase is Phase.QUESTION_OPEN else set()
