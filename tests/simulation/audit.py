"""What must hold, checked at every moment that can break it, and once more at the end.

It keeps its own books of what was acknowledged and shown, and shares no code with the engine's
rules; scores come from :mod:`engine.testing.auditor`.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Collection
from typing import Any

import msgspec

from actors.session_host import SessionHost
from engine import limits
from engine.model import Mode, Quiz, SessionSettings
from engine.phases import Step
from engine.session import Lock
from engine.testing.auditor import audit
from engine.wire import (
    AnswerItem,
    BatchItem,
    BatchReply,
    DeltaFrame,
    DoneReply,
    FaultReply,
    FramePublication,
    HelloItem,
    JoinedReply,
    JoinItem,
    MoveItem,
    Publication,
    ReceiptReply,
    decode_server_message,
)
from serve_app.hub import Room
from tests.simulation.tables import Database

#: What a person whose thing is not acknowledged may be refused with. ``late`` comes with the close,
#: ``session_over`` with the end, the host's two with a view that is not the newest. ``locked`` and
#: ``removed`` are looked at apart.
_REFUSALS = {
    AnswerItem: {"late", "removed"},
    JoinItem: {"session_over", "locked", "removed"},
    MoveItem: {"stale_command", "not_found", "session_over"},
}

#: From then on only the broker can tell who may acknowledge, seconds.
_AWAY_S = limits.LEASE_MS / 1000 + 1.0

_LOCKED = "a locked session lets nobody new in"
_REMOVED = "who was removed does not come back"

Key = tuple[object, ...]


class Stored:
    """What the tables say of the session's course, read on as they grow.

    Attributes:
        closed: the openings whose close is stored.
        removed: the participants whose removal is stored.
        is_over: whether the end is stored.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._read_count = 0
        self._closed: set[int] = set()
        self._removed: set[int] = set()
        self._is_over = False

    @property
    def closed(self) -> set[int]:
        self._read()
        return self._closed

    @property
    def removed(self) -> set[int]:
        self._read()
        return self._removed

    @property
    def is_over(self) -> bool:
        self._read()
        return self._is_over

    @property
    def banned_devices(self) -> set[str]:
        """The devices of the removed."""
        removed = self.removed
        rows = self._database.participants.rows
        return {row["device"] for row in rows if removed and row["participant_id"] in removed}

    def answer(self, who: int, opening_no: int) -> dict[str, Any] | None:
        """The row of an answer."""
        for row in self._database.answers.rows:
            if (row["participant_id"], row["opening_no"]) == (who, opening_no):
                return row
        return None

    def _read(self) -> None:
        rows = self._database.events.rows
        for row in rows[self._read_count :]:
            event = msgspec.json.decode(row["event"])
            if event["type"] == "closed":
                self._closed.add(event["opening_no"])
            elif event["type"] == "removed":
                self._removed.add(event["participant_id"])
            elif event["type"] in ("finished", "cancelled"):
                self._is_over = True
        self._read_count = len(rows)


class Doors:
    """Who may be let in, as far as commands that were carried out say so.

    The host waits for one command before it gives the next, so none that locks or unlocks is under
    way beside another.
    """

    def __init__(self) -> None:
        self.was_locked = False
        #: The devices of those whose removal was acknowledged.
        self.banned_devices: set[str] = set()
        #: Who was in for certain when each removal was first sent, of those whom it names.
        self._removals: dict[str, set[int]] = {}
        #: The device of everybody who is known to be in.
        self._devices: dict[int, str] = {}
        #: Which lock is in force; 0: none.
        self._lock_no = 0
        self._locks_count = 0
        self._commands: set[str] = set()
        #: Join keys that were sent while the doors were open: they may be let in later.
        self._early: set[str] = set()

    def sent(self, item: BatchItem) -> int:
        """Something is sent; return the lock that is to keep it out, if there is one."""
        if isinstance(item, MoveItem) and item.command_id not in self._commands:
            self._commands.add(item.command_id)
            self.was_locked = self.was_locked or item.step is Step.LOCK
            if item.step is Step.UNLOCK:
                self._lock_no = 0
            elif item.step is Step.REMOVE:
                named = item.participants or (item.participant_id,)
                self._removals[item.command_id] = self._devices.keys() & set(named)
        if not isinstance(item, JoinItem):
            return 0
        if not self._lock_no:
            self._early.add(item.join_key)
        return 0 if item.join_key in self._early else self._lock_no

    def done(self, item: BatchItem, reply: BatchReply) -> None:
        """Something was acknowledged for the first time."""
        if isinstance(item, JoinItem) and isinstance(reply, JoinedReply):
            self._devices[reply.participant_id] = item.device
        elif isinstance(item, MoveItem) and item.step is Step.LOCK:
            self._locks_count += 1
            self._lock_no = self._locks_count
        elif isinstance(item, MoveItem) and item.step is Step.REMOVE:
            removed = self._removals[item.command_id]
            self.banned_devices |= {self._devices[who] for who in removed}

    def still_in(self, command_id: str, removed: Collection[int]) -> set[int]:
        """Whom a command was to remove, but for those who are."""
        return self._removals.get(command_id, set()).difference(removed)

    @property
    def is_locked(self) -> bool:
        """Whether a lock is in force."""
        return bool(self._lock_no)

    def is_locked_by(self, lock_no: int) -> bool:
        """Whether a lock is in force still."""
        return bool(lock_no) and self._lock_no == lock_no


class Elapsed:
    """The elapsed times that rooms measure: the first one stays until the answer is decided."""

    def __init__(self, mode: Mode, violate: Callable[[str, str], None]) -> None:
        self._mode = mode
        self._violate = violate
        self._first: dict[tuple[Room, int, int], int] = {}

    def sent(self, item: AnswerItem, room: Room) -> None:
        """A room hands on an answer."""
        key = (room, item.opening_no, item.participant_id)
        first = self._first.get(key, -1)
        view = room.view
        is_asked = self._mode is Mode.SELF_PACED or (
            view is not None and view.opening_no == item.opening_no
        )
        if first >= 0 and is_asked and item.elapsed_ms != first:
            self._violate("a repeat carries the first elapsed time", f"{item}, after {first} ms")
        if first < 0 and item.elapsed_ms >= 0:
            self._first[key] = item.elapsed_ms

    def decided(self, item: AnswerItem, room: Room) -> None:
        """The client was told the outcome: there is nothing to repeat."""
        self._first.pop((room, item.opening_no, item.participant_id), None)


class Auditor:
    """The books.

    Attributes:
        stored: the session's course, as the tables have it.
        acknowledged: the first reply to each answer, join and command that said "stored".
        acknowledged_away: how many of them came while the database was away for longer than any
            reading of the epoch is good for.
        violations: (invariant, what was seen).
    """

    def __init__(
        self,
        quiz: Quiz,
        settings: SessionSettings,
        database: Database,
        on_violation: Callable[[], None],
    ) -> None:
        self._quiz = msgspec.to_builtins(quiz)
        self._settings = msgspec.to_builtins(settings)
        self._database = database
        self._on_violation = on_violation
        self.stored = Stored(database)
        self.acknowledged: dict[Key, BatchReply] = {}
        self.acknowledged_away = 0
        self.violations: list[tuple[str, str]] = []
        self._doors = Doors()
        self._elapsed = Elapsed(settings.mode, self.violate)
        self._host: SessionHost | None = None
        self._shown = (0, 0)
        self._points: dict[int, int] = {}

    def violate(self, invariant: str, seen: str) -> None:
        """Note that an invariant is broken, and by what."""
        self.violations.append((invariant, seen))
        self._on_violation()

    # --- while it plays -------------------------------------------------------------------------

    @property
    def host(self) -> SessionHost | None:
        """The newest that has taken over."""
        return self._host

    def submitted(self, item: BatchItem, room: Room | None) -> Callable[[BatchReply], None]:
        """A replica was given an item, over a socket of a room or by HTTP; tell what comes back."""
        if isinstance(item, HelloItem):
            return _ignored
        if isinstance(item, AnswerItem) and room is not None:
            self._elapsed.sent(item, room)
        return functools.partial(
            self._replied,
            item,
            room,
            was_acknowledged=key_of(item) in self.acknowledged,
            lock_no=self._doors.sent(item),
            was_banned=isinstance(item, JoinItem)
            and item.device in self.stored.banned_devices | self._doors.banned_devices,
        )

    def _replied(
        self,
        item: BatchItem,
        room: Room | None,
        reply: BatchReply,
        *,
        was_acknowledged: bool,
        lock_no: int,
        was_banned: bool,
    ) -> None:
        """A replica was told a reply. ``was_acknowledged`` and its like: already when it was sent."""
        key = key_of(item)
        is_fault = isinstance(reply, FaultReply)
        if isinstance(item, AnswerItem) and room is not None and not (is_fault and reply.retryable):
            self._elapsed.decided(item, room)
        if is_fault:
            self._refused(item, reply, was_acknowledged=was_acknowledged)
            return
        if key not in self.acknowledged:
            self.acknowledged_away += self._database.away_s > _AWAY_S
            self._doors.done(item, reply)
        first = self.acknowledged.setdefault(key, reply)
        if first != reply:
            self.violate("a repeat gets the first receipt", f"{key}: {first}, then {reply}")
        if not was_acknowledged and self._doors.is_locked_by(lock_no):
            self.violate(_LOCKED, f"{item}: {reply}")
        if was_banned:
            self.violate(_REMOVED, f"{item}: {reply}")
        if self._host is not None:
            self._holds(self._host, key, reply)

    def _refused(self, item: BatchItem, reply: FaultReply, *, was_acknowledged: bool) -> None:
        if reply.retryable and reply.code != "internal":
            return
        who = getattr(item, "participant_id", 0)
        if was_acknowledged and not (isinstance(item, JoinItem) and reply.code == "removed"):
            first = self.acknowledged[key_of(item)]
            self.violate("a repeat gets the first receipt", f"{item}: {first}, then {reply}")
        elif reply.code not in _REFUSALS[type(item)] or (
            reply.code == "locked" and not self._doors.was_locked
        ):
            self.violate("nobody is refused for what is not so", f"{item} of {who}: {reply}")

    def ready(self, host: SessionHost) -> None:
        """A host has taken the session over."""
        if self._host is not None and host.epoch < self._host.epoch:
            return  # fenced before it began
        self._host = host
        for key, reply in self.acknowledged.items():
            self._holds(host, key, reply)
        if self._doors.is_locked and host._state.lock is Lock.OPEN:
            self.violate(_LOCKED, f"epoch {host.epoch} has forgotten that it is locked")
        # Whoever asks for a snapshot has this now, and drops what is older.
        self._shown = max(self._shown, (host.epoch, 1))
        self._score(host.scoreboard(0, 100))

    def _holds(self, host: SessionHost, key: Key, reply: BatchReply) -> None:
        state = host._state
        if isinstance(reply, ReceiptReply):
            opening = state.openings.get(reply.opening_no)
            answer = opening.answers.get(key[2]) if opening is not None else None  # type: ignore[call-overload]
            is_held = answer is not None and _receipt(_fields(answer)) == _receipt(_fields(reply))
        elif isinstance(reply, JoinedReply):
            person = state.participants.get(reply.participant_id)
            is_held = person is not None and (person.join_key, person.nickname) == (
                key[1],
                reply.nickname,
            )
        else:
            assert isinstance(reply, DoneReply)
            done = state.commands_done.get(reply.command_id)
            is_held = done is not None and (done.phase, done.opening_no) == (
                reply.phase,
                reply.opening_no,
            )
            in_again = self._doors.still_in(reply.command_id, state.removed)
            if in_again:
                self.violate(_REMOVED, f"epoch {host.epoch} after {reply}: {in_again} are in")
        if not is_held:
            self.violate(
                "the actor holds what was acknowledged", f"epoch {host.epoch}: {key}: {reply}"
            )

    def published(self, publication: Publication) -> None:
        """An actor has published something; viewers believe what is newer than what they have."""
        if not isinstance(publication, FramePublication):
            return
        frame = decode_server_message(publication.frame)
        assert isinstance(frame, DeltaFrame)
        changed = frame.changes.scoreboard
        if changed is msgspec.UNSET:
            return
        rows = [(row.participant_id, row.nickname, row.points, row.rank) for row in changed]
        stamp = (publication.epoch, publication.version)
        if stamp > self._shown:
            self._shown = stamp
            self._score(rows)
            return
        # Of a replaced actor: some viewers have not heard of its successor, and will.
        for who, _, points, _ in rows:
            if points > self._points.get(who, points):
                self.violate(
                    "a published score never goes down",
                    f"participant {who}: {points} by an actor that has a successor, "
                    f"who knows of {self._points[who]}",
                )

    def _score(self, rows: list[tuple[Any, str, int, int]]) -> None:
        for who, _, points, _ in rows:
            if points < self._points.get(who, 0):
                self.violate(
                    "a published score never goes down",
                    f"participant {who}: {self._points[who]}, then {points}",
                )
            self._points[who] = points

    # --- at the end -----------------------------------------------------------------------------

    def settled(self, host: SessionHost) -> None:
        """All is over and stored: compare the books, the tables, the memory and the scorer."""
        stored: dict[Key, list[dict[str, Any]]] = {}
        moves: Counter[Key] = Counter()
        database = self._database
        for row in database.answers.rows:
            stored.setdefault(("answer", row["opening_no"], row["participant_id"]), []).append(row)
        for row in database.participants.rows:
            stored.setdefault(("join", row["join_key"]), []).append(row)
        for row in database.events.rows:
            event = msgspec.json.decode(row["event"])
            if command_id := event.get("command_id"):
                stored[("move", command_id)] = [event]
                # One command removes several; each stands for itself.
                moves[("move", command_id, event.get("participant_id", 0))] += 1
        doubled: list[Key] = [key for key, rows in stored.items() if len(rows) > 1]
        doubled += [key for key, count in moves.items() if count > 1]
        doubled += [
            ("seq", seq)
            for seq, count in Counter(row["seq"] for row in database.events.rows).items()
            if count > 1
        ]
        if doubled:
            self.violate("what was acknowledged is stored once", f"twice: {doubled}")
        for key, reply in self.acknowledged.items():
            rows = stored.get(key, [])
            if not rows:
                self.violate("what was acknowledged is stored", f"{key}: {reply} is not there")
            elif not _is_stored_as(reply, rows[0]):
                self.violate("what was acknowledged is stored", f"{reply} is stored as {rows[0]}")
            self._holds(host, key, reply)
        self._compare(host)

    def _compare(self, host: SessionHost) -> None:
        removed = [
            event["participant_id"]
            for row in self._database.events.rows
            if (event := msgspec.json.decode(row["event"]))["type"] == "removed"
        ]
        try:
            expected = audit(
                self._quiz,
                self._settings,
                [row["participant_id"] for row in self._database.participants.rows],
                [
                    {
                        "participant_id": row["participant_id"],
                        "opening": row["opening_no"],
                        "question_index": row["question_index"],
                        "choices": [i for i in range(8) if row["choice_mask"] >> i & 1],
                        "text": row["text"],
                        "elapsed_ms": row["elapsed_ms"],
                    }
                    for row in self._database.answers.rows
                ],
                removed,
            )
        except ValueError as error:
            self.violate("memory, tables and scorer agree", str(error))
            return
        memory = [(who, points, rank) for who, _, points, rank in host.scoreboard(0, 100)]
        if memory != expected:
            self.violate("memory, tables and scorer agree", f"memory {memory}, else {expected}")


def _ignored(_reply: BatchReply) -> None:
    """Stand in for what nobody is told."""


def key_of(item: BatchItem) -> Key:
    """What makes two items the same."""
    if isinstance(item, AnswerItem):
        return ("answer", item.opening_no, item.participant_id)
    if isinstance(item, JoinItem):
        return ("join", item.join_key)
    assert isinstance(item, MoveItem)
    return ("move", item.command_id)


def _is_stored_as(reply: BatchReply, row: dict[str, Any]) -> bool:
    """Whether a row says what a reply has said; a command's place in the quiz stands in no row."""
    if isinstance(reply, ReceiptReply):
        return _receipt(row) == _receipt(_fields(reply))
    if isinstance(reply, JoinedReply):
        return (row["participant_id"], row["nickname"]) == (reply.participant_id, reply.nickname)
    return True


def _fields(struct: msgspec.Struct) -> dict[str, Any]:
    return {name: getattr(struct, name) for name in struct.__struct_fields__}


def _receipt(row: dict[str, Any]) -> tuple[object, ...]:
    """What a receipt tells, of a row, an answer or a reply."""
    return tuple(
        row[name]
        for name in ("opening_no", "choice_mask", "text", "elapsed_ms", "correct", "points")
    )
