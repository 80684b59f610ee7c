"""Group commit at the replica: who waits for whom, and what happens when something fails."""

import asyncio

import pytest
import ray

from engine import limits
from engine.errors import Conflict, Unavailable
from engine.ids import SessionId
from engine.phases import Phase, Step
from engine.wire import (
    BatchAnswer,
    DoneReply,
    FaultReply,
    HelloItem,
    JoinedReply,
    MoveItem,
    decode_batch,
    encode_pack,
)
from serve_app import batcher
from serve_app.batcher import Batcher, Gateway

SESSION = SessionId("00000000-0000-4000-8000-000000000001")


class Call:
    """One call of the actor's ``submit``, answered when the test says so."""

    def __init__(self, data):
        self.data = data
        self.ids = [item.participant_id for item in decode_batch(data)]
        self.future = asyncio.get_running_loop().create_future()

    def reply(self, epoch=1, replies=None):
        """Answer each item with its own id."""
        if replies is None:
            replies = [JoinedReply(who, "") for who in self.ids]
        self.future.set_result(encode_pack(BatchAnswer(epoch, replies)))

    def fail(self, error):
        self.future.set_exception(error)


class FakeDirectory:
    """One session's actor; keeps its calls."""

    def __init__(self):
        self.calls = []
        self.forgotten = 0
        self.has_forgotten = asyncio.Event()
        self.error = None

    async def handle(self, session_id):
        assert session_id == SESSION
        if self.error is not None:
            raise self.error
        return self

    def forget(self, session_id):
        assert session_id == SESSION
        self.forgotten += 1
        self.has_forgotten.set()

    @property
    def submit(self):
        return self

    def remote(self, data):
        call = Call(data)
        self.calls.append(call)
        return call.future


@pytest.fixture
def directory():
    return FakeDirectory()


@pytest.fixture
async def batch(directory):
    return Batcher(SESSION, directory)


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    monkeypatch.setattr(batcher, "_BACKOFF_S_MIN", 0)
    monkeypatch.setattr(batcher, "_BACKOFF_S_MAX", 0)


class Replies:
    """Submits items by number and notes what each was told."""

    def __init__(self, batch):
        self._batch = batch
        self.told = {}

    def submit(self, *numbers):
        for number in numbers:
            self._batch.submit(HelloItem(number), lambda reply, n=number: self._note(n, reply))

    def _note(self, number, reply):
        assert number not in self.told, "told twice"
        self.told[number] = reply

    @property
    def codes(self):
        return {n: getattr(reply, "code", "fine") for n, reply in self.told.items()}


@pytest.fixture
def items(batch):
    return Replies(batch)


# --- group commit -----------------------------------------------------------------------------------


async def test_a_lone_item_leaves_at_once(items, directory, settle, batch):
    items.submit(1)
    await settle()
    assert [call.ids for call in directory.calls] == [[1]]
    assert not batch.is_idle
    directory.calls[0].reply()
    await settle()
    assert items.told == {1: JoinedReply(1, "")}
    assert batch.is_idle


async def test_what_arrives_in_one_turn_goes_together(items, directory, settle):
    items.submit(1, 2, 3)
    await settle()
    assert [call.ids for call in directory.calls] == [[1, 2, 3]]


async def test_while_one_batch_flies_the_next_gathers(items, directory, settle):
    items.submit(1)
    await settle()
    for number in (2, 3, 4):
        items.submit(number)
        await settle()
    assert len(directory.calls) == 1
    directory.calls[0].reply()
    await settle()
    assert [call.ids for call in directory.calls] == [[1], [2, 3, 4]]


async def test_a_second_batch_flies_from_a_threshold_on_and_never_a_third(items, directory, settle):
    items.submit(0)
    await settle()
    many = limits.BATCH_PIPELINE_ITEMS_MIN
    items.submit(*range(1, many))
    await settle()
    assert len(directory.calls) == 1, "one less than the threshold waits"
    items.submit(many)
    await settle()
    assert [len(call.ids) for call in directory.calls] == [1, many]
    items.submit(*range(1_000, 1_000 + 5 * many))
    await settle()
    assert len(directory.calls) == limits.BATCHES_IN_FLIGHT_MAX == 2


async def test_a_batch_is_no_larger_than_its_limit_and_keeps_the_order(items, directory, settle):
    items.submit(0)
    await settle()
    items.submit(*range(1, 2 * limits.BATCH_ITEMS_MAX + 1))
    await settle()
    directory.calls[0].reply()
    directory.calls[1].reply()
    await settle()
    sent = [who for call in directory.calls for who in call.ids]
    assert sent == list(range(2 * limits.BATCH_ITEMS_MAX + 1))
    assert max(len(call.ids) for call in directory.calls) == limits.BATCH_ITEMS_MAX


async def test_a_slow_batch_does_not_hold_a_later_one_s_replies(items, directory, settle):
    items.submit(0)
    await settle()
    items.submit(*range(1, 1 + limits.BATCH_PIPELINE_ITEMS_MIN))
    await settle()
    directory.calls[1].reply()
    await settle()
    assert 0 not in items.told
    assert 1 in items.told


# --- one item's trouble is its own ------------------------------------------------------------------


async def test_a_callback_that_raises_stops_nobody(items, batch, directory, settle, caplog):
    def fail(_reply):
        raise LookupError("a fault of the callback")

    items.submit(1)
    batch.submit(HelloItem(2), fail)
    items.submit(3)
    await settle()
    items.submit(4)
    directory.calls[0].reply()
    await settle()
    directory.calls[1].reply()
    await settle()
    assert set(items.told) == {1, 3, 4}
    assert "a fault of the callback" in caplog.text


async def test_a_client_that_left_stops_nobody(directory, settle):
    gateway = Gateway(directory)
    asks = [asyncio.create_task(gateway.ask(SESSION, HelloItem(n))) for n in (1, 2, 3)]
    await settle()
    asks[1].cancel()
    await settle()
    directory.calls[0].reply()
    assert [await asks[n] for n in (0, 2)] == [JoinedReply(1, ""), JoinedReply(3, "")]
    with pytest.raises(asyncio.CancelledError):
        await asks[1]
    later = asyncio.create_task(gateway.ask(SESSION, HelloItem(4)))
    await settle()
    directory.calls[1].reply()
    assert await later == JoinedReply(4, "")


@pytest.mark.parametrize("replies", [[], [JoinedReply(1, "")] * 3])
async def test_an_answer_of_the_wrong_length_is_nobody_s(items, directory, settle, replies, caplog):
    items.submit(1, 2)
    await settle()
    items.submit(3)
    directory.calls[0].reply(replies=replies)
    await settle()
    assert items.codes == {1: "internal", 2: "internal"}
    directory.calls[1].reply()
    await settle()
    assert items.codes[3] == "fine"
    assert "one reply for each item" in caplog.text


async def test_bytes_that_are_no_answer(items, directory, settle, caplog):
    items.submit(1)
    await settle()
    directory.calls[0].future.set_result(b"\xff")
    await settle()
    assert items.codes == {1: "internal"}
    assert not items.told[1].retryable
    assert "action=batch_failed" in caplog.text


async def test_a_fault_of_the_actor_s_code_is_told_at_once_and_never_sent_again(
    items, directory, settle, caplog
):
    items.submit(1, 2)
    await settle()
    cause = ValueError("a fault")
    error = ray.exceptions.RayTaskError("submit", "traceback", cause).as_instanceof_cause()
    directory.calls[0].fail(error)
    await settle()
    assert len(directory.calls) == 1
    assert items.codes == {1: "internal", 2: "internal"}
    assert not items.told[1].retryable
    assert directory.forgotten == 0
    assert "action=actor_failed" in caplog.text


async def test_an_error_of_the_actor_s_code_that_has_a_code_keeps_it(items, directory, settle):
    items.submit(1)
    await settle()
    cause = Conflict("the session is over", "session_over")
    directory.calls[0].fail(ray.exceptions.RayTaskError("submit", "traceback", cause))
    await settle()
    assert items.told == {1: FaultReply("session_over", "the session is over", False)}


# --- what waits for nothing else, and for which nothing else waits ----------------------------------

AGAIN = FaultReply("retry", "this may be refused", True, again=True)


async def test_what_is_answered_again_is_asked_again_by_itself_and_the_others_are_told(
    items, directory, settle
):
    items.submit(1, 2, 3)
    await settle()
    directory.calls[0].reply(replies=[JoinedReply(1, ""), AGAIN, AGAIN])
    await settle()
    assert items.told == {1: JoinedReply(1, "")}
    items.submit(4)
    await settle()
    assert [call.ids for call in directory.calls[1:]] == [[2, 3], [4]]
    directory.calls[2].reply()
    await settle()
    assert set(items.told) == {1, 4}, "no later batch waits for it"
    refusal = FaultReply("late", "closed", False)
    directory.calls[1].reply(replies=[refusal, AGAIN])
    await settle()
    assert items.told[2] == refusal
    assert (items.told[3].code, items.told[3].retryable) == ("retry", True), "once is enough"
    assert len(directory.calls) == 3


async def test_a_move_that_takes_long_holds_no_answer_up(items, directory, settle, batch):
    told = []
    move = MoveItem(Step.CLOSE, Phase.QUESTION_OPEN, 1, "a-command", 0, 0)
    batch.submit(move, told.append)
    items.submit(1)
    await settle()
    flights = [decode_batch(call.data) for call in directory.calls]
    assert flights == [[move], [HelloItem(1)]]
    directory.calls[1].reply()
    await settle()
    items.submit(2)
    await settle()
    directory.calls[2].reply()
    await settle()
    assert items.codes == {1: "fine", 2: "fine"}
    assert not batch.is_idle
    done = DoneReply("a-command", Phase.QUESTION_CLOSED, 1)
    directory.calls[0].reply(replies=[done])
    await settle()
    assert told == [done]
    assert batch.is_idle


async def test_what_is_asked_again_is_bounded(items, directory, settle, monkeypatch):
    monkeypatch.setattr(limits, "BATCHER_ITEMS_MAX", 2)
    items.submit(0)
    await settle()
    directory.calls[0].reply(replies=[AGAIN])
    await settle()
    for numbers in ((1, 2), (3, 4)):
        items.submit(*numbers)
        await settle()
        directory.calls[-1].reply(replies=[AGAIN] * 2)
        await settle()
    assert items.codes == {3: "retry", 4: "retry"}


# --- the actor's trouble ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error", [ray.exceptions.ActorUnavailableError("x", b"0" * 16), ray.exceptions.RayActorError()]
)
async def test_an_actor_that_is_away_is_asked_again_with_the_same_bytes(
    items, directory, settle, error
):
    items.submit(1, 2)
    await settle()
    directory.calls[0].fail(error)
    await settle()
    first, again = directory.calls
    assert again.data == first.data
    assert directory.forgotten == 1
    again.reply()
    await settle()
    assert items.codes == {1: "fine", 2: "fine"}


async def test_an_actor_that_hangs_is_asked_again(items, directory, settle, monkeypatch):
    monkeypatch.setattr(limits, "ACTOR_CALL_MS_MAX", 1)
    items.submit(1)
    await asyncio.wait_for(directory.has_forgotten.wait(), 10)
    monkeypatch.undo()
    monkeypatch.setattr(batcher, "_BACKOFF_S_MIN", 0)
    await settle()
    directory.calls[-1].reply()
    await settle()
    assert items.codes == {1: "fine"}
    assert directory.calls[-1].data == directory.calls[0].data


@pytest.mark.parametrize("low", [0, 2])
async def test_a_reply_of_a_lower_epoch_is_dropped_and_asked_for_again(
    items, directory, settle, low
):
    items.submit(1)
    await settle()
    directory.calls[0].reply(epoch=3)
    await settle()
    items.submit(2)
    await settle()
    directory.calls[1].reply(epoch=low)
    await settle()
    assert 2 not in items.told
    assert directory.forgotten == 1
    directory.calls[2].reply(epoch=3)
    await settle()
    assert items.codes == {1: "fine", 2: "fine"}


async def test_an_actor_that_has_not_found_its_session_is_asked_again(items, directory, settle):
    items.submit(1)
    await settle()
    directory.calls[0].reply(epoch=0, replies=[FaultReply("retry", "on its way", True)])
    await settle()
    assert items.told == {}
    directory.calls[1].reply(epoch=1)
    await settle()
    assert items.codes == {1: "fine"}


async def test_a_higher_epoch_is_believed_from_then_on(items, directory, settle):
    for number, epoch in enumerate((1, 5, 4, 5)):
        items.submit(number)
        await settle()
        directory.calls[-1].reply(epoch=epoch)
        await settle()
    assert set(items.told) == {0, 1, 2}
    assert [call.ids for call in directory.calls] == [[0], [1], [2], [2], [3]]


async def test_after_a_while_the_clients_are_told_to_try_again(
    items, directory, settle, monkeypatch
):
    monkeypatch.setattr(limits, "BATCH_RETRY_MS_MAX", -1)
    items.submit(1, 2)
    await settle()
    items.submit(3)
    directory.calls[0].fail(ray.exceptions.RayActorError())
    await settle()
    assert items.codes == {1: "retry", 2: "retry"}
    assert items.told[1].retryable
    directory.calls[1].reply()
    await settle()
    assert items.codes[3] == "fine"


async def test_a_session_that_is_over_is_told_at_once(items, directory, settle):
    directory.error = Conflict("the session is over", "session_over")
    items.submit(1)
    await settle()
    assert items.told == {1: FaultReply("session_over", "the session is over", False)}
    assert directory.forgotten == 0


async def test_too_much_waiting_is_told_overloaded(items, directory, settle, monkeypatch):
    monkeypatch.setattr(limits, "BATCHER_ITEMS_MAX", 3)
    items.submit(0)
    await settle()
    items.submit(1, 2, 3, 4)
    assert items.told == {}, "told from the loop, never from the call"
    await settle()
    assert items.codes == {4: "overloaded"}
    directory.calls[0].reply()
    await settle()
    directory.calls[1].reply()
    await settle()
    assert items.codes == {0: "fine", 1: "fine", 2: "fine", 3: "fine", 4: "overloaded"}


# --- the gateway ------------------------------------------------------------------------------------


async def test_a_call_that_fails_forgets_the_handle_and_is_not_repeated(directory, settle):
    gateway = Gateway(directory)
    call = asyncio.create_task(gateway.call(SESSION, "submit", encode_pack([HelloItem(1)])))
    await settle()
    directory.calls[0].fail(ray.exceptions.RayActorError())
    with pytest.raises(Unavailable):
        await call
    assert (directory.forgotten, len(directory.calls)) == (1, 1)


async def test_idle_sessions_are_forgotten_when_there_are_too_many(directory, monkeypatch):
    monkeypatch.setattr(limits, "SESSIONS_LIVE_MAX", 2)
    gateway = Gateway(directory)
    directory.handle = lambda _session: asyncio.get_running_loop().create_future()
    for number in range(2):
        gateway._batchers[SessionId(f"idle {number}")] = Batcher(SESSION, directory)
    gateway.submit(SESSION, HelloItem(1), lambda _reply: None)
    gateway.submit(SessionId("another"), HelloItem(1), lambda _reply: None)
    assert set(gateway._batchers) == {SESSION, "another"}
