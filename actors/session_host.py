"""One live session: state, outbox, deadlines and frames, on one event loop, without Ray.

Hot path: :meth:`SessionHost.submit` decides a batch, puts its events into the outbox, waits until
they are durable and answers. :meth:`SessionHost._stored` is the only place that evolves the state.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from actors.clock import Clock
from actors.outbox import Outbox
from actors.ports import CheckpointLog
from actors.publisher import Publisher
from actors.session_store import Takeover
from engine import limits
from engine.commands import Join, Move, Return, SubmitAnswer
from engine.errors import ClientFault, Fenced, QuizError, Unavailable
from engine.events import AnswerAccepted, Closed, Event, Joined, Removed
from engine.flood import FloodWatch
from engine.ids import Epoch, FrameVersion, ParticipantId
from engine.model import Mode
from engine.phases import Phase, Step
from engine.roster import Person, RosterFilter, roster_page
from engine.session import (
    Decision,
    Done,
    Pending,
    SessionState,
    decide,
    decide_answer,
    door_of,
    due_ms,
    evolve,
    forgive_absence,
    is_left,
    lock_for_flood,
    rearm,
)
from engine.view import (
    Delta,
    Result,
    Reveal,
    ViewChanges,
    apply,
    build_view,
    diff,
    key_of,
    public_question,
    results,
)
from engine.wire import (
    AnswerItem,
    BatchItem,
    BatchReply,
    BeatPublication,
    DeltaFrame,
    DoneReply,
    FaultReply,
    FramePublication,
    GonePublication,
    HelloItem,
    HelloReply,
    JoinedReply,
    JoinItem,
    MoveItem,
    ReceiptReply,
    ResultsPublication,
    ReturnItem,
    SnapshotAnswer,
    UnreadableItem,
    You,
    encode_json,
    receipt_of,
)

log = logging.getLogger(__name__)

_T = TypeVar("_T")

_OVERLOADED = FaultReply("overloaded", "too many answers of this session wait to be stored", True)
_UNKNOWN = FaultReply("retry", "this is not stored yet; send the same again", True)
_AGAIN = FaultReply("retry", "this may be refused; send the same again", True, again=True)
#: Not retryable: the same item would meet the same fault.
_INTERNAL = FaultReply("internal", "this item failed; see the server's log", False)


class SessionHost:
    """Runs one session from its take-over until it is over.

    Args:
        found: what :func:`actors.session_store.take_over` found.
        checkpoint_log: where events become durable.
        publisher: where frames go.
        on_failed: called when the session must be left to another actor (fenced), or its memory
            no longer agrees with the log.
        on_over: called once when the session is finished or cancelled, and that is durable.
    """

    def __init__(
        self,
        found: Takeover,
        checkpoint_log: CheckpointLog,
        publisher: Publisher,
        clock: Clock,
        on_failed: Callable[[Exception], None],
        on_over: Callable[[], None],
    ) -> None:
        state, epoch = found.state, found.epoch
        self._state = state
        self._epoch = epoch
        self._clock = clock
        self._log = checkpoint_log
        self._publisher = publisher
        self._on_failed = on_failed
        self._on_over = on_over
        interval_ms = (
            limits.SELF_PACED_FRAME_INTERVAL_MS
            if state.settings.mode is Mode.SELF_PACED
            else limits.FRAME_INTERVAL_MS
        )
        self._frame_interval_s = interval_ms / 1000
        self._pending = Pending()
        self._outbox = Outbox(checkpoint_log, found.next_seq, self._stored, on_failed)
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[Any]] = set()
        #: Set while answers may be decided; cleared while a move is on its way to the log.
        self._open_gate = asyncio.Event()
        self._open_gate.set()
        self._move_lock = asyncio.Lock()
        self._deadline: asyncio.TimerHandle | None = None
        self._frame_timer: asyncio.TimerHandle | None = None
        self._view = build_view(state, epoch, FrameVersion(1))
        self._flood = FloodWatch()
        self._locking: asyncio.Task[Decision] | None = None
        #: Everybody's result of the opening that was closed last.
        self._results: dict[ParticipantId, Result] = {}
        self._compute_results()
        self._touched_ms = clock.now_ms()
        self._over_told = False
        self._beating = self._spawn(self._beat())
        forgive_absence(state, clock.now_ms())
        owed = rearm(state, clock.now_ms())
        if owed:
            self._open_gate.clear()  # at once: whoever asks first must not be late
            self._spawn(self._exclusively(lambda _now: Decision(owed)))
        self._arm()
        self._close_when_all_answered()  # the close may have been lost with the earlier actor
        self._tell_when_over()

    @property
    def epoch(self) -> Epoch:
        """The epoch in which this host acts."""
        return self._epoch

    @property
    def state(self) -> SessionState:
        """What the session has come to, as far as it is durable."""
        return self._state

    # --- what replicas ask ------------------------------------------------------------------------

    async def submit(self, items: Sequence[BatchItem | UnreadableItem]) -> list[BatchReply]:
        """Decide a batch; return one reply for each item, in order, once what they say is durable.

        Items that are not durable after ``CONFIRM_WAIT_MS`` get ``retry``; they stay in the outbox,
        and the same items sent again find them. What is stored already is told again whether the
        log is there or not; what is refused, as long as this actor knows itself to be the only one.
        A refusal for which it would have to look first is answered ``again``, unless the whole batch
        is refused: what is stored does not wait for it. One item's failure is its own.
        """
        arrived_ms = self._touched_ms = self._clock.now_ms()
        deadline = self._loop.time() + limits.CONFIRM_WAIT_MS / 1000
        replies: list[BatchReply | None] = [None] * len(items)
        while not self._open_gate.is_set():  # by the time it wakes the next move may have come
            if not await self._before(deadline, self._open_gate.wait()):
                return await self._complete(items, replies, self._log.moment(), deadline)
        decided = self._log.moment()
        facts, moves, fresh, waits = self._decide_all(items, replies, arrived_ms)
        if fresh:
            stored = self._outbox.add(fresh)
        elif waits:
            stored = self._outbox.flushed()
        else:
            stored = None
        tasks = [
            self._spawn(self._move(item) if isinstance(item, MoveItem) else self._return(item))
            for _, item in moves
        ]
        durable = stored is None or await self._before(deadline, stored)
        for index, fact in facts:
            replies[index] = self._reply(fact) if durable else _UNKNOWN
        for (index, _), task in zip(moves, tasks, strict=True):
            done = await self._before(deadline, asyncio.shield(task))
            replies[index] = task.result() if done else _UNKNOWN
        return await self._complete(items, replies, decided, deadline)

    def snapshot(self) -> SnapshotAnswer:
        """The newest published view, and in self-paced play every question."""
        questions = []
        keys: tuple[Reveal, ...] = ()
        if self._state.settings.mode is Mode.SELF_PACED:
            openings = self._state.openings.values()
            questions = [public_question(self._state, opening) for opening in openings]
            keys = tuple(key_of(self._state, opening) for opening in openings)
        return SnapshotAnswer(
            self._clock.now_ms(), self._view, questions, frozenset(self._state.removed), keys
        )

    def newest_view(self) -> SnapshotAnswer:
        """The newest published view alone."""
        return SnapshotAnswer(self._clock.now_ms(), self._view, [])

    def statistics(self) -> dict[str, int | str]:
        """For operators: phase, participants, outbox length, epoch and view version."""
        return {
            "phase": self._state.phase.value,
            "participants": len(self._state.scoreboard),
            "outbox_events": len(self._outbox),
            "epoch": self._epoch,
            "version": self._view.version,
        }

    def scoreboard(self, offset: int, rows: int) -> list[tuple[ParticipantId, str, int, int]]:
        """Rows of the whole scoreboard as (participant, nickname, points, rank)."""
        people = self._state.participants
        ranked = self._state.scoreboard.top(offset + rows)[offset:]
        return [(who, people[who].nickname, points, rank) for who, points, rank in ranked]

    @property
    def door(self) -> str:
        """Whether somebody new may join; see :func:`engine.session.door_of`."""
        return door_of(self._state)

    @property
    def is_storing(self) -> bool:
        """Whether the log takes what is decided, as far as that is known."""
        return not self._outbox.is_failing

    def roster(
        self, search: str, only: RosterFilter, before: int, rows: int
    ) -> tuple[int, list[Person]]:
        """A page of everybody who is in; see :func:`engine.roster.roster_page`."""
        return roster_page(
            self._state, self._flood.unseen, self._clock.now_ms(), search, only, before, rows
        )

    def people(self) -> list[tuple[ParticipantId, str]]:
        """Everybody who is in, in the order in which they joined.

        Replicas of the version before ask for it after a removal.
        """
        return [
            (p.participant_id, p.nickname)
            for p in self._state.participants.values()
            if not p.removed
        ]

    async def close(self) -> None:
        """Tell replicas that the actor leaves, and stop; what is not durable is told ``retry``."""
        self._beating.cancel()
        await self._outbox.close()  # all that waits for it ends by itself
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for timer in (self._deadline, self._frame_timer):
            if timer is not None:
                timer.cancel()
        await self._log.close()
        self._publisher.publish(GonePublication(self._epoch, self._view.version))
        await self._publisher.close()

    # --- deciding -----------------------------------------------------------------------------------

    def _decide_all(
        self,
        items: Sequence[BatchItem | UnreadableItem],
        replies: list[BatchReply | None],
        arrived_ms: int,
    ) -> tuple[
        list[tuple[int, AnswerAccepted | Joined]],
        list[tuple[int, MoveItem | ReturnItem]],
        list[Event],
        bool,
    ]:
        """Decide answers and joins by the time they arrived; set the replies that need no waiting."""
        pending = self._pending
        facts: list[tuple[int, AnswerAccepted | Joined]] = []
        moves: list[tuple[int, MoveItem | ReturnItem]] = []
        fresh: list[Event] = []
        waits = False
        is_full = self._outbox.is_full
        for index, item in enumerate(items):
            if isinstance(item, MoveItem | ReturnItem):
                moves.append((index, item))
                continue
            if isinstance(item, HelloItem):
                continue
            if isinstance(item, UnreadableItem):
                replies[index] = self._unreadable(item)
                continue
            decision = self._decide(item, arrived_ms)
            if isinstance(decision, FaultReply):
                replies[index] = decision
            elif isinstance(decision.repeats, AnswerAccepted | Joined):
                if decision.repeats in pending:
                    # Still on its way to the log: it is answered with the others.
                    waits = True
                    facts.append((index, decision.repeats))
                else:
                    replies[index] = self._reply(decision.repeats)
            elif is_full:
                replies[index] = _OVERLOADED
            else:
                for event in decision.events:
                    assert isinstance(event, AnswerAccepted | Joined)
                    pending.add(event)
                    fresh.append(event)
                    facts.append((index, event))
        return facts, moves, fresh, waits

    def _unreadable(self, item: UnreadableItem) -> FaultReply:
        log.error(
            "action=item_unreadable session=%s reason=%s", self._state.session_id, item.reason
        )
        detail = f"the session's actor is of another version and cannot read this: {item.reason}"
        return FaultReply("internal", detail, False)

    def _decide(self, item: AnswerItem | JoinItem, arrived_ms: int) -> Decision | FaultReply:
        state, pending = self._state, self._pending
        try:
            if isinstance(item, JoinItem):
                return decide(
                    state, Join(item.join_key, item.nickname, item.device), arrived_ms, pending
                )
            answer = SubmitAnswer(
                item.participant_id,
                item.opening_no,
                item.choice_mask,
                item.text,
                item.elapsed_ms,
                item.returns,
            )
            return decide_answer(state, answer, arrived_ms, pending)
        except ClientFault as error:
            return FaultReply(error.code, error.detail, error.retryable)
        except Exception:
            # The others must not suffer; above all, what is pending must reach the outbox.
            log.exception("action=decide_failed session=%s", state.session_id)
            return _INTERNAL

    def _reply(self, fact: AnswerAccepted | Joined) -> BatchReply:
        if isinstance(fact, Joined):
            person = self._state.participants[fact.participant_id]
            return JoinedReply(fact.participant_id, fact.nickname, person.returns)
        return ReceiptReply(
            fact.opening_no,
            fact.choice_mask,
            fact.text,
            fact.elapsed_ms,
            fact.correct,
            fact.points,
            self._state.settings.mode is Mode.SELF_PACED,
        )

    async def _complete(
        self,
        items: Sequence[BatchItem | UnreadableItem],
        replies: list[BatchReply | None],
        decided: int,
        deadline: float,
    ) -> list[BatchReply]:
        """Complete the replies: hellos tell what is stored by now, all else is not known yet.

        What is refused for good is refused by an actor that still was the session's own when it
        decided that: one that was replaced does not know what its successor has opened, let in and
        accepted. ``decided`` is the log's moment at which answers and joins were decided.
        """
        complete = [
            reply or (self._hello_or_fault(item) if isinstance(item, HelloItem) else _UNKNOWN)
            for item, reply in zip(items, replies, strict=True)
        ]
        now = self._log.moment()
        #: By their places, the moments at which those were decided that nobody vouches for yet.
        unvouched: dict[int, int] = {}
        for index, (item, reply) in enumerate(zip(items, complete, strict=True)):
            if _is_refusal(reply):
                moment = now if isinstance(item, HelloItem | MoveItem | ReturnItem) else decided
                if not self._log.is_held_since(moment):
                    unvouched[index] = moment
        if not unvouched:
            return complete
        if len(unvouched) < len(complete):
            instead = _AGAIN  # the others shall not wait for a look at the epoch
        elif await self._is_own(max(unvouched.values()), deadline):
            return complete
        else:
            instead = _UNKNOWN
        for index in unvouched:
            complete[index] = instead
        return complete

    async def _is_own(self, moment: int, deadline: float) -> bool:
        """Whether nobody else had the session at a moment, as far as that is told before a deadline."""
        try:
            async with asyncio.timeout_at(deadline):
                await self._log.hold(moment)
        except Fenced as error:
            self._on_failed(error)
            return False
        except (TimeoutError, Unavailable):
            return False
        return True

    def _hello_or_fault(self, item: HelloItem) -> BatchReply:
        try:
            return self._hello(item.participant_id, item.returns)
        except Exception:
            log.exception("action=hello_failed session=%s", self._state.session_id)
            return _INTERNAL

    def _hello(self, participant_id: ParticipantId, returns: int) -> BatchReply:
        state = self._state
        person = state.participants.get(participant_id)
        if person is None:
            return FaultReply(
                "not_found", f"participant {participant_id} is not in this session", False
            )
        if person.removed:
            return FaultReply(
                "removed", "the host removed this participant from the session", False
            )
        if is_left(person, returns):
            return FaultReply("unauthorized", "this place has gone to another device", False)
        self._flood.seen(participant_id)
        opening = state.current
        answer = opening.answers.get(participant_id) if opening is not None else None
        next_opening = 0
        if state.phase is Phase.SELF_PACED_OPEN:
            next_opening = next(
                (n for n, o in state.openings.items() if participant_id not in o.answers), 0
            )
        closed = opening is not None and opening.closed
        return HelloReply(
            You(
                participant_id,
                person.nickname,
                person.points,
                state.scoreboard.rank(participant_id),
                receipt=receipt_of(answer, state.settings.mode) if answer is not None else None,
                result=self._results.get(participant_id) if closed else None,
                next_opening=next_opening,
            )
        )

    async def _move(self, item: MoveItem) -> BatchReply:
        command = Move(
            item.step,
            item.phase,
            item.opening_no,
            item.command_id,
            item.extra_ms,
            item.participant_id,
            item.participants,
        )
        if item.step is Step.DUE or not item.command_id:
            return FaultReply("malformed", "move: a host's has a command_id and is not due", False)
        try:
            decision = await self._exclusively(
                lambda now: decide(self._state, command, now, self._pending)
            )
        except QuizError as error:
            return FaultReply(error.code, error.detail, error.retryable)
        except Exception:
            log.exception("action=move_failed session=%s", self._state.session_id)
            return _INTERNAL
        done = decision.repeats or self._state.commands_done[item.command_id]
        assert isinstance(done, Done)
        return DoneReply(done.command_id, done.phase, done.opening_no)

    async def _return(self, item: ReturnItem) -> BatchReply:
        command = Return(item.participant_id, item.join_key, item.device)
        try:
            await self._exclusively(lambda now: decide(self._state, command, now, self._pending))
        except QuizError as error:
            return FaultReply(error.code, error.detail, error.retryable)
        except Exception:
            log.exception("action=return_failed session=%s", self._state.session_id)
            return _INTERNAL
        person = self._state.participants[item.participant_id]
        return JoinedReply(person.participant_id, person.nickname, person.returns)

    async def _exclusively(self, make: Callable[[int], Decision]) -> Decision:
        """Store what ``make`` decides alone: the outbox drained before, nothing behind until then.

        So a close can never stand in the log before an answer that it does not know.
        """
        async with self._move_lock:
            self._open_gate.clear()
            try:
                await self._outbox.flushed()
                decision = make(self._clock.now_ms())
                if decision.events:
                    await self._outbox.add(decision.events)
            finally:
                self._open_gate.set()
        return decision

    # --- what has become durable --------------------------------------------------------------------

    def _stored(self, events: Sequence[Event]) -> None:
        """Apply durable events and let them be seen."""
        state, pending = self._state, self._pending
        moved = False
        removed: list[ParticipantId] = []
        for event in events:
            evolve(state, event)
            if isinstance(event, AnswerAccepted | Joined):
                pending.discard(event)
                if isinstance(event, Joined):
                    self._flood.joined(event.participant_id, event.at_ms)
            else:
                moved = True
                if isinstance(event, Removed):
                    removed.append(event.participant_id)
                    self._flood.seen(event.participant_id)
        if moved:
            self._publish(tuple(removed))
            if any(isinstance(event, Closed) for event in events):
                self._compute_results()
                self._publisher.publish(
                    ResultsPublication(self._epoch, self._view.version, self._results)
                )
            self._arm()
            self._tell_when_over()
        elif self._frame_timer is None:
            self._frame_timer = self._loop.call_later(self._frame_interval_s, self._tick)
        self._close_when_all_answered()  # the last one who was waited for may have been removed

    def _compute_results(self) -> None:
        opening = self._state.current
        if opening is not None and opening.closed and opening.opened_ms:
            self._results = results(self._state, opening)

    def _tick(self) -> None:
        self._frame_timer = None
        try:
            self._publish()
        except Exception as error:
            # A view that does not follow from the one before: this memory cannot be trusted.
            log.exception("action=frame_failed session=%s", self._state.session_id)
            self._on_failed(error)

    def _publish(self, removed: tuple[ParticipantId, ...] = ()) -> None:
        """Publish what has changed, if anything has, and whom the host has removed."""
        if self._frame_timer is not None:
            self._frame_timer.cancel()
            self._frame_timer = None
        version = FrameVersion(self._view.version + 1)
        view = build_view(self._state, self._epoch, version)
        changes = diff(self._view, view)
        if changes is None:
            if not removed:
                return
            changes = ViewChanges()  # it came and went between two frames; its socket is there
        assert apply(Delta(self._epoch, version, changes), self._view) == view
        self._view = view
        frame = encode_json(DeltaFrame(self._epoch, version, self._clock.now_ms(), changes))
        assert len(frame) <= limits.FRAME_BYTES_MAX, "engine/limits.py sums the largest frame"
        self._publisher.publish(FramePublication(self._epoch, version, frame, removed))

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(limits.BEAT_INTERVAL_MS / 1000)
            self._publisher.publish(BeatPublication(self._epoch, self._view.version))
            self._lock_when_flooded()
            idle_ms = self._clock.now_ms() - self._touched_ms
            if idle_ms > limits.IDLE_MS_MAX and not self._state.phase.is_over:
                log.info(
                    "action=idle_cancel session=%s idle_ms=%d", self._state.session_id, idle_ms
                )
                await self._exclusively(self._cancel_idle)

    def _lock_when_flooded(self) -> None:
        """Let nobody new in while a flood of joins is seen, unless the host has undone that before."""
        state, now_ms = self._state, self._clock.now_ms()
        if not self._flood.is_flood(now_ms) or not lock_for_flood(state, now_ms):
            return
        if self._locking is None or self._locking.done():
            log.warning("action=flood_lock session=%s", state.session_id)
            self._locking = self._spawn(
                self._exclusively(lambda now: Decision(lock_for_flood(state, now)))
            )

    def _cancel_idle(self, now_ms: int) -> Decision:
        state = self._state
        if state.phase.is_over:
            return Decision()
        return decide(
            state, Move(Step.CANCEL, state.phase, state.current_no), now_ms, self._pending
        )

    # --- the clock ------------------------------------------------------------------------------------

    def _arm(self) -> None:
        """Set the timer to the deadline of the phase, if it has one."""
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        at_ms = due_ms(self._state)
        if not at_ms:
            return
        wait_ms = at_ms - self._clock.now_ms()
        # One more millisecond: a timer may fire a fraction early.
        self._deadline = self._loop.call_later(
            max(0, wait_ms + 1) / 1000, lambda: self._spawn(self._due())
        )

    def _close_when_all_answered(self) -> None:
        state = self._state
        if (
            state.phase is Phase.QUESTION_OPEN
            and state.settings.close_when_all_answered
            and state.all_answered
        ):
            self._spawn(self._due())

    async def _due(self) -> None:
        state = self._state

        def make(now_ms: int) -> Decision:
            if not due_ms(state):
                return Decision()
            return decide(
                state, Move(Step.DUE, state.phase, state.current_no), now_ms, self._pending
            )

        decision = await self._exclusively(make)
        if not decision.events:
            self._arm()

    def _tell_when_over(self) -> None:
        if self._state.phase.is_over and not self._over_told:
            self._over_told = True
            self._on_over()

    # --- helpers --------------------------------------------------------------------------------------

    def _spawn(self, work: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._reap)
        return task

    def _reap(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            if isinstance(error, QuizError):
                log.warning("action=background_refused code=%s detail=%s", error.code, error)
            else:
                log.error("action=background_failed", exc_info=error)

    async def _before(self, deadline: float, waits: Any) -> bool:
        """Whether something ended well before a deadline of the loop's clock."""
        try:
            async with asyncio.timeout_at(deadline):
                await waits
        except (TimeoutError, QuizError):
            return False
        return True


def _is_refusal(reply: BatchReply) -> bool:
    """Whether a reply says that sending the same again is useless."""
    return isinstance(reply, FaultReply) and not reply.retryable
