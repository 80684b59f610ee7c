"""The viewers of this replica, by session: one subscription and one view for all of them.

Hot path: a publication arrives -> :meth:`Room.receive` applies it to the replica's view and writes
the very same bytes to every socket. A slow socket is left out and gets a snapshot once it has
caught up. A gap in versions, or silence on the channel, makes the room ask the actor for a snapshot.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable
from typing import Protocol

import msgspec

from engine import limits
from engine.errors import QuizError
from engine.ids import Epoch, FrameVersion, OpeningNo, ParticipantId, SessionId
from engine.phases import Phase
from engine.view import Delta, PublicQuestion, Result, View, apply
from engine.wire import (
    BeatPublication,
    DeltaFrame,
    FramePublication,
    GonePublication,
    ResultMessage,
    ResultsPublication,
    Snapshot,
    SnapshotAnswer,
    decode_publication,
    decode_server_message,
    decode_snapshot,
    encode_json,
)
from serve_app.batcher import Gateway
from serve_app.subscriber import Subscriber

log = logging.getLogger(__name__)


class Viewer(Protocol):
    """A socket as the hub sees it."""

    participant_id: ParticipantId
    #: Monotonic nanoseconds at which it joined its room.
    attached_ns: int

    def send_text(self, payload: bytes) -> None:
        """Write one message, or leave it out when the socket is slow."""

    def close_as(self, name: str) -> None:
        """Close with a code of ``serve_app.errors.CLOSE_CODES``."""

    @property
    def is_slow(self) -> bool:
        """Whether its buffer is full; it gets a snapshot when it has room again."""


class Room:
    """One session on this replica."""

    def __init__(self, session_id: SessionId, gateway: Gateway) -> None:
        self.session_id = session_id
        self.gateway = gateway
        self.view: View | None = None
        #: Self-paced sessions: the public questions by opening.
        self.questions: dict[OpeningNo, PublicQuestion] = {}
        self.viewers: set[Viewer] = set()
        self.participants: dict[ParticipantId, Viewer] = {}
        #: First elapsed time of answers that were told ``retry``: sending again loses no time.
        self.first_elapsed_ms: dict[tuple[OpeningNo, ParticipantId], int] = {}
        #: The opening whose question was written last to all sockets, and when.
        self._written_no = OpeningNo(0)
        self._written_ns = 0
        self._clock_ahead_ms = 0
        self._heard_at = time.monotonic()
        self._snapshot: bytes | None = None
        self._refreshing: asyncio.Task[None] | None = None

    # --- what viewers ask ---------------------------------------------------------------------------

    def now_ms(self) -> int:
        """The actor's clock, as told by its last frame and counted on here."""
        return time.monotonic_ns() // 1_000_000 + self._clock_ahead_ms

    def snapshot(self) -> bytes:
        """The view as one message, encoded once per version and moment."""
        assert self.view is not None
        if self._snapshot is None:
            self._snapshot = encode_json(Snapshot(self.now_ms(), self.view))
            # Its now_ms is right for a moment only; many who come together share it.
            asyncio.get_running_loop().call_soon(self._forget_snapshot)
        return self._snapshot

    def elapsed_ms(self, viewer: Viewer, opening_no: OpeningNo) -> int:
        """Time from writing the open question to this socket until now; -1 when that was not seen."""
        if opening_no != self._written_no or viewer.attached_ns > self._written_ns:
            return -1
        return (time.monotonic_ns() - self._written_ns) // 1_000_000

    async def refresh(self) -> None:
        """Take the actor's snapshot, and give it to everybody here.

        Raises:
            QuizError: the session is over, unknown, or its actor away.
        """
        data = await self.gateway.call(self.session_id, "snapshot")
        if not data:
            return
        answer = decode_snapshot(data)
        self.questions = {q.opening_no: q for q in answer.questions}
        if self.view is not None and _stamp(answer.view) <= _stamp(self.view):
            return
        self._take(answer)
        self._broadcast(self.snapshot(), self.viewers)

    def _take(self, answer: SnapshotAnswer) -> None:
        before = self.view
        self.view = answer.view
        self._clock_ahead_ms = answer.now_ms - time.monotonic_ns() // 1_000_000
        self._snapshot = None
        self._note_question(before)

    def _forget_snapshot(self) -> None:
        self._snapshot = None

    # --- what the actor publishes -------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Handle one publication of the session's channel."""
        publication = decode_publication(data)
        self._heard_at = time.monotonic()
        if self.view is None or publication.epoch < self.view.epoch:
            return
        if isinstance(publication, FramePublication):
            self._frame(publication)
        elif isinstance(publication, ResultsPublication):
            self._results(publication.results)
        elif isinstance(publication, GonePublication):
            for viewer in list(self.viewers):
                viewer.close_as("session_over")
        elif isinstance(publication, BeatPublication) and _stamp(publication) > _stamp(self.view):
            self.resync()

    def _frame(self, publication: FramePublication) -> None:
        view = self.view
        assert view is not None
        frame = decode_server_message(publication.frame)
        assert isinstance(frame, DeltaFrame)
        if _stamp(publication) <= _stamp(view):
            return
        if frame.changes.phase is Phase.SELF_PACED_OPEN:
            # Its questions come with a snapshot; a frame alone would have them asked for too early.
            self.resync()
            return
        try:
            self.view = apply(Delta(frame.epoch, frame.version, frame.changes), view)
        except ValueError:
            self.resync()
            return
        self._clock_ahead_ms = frame.now_ms - time.monotonic_ns() // 1_000_000
        self._snapshot = None
        self._broadcast(publication.frame, self.viewers)
        self._note_question(view)

    def _note_question(self, before: View | None) -> None:
        """Remember when an opening's question went out, and forget what belongs to earlier ones."""
        question = self.view.question if self.view is not None else None
        if question is None or not question.opened_ms or question.opening_no == self._written_no:
            return
        shown_before = before.question if before is not None else None
        if shown_before is None or shown_before.opening_no <= question.opening_no:
            self._written_no = question.opening_no
            self._written_ns = time.monotonic_ns()
            self.first_elapsed_ms.clear()

    def _results(self, results: dict[ParticipantId, Result]) -> None:
        for participant_id, viewer in self.participants.items():
            result = results.get(participant_id)
            if result is not None:
                viewer.send_text(encode_json(ResultMessage(result)))
        # The removed are not on the board any more, so they have no result.

    def _broadcast(self, payload: bytes, viewers: Iterable[Viewer]) -> None:
        for viewer in list(viewers):
            viewer.send_text(payload)

    # --- when something is missing ------------------------------------------------------------------

    def resync(self) -> None:
        """Ask the actor for a snapshot, once however often it is called meanwhile."""
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.get_running_loop().create_task(self._resync())

    async def _resync(self) -> None:
        try:
            await self.refresh()
        except QuizError as error:
            if error.code in ("session_over", "not_found"):
                for viewer in list(self.viewers):
                    viewer.close_as("session_over")
            else:
                log.warning("action=resync_failed session=%s code=%s", self.session_id, error.code)

    def watch(self) -> None:
        """Called every second: resynchronise when the channel is silent (Redis away)."""
        if (time.monotonic() - self._heard_at) * 1000 > limits.CHANNEL_SILENCE_MS:
            self.resync()


def _stamp(of: View | msgspec.Struct) -> tuple[Epoch, FrameVersion]:
    return (of.epoch, of.version)  # type: ignore[union-attr]


class Hub:
    """All rooms of this replica."""

    def __init__(self, gateway: Gateway, subscriber: Subscriber) -> None:
        self._gateway = gateway
        self._subscriber = subscriber
        self._rooms: dict[SessionId, Room] = {}
        self._opening: dict[SessionId, asyncio.Task[Room]] = {}
        self._watcher = asyncio.get_running_loop().create_task(self._watch())

    @property
    def connections(self) -> int:
        """Sockets in rooms."""
        return sum(len(room.viewers) for room in self._rooms.values())

    async def enter(self, session_id: SessionId, viewer: Viewer) -> Room:
        """Put a viewer into its session's room, opened at need.

        Raises:
            QuizError: the session does not exist, is over, or is away for the moment.
        """
        room = self._rooms.get(session_id)
        if room is None:
            task = self._opening.get(session_id)
            if task is None:
                task = asyncio.get_running_loop().create_task(self._open(session_id))
                self._opening[session_id] = task
                task.add_done_callback(lambda _: self._opening.pop(session_id, None))
            room = await asyncio.shield(task)
        viewer.attached_ns = time.monotonic_ns()
        room.viewers.add(viewer)
        if viewer.participant_id:
            earlier = room.participants.get(viewer.participant_id)
            room.participants[viewer.participant_id] = viewer
            if earlier is not None and earlier is not viewer:
                earlier.close_as("replaced")
        return room

    def leave(self, room: Room, viewer: Viewer) -> None:
        """Take a viewer out; an empty room is closed."""
        room.viewers.discard(viewer)
        if room.participants.get(viewer.participant_id) is viewer:
            del room.participants[viewer.participant_id]
        if not room.viewers and self._rooms.get(room.session_id) is room:
            del self._rooms[room.session_id]
            self._subscriber.unsubscribe(room.session_id)

    async def _open(self, session_id: SessionId) -> Room:
        room = Room(session_id, self._gateway)
        # First the subscription, then the snapshot: what is published between them is not missed.
        await self._subscriber.subscribe(session_id, room.receive)
        try:
            await room.refresh()
            if room.view is None:
                await asyncio.sleep(limits.RETRY_AFTER_MS / 1000)
                await room.refresh()
        except QuizError:
            self._subscriber.unsubscribe(session_id)
            raise
        self._rooms[session_id] = room
        return room

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(limits.BEAT_INTERVAL_MS / 1000)
            for room in list(self._rooms.values()):
                room.watch()
