"""One session over a log in memory, in virtual time: what is promised, in every order of events."""

import asyncio
import itertools

import pytest

from actors.memory import MemoryPublisher, MemoryStore
from actors.session_host import SessionHost
from engine import limits
from engine.errors import Fenced
from engine.events import AnswerAccepted, Cancelled, Closed, Extended, Joined, Locked
from engine.model import SessionSettings
from engine.phases import Phase, Step
from engine.recovery import state_digest
from engine.session import Lock
from engine.testing.driver import PLAIN, SELF_PACED, SESSION_ID, START_MS
from engine.testing.factories import make_question, make_quiz
from engine.view import Delta, ViewChanges, apply
from engine.wire import (
    AnswerItem,
    BeatPublication,
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
    decode_server_message,
)

LIMIT_MS = 20_000
#: The right choice of every question of :func:`make_question`, as a mask; and a wrong one.
RIGHT, WRONG = 0b10, 0b01
CLOSES_EARLY = SessionSettings(preview_ms=0)


def join(name):
    return JoinItem(f"key-of-{name}", name)


def answer(who, mask=RIGHT, *, opening_no=1, elapsed_ms=-1):
    return AnswerItem(who, opening_no, mask, "", elapsed_ms)


class VirtualClock:
    """The loop's virtual time as Unix milliseconds."""

    def __init__(self):
        self._loop = asyncio.get_running_loop()

    def now_ms(self):
        return START_MS + round(self._loop.time() * 1000)


class Stage:
    """A session, its store, and all that it has told. ``recover`` puts a new host over the store."""

    def __init__(self, settings, quiz):
        self.settings, self.quiz = settings, quiz
        self.store = MemoryStore()
        self.clock = VirtualClock()
        self.failures, self.overs, self._hosts = [], 0, []
        self._commands = 0
        self.recover()

    def recover(self):
        found, log = self.store.take_over(SESSION_ID, self.quiz, self.settings)
        self.publisher = MemoryPublisher()
        self.host = SessionHost(
            found, log, self.publisher, self.clock, self.failures.append, self._over
        )
        self._hosts.append(self.host)

    def _over(self):
        self.overs += 1

    async def close(self):
        for host in self._hosts:
            await host.close()

    # --- asking ---

    def command(self, step, *, extra_ms=0, who=0):
        self._commands += 1
        state = self.host._state
        return MoveItem(
            step, state.phase, state.current_no, f"command-{self._commands}", extra_ms, who
        )

    async def ask(self, item):
        [reply] = await self.host.submit([item])
        return reply

    async def move(self, step, **more):
        reply = await self.ask(self.command(step, **more))
        assert isinstance(reply, DoneReply), reply
        return reply

    async def open(self, *names):
        replies = await self.host.submit([join(name) for name in names])
        assert [reply.participant_id for reply in replies] == list(range(1, len(names) + 1))
        await self.move(Step.START)

    def begin(self, *items):
        """A batch whose outcome is looked at later."""
        return asyncio.get_running_loop().create_task(self.host.submit(items))

    # --- looking ---

    @property
    def phase(self):
        return self.host._state.phase

    @property
    def digest(self):
        return state_digest(self.host._state)

    def stored(self, kind):
        events = [record.event for record in self.store.records]
        return [event for event in events if isinstance(event, kind)]

    def told(self, kind):
        return [p for p in self.publisher.published if isinstance(p, kind)]

    @property
    def frames(self):
        return [decode_server_message(p.frame) for p in self.told(FramePublication)]


@pytest.fixture
async def make_stage():
    """A factory of stages with two questions, of which each has 20 s."""
    stages = []

    def make(settings=PLAIN, questions=2):
        quiz = make_quiz(*(make_question(time_limit_ms=LIMIT_MS) for _ in range(questions)))
        stages.append(Stage(settings, quiz))
        return stages[-1]

    yield make
    for stage in stages:
        stage.store.commits.set()
        await stage.close()


@pytest.fixture
async def stage(make_stage):
    """A session that was just created."""
    return make_stage()


@pytest.fixture
async def open_stage(stage):
    """A session of Mia (1) and Ben (2) whose first question is open."""
    await stage.open("Mia", "Ben")
    return stage


# --- batches --------------------------------------------------------------------------------------


async def test_a_batch_of_everything_gets_one_reply_for_each_item_in_its_order(open_stage):
    command = open_stage.command(Step.CLOSE)
    replies = await open_stage.host.submit(
        [HelloItem(1), answer(1), join("Zoë"), answer(9), command, answer(2, WRONG), HelloItem(9)]
    )
    assert [type(reply) for reply in replies] == [
        HelloReply, ReceiptReply, JoinedReply, FaultReply, DoneReply, ReceiptReply, FaultReply
    ]  # fmt: skip
    # Nobody has looked since the last one was refused, and the others do not wait for that.
    assert replies[6].again
    replies[6] = await open_stage.ask(HelloItem(9))
    # A hello is answered last: it knows of the answer and of the close beside it.
    assert replies[0].you.receipt.opening == 1
    assert replies[0].you.result.correct
    assert replies[1] == ReceiptReply(1, RIGHT, "", 0, True, 1_000)
    assert replies[2] == JoinedReply(3, "Zoë")
    assert replies[3].code == replies[6].code == "not_found"
    assert replies[4] == DoneReply(command.command_id, Phase.QUESTION_CLOSED, 1)
    assert replies[5] == ReceiptReply(1, WRONG, "", 0, False, 0)


async def test_answers_of_one_batch_are_one_append(open_stage):
    before = len(open_stage.store.appends)
    await open_stage.host.submit([answer(1), answer(2)])
    assert [len(records) for records in open_stage.store.appends[before:]] == [2]


async def test_an_empty_batch_is_answered(stage):
    assert await stage.host.submit([]) == []


async def test_nothing_is_told_or_seen_before_it_is_durable(make_stage, until):
    stage = make_stage(SELF_PACED)
    await stage.open("Mia")
    published = len(stage.told(FramePublication))
    stage.store.commits.clear()
    batch = stage.begin(answer(1))
    await asyncio.sleep(3)
    assert not batch.done()
    assert stage.host.scoreboard(0, 10) == [(1, "Mia", 0, 1)]
    assert len(stage.told(FramePublication)) == published
    assert (await stage.ask(HelloItem(1))).you.points == 0
    stage.store.commits.set()
    [receipt] = await batch
    assert receipt.points == 1_000
    assert stage.host.scoreboard(0, 10) == [(1, "Mia", 1_000, 1)]


async def test_one_item_that_fails_leaves_the_others_alone(open_stage, caplog):
    broken = AnswerItem(2, 1, "no mask", "", -1)
    replies = await open_stage.host.submit([answer(1), broken, join("Zoë")])
    assert [type(reply) for reply in replies] == [ReceiptReply, FaultReply, JoinedReply]
    assert replies[1].code == "internal"
    assert "decide_failed" in caplog.text
    assert isinstance(await open_stage.ask(answer(2)), ReceiptReply)


async def test_an_item_of_another_version_leaves_the_others_alone(open_stage, caplog):
    unreadable = UnreadableItem("Invalid value 99")
    receipt, fault = await open_stage.host.submit([answer(1), unreadable])
    assert isinstance(receipt, ReceiptReply)
    assert (fault.code, fault.retryable) == ("internal", False)
    assert "Invalid value 99" in fault.detail
    assert "item_unreadable" in caplog.text


async def test_a_hello_that_fails_leaves_the_others_alone(open_stage, monkeypatch, caplog):
    await open_stage.host.submit([answer(1)])
    await open_stage.move(Step.CLOSE)
    monkeypatch.setattr(open_stage.host, "_results", None)
    again, joined = await open_stage.host.submit([HelloItem(1), join("Zoë")])
    fault = await open_stage.ask(HelloItem(1))
    assert again.again
    assert (fault.code, fault.retryable) == ("internal", False)
    assert isinstance(joined, JoinedReply)
    assert "hello_failed" in caplog.text


async def test_a_full_outbox_refuses_what_is_new_and_knows_what_is_not(
    open_stage, monkeypatch, until
):
    monkeypatch.setattr(limits, "OUTBOX_EVENTS_MAX", 1)
    open_stage.store.commits.clear()
    first = open_stage.begin(answer(1))
    await until(lambda: len(open_stage.host._outbox) == 1)
    second = open_stage.begin(answer(1, WRONG), answer(2), join("Zoë"))
    open_stage.store.commits.set()
    [receipt] = await first
    again, refused, also_refused = await second
    assert again == receipt
    assert refused.code == also_refused.code == "overloaded"
    assert refused.retryable
    assert isinstance(await open_stage.ask(answer(2)), ReceiptReply)


async def test_a_replica_that_left_stops_nobody(open_stage, until):
    open_stage.store.commits.clear()
    gone = open_stage.begin(answer(1), open_stage.command(Step.EXTEND, extra_ms=1_000))
    await until(lambda: len(open_stage.host._outbox) == 1)
    gone.cancel()
    await asyncio.wait([gone])
    open_stage.store.commits.set()
    assert isinstance(await open_stage.ask(answer(2)), ReceiptReply)
    assert len(open_stage.stored(AnswerAccepted)) == 2


# --- repeats --------------------------------------------------------------------------------------


async def test_a_repeat_gets_the_first_receipt_whenever_it_comes(open_stage, until):
    open_stage.store.commits.clear()
    first = open_stage.begin(answer(1, elapsed_ms=0))
    await until(lambda: len(open_stage.host._outbox) == 1)
    await asyncio.sleep(1)
    pending = open_stage.begin(answer(1, WRONG), answer(1))
    await asyncio.sleep(1)
    assert not pending.done()  # what is not durable is not acknowledged to a repeat either
    open_stage.store.commits.set()
    [receipt] = await first
    assert await pending == [receipt, receipt]
    assert await open_stage.ask(answer(1, WRONG)) == receipt
    await open_stage.move(Step.CLOSE)
    assert await open_stage.ask(answer(1, WRONG)) == receipt
    open_stage.recover()
    assert await open_stage.ask(answer(1, WRONG)) == receipt
    assert len(open_stage.stored(AnswerAccepted)) == 1


async def test_the_same_answer_twice_in_one_batch_is_one(open_stage):
    first, second = await open_stage.host.submit([answer(1), answer(1, WRONG)])
    assert first == second == ReceiptReply(1, RIGHT, "", 0, True, 1_000)
    assert len(open_stage.stored(AnswerAccepted)) == 1


async def test_a_repeated_join_is_the_same_participant(stage):
    first, again = await stage.host.submit([join("Mia"), JoinItem("key-of-Mia", "Somebody")])
    assert first == again == JoinedReply(1, "Mia")
    assert await stage.ask(join("Mia")) == first
    stage.recover()
    assert await stage.ask(join("Mia")) == first


async def test_a_repeated_join_is_not_acknowledged_before_the_first_is_durable(stage, until):
    stage.store.commits.clear()
    first = stage.begin(join("Mia"))
    await until(lambda: len(stage.host._outbox) == 1)
    again = stage.begin(join("Mia"))
    await asyncio.sleep(1)
    assert not again.done()
    stage.store.commits.set()
    assert await again == await first == [JoinedReply(1, "Mia")]


async def test_a_repeated_command_moves_nothing(open_stage, until):
    command = open_stage.command(Step.CLOSE)
    open_stage.store.commits.clear()
    both = [open_stage.begin(command), open_stage.begin(command)]
    await until(lambda: not open_stage.host._open_gate.is_set())
    open_stage.store.commits.set()
    done = DoneReply(command.command_id, Phase.QUESTION_CLOSED, 1)
    assert [await batch for batch in both] == [[done], [done]]
    await open_stage.move(Step.NEXT)
    assert await open_stage.ask(command) == done
    open_stage.recover()
    assert await open_stage.ask(command) == done
    assert len(open_stage.stored(Closed)) == 1


# --- the log is away ------------------------------------------------------------------------------


async def test_while_the_log_is_away_the_outcome_is_unknown_and_no_time_is_lost(open_stage):
    await open_stage.ask(answer(1))
    open_stage.store.away = True
    await asyncio.sleep(2)
    asked_s = asyncio.get_running_loop().time()
    reply = await open_stage.ask(answer(2))
    assert (reply.code, reply.retryable) == ("retry", True)
    waited_ms = (asyncio.get_running_loop().time() - asked_s) * 1000
    assert waited_ms == pytest.approx(limits.CONFIRM_WAIT_MS)
    assert open_stage.stored(AnswerAccepted)[1:] == []
    open_stage.store.away = False
    assert await open_stage.ask(answer(2, WRONG)) == ReceiptReply(1, RIGHT, "", 2_000, True, 950)


async def test_what_needs_nothing_stored_is_answered_while_the_log_is_away(open_stage):
    receipt = await open_stage.ask(answer(1))
    open_stage.store.away = True
    asked_s = asyncio.get_running_loop().time()
    replies = await open_stage.host.submit([answer(1), join("Mia"), answer(9), HelloItem(2)])
    assert replies[:2] == [receipt, JoinedReply(1, "Mia")]
    assert replies[2].again, "whether it is refused cannot be told"
    assert replies[3].you.nickname == "Ben"
    assert asyncio.get_running_loop().time() == asked_s
    refused = await open_stage.ask(answer(9))
    assert (refused.code, refused.retryable, refused.again) == ("retry", True, False)
    open_stage.store.away = False
    assert (await open_stage.ask(answer(9))).code == "not_found"


async def test_a_command_that_cannot_be_stored_is_unknown_and_carried_out_once(open_stage):
    open_stage.store.away = True
    command = open_stage.command(Step.CLOSE)
    assert (await open_stage.ask(command)).code == "retry"
    assert open_stage.phase is Phase.QUESTION_OPEN
    # The gate is shut behind it: answers wait, hellos do not.
    waiting, hello = await open_stage.host.submit([answer(1), HelloItem(1)])
    assert waiting.code == "retry"
    assert hello.you.nickname == "Mia"
    open_stage.store.away = False
    assert await open_stage.ask(command) == DoneReply(
        command.command_id, Phase.QUESTION_CLOSED, 1
    )  # fmt: skip
    assert len(open_stage.stored(Closed)) == 1
    assert (await open_stage.ask(answer(1))).code == "late"


async def test_a_fenced_host_acknowledges_nothing_and_tells_its_owner(open_stage):
    old, old_publisher = open_stage.host, open_stage.publisher
    open_stage.recover()
    published = len(old_publisher.published)
    [reply] = await old.submit([answer(1)])
    assert reply.code == "retry"
    assert [type(failure) for failure in open_stage.failures] == [Fenced]
    assert open_stage.stored(AnswerAccepted) == []
    assert len(old_publisher.published) == published
    assert isinstance(await open_stage.ask(answer(1)), ReceiptReply)


@pytest.mark.parametrize(
    "item",
    [
        answer(1, opening_no=2),
        answer(3),
        HelloItem(3),
        MoveItem(Step.NEXT, "lobby", 0, "next", 0, 0),
    ],
    ids=["opening", "participant", "hello", "move"],
)
async def test_a_host_that_was_replaced_refuses_nothing_out_of_its_old_memory(open_stage, item):
    # Its successor may have opened, let in and accepted what this one has never heard of.
    old = open_stage.host
    [refused] = await old.submit([item])
    assert isinstance(refused, FaultReply)
    assert not refused.retryable
    open_stage.recover()
    again, known = await old.submit([item, join("Mia")])
    assert again.again, "what is known needs no look at the epoch and waits for none"
    assert known == JoinedReply(1, "Mia")
    [unknown] = await old.submit([item])
    assert (unknown.code, unknown.retryable) == ("retry", True)
    assert [type(failure) for failure in open_stage.failures] == [Fenced]


# --- who vouches for a refusal --------------------------------------------------------------------


async def test_what_is_stored_does_not_wait_for_the_look_that_a_refusal_needs(open_stage):
    receipt = await open_stage.ask(answer(1))
    open_stage.store.readings.clear()
    asked_s = asyncio.get_running_loop().time()
    again, repeated, hello = await open_stage.host.submit([answer(9), answer(1), HelloItem(2)])
    assert again.again
    assert (repeated, hello.you.nickname) == (receipt, "Ben")
    assert asyncio.get_running_loop().time() == asked_s


async def test_the_append_of_its_own_batch_vouches_for_a_refusal(open_stage):
    looks = open_stage.store.readings_count
    receipt, refused = await open_stage.host.submit([answer(1), answer(9)])
    assert isinstance(receipt, ReceiptReply)
    assert refused.code == "not_found"
    assert open_stage.store.readings_count == looks


async def test_an_append_that_began_before_a_refusal_does_not_vouch_for_it(open_stage, until):
    old, store = open_stage.host, open_stage.store
    appends = len(store.appends)
    store.commits.clear()
    before = open_stage.begin(answer(1))
    await until(lambda: len(store.appends) == appends + 1)
    pending = open_stage.begin(answer(1), answer(9))
    await asyncio.sleep(1)
    store.commits.set()
    await before
    _, refused = await pending
    assert refused.again
    open_stage.recover()
    assert (await open_stage.ask(join("Zoë"))).participant_id == 3
    [unknown] = await old.submit([answer(3)])
    assert unknown.code == "retry", "its successor has let this one in"


async def test_one_look_vouches_for_all_that_were_refused_before_it_began(open_stage, until):
    store = open_stage.store
    store.readings.clear()
    looks = store.readings_count
    first = open_stage.begin(answer(9))
    await until(lambda: store.readings_count == looks + 1)
    others = [open_stage.begin(answer(9), answer(8)) for _ in range(50)]
    await asyncio.sleep(1)
    store.readings.set()
    await first
    for batch in others:
        assert [reply.code for reply in await batch] == ["not_found"] * 2
    assert store.readings_count == looks + 2


async def test_while_answers_are_stored_their_appends_vouch_and_no_look_comes_between(
    open_stage, until
):
    store = open_stage.store
    looks, appends = store.readings_count, len(store.appends)
    store.commits.clear()
    first = open_stage.begin(answer(1))
    await until(lambda: len(store.appends) == appends + 1)
    refused, second = open_stage.begin(answer(9)), open_stage.begin(answer(2))
    await asyncio.sleep(1)
    store.commits.set()
    assert [reply.code for reply in await refused] == ["not_found"]
    await first
    await second
    assert (store.readings_count, len(store.appends)) == (looks, appends + 2)


# --- moves and the gate ---------------------------------------------------------------------------


async def test_a_close_never_overtakes_an_answer_nor_an_answer_a_close(open_stage, until):
    open_stage.store.commits.clear()
    before = open_stage.begin(answer(1))
    await until(lambda: len(open_stage.host._outbox) == 1)
    close = open_stage.begin(open_stage.command(Step.CLOSE))
    await until(lambda: not open_stage.host._open_gate.is_set())
    behind = open_stage.begin(answer(2))
    open_stage.store.commits.set()
    assert isinstance((await before)[0], ReceiptReply)
    assert isinstance((await close)[0], DoneReply)
    assert (await behind)[0].code == "late"
    events = [record.event for record in open_stage.store.records]
    assert isinstance(events[-2], AnswerAccepted)
    assert isinstance(events[-1], Closed)


async def test_an_answer_that_waited_for_a_move_is_decided_by_its_arrival(open_stage, until):
    await asyncio.sleep(1)
    open_stage.store.commits.clear()
    extend = open_stage.begin(open_stage.command(Step.EXTEND, extra_ms=5_000))
    await until(lambda: not open_stage.host._open_gate.is_set())
    arrived_ms = open_stage.clock.now_ms()
    behind = open_stage.begin(answer(1))
    await asyncio.sleep(4)
    open_stage.store.commits.set()
    assert isinstance((await extend)[0], DoneReply)
    [receipt] = await behind
    assert isinstance(receipt, ReceiptReply)
    [stored] = open_stage.stored(AnswerAccepted)
    assert stored.at_ms == arrived_ms
    assert receipt.elapsed_ms == arrived_ms - open_stage.host._state.openings[1].opened_ms


async def test_moves_go_one_behind_the_other_and_a_stale_one_is_refused(open_stage):
    close = open_stage.command(Step.CLOSE)
    too_late = open_stage.command(Step.EXTEND, extra_ms=1_000)
    done, refused = await open_stage.host.submit([close, too_late])
    assert isinstance(done, DoneReply)
    assert refused.again
    refused = await open_stage.ask(too_late)
    assert refused.code == "stale_command"
    assert isinstance(await open_stage.ask(join("Zoë")), JoinedReply)


@pytest.mark.parametrize(
    ("step", "command_id"), [(Step.DUE, "a-command"), (Step.CLOSE, ""), (Step.CLOSE, "nul\0inside")]
)
async def test_a_move_that_no_host_may_send_is_malformed(open_stage, step, command_id):
    reply = await open_stage.ask(MoveItem(step, Phase.QUESTION_OPEN, 1, command_id, 0, 0))
    assert reply.code == "malformed"
    assert open_stage.phase is Phase.QUESTION_OPEN


async def test_a_move_that_fails_leaves_the_others_alone(open_stage, caplog):
    broken = MoveItem(Step.EXTEND, Phase.QUESTION_OPEN, 1, "a-command", "no number", 0)
    again, receipt = await open_stage.host.submit([broken, answer(1)])
    internal = await open_stage.ask(broken)
    assert again.again
    assert internal.code == "internal"
    assert isinstance(receipt, ReceiptReply)
    assert "move_failed" in caplog.text
    await open_stage.move(Step.CLOSE)


# --- deadlines ------------------------------------------------------------------------------------


async def test_a_question_closes_by_itself_and_counts_what_comes_within_the_grace(open_stage):
    opening = open_stage.host._state.openings[1]
    until_deadline_ms = opening.closes_ms - open_stage.clock.now_ms()
    await asyncio.sleep((until_deadline_ms + limits.CLOSE_GRACE_MS - 100) / 1000)
    # Measured in time, underway for a while.
    assert isinstance(await open_stage.ask(answer(1, elapsed_ms=LIMIT_MS - 1)), ReceiptReply)
    assert (await open_stage.ask(answer(2))).code == "late"
    await asyncio.sleep(0.15)
    assert open_stage.phase is Phase.QUESTION_CLOSED
    [closed] = open_stage.stored(Closed)
    assert closed.at_ms == opening.closes_ms + limits.CLOSE_GRACE_MS + 1


async def test_an_extension_moves_the_deadline(open_stage):
    await asyncio.sleep(LIMIT_MS / 1000)
    await open_stage.move(Step.EXTEND, extra_ms=10_000)
    await asyncio.sleep(9)
    assert open_stage.phase is Phase.QUESTION_OPEN
    assert isinstance(await open_stage.ask(answer(1)), ReceiptReply)
    await asyncio.sleep(2)
    assert open_stage.phase is Phase.QUESTION_CLOSED


async def test_a_preview_opens_by_itself(make_stage):
    stage = make_stage(SessionSettings(preview_ms=4_000))
    await stage.open("Mia")
    assert stage.phase is Phase.PREVIEW
    assert (await stage.ask(answer(1))).code == "not_open"
    await asyncio.sleep(4.1)
    assert stage.phase is Phase.QUESTION_OPEN
    assert isinstance(await stage.ask(answer(1)), ReceiptReply)


async def test_a_deadline_during_an_outage_keeps_what_was_answered_before_it(open_stage):
    open_stage.store.away = True
    assert (await open_stage.ask(answer(1))).code == "retry"
    await asyncio.sleep(LIMIT_MS / 1000 + 5)
    assert open_stage.phase is Phase.QUESTION_OPEN
    open_stage.store.away = False
    await asyncio.sleep(2)
    assert open_stage.phase is Phase.QUESTION_CLOSED
    assert isinstance(await open_stage.ask(answer(1)), ReceiptReply)
    assert (await open_stage.ask(answer(2))).code == "late"


async def test_a_question_closes_when_all_have_answered(make_stage, until):
    stage = make_stage(CLOSES_EARLY)
    await stage.open("Mia", "Ben")
    await stage.ask(answer(1))
    assert stage.phase is Phase.QUESTION_OPEN
    await stage.ask(answer(2))
    asked_s = asyncio.get_running_loop().time()
    await until(lambda: stage.phase is Phase.QUESTION_CLOSED)
    assert asyncio.get_running_loop().time() - asked_s < 1
    assert len(stage.stored(Closed)) == 1


async def test_a_question_closes_when_the_last_one_who_was_waited_for_is_removed(make_stage, until):
    stage = make_stage(CLOSES_EARLY)
    await stage.open("Mia", "Ben")
    await stage.ask(answer(1))
    await stage.move(Step.REMOVE, who=2)
    asked_s = asyncio.get_running_loop().time()
    await until(lambda: stage.phase is Phase.QUESTION_CLOSED)
    assert asyncio.get_running_loop().time() - asked_s < 1


async def test_who_is_removed_is_told_with_the_frame_and_in_every_snapshot(open_stage):
    await open_stage.host.submit([join(f"P{n}") for n in range(limits.ROSTER_ROWS_MAX + 5)])
    await open_stage.move(Step.REMOVE, who=2)
    frame = open_stage.told(FramePublication)[-1]
    assert (frame.version, frame.removed) == (open_stage.host.snapshot().view.version, (2,))
    assert open_stage.host.snapshot().removed == {2}
    open_stage.recover()
    assert open_stage.host.snapshot().removed == {2}


async def test_a_removal_that_nobody_can_see_is_told_all_the_same(open_stage):
    """Joined and removed between two frames: the view is what it was, but a replica may have it."""
    before = open_stage.host.snapshot().view
    await open_stage.ask(join("Zoe"))
    await open_stage.move(Step.REMOVE, who=3)
    frame = open_stage.told(FramePublication)[-1]
    assert (frame.version, frame.removed) == (before.version + 1, (3,))
    assert decode_server_message(frame.frame).changes == ViewChanges()


# --- locked ---------------------------------------------------------------------------------------


async def flooded(stage, bots=limits.FLOOD_UNSEEN_MAX + 1):
    await stage.host.submit([join(f"Bot {n}") for n in range(bots)])
    await asyncio.sleep(limits.FLOOD_GRACE_MS / 1000 + 1.5)


async def test_the_host_locks_and_a_recovered_session_is_as_locked(make_stage):
    stage = make_stage(PLAIN)
    await stage.ask(JoinItem("key-of-Mia", "Mia", "a-tablet"))
    await stage.move(Step.LOCK)
    await stage.move(Step.REMOVE, who=1)
    for _ in range(2):
        assert stage.host.snapshot().view.lock is Lock.HOST
        assert (await stage.ask(join("Ben"))).code == "locked"
        stage.recover()
    await stage.move(Step.UNLOCK)
    stage.recover()
    assert (await stage.ask(JoinItem("new-key", "Not Mia", "a-tablet"))).code == "removed"
    assert isinstance(await stage.ask(join("Ben")), JoinedReply)


async def test_a_flood_locks_the_session_and_says_so_in_a_frame(make_stage):
    stage = make_stage(PLAIN)
    await flooded(stage)
    [locked] = stage.stored(Locked)
    assert (locked.flood, locked.command_id) == (True, "")
    frame = decode_server_message(stage.told(FramePublication)[-1].frame)
    assert frame.changes.lock is Lock.FLOOD
    assert (await stage.ask(join("Mia"))).code == "locked"
    stage.recover()
    assert (await stage.ask(join("Mia"))).code == "locked"
    await stage.move(Step.UNLOCK)
    stage.recover()
    await flooded(stage, 2 * limits.FLOOD_UNSEEN_MAX)
    assert len(stage.stored(Locked)) == 1, "one tap, and the host is left alone"


async def test_a_hall_that_connects_is_not_locked_out(make_stage):
    stage = make_stage(PLAIN)
    replies = await stage.host.submit([join(f"P{n}") for n in range(1_000)])
    await stage.host.submit([HelloItem(reply.participant_id) for reply in replies])
    await asyncio.sleep(limits.FLOOD_GRACE_MS / 1000 + 1.5)
    assert stage.stored(Locked) == []
    assert isinstance(await stage.ask(join("Mia")), JoinedReply)


async def test_bots_that_the_host_removes_in_time_are_no_flood(make_stage):
    stage = make_stage(PLAIN)
    bots = limits.FLOOD_UNSEEN_MAX + 1
    await stage.host.submit([join(f"Bot {n}") for n in range(bots)])
    reply = await stage.ask(
        MoveItem(Step.REMOVE, Phase.LOBBY, 0, "all-of-them", 0, 0, tuple(range(1, bots + 1)))
    )
    assert isinstance(reply, DoneReply)
    assert len(stage.told(FramePublication)[-1].removed) == bots
    await asyncio.sleep(limits.FLOOD_GRACE_MS / 1000 + 1.5)
    assert stage.stored(Locked) == []


async def test_a_flood_while_the_log_is_away_locks_once_it_is_back(make_stage, until):
    stage = make_stage(PLAIN)
    await stage.host.submit([join(f"Bot {n}") for n in range(limits.FLOOD_UNSEEN_MAX + 1)])
    stage.store.away = True
    await asyncio.sleep(limits.FLOOD_GRACE_MS / 1000 + 5)
    assert len(stage.told(BeatPublication)) > limits.FLOOD_GRACE_MS / 1000 + 3, "it beats on"
    stage.store.away = False
    await until(lambda: stage.stored(Locked))
    assert len(stage.stored(Locked)) == 1


async def test_without_early_close_the_question_stays_open(open_stage):
    await open_stage.host.submit([answer(1), answer(2)])
    await asyncio.sleep(5)
    assert open_stage.phase is Phase.QUESTION_OPEN


# --- recovery -------------------------------------------------------------------------------------


async def test_a_recovered_session_is_the_same_under_a_higher_epoch(open_stage):
    await open_stage.host.submit([answer(1), answer(2, WRONG)])
    await open_stage.move(Step.CLOSE)
    await open_stage.move(Step.NEXT)
    digest, epoch = open_stage.digest, open_stage.host.epoch
    open_stage.recover()
    assert open_stage.digest == digest
    assert open_stage.host.epoch == epoch + 1
    assert open_stage.host.snapshot().view.epoch == epoch + 1
    hello = await open_stage.ask(HelloItem(1))
    assert hello.you.result.gained == 1_000
    seqs = [record.seq for record in open_stage.store.records]
    await open_stage.move(Step.NEXT)
    assert open_stage.store.records[-1].seq == seqs[-1] + 1


async def test_a_deadline_that_is_still_to_come_is_kept(open_stage):
    closes_ms = open_stage.host._state.openings[1].closes_ms
    await asyncio.sleep(5)
    open_stage.recover()
    await asyncio.sleep(14)
    assert open_stage.phase is Phase.QUESTION_OPEN
    assert isinstance(await open_stage.ask(answer(1)), ReceiptReply)
    await asyncio.sleep(2)
    [closed] = open_stage.stored(Closed)
    assert closed.at_ms == closes_ms + limits.CLOSE_GRACE_MS + 1
    assert open_stage.stored(Extended) == []


async def test_a_deadline_that_passed_meanwhile_moves_before_anybody_can_be_late(open_stage):
    await open_stage.host.close()  # it is dead, and closes nothing any more
    await asyncio.sleep(LIMIT_MS / 1000 + 30)
    open_stage.recover()
    back_ms = open_stage.clock.now_ms()
    assert isinstance(await open_stage.ask(answer(1)), ReceiptReply)
    [extended] = open_stage.stored(Extended)
    assert extended.closes_ms == back_ms + limits.RECOVERY_GRACE_MS
    await asyncio.sleep((limits.RECOVERY_GRACE_MS + limits.CLOSE_GRACE_MS + 100) / 1000)
    [closed] = open_stage.stored(Closed)
    assert closed.at_ms == extended.closes_ms + limits.CLOSE_GRACE_MS + 1


async def test_an_answer_given_before_a_crash_loses_no_time_to_it(open_stage):
    await open_stage.host.close()
    await asyncio.sleep(12)
    open_stage.recover()
    replica_measured = answer(1, elapsed_ms=3_000)
    assert (await open_stage.ask(replica_measured)).elapsed_ms == 3_000


async def test_a_close_that_was_lost_when_all_had_answered_is_made_up_for(make_stage, until):
    stage = make_stage(CLOSES_EARLY)
    await stage.open("Mia")
    await stage.host.close()
    event = AnswerAccepted(1, 1, 0, RIGHT, "", 0, True, 1_000, START_MS)
    stage.store.store([stage.store.records[-1]._replace(seq=99, event=event)])
    stage.recover()
    asked_s = asyncio.get_running_loop().time()
    await until(lambda: stage.phase is Phase.QUESTION_CLOSED)
    assert asyncio.get_running_loop().time() - asked_s < 1


async def test_the_end_is_told_once_by_each_host_and_only_when_it_is_durable(open_stage):
    open_stage.store.away = True
    finish = open_stage.begin(open_stage.command(Step.FINISH))
    await asyncio.sleep(1)
    assert open_stage.overs == 0
    open_stage.store.away = False
    [done] = await finish
    assert done.phase is Phase.FINISHED
    assert open_stage.overs == 1
    assert (await open_stage.ask(join("Zoë"))).code == "session_over"
    open_stage.recover()
    assert open_stage.overs == 2


# --- frames ---------------------------------------------------------------------------------------


async def test_frames_lead_from_view_to_view_and_end_at_the_snapshot(open_stage):
    view = open_stage.host.snapshot().view
    known = len(open_stage.frames)
    await open_stage.host.submit([answer(1), join("Zoë")])
    await asyncio.sleep(1)
    await open_stage.move(Step.CLOSE)
    await open_stage.move(Step.NEXT)
    await open_stage.move(Step.NEXT)
    for frame in open_stage.frames[known:]:
        view = apply(Delta(frame.epoch, frame.version, frame.changes), view)
    assert view == open_stage.host.snapshot().view
    assert view.phase is Phase.QUESTION_OPEN
    assert view.participants_count == 3


async def test_changes_within_an_interval_are_one_frame(open_stage):
    await asyncio.sleep(1)
    known = len(open_stage.frames)
    await open_stage.ask(answer(1))
    await open_stage.ask(answer(2))
    await asyncio.sleep((limits.FRAME_INTERVAL_MS - 1) / 1000)
    assert len(open_stage.frames) == known
    await asyncio.sleep(2 / 1000)
    [frame] = open_stage.frames[known:]
    assert frame.changes.answers_count == 2


async def test_a_view_that_cannot_be_told_ends_the_host(open_stage, monkeypatch):
    monkeypatch.setattr(limits, "FRAME_BYTES_MAX", 10)
    await open_stage.ask(answer(1))
    await asyncio.sleep(1)
    [failure] = open_stage.failures
    assert isinstance(failure, AssertionError)


async def test_a_stream_of_changes_is_one_frame_an_interval(stage):
    for n in range(100):
        await stage.ask(join(f"Name {n}"))
        await asyncio.sleep(0.011)
    await asyncio.sleep(1)
    times = [frame.now_ms for frame in stage.frames]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert min(gaps) >= limits.FRAME_INTERVAL_MS
    assert max(gaps) < 2 * limits.FRAME_INTERVAL_MS
    assert stage.host.snapshot().view.participants_count == 100


async def test_a_change_of_phase_goes_at_once_with_what_had_gathered(open_stage):
    await asyncio.sleep(1)
    await open_stage.ask(answer(1))
    known = len(open_stage.frames)
    await open_stage.move(Step.CLOSE)
    [frame] = open_stage.frames[known:]
    assert frame.changes.phase is Phase.QUESTION_CLOSED
    assert frame.changes.answers_count == 1
    assert frame.changes.reveal.distribution == (0, 1, 0, 0)
    await asyncio.sleep(1)
    assert len(open_stage.frames) == known + 1


async def test_while_a_question_is_open_frames_tell_counts_only(open_stage):
    await open_stage.host.submit([answer(1), answer(2, WRONG)])
    await asyncio.sleep(1)
    view = open_stage.host.snapshot().view
    assert (view.answers_count, view.reveal, view.scoreboard) == (2, None, ())
    assert all(
        not frame.changes.scoreboard and not frame.changes.reveal for frame in open_stage.frames
    )


async def test_an_answer_that_changes_nothing_to_see_makes_no_frame(open_stage):
    await open_stage.ask(answer(1))
    await asyncio.sleep(1)
    known = len(open_stage.frames)
    await open_stage.ask(answer(1))
    await asyncio.sleep(1)
    assert len(open_stage.frames) == known


async def test_results_are_told_once_behind_the_frame_of_the_close(open_stage):
    await open_stage.host.submit([answer(1, WRONG), answer(2)])
    await open_stage.move(Step.CLOSE)
    frame, results = open_stage.publisher.published[-2:]
    assert isinstance(frame, FramePublication)
    assert isinstance(results, ResultsPublication)
    assert (results.epoch, results.version) == (frame.epoch, frame.version)
    assert {who: (r.gained, r.rank) for who, r in results.results.items()} == {
        1: (0, 2),
        2: (1_000, 1),
    }
    await open_stage.move(Step.NEXT)
    assert len(open_stage.told(ResultsPublication)) == 1
    assert (await open_stage.ask(HelloItem(2))).you.result == results.results[2]


async def test_beats_repeat_the_newest_version_every_second(open_stage):
    await asyncio.sleep(3.5 - asyncio.get_running_loop().time())
    version = open_stage.host.snapshot().view.version
    beats = open_stage.told(BeatPublication)
    assert beats == [BeatPublication(1, version)] * 3


# --- who asks -------------------------------------------------------------------------------------


async def test_a_hello_tells_where_one_stands(open_stage):
    await open_stage.ask(answer(1))
    you = (await open_stage.ask(HelloItem(1))).you
    assert (you.nickname, you.points, you.rank, you.result) == ("Mia", 0, 1, None)
    assert you.receipt.choices == (1,)
    await open_stage.move(Step.CLOSE)
    you = (await open_stage.ask(HelloItem(1))).you
    assert (you.points, you.result.gained) == (1_000, 1_000)
    await open_stage.move(Step.REMOVE, who=2)
    assert (await open_stage.ask(HelloItem(2))).code == "removed"
    assert (await open_stage.ask(HelloItem(7))).code == "not_found"


async def test_what_operators_and_the_api_are_told(open_stage):
    await open_stage.host.submit([answer(1, WRONG), answer(2), join("Zoë")])
    await open_stage.move(Step.CLOSE)
    await open_stage.move(Step.REMOVE, who=3)
    assert open_stage.host.people() == [(1, "Mia"), (2, "Ben")]
    assert open_stage.host.scoreboard(0, 1) == [(2, "Ben", 1_000, 1)]
    assert open_stage.host.scoreboard(1, 9) == [(1, "Mia", 0, 2)]
    version = open_stage.host.snapshot().view.version
    assert open_stage.host.statistics() == {
        "phase": "question_closed",
        "participants": 2,
        "outbox_events": 0,
        "epoch": 1,
        "version": version,
    }


async def test_a_live_snapshot_has_no_list_of_questions(open_stage):
    snapshot = open_stage.host.snapshot()
    assert snapshot.questions == []
    assert snapshot.now_ms == open_stage.clock.now_ms()


# --- self-paced play ------------------------------------------------------------------------------


async def test_self_paced_play_goes_question_by_question_and_survives_a_crash(make_stage):
    stage = make_stage(SELF_PACED, questions=3)
    await stage.open("Mia")
    assert [q.opening_no for q in stage.host.snapshot().questions] == [1, 2, 3]
    assert (await stage.ask(HelloItem(1))).you.next_opening == 1
    first, third = await stage.host.submit([answer(1), answer(1, WRONG, opening_no=3)])
    assert (first.points, third.points) == (1_000, 0)
    digest = stage.digest
    stage.recover()
    assert stage.digest == digest
    you = (await stage.ask(HelloItem(1))).you
    assert (you.points, you.next_opening) == (1_000, 2)
    await stage.ask(answer(1, opening_no=2))
    assert (await stage.ask(HelloItem(1))).you.next_opening == 0
    await stage.move(Step.FINISH)
    assert (await stage.ask(answer(1))) == first
    assert stage.overs == 1


async def test_who_only_looks_is_given_the_view_without_the_questions(make_stage):
    stage = make_stage(SELF_PACED, questions=3)
    await stage.open("Mia")
    whole, view = stage.host.snapshot(), stage.host.newest_view()
    assert len(whole.questions) == 3
    assert [key.correct for key in whole.keys] == [(1,)] * 3
    assert view == SnapshotAnswer(whole.now_ms, whole.view, [])


async def test_self_paced_frames_come_more_rarely(make_stage):
    stage = make_stage(SELF_PACED)
    await stage.open("Mia")
    known = len(stage.frames)
    await stage.ask(answer(1))
    await asyncio.sleep((limits.SELF_PACED_FRAME_INTERVAL_MS - 1) / 1000)
    assert len(stage.frames) == known
    await asyncio.sleep(2 / 1000)
    assert stage.frames[-1].changes.scoreboard[0].points == 1_000


# --- the end --------------------------------------------------------------------------------------


async def test_a_session_that_nobody_touches_is_cancelled(stage):
    await stage.ask(join("Mia"))
    await asyncio.sleep(limits.IDLE_MS_MAX / 1000 - 10)
    await stage.ask(HelloItem(1))
    await asyncio.sleep(limits.IDLE_MS_MAX / 1000 - 10)
    assert (stage.phase, stage.overs) == (Phase.LOBBY, 0)
    await asyncio.sleep(20)
    assert (stage.phase, stage.overs) == (Phase.CANCELLED, 1)
    assert len(stage.stored(Cancelled)) == 1


async def test_a_close_leaves_nobody_waiting_and_nothing_running(open_stage, until):
    await open_stage.ask(answer(1))
    open_stage.store.away = True
    answers = open_stage.begin(answer(2))
    await until(lambda: len(open_stage.host._outbox) == 1)
    move = open_stage.begin(open_stage.command(Step.CLOSE))
    await until(lambda: not open_stage.host._open_gate.is_set())
    await open_stage.host.close()
    assert [(await batch)[0].code for batch in (answers, move)] == ["retry", "retry"]
    assert open_stage.publisher.closed
    last = open_stage.publisher.published[-1]
    assert last == GonePublication(1, open_stage.host.snapshot().view.version)
    published = len(open_stage.publisher.published)
    await asyncio.sleep(60)
    assert len(open_stage.publisher.published) == published
    assert len(open_stage.stored(Joined)) == 2
    assert len(asyncio.all_tasks()) == 1


# --- coming back on another device ------------------------------------------------------------------


async def test_a_return_keeps_the_place_and_ends_the_tokens_before_also_after_a_recovery(
    open_stage,
):
    receipt = await open_stage.ask(answer(1))
    joined = await open_stage.ask(ReturnItem(1, "a-second-key", ""))
    assert joined == await open_stage.ask(ReturnItem(1, "a-second-key", ""))
    assert joined == JoinedReply(1, "Mia", 1)
    for _ in range(2):
        assert await open_stage.ask(JoinItem("a-second-key", "Mia")) == joined
        assert (await open_stage.ask(HelloItem(1, 0))).code == "unauthorized"
        assert (await open_stage.ask(HelloItem(1, 1))).you.nickname == "Mia"
        assert await open_stage.ask(answer(1)) == receipt
        open_stage.recover()


async def test_a_deadline_ends_self_paced_play_also_when_it_passed_during_a_crash(make_stage):
    stage = make_stage(SELF_PACED)
    await stage.open("Mia")
    await stage.ask(stage.command(Step.DEADLINE, extra_ms=20_000))
    await asyncio.sleep(10)
    assert stage.host.state.phase is Phase.SELF_PACED_OPEN
    await stage.host.close()
    await asyncio.sleep(60)
    stage.recover()
    await asyncio.sleep(1)
    assert stage.host.state.phase is Phase.SELF_PACED_OPEN
    assert stage.host.newest_view().view.closes_ms > stage.clock.now_ms()
    await asyncio.sleep(limits.RECOVERY_GRACE_MS / 1000)
    assert stage.host.state.phase is Phase.FINISHED
