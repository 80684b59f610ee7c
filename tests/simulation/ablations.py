"""The safeguards, each with a way to take it out and the invariants that must then be seen to break.

A safeguard that another one masks is taken out together with it; ``means`` says so. The replicas'
own look at epochs is not there alone: whoever holds a lease is the only one that speaks, so it
saves a call to a replaced actor and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import aio_pika
import msgspec
import pytest

from actors import handover, session_actor, session_host
from actors.checkpoint_writer import CheckpointWriter, Tables
from actors.direct_log import DirectLog
from actors.lease import EpochLease
from actors.log_message import BatchMessage, LogMessage, batch_of
from actors.ports import Record
from actors.rabbitmq import BrokerLog
from actors.readings import Readings
from actors.session_host import SessionHost
from actors.session_store import Claim, Place, note_place
from engine import limits, recovery, session
from engine.commands import Join, Move
from engine.errors import Conflict, Unavailable
from engine.events import Event
from engine.ids import FrameVersion
from engine.session import Decision, Lock, Opening, SessionState
from engine.view import Delta, Reveal, View, apply, build_view
from engine.wire import (
    BatchAnswer,
    BeatPublication,
    SnapshotAnswer,
    decode_batch_answer,
    decode_publication,
)
from serve_app import batcher, hub
from serve_app.hub import Room
from serve_app.viewer import Viewer
from serve_app.websocket.connection import Connection
from serve_app.websocket.uvicorn_picows import PicowsConnection
from tests.simulation import broker, tables
from tests.simulation.network import Link


class Ablation(NamedTuple):
    """One safeguard.

    Attributes:
        remove: takes it out of the code under test.
        breaks: the invariants of :mod:`tests.simulation.audit` and its neighbours one of which breaks.
        seed: one that finds it. When it does so no more, because something else is drawn or done by
            now, ``python -m tests.simulation --find NAME`` finds another.
        means: what is missing then, and what was taken out with it because it would mask it.
        profile: where it is needed.
    """

    remove: Callable[[pytest.MonkeyPatch], None]
    breaks: tuple[str, ...]
    seed: int
    means: str
    profile: str = "cluster"


_HELD = "the actor holds what was acknowledged"
_STORED = "what was acknowledged is stored"
_ONCE = "what was acknowledged is stored once"
_SAME = "a repeat gets the first receipt"
_SO = "nobody is refused for what is not so"
_SHOWN = "a published score never goes down"
_AGREED = "memory, tables and scorer agree"
_INSIDE = "nothing fails inside"
_SETTLED = "everything settles"
_LOCKED = "a locked session lets nobody new in"
_BANNED = "who was removed does not come back"
_FIRST = "a repeat carries the first elapsed time"
_FOLLOWS = "what a socket is told follows what it was told"
_SECRET = "nobody is told the key before the close"
_STAYS = "a receipt stays what it was"
_SEEN = "pages show what is published"
_BOUNDED = "what waits is bounded"


async def _at_once(*_args: Any) -> None:
    """Stand in for what is not waited for."""


def _no_setting_aside(patch: pytest.MonkeyPatch) -> None:
    store = Tables._store

    async def ageless(self: Tables, connection: Any, messages: Sequence[LogMessage]) -> None:
        newest = 2**40
        await store(
            self,
            connection,
            [
                msgspec.structs.replace(message, epoch=newest)
                if isinstance(message, BatchMessage)
                else message
                for message in messages
            ],
        )

    patch.setattr(Tables, "_store", ageless)


def _no_mailbox(patch: pytest.MonkeyPatch) -> None:
    def given(self: broker.Broker, link: Link) -> None:
        self._owner = link

    patch.setattr(broker.Broker, "own", given)
    patch.setattr(broker.Broker, "require_owner", lambda *_: None)


def _stored_all_the_same(patch: pytest.MonkeyPatch) -> None:
    # Nothing comes behind a barrier from whoever has lost the mailbox.
    _no_mailbox(patch)
    _no_setting_aside(patch)


def _no_epoch(patch: pytest.MonkeyPatch) -> None:
    def believed(data: bytes) -> BatchAnswer:
        answer = decode_batch_answer(data)
        return msgspec.structs.replace(answer, epoch=min(answer.epoch, 1))

    _stored_all_the_same(patch)
    patch.setattr(EpochLease, "hold", _at_once)
    patch.setattr(EpochLease, "vouch", _at_once)
    patch.setattr(batcher, "decode_batch_answer", believed)


def _no_lease(patch: pytest.MonkeyPatch) -> None:
    async def append(self: BrokerLog, records: Sequence[Record]) -> None:
        await self._publisher.publish(batch_of(self._session_id, self._epoch, records))

    _no_mailbox(patch)
    patch.setattr(BrokerLog, "append", append)


def _no_lease_wait(patch: pytest.MonkeyPatch) -> None:
    _no_mailbox(patch)
    patch.setattr(handover, "is_dead", lambda *_: True)


def _early_place(patch: pytest.MonkeyPatch) -> None:
    settle_earlier = handover.settle_earlier

    async def told_first(connection: Any, publisher: Any, claimed: Claim, here: Place) -> None:
        await note_place(connection, claimed, here)
        await settle_earlier(connection, publisher, claimed, here)

    _no_mailbox(patch)
    patch.setattr(session_actor, "settle_earlier", told_first)


def _no_barrier(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(handover, "pass_barrier", _at_once)


def _ack_first(patch: pytest.MonkeyPatch) -> None:
    store = CheckpointWriter._store

    async def acknowledged_first(self: CheckpointWriter, pairs: Sequence[Any]) -> None:
        for incoming, _ in pairs:
            await incoming.ack()
        await store(self, pairs)

    patch.setattr(CheckpointWriter, "_store", acknowledged_first)


def _no_unique_key(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(tables.Table, "has_unique_keys", False)


def _no_confirm(patch: pytest.MonkeyPatch) -> None:
    async def publish(
        self: broker.Channel, message: aio_pika.Message, *_args: Any, **_more: Any
    ) -> None:
        self.link.send(self.broker.append, self.link.client, message.body)

    patch.setattr(broker.Channel, "publish", publish)


def _no_gate(patch: pytest.MonkeyPatch) -> None:
    async def at_any_time(self: SessionHost, make: Callable[[int], Decision]) -> Decision:
        async with self._move_lock:
            decision = make(self._clock.now_ms())
            if decision.events:
                await self._outbox.add(decision.events)
        self._open_gate.set()  # shut by a host that begins with a deadline that has passed
        return decision

    patch.setattr(SessionHost, "_exclusively", at_any_time)


def _no_held_refusal(patch: pytest.MonkeyPatch) -> None:
    def is_not_vouched(*_args: Any) -> None:
        raise Unavailable("only the epoch counts")

    # As if there were no mailbox at all: whoever has it need not ask before it refuses.
    _no_mailbox(patch)
    patch.setattr(EpochLease, "_require_vouched", is_not_vouched)
    patch.setattr(BrokerLog, "is_held_since", lambda *_: True)
    patch.setattr(limits, "EPOCH_READ_INTERVAL_MS", 60_000)


def _no_fence(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(tables.Database, "fences", False)


def _no_look_before_refusals(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(DirectLog, "is_held_since", lambda *_: True)


def _any_look_vouches(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Readings, "have_passed", lambda self, _moment: self._passed > 0)


# --- what pages see -----------------------------------------------------------------------------------


def _any_delta(patch: pytest.MonkeyPatch) -> None:
    def applied(delta: Delta, view: View) -> View:
        follows = Delta(view.epoch, FrameVersion(view.version + 1), delta.changes)
        return msgspec.structs.replace(apply(follows, view), version=delta.version)

    patch.setattr(hub, "apply", applied)


def _no_left_out_frames(patch: pytest.MonkeyPatch) -> None:
    def send_text(self: Viewer, payload: bytes) -> None:
        if self._connection is not None:
            self._connection.send_text(payload)

    patch.setattr(Viewer, "send_text", send_text)


def _one_look(patch: pytest.MonkeyPatch) -> None:
    resync = Room.resync

    def once(self: Room) -> None:
        if self._refreshing is None:
            resync(self)

    patch.setattr(Room, "resync", once)


def _deaf_to_beats(patch: pytest.MonkeyPatch) -> None:
    receive = Room.receive

    def received(self: Room, data: bytes) -> None:
        if isinstance(decode_publication(data), BeatPublication):
            self._heard_at = hub.time.monotonic()
        else:
            receive(self, data)

    patch.setattr(Room, "receive", received)


def _any_snapshot(patch: pytest.MonkeyPatch) -> None:
    take = Room._take

    def taken(self: Room, answer: SnapshotAnswer) -> None:
        before = self.view
        if before is not None and before.epoch == answer.view.epoch:
            self.view = msgspec.structs.replace(before, version=FrameVersion(-1))
        take(self, answer)

    patch.setattr(Room, "_take", taken)


def _no_catching_up(patch: pytest.MonkeyPatch) -> None:
    def follows_on(self: Viewer, _connection: Connection) -> None:
        self._is_slow = False
        self._follows = self._is_welcome

    patch.setattr(Viewer, "on_writable", follows_on)


def _no_weighing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(PicowsConnection, "_weigh", lambda _: None)


def _no_removals_in_snapshots(patch: pytest.MonkeyPatch) -> None:
    take = Room._take

    def taken(self: Room, answer: SnapshotAnswer) -> None:
        take(self, msgspec.structs.replace(answer, removed=frozenset()))

    patch.setattr(Room, "_take", taken)


def _no_word_of_removals(patch: pytest.MonkeyPatch) -> None:
    publish = SessionHost._publish
    patch.setattr(SessionHost, "_publish", lambda self, *_removed: publish(self))


def _no_first_elapsed(patch: pytest.MonkeyPatch) -> None:
    class Forgetful(dict[Any, int]):
        def get(self, *_args: Any) -> None:  # type: ignore[override]
            return None

    made = Room.__init__

    def make(self: Room, *args: Any) -> None:
        made(self, *args)
        self.first_elapsed_ms = Forgetful()

    patch.setattr(Room, "__init__", make)


def _early_key(patch: pytest.MonkeyPatch) -> None:
    def built(state: SessionState, *stamp: Any) -> View:
        view = build_view(state, *stamp)
        opening = state.current
        return view if opening is None else _with_reveal(view, state, opening)

    def _with_reveal(view: View, state: SessionState, opening: Opening) -> View:
        question = state.question(opening)
        key = Reveal(question.correct, question.accepted, (), question.explanation)
        return msgspec.structs.replace(view, reveal=view.reveal or key)

    patch.setattr(session_host, "build_view", built)


def _no_lock(patch: pytest.MonkeyPatch) -> None:
    check = session._check_door

    def checked(state: SessionState, command: Join) -> None:
        try:
            check(state, command)
        except Conflict as error:
            if error.code != "locked":
                raise

    patch.setattr(session, "_check_door", checked)


def _no_devices(patch: pytest.MonkeyPatch) -> None:
    check = session._check_door

    def checked(state: SessionState, command: Join) -> None:
        check(state, msgspec.structs.replace(command, device=""))

    patch.setattr(session, "_check_door", checked)


def _fold_with(patch: pytest.MonkeyPatch, forget: Callable[[SessionState], None]) -> None:
    def folded(state: SessionState, event: Event) -> None:
        session.evolve(state, event)
        forget(state)

    patch.setattr(recovery, "evolve", folded)


def _no_lock_after_a_take_over(patch: pytest.MonkeyPatch) -> None:
    _fold_with(patch, lambda state: setattr(state, "lock", Lock.OPEN))


def _no_bans_after_a_take_over(patch: pytest.MonkeyPatch) -> None:
    _fold_with(patch, lambda state: state.banned_devices.clear())


def _one_at_a_time(patch: pytest.MonkeyPatch) -> None:
    decide = session._decide_remove

    def decided(state: SessionState, command: Move, now_ms: int) -> Decision:
        return Decision(decide(state, command, now_ms).events[:1])

    patch.setattr(session, "_decide_remove", decided)


ABLATIONS: dict[str, Ablation] = {
    "epoch": Ablation(
        _no_epoch,
        (_HELD, _SHOWN, _SAME, _SO, _STORED, _ONCE, _AGREED, _INSIDE, _SETTLED),
        1,
        "nobody compares epochs, and the mailbox is no obstacle",
    ),
    "lease": Ablation(
        _no_lease,
        (_HELD, _SHOWN, _STORED, _SAME, _SO, _SETTLED),
        230,
        "a confirm alone acknowledges, and the mailbox is no obstacle; writers still set batches aside",
    ),
    "lease_wait": Ablation(
        _no_lease_wait,
        (_HELD, _SHOWN, _STORED, _SAME, _SO),
        24,
        "a successor takes every earlier actor for dead and waits for no lease nor mailbox",
    ),
    "mailbox": Ablation(
        _no_mailbox,
        (_HELD, _SHOWN, _STORED, _SAME, _SO),
        728,
        "the broker gives the session's mailbox to whoever asks for it",
    ),
    "place_after_wait": Ablation(
        _early_place,
        (_HELD, _SHOWN, _STORED, _SAME, _SO),
        251,
        "a successor tells its place before it has waited, and the mailbox is no obstacle",
    ),
    "set_aside": Ablation(
        _stored_all_the_same,
        (_SHOWN, _AGREED, _HELD, _STORED, _ONCE, _SAME),
        230,
        "a writer stores what comes behind a barrier, and the mailbox keeps nobody from sending it",
    ),
    "barrier": Ablation(
        _no_barrier,
        (_HELD, _SHOWN, _SAME, _STORED, _AGREED, _SO, _INSIDE),
        23,
        "a successor folds the tables without waiting for what the broker holds",
    ),
    "commit_before_ack": Ablation(
        _ack_first,
        (_HELD, _STORED, _SHOWN, _SAME, _INSIDE, _AGREED),
        4,
        "a writer acknowledges to the broker before it commits",
    ),
    "unique_key": Ablation(
        _no_unique_key,
        (_ONCE, _HELD, _AGREED),
        12,
        "tables take a key twice",
    ),
    "confirm": Ablation(
        _no_confirm,
        (_STORED, _HELD, _SHOWN, _SAME, _INSIDE, _AGREED, _SETTLED),
        9,
        "a batch counts as durable once it is sent",
    ),
    "gate": Ablation(
        _no_gate,
        (_AGREED, _SHOWN, _SETTLED),
        757,
        "commands and closings do not go alone: answers are decided while one is under way",
    ),
    "held_refusals": Ablation(
        _no_held_refusal,
        (_SO, _SAME),
        716,
        "refusals take no lease, and nothing else tells an actor in time that it is replaced",
    ),
    "fence": Ablation(
        _no_fence,
        (_HELD, _SHOWN, _SAME, _SO, _STORED, _ONCE, _AGREED),
        10,
        "the statement that stores does not compare epochs",
        "embedded",
    ),
    "direct_unique_key": Ablation(
        _no_unique_key,
        (_ONCE, _HELD, _AGREED, _INSIDE),
        21,
        "tables take a key twice: an append whose outcome is unknown is made again",
        "embedded",
    ),
    "direct_gate": Ablation(
        _no_gate,
        (_AGREED, _SHOWN, _SETTLED, _HELD),
        151,
        "commands and closings do not go alone",
        "embedded",
    ),
    "direct_held_refusals": Ablation(
        _no_look_before_refusals,
        (_SO, _SAME),
        202,
        "an actor refuses without a look whether it was replaced",
        "embedded",
    ),
    "direct_young_look": Ablation(
        _any_look_vouches,
        (_SO, _SAME),
        202,
        "a look at the epoch vouches for refusals that were decided after it began",
        "embedded",
    ),
    "kept_lock": Ablation(
        _no_lock_after_a_take_over,
        (_LOCKED,),
        7,
        "a successor does not know that the host has locked the session",
    ),
    "kept_bans": Ablation(
        _no_bans_after_a_take_over,
        (_BANNED,),
        17,
        "a successor does not know the devices of those who were removed",
    ),
    "removed_together": Ablation(
        _one_at_a_time,
        (_BANNED,),
        3,
        "a command that removes several removes the first of them",
    ),
    "direct_kept_lock": Ablation(
        _no_lock_after_a_take_over,
        (_LOCKED,),
        5,
        "a successor does not know that the host has locked the session",
        "embedded",
    ),
    "direct_kept_bans": Ablation(
        _no_bans_after_a_take_over,
        (_BANNED,),
        51,
        "a successor does not know the devices of those who were removed",
        "embedded",
    ),
    "direct_removed_together": Ablation(
        _one_at_a_time,
        (_BANNED,),
        6,
        "a command that removes several removes the first of them",
        "embedded",
    ),
    "delta_order": Ablation(
        _any_delta,
        (_FOLLOWS, _SEEN, _INSIDE),
        3,
        "a room applies a frame to whatever view it has, and passes it on",
        "sockets",
    ),
    "welcome_first": Ablation(
        _no_left_out_frames,
        (_FOLLOWS,),
        6,
        "frames are written before the welcome, and to slow sockets",
        "sockets",
    ),
    "looking_again": Ablation(
        _one_look,
        (_SEEN, _STAYS, _SETTLED),
        4,
        "a room asks for one snapshot; when it fails or another gap comes, for no more",
        "sockets",
    ),
    "beats": Ablation(
        _deaf_to_beats,
        (_SEEN, _SETTLED),
        16,
        "a beat says only that the channel lives: a lost last frame is not missed",
        "sockets",
    ),
    "removed_in_frames": Ablation(
        _no_word_of_removals,
        (_SEEN,),
        49,
        "frames do not say who was removed",
        "sockets",
    ),
    "snapshot_stamp": Ablation(
        _any_snapshot,
        (_FOLLOWS, _SEEN),
        30,
        "a room takes a snapshot that frames have overtaken, and passes it on",
        "sockets",
    ),
    "removed_in_snapshots": Ablation(
        _no_removals_in_snapshots,
        (_SEEN,),
        858,
        "a snapshot does not say who was removed: a lost frame's removals are missed",
        "sockets",
    ),
    "catching_up": Ablation(
        _no_catching_up,
        (_FOLLOWS, _SEEN),
        182,
        "a socket that has caught up gets the next frame, and no snapshot before it",
        "sockets",
    ),
    "weighing": Ablation(
        _no_weighing,
        (_BOUNDED,),
        13,
        "nobody looks how much waits for a peer that does not read",
        "sockets",
    ),
    "first_elapsed": Ablation(
        _no_first_elapsed,
        (_FIRST,),
        7,
        "an answer that is sent again is measured again",
        "sockets",
    ),
    "secret_key": Ablation(
        _early_key,
        (_SECRET,),
        1,
        "views carry the key of the question that is open",
        "sockets",
    ),
    "lock": Ablation(
        _no_lock,
        (_LOCKED,),
        51,
        "a locked session lets people in",
        "sockets",
    ),
    "device": Ablation(
        _no_devices,
        (_BANNED,),
        8,
        "who was removed joins again under another key",
        "sockets",
    ),
}
