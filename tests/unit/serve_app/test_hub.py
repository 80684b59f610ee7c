"""Rooms: what reaches whom, what is dropped, and when the actor is asked."""

import asyncio
import time

import msgspec
import pytest

from engine import limits
from engine.errors import Conflict, Unavailable
from engine.ids import Epoch, OpeningNo, ParticipantId
from engine.phases import Phase, Step
from engine.testing.driver import SELF_PACED, SESSION_ID, SessionDriver
from engine.wire import (
    DeltaFrame,
    FramePublication,
    ResultMessage,
    Snapshot,
    decode_server_message,
    decode_snapshot,
    encode_pack,
)
from serve_app.hub import Hub


class Watcher:
    """A hub.Viewer that keeps what it gets."""

    def __init__(self, participant_id=0):
        self.participant_id = ParticipantId(participant_id)
        self.returns = 0
        self.opened_ns = time.monotonic_ns()
        self.attached_ns = 0
        self.raw = []
        self.closed = []

    def send_text(self, payload):
        self.raw.append(payload)

    def close_as(self, name):
        self.closed.append(name)

    @property
    def sent(self):
        return [decode_server_message(payload) for payload in self.raw]


@pytest.fixture
def enter(hub):
    """Let somebody into the room."""

    async def enter(participant_id=0, returns=0):
        watcher = Watcher(participant_id)
        watcher.returns = returns
        return watcher, await hub.enter(SESSION_ID, watcher)

    return enter


# --- frames -----------------------------------------------------------------------------------------


async def test_a_frame_is_applied_and_the_same_bytes_go_to_all(enter, actor, subscriber):
    (one, room), (two, _), (three, _) = [await enter(n) for n in (0, 1, 2)]
    subscriber.publish(actor.joined("Zoe"))
    assert one.raw == two.raw == three.raw == [actor.last_frame]
    assert one.raw[0] is two.raw[0] is three.raw[0]
    assert room.view == actor.view


async def test_a_frame_that_was_seen_already_changes_nothing(enter, actor, subscriber, gateway):
    watcher, room = await enter()
    frame = actor.joined("Zoe")
    subscriber.publish(frame)
    subscriber.publish(frame)
    assert len(watcher.raw) == 1
    assert (room.view, gateway.calls) == (actor.view, ["snapshot"])


async def test_a_gap_is_filled_by_one_snapshot_for_all(enter, actor, subscriber, gateway, settle):
    (one, room), (two, _) = await enter(), await enter()
    actor.joined("lost")
    for name in ("Ada", "Bea", "Cleo"):
        subscriber.publish(actor.joined(name))
    assert one.raw == []
    await settle()
    assert gateway.calls == ["snapshot"] * 2
    assert room.view == actor.view
    assert one.raw == two.raw
    assert [type(message) for message in one.sent] == [Snapshot]


async def test_frames_that_pass_a_snapshot_on_its_way_make_it_be_asked_for_again(
    enter, actor, subscriber, gateway, settle
):
    watcher, room = await enter()
    actor.joined("lost")
    gateway.gate.clear()
    subscriber.publish(actor.joined("Ada"))
    await settle()
    subscriber.publish(actor.joined("Bea"))  # the snapshot under way does not hold this one
    gateway.gate.set()
    await settle()
    assert room.view == actor.view
    assert watcher.sent[-1].view == actor.view
    assert gateway.calls == ["snapshot"] * 3


async def test_what_is_published_while_the_room_opens_is_not_missed(
    hub, actor, subscriber, gateway, settle
):
    gateway.gate.clear()
    watcher = Watcher()
    entering = asyncio.create_task(hub.enter(SESSION_ID, watcher))
    await settle()
    subscriber.publish(actor.joined("Ada"))
    gateway.gate.set()
    room = await entering
    assert room.view == actor.view


async def test_what_a_newer_actor_publishes_and_nobody_here_knows_is_made_up_by_a_snapshot(
    enter, actor, subscriber, settle
):
    watcher, room = await enter()
    actor.joined("Zoe")
    unknown = [99, actor.view.epoch, actor.view.version, "what is newer"]
    subscriber.publish(msgspec.msgpack.encode(unknown))
    await settle()
    assert [type(message) for message in watcher.sent] == [Snapshot]
    actor.joined("Ada")
    frame = b'{"type":"delta","changes":{"phase":"newer"}}'
    newer = FramePublication(actor.view.epoch, actor.view.version, frame)
    subscriber.publish(encode_pack(newer))
    await settle()
    assert [type(message) for message in watcher.sent] == [Snapshot] * 2
    assert room.view == actor.view


async def test_a_lower_epoch_is_ignored_whatever_it_says(enter, actor, make_actor, subscriber):
    woken = make_actor(SessionDriver())
    actor.restart()
    watcher, room = await enter()
    woken.driver.join("nobody")
    frame = woken.frame()
    for data in (frame, woken.beat(), woken.gone()):
        subscriber.publish(data)
    assert (watcher.raw, watcher.closed) == ([], [])
    assert room.view == actor.view


async def test_silence_is_not_broken_by_a_lower_epoch(enter, actor, make_actor, subscriber):
    woken = make_actor(SessionDriver())
    actor.restart()
    _, room = await enter()
    heard_at = room._heard_at
    subscriber.publish(woken.beat())
    assert room._heard_at == heard_at
    subscriber.publish(actor.beat())
    assert room._heard_at > heard_at


async def test_a_higher_epoch_brings_a_snapshot(enter, actor, subscriber, settle):
    watcher, room = await enter()
    actor.restart()
    subscriber.publish(actor.joined("Zoe"))
    await settle()
    assert [type(message) for message in watcher.sent] == [Snapshot]
    assert room.view == actor.view


async def test_a_snapshot_of_a_lower_epoch_is_dropped_and_its_actor_looked_for_anew(
    enter, actor, make_actor, subscriber, gateway, settle
):
    woken = make_actor(SessionDriver())
    actor.restart()
    watcher, room = await enter()
    gateway.actor = woken
    actor.joined("lost")
    subscriber.publish(actor.beat())
    await settle()
    assert watcher.raw == []
    assert room.view.epoch == actor.epoch
    assert set(gateway.directory.forgotten) == {SESSION_ID}


# --- beats and silence ------------------------------------------------------------------------------


async def test_a_beat_that_is_ahead_shows_that_the_last_frame_was_lost(
    enter, actor, subscriber, gateway, settle
):
    watcher, room = await enter()
    subscriber.publish(actor.beat())
    await settle()
    assert gateway.calls == ["snapshot"]
    actor.joined("lost")
    subscriber.publish(actor.beat())
    await settle()
    assert [message.view for message in watcher.sent] == [actor.view]
    assert room.view == actor.view


async def test_silence_makes_the_room_ask(hub, enter, actor, gateway, settle, monkeypatch):
    watcher, _ = await enter()
    hub.watch()
    await settle()
    assert gateway.calls == ["snapshot"]
    monkeypatch.setattr(limits, "CHANNEL_SILENCE_MS", -1)
    actor.joined("Zoe")
    hub.watch()
    await settle()
    assert [message.view for message in watcher.sent] == [actor.view]
    hub.watch()
    await settle()
    assert len(watcher.raw) == 1, "what is known already is not sent again"


async def test_an_actor_that_is_away_is_asked_again_by_the_next_beat(
    enter, actor, subscriber, gateway, settle, caplog
):
    watcher, room = await enter()
    actor.joined("lost")
    gateway.error = Unavailable("away")
    subscriber.publish(actor.beat())
    await settle()
    assert (watcher.raw, watcher.closed) == ([], [])
    assert "action=resync_failed" in caplog.text
    gateway.error = None
    subscriber.publish(actor.beat())
    await settle()
    assert room.view == actor.view


# --- ends -------------------------------------------------------------------------------------------


async def test_an_actor_that_leaves_closes_the_room(enter, actor, subscriber):
    watchers = [(await enter(n))[0] for n in (0, 1)]
    subscriber.publish(actor.gone())
    assert [watcher.closed for watcher in watchers] == [["session_over"]] * 2


async def test_a_session_that_turns_out_to_be_over(enter, gateway, settle):
    watcher, room = await enter()
    gateway.error = Conflict("the session is over", "session_over")
    room.resync()
    await settle()
    assert watcher.closed == ["session_over"]


# --- results ----------------------------------------------------------------------------------------


async def close_a_question(actor, subscriber):
    subscriber.publish(actor.moved(Step.START))
    actor.driver.answer(1, 1)
    actor.driver.wait(1_000)
    subscriber.publish(actor.moved(Step.CLOSE))


async def test_a_result_reaches_its_own_participant_only(enter, actor, subscriber):
    (host, room), (mia, _), (ben, _) = [await enter(n) for n in (0, 1, 2)]
    await close_a_question(actor, subscriber)
    subscriber.publish(actor.results())
    results = [
        [m.result for m in watcher.sent if isinstance(m, ResultMessage)]
        for watcher in (host, mia, ben)
    ]
    assert [[(r.correct, r.rank) for r in each] for each in results] == [
        [],
        [(True, 1)],
        [(False, 2)],
    ]
    assert room.result_of(ParticipantId(1)) == results[1][0]
    assert room.result_of(ParticipantId(9)) is None


async def test_a_result_is_told_only_while_its_opening_is_shown(enter, actor, subscriber):
    _, room = await enter()
    await close_a_question(actor, subscriber)
    subscriber.publish(actor.results())
    assert room.result_of(ParticipantId(1)) is not None
    subscriber.publish(actor.moved(Step.NEXT))
    assert room.result_of(ParticipantId(1)) is not None, "the scoreboard of the same opening"
    subscriber.publish(actor.moved(Step.NEXT))
    assert room.view.phase is Phase.QUESTION_OPEN
    assert room.result_of(ParticipantId(1)) is None


# --- coming and going -------------------------------------------------------------------------------


async def test_one_subscription_however_many_come_at_once(hub, subscriber, gateway, settle):
    gateway.gate.clear()
    watchers = [Watcher() for _ in range(5)]
    entering = [asyncio.create_task(hub.enter(SESSION_ID, watcher)) for watcher in watchers]
    await settle()
    gateway.gate.set()
    rooms = await asyncio.gather(*entering)
    assert len(set(rooms)) == 1
    assert rooms[0].viewers == set(watchers)
    assert gateway.calls == ["snapshot"]
    for watcher in watchers:
        assert SESSION_ID in subscriber.callbacks
        hub.leave(rooms[0], watcher)
    assert subscriber.callbacks == {}


async def test_one_leaves_at_once_while_another_is_on_its_way_in(
    hub, actor, subscriber, gateway, settle
):
    gateway.gate.clear()
    first, second = Watcher(), Watcher()

    async def come_and_go():
        hub.leave(await hub.enter(SESSION_ID, first), first)

    entering = [
        asyncio.create_task(come_and_go()),
        asyncio.create_task(hub.enter(SESSION_ID, second)),
    ]
    await settle()
    gateway.gate.set()
    _, room = await asyncio.gather(*entering)
    assert room.viewers == {second}
    subscriber.publish(actor.joined("Zoe"))
    assert second.raw == [actor.last_frame], "it stands in a room that listens"


async def test_a_room_whose_only_viewer_left_on_the_way_in_is_closed(
    hub, subscriber, gateway, settle
):
    gateway.gate.clear()
    entering = asyncio.create_task(hub.enter(SESSION_ID, Watcher()))
    await settle()
    entering.cancel()
    gateway.gate.set()
    await settle()
    assert SESSION_ID in subscriber.callbacks
    hub.watch()
    assert subscriber.callbacks == {}
    watcher = Watcher()
    room = await hub.enter(SESSION_ID, watcher)
    assert room.viewers == {watcher}


async def test_a_room_that_is_left_while_it_is_refreshed(
    hub, enter, actor, subscriber, gateway, settle
):
    watcher, room = await enter()
    gateway.gate.clear()
    room.resync()
    await settle()
    hub.leave(room, watcher)
    assert subscriber.callbacks == {}
    gateway.gate.set()
    again, anew = await enter()
    assert anew is not room
    await settle()
    subscriber.publish(actor.joined("Zoe"))
    assert (watcher.raw, again.raw) == ([], [actor.last_frame])


async def test_to_leave_an_old_room_does_not_deafen_the_new_one(hub, enter, subscriber):
    watcher, room = await enter()
    hub.leave(room, watcher)
    _, anew = await enter()
    hub.leave(room, watcher)
    assert subscriber.callbacks == {SESSION_ID: anew.receive}


async def test_a_room_that_cannot_be_opened_leaves_nothing_behind(hub, subscriber, gateway):
    gateway.error = Conflict("the session is over", "session_over")
    for _ in range(2):
        with pytest.raises(Conflict, match="over"):
            await hub.enter(SESSION_ID, Watcher())
        assert subscriber.callbacks == {}
    gateway.error = None
    assert (await hub.enter(SESSION_ID, Watcher())).view is not None


async def test_an_actor_that_has_not_found_its_session_yet(hub, subscriber, gateway, monkeypatch):
    monkeypatch.setattr(limits, "RETRY_AFTER_MS", 1)
    gateway.blank = True
    with pytest.raises(Unavailable):
        await hub.enter(SESSION_ID, Watcher())
    assert gateway.calls == ["snapshot", "snapshot"]
    assert subscriber.callbacks == {}


async def test_a_device_whose_place_has_gone_to_another_takes_nothing(enter):
    (before, room), (now, _) = await enter(1), await enter(1, returns=1)
    late, _ = await enter(1)
    assert (before.closed, now.closed, late.closed) == (["replaced"], [], [])
    assert room.participants == {1: now}
    (after, _), (again, _) = await enter(1, returns=2), await enter(1, returns=2)
    assert (now.closed, after.closed, again.closed) == (["replaced"], ["replaced"], [])


async def test_a_participant_that_comes_twice_is_replaced(hub, enter, actor, subscriber):
    (first, room), (second, _) = await enter(1), await enter(1)
    assert (first.closed, second.closed) == (["replaced"], [])
    hub.leave(room, first)
    assert room.participants == {1: second}
    await close_a_question(actor, subscriber)
    subscriber.publish(actor.results())
    assert any(isinstance(message, ResultMessage) for message in second.sent)
    hub.leave(room, second)
    assert room.participants == {}


async def test_the_hub_closes_what_it_opened(gateway, subscriber):
    hub = Hub(gateway, subscriber)
    await hub.close()
    assert subscriber.closed
    await asyncio.gather(hub._watcher, return_exceptions=True)
    assert hub._watcher.cancelled()


# --- the removed ------------------------------------------------------------------------------------


async def test_a_removed_participant_is_closed(enter, actor, subscriber, gateway, settle):
    (host, _), (mia, _), (ben, _) = [await enter(n) for n in (0, 1, 2)]
    subscriber.publish(actor.removes(1))
    assert (host.closed, mia.closed, ben.closed) == ([], ["removed"], [])
    assert (gateway.calls, gateway.asked) == (["snapshot"], [])


async def test_a_removal_among_more_joins_than_a_frame_names_is_noticed(
    enter, actor, subscriber, gateway
):
    (mia, _), (ben, _) = [await enter(n) for n in (1, 2)]
    for number in range(limits.ROSTER_ROWS_MAX + 5):
        actor.driver.join(f"P{number}")
    subscriber.publish(actor.removes(1))
    assert (mia.closed, ben.closed) == (["removed"], [])
    assert gateway.calls == ["snapshot"]


async def test_a_removal_that_changes_nothing_to_be_seen_is_noticed(enter, actor, subscriber):
    """Somebody joins and is removed between two frames; its socket is here already."""
    actor.driver.join("Zoe")
    zoe, room = await enter(3)
    subscriber.publish(actor.removes(3))
    assert zoe.closed == ["removed"]
    assert room.view.version == actor.version


async def test_a_removal_that_was_missed_comes_with_the_next_snapshot(
    enter, actor, subscriber, settle
):
    (mia, _), (ben, _) = [await enter(n) for n in (1, 2)]
    actor.removes(1)  # lost on the way
    subscriber.publish(actor.joined("Zoe"))
    await settle()
    assert (mia.closed, ben.closed) == (["removed"], [])


async def test_a_removal_is_found_in_a_snapshot_of_a_view_that_is_known(enter, actor, gateway):
    mia, room = await enter(1)
    actor.driver.move(Step.REMOVE, who=1)
    await room.refresh()  # its view has the version that is held already
    assert mia.closed == ["removed"]


async def test_an_actor_that_was_replaced_is_not_believed_about_removals(
    enter, actor, subscriber, settle
):
    mia, room = await enter(1)
    stale = encode_pack(FramePublication(Epoch(room.view.epoch), 9, b"{}", (1,)))
    actor.restart()
    await room.refresh()
    subscriber.publish(stale)
    await settle()
    assert mia.closed == []


async def test_frames_and_snapshots_of_the_version_before_are_understood(
    enter, actor, subscriber, gateway
):
    """They tell of nobody: then the removed one's next answer is refused, and closes its socket."""
    mia, room = await enter(1)
    _, *fields = msgspec.msgpack.decode(actor.joined("Zoe"))
    subscriber.publish(msgspec.msgpack.encode([1, *fields[:3]]))
    assert room.view.participants_count == 3
    older = msgspec.msgpack.decode(actor.snapshot())[:3]
    assert decode_snapshot(msgspec.msgpack.encode(older)).removed == frozenset()
    assert mia.closed == []


async def test_joins_alone_ask_nobody(enter, actor, subscriber, gateway, settle):
    await enter(1)
    for number in range(limits.ROSTER_ROWS_MAX + 5):
        subscriber.publish(actor.joined(f"P{number}"))
    await settle()
    assert gateway.calls == ["snapshot"]


# --- elapsed time -----------------------------------------------------------------------------------


async def test_elapsed_time_counts_from_the_writing_of_the_question(enter, actor, subscriber):
    watcher, room = await enter(1)
    assert room.elapsed_ms(watcher, OpeningNo(1)) == -1
    subscriber.publish(actor.moved(Step.START))
    assert room.elapsed_ms(watcher, OpeningNo(1)) >= 0
    assert room.elapsed_ms(watcher, OpeningNo(2)) == -1
    room._written_ns -= 1_500_000_000
    assert 1_500 <= room.elapsed_ms(watcher, OpeningNo(1)) < 60_000


async def test_a_socket_opened_after_the_question_has_no_measurement(enter, actor, subscriber):
    watcher, room = await enter(1)
    subscriber.publish(actor.moved(Step.START))
    watcher.attached_ns = room._written_ns + 1
    assert room.elapsed_ms(watcher, OpeningNo(1)) == -1


async def test_a_snapshot_after_a_restart_does_not_start_the_clock_anew(
    enter, actor, subscriber, settle
):
    watcher, room = await enter(1)
    subscriber.publish(actor.moved(Step.START))
    written_ns = room._written_ns
    room.first_elapsed_ms[OpeningNo(1), watcher.participant_id] = 7
    actor.restart()
    subscriber.publish(actor.beat())
    await settle()
    assert room.view.epoch == actor.epoch
    assert (room._written_ns, len(room.first_elapsed_ms)) == (written_ns, 1)


async def test_first_elapsed_times_go_with_their_opening(enter, actor, subscriber):
    watcher, room = await enter(1)
    await close_a_question(actor, subscriber)
    room.first_elapsed_ms[OpeningNo(1), watcher.participant_id] = 7
    subscriber.publish(actor.moved(Step.NEXT))
    assert len(room.first_elapsed_ms) == 1
    subscriber.publish(actor.moved(Step.NEXT))
    assert room.first_elapsed_ms == {}


# --- self-paced play --------------------------------------------------------------------------------


async def test_a_self_paced_start_comes_with_its_questions(
    make_actor, gateway, enter, subscriber, settle
):
    actor = gateway.actor = make_actor(SessionDriver(settings=SELF_PACED))
    watcher, room = await enter()
    assert room.questions == {}
    subscriber.publish(actor.moved(Step.START))
    assert watcher.raw == [], "a frame alone would have them asked for too early"
    await settle()
    assert [type(message) for message in watcher.sent] == [Snapshot]
    assert set(room.questions) == set(actor.driver.state.openings)
    subscriber.publish(actor.joined("Zoe"))
    assert [type(message) for message in watcher.sent] == [Snapshot, DeltaFrame]


# --- the shared snapshot ----------------------------------------------------------------------------


async def test_a_snapshot_is_encoded_once_for_all_who_come_together(enter, actor, subscriber):
    _, room = await enter()
    first = room.snapshot()
    assert room.snapshot() is first
    await asyncio.sleep(0)
    assert room.snapshot() is not first, "its now_ms was right for a moment only"
    first = room.snapshot()
    subscriber.publish(actor.joined("Zoe"))
    assert decode_server_message(room.snapshot()).view == actor.view
