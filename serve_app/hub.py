"""The viewers of this replica, by session: one subscription and one view for all of them.

Hot path: a publication arrives -> :meth:`Room.receive` applies it to the replica's view and writes
the very same bytes to every socket. A slow socket is left out and gets a snapshot once it has
caught up. A gap in versions, or silence on the channel, makes the room ask the actor for a snapshot.
What comes from an actor that has been replaced (a lower epoch) is dropped.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable
from typing import Protocol

import msgspec

from actors.tasks import SharedWork
from engine import limits
from engine.errors import QuizError, Unavailable
from engine.ids import Epoch, FrameVersion, OpeningNo, ParticipantId, SessionId
from engine.phases import Phase
from engine.view import Delta, PublicQuestion, Result, Reveal, View, apply
from engine.wire import (
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

_Stamp = tuple[Epoch, FrameVersion]

#: How often in a row a snapshot is asked for that turns out older than what the channel told.
_SNAPSHOTS_MAX = 3


class Viewer(Protocol):
    """A socket as the hub sees it."""

    #: 0 for those who only watch.
    participant_id: ParticipantId
    #: Of its token, see :attr:`engine.session.Participant.returns`.
    returns: int
    #: Monotonic nanoseconds at which it was opened, and at which it was welcomed.
    opened_ns: int
    attached_ns: int

    def send_text(self, payload: bytes) -> None:
        """Write one message; left out before the welcome, and while the socket is slow.

        The welcome, or the snapshot once it has caught up, makes up for what was left out.
        """

    def close_as(self, name: str) -> None:
        """Close with a code of ``serve_app.errors.CLOSE_CODES``."""

    def close_if_revoked(self) -> None:
        """Close when the token that it said hello with is not believed any more."""


class Room:
    """One session on this replica."""

    def __init__(self, session_id: SessionId, gateway: Gateway) -> None:
        self.session_id = session_id
        self.gateway = gateway
        self.view: View | None = None
        #: Self-paced sessions: the public questions by opening.
        self.questions: dict[OpeningNo, PublicQuestion] = {}
        #: And what was right, for those who have answered.
        self.keys: dict[OpeningNo, Reveal] = {}
        self.viewers: set[Viewer] = set()
        self.participants: dict[ParticipantId, Viewer] = {}
        #: First elapsed time of answers that have no final reply yet: sending again loses no time.
        self.first_elapsed_ms: dict[tuple[OpeningNo, ParticipantId], int] = {}
        #: The opening whose question was written last to all sockets, and when.
        self._written_no = OpeningNo(0)
        self._written_ns = 0
        self._clock_ahead_ms = 0
        self._heard_at = time.monotonic()
        #: The newest view that the channel told of.
        self._heard: _Stamp = (Epoch(0), FrameVersion(0))
        #: Everybody's own result, as it was published last.
        self._results: dict[ParticipantId, Result] = {}
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

    def result_of(self, participant_id: ParticipantId) -> Result | None:
        """A participant's own result of the opening that the view shows closed, if it was told."""
        view, result = self.view, self._results.get(participant_id)
        if view is None or view.reveal is None or result is None:
            return None
        return result if result.opening_no == view.opening_no else None

    async def refresh(self) -> None:
        """Take the actor's snapshot, and give it to everybody here.

        Raises:
            QuizError: the session is over, unknown, or its actor away.
        """
        for _ in range(_SNAPSHOTS_MAX):
            data = await self.gateway.call(self.session_id, "snapshot")
            if not data:
                return
            self._take(decode_snapshot(data))
            # The channel is faster than a call: a frame may have come that did not fit any more.
            if self.view is None or self._heard <= _stamp(self.view):
                return

    def _take(self, answer: SnapshotAnswer) -> None:
        before = self.view
        if before is not None and answer.view.epoch < before.epoch:
            self.gateway.directory.forget(self.session_id)  # another actor acts for it by now
            return
        self._close_removed(answer.removed)
        self.questions = {q.opening_no: q for q in answer.questions}
        self.keys = dict(zip(self.questions, answer.keys, strict=False))
        if before is not None and _stamp(answer.view) <= _stamp(before):
            return
        self.view = answer.view
        self._clock_ahead_ms = answer.now_ms - time.monotonic_ns() // 1_000_000
        self._snapshot = None
        self._broadcast(self.snapshot(), self.viewers)
        self._note_question(answer.view.question)

    def _forget_snapshot(self) -> None:
        self._snapshot = None

    # --- what the actor publishes -------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Handle one publication of the session's channel."""
        publication = decode_publication(data)
        stamp = _stamp(publication)
        if self.view is not None and stamp[0] < self.view.epoch:
            return
        self._heard_at = time.monotonic()
        self._heard = max(self._heard, stamp)
        if isinstance(publication, FramePublication):
            self._frame(publication)
        elif isinstance(publication, ResultsPublication):
            self._tell_results(publication.results)
        elif isinstance(publication, GonePublication):
            self._close_all("session_over")
        elif self.view is not None and stamp > _stamp(self.view):  # a beat
            self.resync()

    def _frame(self, publication: FramePublication) -> None:
        self._close_removed(publication.removed)
        view = self.view
        if view is None or _stamp(publication) <= _stamp(view):
            return
        try:
            frame = decode_server_message(publication.frame)
        except msgspec.ValidationError:  # of another version; its snapshot may be readable
            self.resync()
            return
        assert isinstance(frame, DeltaFrame)
        if frame.changes.phase is Phase.SELF_PACED_OPEN:
            # Its questions come with a snapshot; a frame alone would have them asked for too early.
            self.resync()
            return
        try:
            after = apply(Delta(frame.epoch, frame.version, frame.changes), view)
        except ValueError:
            self.resync()
            return
        self.view = after
        self._clock_ahead_ms = frame.now_ms - time.monotonic_ns() // 1_000_000
        self._snapshot = None
        self._broadcast(publication.frame, self.viewers)
        self._note_question(after.question)

    def _note_question(self, question: PublicQuestion | None) -> None:
        """Remember when an opening's question went out, and forget what belongs to earlier ones."""
        if question is None or not question.opened_ms or question.opening_no == self._written_no:
            return
        self._written_no = question.opening_no
        self._written_ns = time.monotonic_ns()
        self.first_elapsed_ms.clear()

    def _tell_results(self, results: dict[ParticipantId, Result]) -> None:
        self._results = results
        for participant_id, viewer in list(self.participants.items()):
            result = results.get(participant_id)
            if result is not None:
                viewer.send_text(encode_json(ResultMessage(result)))

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
                self._close_all("session_over")
            elif error.code == "quarantined":
                self._close_all("quarantined")
            else:
                log.warning("action=resync_failed session=%s code=%s", self.session_id, error.code)
        except Exception:
            log.exception("action=resync_failed session=%s", self.session_id)

    def _close_all(self, name: str) -> None:
        for viewer in list(self.viewers):
            viewer.close_as(name)

    def _close_removed(self, removed: Iterable[ParticipantId]) -> None:
        """Close the sockets of participants whom the host has removed."""
        for participant_id in removed:
            viewer = self.participants.get(participant_id)
            if viewer is not None:
                viewer.close_as("removed")

    def watch(self) -> None:
        """Called every second: resynchronise when the channel is silent (Redis away)."""
        if (time.monotonic() - self._heard_at) * 1000 > limits.CHANNEL_SILENCE_MS:
            self.resync()


def _stamp(of: View | msgspec.Struct) -> _Stamp:
    return (of.epoch, of.version)  # type: ignore[union-attr]


class Hub:
    """All rooms of this replica."""

    def __init__(self, gateway: Gateway, subscriber: Subscriber) -> None:
        self._gateway = gateway
        self._subscriber = subscriber
        self._rooms: dict[SessionId, Room] = {}
        self._opening = SharedWork[SessionId, None]()
        self._watcher = asyncio.get_running_loop().create_task(self._watch())

    async def enter(self, session_id: SessionId, viewer: Viewer) -> Room:
        """Put a viewer into its session's room, opened at need.

        Of two sockets of one participant the one that was opened last stays. A page that has left a
        socket opens the next one behind it, but the hello of the first may come last. A device whose
        place has gone to another one takes nothing: the session's actor tells it so.

        Raises:
            QuizError: the session does not exist, is over, or is away for the moment.
        """
        # Looked up again after every wait: others may have left meanwhile, and the room with them.
        while (room := self._rooms.get(session_id)) is None:
            await self._opening.do(session_id, lambda: self._open(session_id))
        room.viewers.add(viewer)
        if viewer.participant_id:
            there = room.participants.get(viewer.participant_id)
            if there is not None:
                if there.returns > viewer.returns:
                    return room
                if there.returns == viewer.returns and there.opened_ns > viewer.opened_ns:
                    viewer.close_as("replaced")
                    return room
                there.close_as("replaced")
            room.participants[viewer.participant_id] = viewer
        return room

    def leave(self, room: Room, viewer: Viewer) -> None:
        """Take a viewer out; an empty room is closed."""
        room.viewers.discard(viewer)
        if room.participants.get(viewer.participant_id) is viewer:
            del room.participants[viewer.participant_id]
        if not room.viewers:
            self._drop(room)

    def close_revoked(self, sessions: set[SessionId]) -> None:
        """Close the sockets in these sessions whose tokens were revoked."""
        for session_id in sessions & self._rooms.keys():
            for viewer in list(self._rooms[session_id].viewers):
                viewer.close_if_revoked()

    def rooms(self) -> list[Room]:
        """The sessions that somebody here is in."""
        return list(self._rooms.values())

    async def close(self) -> None:
        """Stop listening."""
        self._watcher.cancel()
        await self._subscriber.close()

    def _drop(self, room: Room) -> None:
        if self._rooms.get(room.session_id) is room:
            del self._rooms[room.session_id]
            self._subscriber.unsubscribe(room.session_id)

    async def _open(self, session_id: SessionId) -> None:
        room = Room(session_id, self._gateway)
        # First the subscription, then the snapshot: what is published between them is not missed.
        await self._subscriber.subscribe(session_id, room.receive)
        try:
            await self._fill(room)
        except BaseException:
            self._subscriber.unsubscribe(session_id)
            raise
        self._rooms[session_id] = room

    async def _fill(self, room: Room) -> None:
        await room.refresh()
        if room.view is None:
            await asyncio.sleep(limits.RETRY_AFTER_MS / 1000)
            await room.refresh()
        if room.view is None:
            raise Unavailable("the session is on its way to its actor")

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(limits.BEAT_INTERVAL_MS / 1000)
            self.watch()

    def watch(self) -> None:
        """Called every second: watch every room, close those whose only viewers left on the way in."""
        for room in list(self._rooms.values()):
            if room.viewers:
                room.watch()
            else:
                self._drop(room)
