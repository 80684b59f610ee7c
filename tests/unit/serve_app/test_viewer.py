"""One socket: every message that it may send, everything that it is refused, and how it ends."""

import asyncio
from collections import Counter
from types import SimpleNamespace

import msgspec
import pytest

from actors.revocations import Revocation
from engine import limits
from engine.errors import Conflict, ServerFault, Unavailable
from engine.ids import OpeningNo
from engine.model import Mode
from engine.phases import Phase, Step
from engine.testing.driver import SELF_PACED, SESSION_ID, SessionDriver
from engine.wire import (
    AnswerItem,
    DeltaFrame,
    DoneMessage,
    DoneReply,
    Fault,
    FaultReply,
    MoveItem,
    Pong,
    QuestionMessage,
    Receipt,
    ReceiptReply,
    ResultMessage,
    Snapshot,
    Welcome,
    encode_json,
)
from serve_app import viewer as viewer_module
from serve_app.auth import Role, Tokens
from serve_app.errors import CLOSE_CODES
from serve_app.rate import TokenBucket
from serve_app.viewer import Viewer, message_rate

TOKENS = Tokens("a secret of at least thirty-two bytes")
HOST = TOKENS.of_session(Role.HOST, SESSION_ID, "123456")
WATCHER = TOKENS.of_session(Role.VIEWER, SESSION_ID, "123456")
#: As many messages as a test likes.
RATE = message_rate(limits.MESSAGES_PER_S_LOAD_MAX)
MIA, BEN = (TOKENS.participant(SESSION_ID, who) for who in (1, 2))


class Client:
    """A socket as its person sees it."""

    def __init__(self, viewer, connection):
        self.viewer = viewer
        self.connection = connection
        viewer.on_open(connection)

    def say(self, kind, **fields):
        """Send a message; return what came back at once."""
        return self.say_bytes(encode_json({"type": kind, **fields}))

    def say_bytes(self, payload):
        self.connection.raw.clear()
        self.viewer.on_text(self.connection, payload)
        return self.connection.sent

    @property
    def closed(self):
        """The names of the close codes, each checked to be what the table says."""
        for code, name in self.connection.closed:
            assert CLOSE_CODES[name].code == code
        return [name for _, name in self.connection.closed]


@pytest.fixture
def outcomes():
    return Counter()


@pytest.fixture
def greeted():
    """The viewers that have said a good hello."""
    return []


@pytest.fixture
def connect(hub, gateway, make_connection, outcomes, greeted):
    """Open a socket that has said nothing yet."""

    def connect(rate=RATE):
        viewer = Viewer(
            hub, gateway, TOKENS, rate, greeted.append, lambda name: outcomes.update([name])
        )
        return Client(viewer, make_connection())

    return connect


@pytest.fixture
def enter(connect, settle):
    """Open a socket, say hello, take the welcome."""

    async def enter(token, rate=RATE, **seen):
        client = connect(rate)
        client.say("hello", token=token, **seen)
        await settle()
        (welcome,) = client.connection.take()
        assert isinstance(welcome, Welcome), welcome
        client.welcome = welcome
        return client

    return enter


# --- two sockets of one participant ---------------------------------------------------------------------


async def test_a_hello_that_comes_late_does_not_close_the_socket_opened_after(
    connect, settle, gateway, actor
):
    """A page has left its socket and opened the next; what it had said on the first comes last."""
    left, next_one = connect(), connect()
    next_one.say("hello", token=MIA)
    await settle()
    left.say("hello", token=MIA)
    await settle()
    assert (left.closed, next_one.closed) == (["replaced"], [])


# --- tickets and revocation --------------------------------------------------------------------------


async def test_hello_with_a_ticket(enter):
    ticket = TOKENS.ticket(TOKENS.check(BEN, Role.PARTICIPANT))
    assert (await enter(ticket)).welcome.you.participant_id == 2


async def test_a_socket_that_lives_is_given_the_next_ticket_now_and_then(enter, monkeypatch):
    client = await enter(MIA)
    assert client.say("ping", n=1) == [Pong(1)]
    later = viewer_module.time.monotonic() + limits.TICKET_RENEW_S
    monkeypatch.setattr(viewer_module.time, "monotonic", lambda: later)
    (pong,) = client.say("ping", n=2)
    assert TOKENS.check_hello(pong.ticket, Role.PARTICIPANT).participant_id == 1
    assert client.say("ping", n=3) == [Pong(3)], "one is enough for a while"
    assert (await enter(pong.ticket)).welcome.you.participant_id == 1


async def test_whoever_has_not_said_hello_gets_no_ticket(connect, monkeypatch):
    later = viewer_module.time.monotonic() + limits.TICKET_RENEW_S
    client = connect()
    monkeypatch.setattr(viewer_module.time, "monotonic", lambda: later)
    assert client.say("ping", n=1) == [Pong(1)]


@pytest.fixture
def revoke():
    """Revoke all tokens of a role given so far; what was revoked is forgotten after the test."""

    def revoke(role):
        later_ms = int(viewer_module.time.time() * 1000) + 1_000
        return TOKENS.revoke([Revocation(SESSION_ID, role, later_ms)])

    yield revoke
    TOKENS.revoke([])


async def test_sockets_of_revoked_tokens_are_closed_and_no_others(enter, connect, hub, revoke):
    host, mia = await enter(HOST), await enter(MIA)
    hub.close_revoked(revoke(Role.HOST))
    (fault,) = host.connection.take()
    assert fault.code == "unauthorized"
    assert "revoked" in fault.detail
    assert host.closed == ["unauthorized"]
    assert mia.closed == []
    again = connect()
    again.say("hello", token=HOST)
    assert again.closed == ["unauthorized"]


async def test_a_token_that_is_revoked_on_the_way_into_the_room(connect, gateway, settle, revoke):
    gateway.place_gate.clear()
    client = connect()
    client.say("hello", token=MIA)
    await settle()
    revoke(Role.PARTICIPANT)
    gateway.place_gate.set()
    await settle()
    assert client.closed == ["unauthorized"]


# --- hello ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("token", "role"), [(HOST, "host"), (WATCHER, "viewer"), (MIA, "participant")]
)
async def test_hello_is_welcomed_with_the_view(enter, actor, token, role):
    welcome = (await enter(token)).welcome
    assert (welcome.role, welcome.view) == (role, actor.view)
    assert (welcome.you is not None) == (role == "participant")


async def test_a_resume_with_the_newest_view_is_not_told_it_again(enter, actor):
    assert (await enter(WATCHER, epoch=actor.epoch, version=actor.version)).welcome.view is None
    older = (await enter(WATCHER, epoch=actor.epoch, version=actor.version - 1)).welcome
    assert older.view == actor.view
    other = (await enter(WATCHER, epoch=actor.epoch + 1, version=actor.version)).welcome
    assert other.view == actor.view


async def test_you_are_who_the_token_says(enter):
    welcome = (await enter(BEN)).welcome
    assert (welcome.you.participant_id, welcome.you.nickname) == (2, "Ben")


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x",
        "eyJhbGciOiJub25lIn0.e30.",
        Tokens("another secret, also of thirty-two bytes").participant(SESSION_ID, 1),
        TOKENS.operator(),
    ],
)
async def test_a_token_that_does_not_fit_ends_the_socket(connect, token, outcomes, greeted):
    client = connect()
    (fault,) = client.say("hello", token=token)
    assert greeted == []
    assert (fault.code, fault.retryable) == ("unauthorized", False)
    assert client.closed == ["unauthorized"]
    assert outcomes == {"unauthorized": 1}


async def test_a_good_hello_is_told_once(enter, greeted):
    client = await enter(MIA)
    client.say("hello", token=MIA)
    assert greeted == [client.viewer]


async def test_hello_twice(enter):
    client = await enter(MIA)
    (fault,) = client.say("hello", token=MIA)
    assert fault.code == "hello_twice"
    assert client.closed == []


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("answer", {"opening": 1, "choices": [0]}),
        ("ask", {"opening": 1}),
        ("move", {"command_id": "command-1", "step": "start", "phase": "lobby", "opening": 0}),
    ],
)
async def test_something_else_before_hello(connect, gateway, kind, fields):
    client = connect()
    (fault,) = client.say(kind, **fields)
    assert fault.code == "hello_expected"
    assert client.closed == ["hello_expected"]
    assert gateway.submitted == []


async def test_a_ping_needs_no_hello(connect):
    client = connect()
    assert client.say("ping", n=7) == [Pong(7)]
    assert client.closed == []


async def test_no_hello_at_all(connect, monkeypatch):
    monkeypatch.setattr(limits, "HELLO_MS_MAX", 1)
    client = connect()
    await asyncio.wait_for(client.connection.has_closed.wait(), 10)
    assert client.closed == ["hello_late"]
    assert CLOSE_CODES["hello_late"].reconnect, "a network may have stalled in between"


async def test_a_hello_in_time_may_wait_for_its_session_for_long(
    connect, gateway, settle, monkeypatch
):
    monkeypatch.setattr(limits, "HELLO_MS_MAX", 1)
    gateway.gate.clear()
    client = connect()
    client.say("hello", token=MIA)
    assert client.viewer._hello_timer.cancelled()
    gateway.gate.set()
    await settle()
    assert [type(message) for message in client.connection.take()] == [Welcome]
    assert client.closed == []


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (Conflict("over", "session_over"), "session_over"),
        (Conflict("no such session", "not_found"), "unauthorized"),
        (Unavailable("the database is away"), "restart"),
        (LookupError("a fault of the hub"), "failed"),
        (ServerFault("the session's actor failed"), "failed"),
        (ServerFault("the session was set aside", "quarantined"), "quarantined"),
    ],
)
async def test_a_room_that_cannot_be_entered(connect, gateway, settle, error, name, caplog):
    gateway.error = error
    client = connect()
    client.say("hello", token=MIA)
    await settle()
    (fault,) = client.connection.sent
    assert fault.code == getattr(error, "code", "internal")
    assert client.closed == [name]
    assert ("a fault of the hub" in caplog.text) == isinstance(error, LookupError)


@pytest.mark.parametrize(
    ("code", "name"),
    [("removed", "removed"), ("not_found", "unauthorized"), ("retry", "restart")],
)
async def test_a_place_that_is_not_given(connect, gateway, hub, settle, code, name):
    gateway.places[1] = FaultReply(code, "no", code == "retry")
    client = connect()
    client.say("hello", token=MIA)
    await settle()
    (fault,) = client.connection.sent
    assert fault.code == code
    assert client.closed == [name]
    client.viewer.on_close(client.connection, CLOSE_CODES[name].code)
    assert hub._rooms == {}


async def test_messages_between_hello_and_welcome_are_to_be_sent_again(
    connect, gateway, settle, subscriber
):
    gateway.place_gate.clear()
    client = connect()
    client.say("hello", token=MIA)
    await settle()
    (fault,) = client.say("answer", opening=1, choices=[0])
    assert (fault.code, fault.retryable, fault.opening) == ("retry", True, 1)
    assert gateway.submitted == []
    gateway.place_gate.set()
    await settle()
    assert client.closed == []


async def test_frames_wait_for_the_welcome(connect, gateway, actor, subscriber, settle):
    gateway.place_gate.clear()
    client = connect()
    client.say("hello", token=MIA)
    await settle()
    subscriber.publish(actor.joined("Zoe"))
    assert client.connection.raw == []
    gateway.place_gate.set()
    await settle()
    (welcome,) = client.connection.take()
    assert welcome.view == actor.view
    subscriber.publish(actor.joined("Ada"))
    assert [type(message) for message in client.connection.sent] == [DeltaFrame]


async def test_a_result_that_passes_the_place_on_its_way_is_in_the_welcome(
    connect, gateway, actor, subscriber, settle
):
    actor.driver.moves(Step.START)
    actor.frame()
    gateway.place_gate.clear()
    client = connect()
    client.say("hello", token=MIA)  # the actor says where Mia stands: no result yet
    await settle()
    actor.driver.answer(1, 1)
    subscriber.publish(actor.moved(Step.CLOSE))
    subscriber.publish(actor.results())
    gateway.place_gate.set()
    await settle()
    (welcome,) = client.connection.take()
    assert welcome.view.phase is Phase.QUESTION_CLOSED
    assert welcome.you.result.correct
    assert welcome.you.points == welcome.you.result.points > 0


async def test_who_leaves_on_the_way_in_is_not_in_the_room(connect, gateway, hub, settle):
    gateway.place_gate.clear()
    client = connect()
    client.say("hello", token=MIA)
    await settle()
    assert len(hub._rooms[SESSION_ID].viewers) == 1
    client.viewer.on_close(client.connection, 1006)
    gateway.place_gate.set()
    await settle()
    assert hub._rooms == {}
    assert client.connection.raw == []


async def test_who_leaves_while_the_room_opens(connect, gateway, hub, settle):
    gateway.gate.clear()
    client = connect()
    client.say("hello", token=MIA)
    await settle()
    client.viewer.on_close(client.connection, 1006)
    gateway.gate.set()
    await settle()
    hub.watch()
    assert hub._rooms == {}


# --- answers ----------------------------------------------------------------------------------------


@pytest.fixture
async def playing(enter, actor, subscriber):
    """Mia, with question 1 open."""
    client = await enter(MIA)
    subscriber.publish(actor.moved(Step.START))
    client.connection.take()
    return client


def receipt(item, **changes):
    return ReceiptReply(
        **{"opening_no": item.opening_no, "choice_mask": item.choice_mask, "text": item.text,
           "elapsed_ms": item.elapsed_ms, "correct": True, "points": 900, **changes}
    )  # fmt: skip


async def test_an_answer_is_acknowledged_once_it_is_stored(playing, gateway):
    assert playing.say("answer", opening=1, choices=[1, 2]) == []
    ((item, done),) = gateway.submitted
    assert item == AnswerItem(1, 1, 0b110, "", item.elapsed_ms, 0)
    assert item.elapsed_ms >= 0
    done(receipt(item))
    (told,) = playing.connection.sent
    assert told == Receipt(1, item.elapsed_ms, (1, 2)), "whether it is right is not told"


async def test_a_text_goes_with_the_answer(playing, gateway):
    playing.say("answer", opening=1, text="Canberra")
    assert gateway.submitted[0][0].text == "Canberra"


@pytest.mark.parametrize("code", ["late", "bad_choice", "not_open", "retry", "overloaded"])
async def test_a_refused_answer_is_told_with_its_opening(playing, gateway, code, outcomes):
    playing.say("answer", opening=1, choices=[0])
    retryable = code in ("retry", "overloaded")
    gateway.submitted[0][1](FaultReply(code, "why", retryable))
    (fault,) = playing.connection.sent
    wait_ms = limits.RETRY_AFTER_MS if retryable else 0
    assert fault == Fault(code, "why", retryable, wait_ms, opening=1)
    assert playing.closed == []
    assert outcomes == {code: 1}


async def test_a_removed_participant_s_answer_ends_the_socket(playing, gateway):
    playing.say("answer", opening=1, choices=[0])
    gateway.submitted[0][1](FaultReply("removed", "why", False))
    assert playing.connection.sent[0].code == "removed"
    assert playing.closed == ["removed"]


async def test_the_first_elapsed_time_stands_until_the_reply_is_final(playing, gateway):
    room = playing.viewer._room

    def answer():
        playing.say("answer", opening=1, choices=[0])
        return gateway.submitted[-1]

    first, done = answer()
    room._written_ns -= 10_000_000_000
    tapped_again, _ = answer()
    assert tapped_again.elapsed_ms == first.elapsed_ms, "while the first is on its way"
    done(FaultReply("retry", "unknown", True))
    sent_again, done = answer()
    assert sent_again.elapsed_ms == first.elapsed_ms
    done(receipt(sent_again))
    assert room.first_elapsed_ms == {}


async def test_the_first_elapsed_time_outlives_the_socket(playing, gateway, enter):
    playing.say("answer", opening=1, choices=[0])
    item, done = gateway.submitted[0]
    watcher = await enter(WATCHER)  # keeps the room
    playing.viewer.on_close(playing.connection, 1006)
    done(FaultReply("retry", "unknown", True))
    again = await enter(MIA)
    again.say("answer", opening=1, choices=[0])
    assert gateway.submitted[-1][0].elapsed_ms == item.elapsed_ms
    assert watcher.closed == []


async def test_a_refused_answer_s_time_is_forgotten(playing, gateway):
    playing.say("answer", opening=1, choices=[0])
    gateway.submitted[0][1](FaultReply("late", "why", False))
    assert playing.viewer._room.first_elapsed_ms == {}


async def test_openings_that_nobody_has_seen_take_no_memory(playing, gateway):
    for opening in range(2, 50):
        playing.say("answer", opening=opening, choices=[0])
    assert {item.elapsed_ms for item, _ in gateway.submitted} == {-1}
    assert playing.viewer._room.first_elapsed_ms == {}


async def test_so_many_times_are_remembered_while_nothing_gets_its_reply(
    playing, gateway, monkeypatch
):
    monkeypatch.setattr(limits, "BATCHER_ITEMS_MAX", 0)
    playing.say("answer", opening=1, choices=[0])
    assert gateway.submitted[0][0].elapsed_ms >= 0
    assert playing.viewer._room.first_elapsed_ms == {}


async def test_a_reply_to_a_client_that_left_goes_nowhere(playing, gateway):
    playing.say("answer", opening=1, choices=[0])
    playing.viewer.on_close(playing.connection, 1006)
    item, done = gateway.submitted[0]
    done(receipt(item))
    assert playing.connection.raw == []


async def test_so_many_answers_may_wait_for_their_receipt(playing, gateway):
    for _ in range(limits.SOCKET_PENDING_MAX):
        assert playing.say("answer", opening=1, choices=[0]) == []
    (fault,) = playing.say("answer", opening=1, choices=[0])
    assert (fault.code, fault.opening) == ("too_many", 1)
    item, done = gateway.submitted[0]
    done(receipt(item))
    assert playing.say("answer", opening=1, choices=[0]) == []


@pytest.mark.parametrize("token", [HOST, WATCHER])
async def test_only_participants_answer(enter, gateway, token):
    client = await enter(token)
    (fault,) = client.say("answer", opening=1, choices=[0])
    assert (fault.code, fault.opening) == ("unauthorized", 1)
    assert gateway.submitted == []


# --- self-paced play --------------------------------------------------------------------------------


@pytest.fixture
def self_paced(gateway, make_actor):
    actor = gateway.actor = make_actor(SessionDriver(settings=SELF_PACED))
    actor.driver.join("Mia")
    actor.driver.moves(Step.START)
    actor.frame()
    return actor


@pytest.mark.usefixtures("self_paced")
async def test_a_question_is_shown_when_it_is_asked_for(enter, gateway):
    client = await enter(MIA)
    (shown,) = client.say("ask", opening=2)
    assert isinstance(shown, QuestionMessage)
    assert shown.question == client.viewer._room.questions[OpeningNo(2)]
    client.say("answer", opening=2, choices=[0])
    item, done = gateway.submitted[0]
    assert item.elapsed_ms >= 0
    done(receipt(item))
    (told,) = client.connection.sent
    assert (told.correct, told.points) == (True, 900), "self-paced play tells at once"
    assert told.reveal.correct == (0, 2), "and what was right"
    client.viewer._is_slow = True
    done(receipt(item))
    assert client.connection.sent[-1] == msgspec.structs.replace(told, reveal=None)
    client.viewer._is_slow = False
    client.say("answer", opening=3, choices=[0])
    assert gateway.submitted[1][0].elapsed_ms == -1, "never asked for"


@pytest.mark.usefixtures("self_paced")
async def test_the_first_look_counts(enter, gateway):
    client = await enter(MIA)
    client.say("ask", opening=1)
    client.viewer._asked_ns[1] -= 5_000_000_000
    client.say("ask", opening=1)
    client.say("answer", opening=1, choices=[0])
    first, done = gateway.submitted[0]
    assert first.elapsed_ms >= 5_000
    done(FaultReply("retry", "unknown", True))
    client.say("answer", opening=1, choices=[0])
    assert gateway.submitted[1][0].elapsed_ms == first.elapsed_ms


async def test_only_so_many_questions_are_remembered_as_asked_for(enter, gateway, self_paced):
    """Each would hold memory: whoever looks at more at once begins anew with the first ones."""
    client = await enter(MIA)
    shown = client.viewer._room.questions[OpeningNo(1)]
    openings = range(1, limits.SOCKET_ASKED_MAX + 3)
    client.viewer._room.questions = {
        OpeningNo(no): msgspec.structs.replace(shown, opening_no=OpeningNo(no)) for no in openings
    }
    for opening in openings:
        client.say("ask", opening=opening)
    assert list(client.viewer._asked_ns) == list(openings)[2:]


@pytest.mark.usefixtures("self_paced")
async def test_who_only_watches_has_no_time_to_be_remembered(enter):
    for token in (HOST, WATCHER):
        client = await enter(token)
        client.say("ask", opening=1)
        assert client.viewer._asked_ns == {}


@pytest.mark.usefixtures("self_paced")
@pytest.mark.parametrize("opening", [0, 5, 2**31 - 1])
async def test_a_question_that_does_not_exist_cannot_be_asked_for(enter, opening):
    client = await enter(MIA)
    (fault,) = client.say("ask", opening=opening)
    assert (fault.code, fault.opening) == ("not_open", opening)


async def test_a_live_session_s_questions_cannot_be_asked_for(playing):
    assert playing.viewer._room.view.mode is Mode.LIVE
    playing.viewer._room.questions = {}
    assert [fault.code for fault in playing.say("ask", opening=1)] == ["not_open"]


# --- moves ------------------------------------------------------------------------------------------

MOVE = {"command_id": "command-1", "step": "start", "phase": "lobby", "opening": 0}


async def test_the_host_moves(enter, gateway):
    client = await enter(HOST)
    assert client.say("move", **MOVE) == []
    ((item, done),) = gateway.submitted
    assert item == MoveItem(Step.START, Phase.LOBBY, 0, "command-1", 0, 0)
    done(DoneReply("command-1", Phase.QUESTION_OPEN, OpeningNo(1)))
    assert client.connection.sent == [DoneMessage("command-1", Phase.QUESTION_OPEN, 1)]


async def test_a_refused_move_is_told_with_its_command(enter, gateway):
    client = await enter(HOST)
    client.say("move", **MOVE)
    gateway.submitted[0][1](FaultReply("stale_command", "why", False))
    (fault,) = client.connection.sent
    assert (fault.code, fault.command_id) == ("stale_command", "command-1")


@pytest.mark.parametrize("token", [MIA, WATCHER])
async def test_only_the_host_moves(enter, gateway, token):
    client = await enter(token)
    (fault,) = client.say("move", **MOVE)
    assert (fault.code, fault.command_id) == ("unauthorized", "command-1")
    assert gateway.submitted == []


# --- rubbish ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"", "malformed"),
        (b"{", "malformed"),
        (b"\xff\xfe", "malformed"),
        (b"null", "malformed"),
        (b"[]", "malformed"),
        (b'{"type":"dance"}', "malformed"),
        (b'{"type":"ping","n":-1}', "malformed"),
        (b'{"type":"ping","n":1,"extra":1}', "malformed"),
        (b'{"type":"ping","\\udc00":1}', "malformed"),
        (b'{"type":"answer","opening":1,"choices":[99]}', "malformed"),
        (b'{"type":"answer","opening":1,"text":"\\ud800 and more"}', "malformed"),
        (b"[" * 4_000, "malformed"),
        (b'"' + b"x" * limits.MESSAGE_BYTES_MAX + b'"', "too_large"),
    ],
)
async def test_rubbish_gets_its_code_and_changes_nothing(playing, gateway, payload, code):
    (fault,) = playing.say_bytes(payload)
    assert (fault.code, fault.retryable) == (code, False)
    assert playing.closed == []
    assert gateway.submitted == []


async def test_too_much_rubbish_ends_the_socket(playing):
    for _ in range(limits.FAULTS_PER_SOCKET_MAX - 1):
        playing.say_bytes(b"{")
    assert playing.closed == []
    playing.say_bytes(b"{")
    assert playing.closed == ["too_many_faults"]


async def test_honest_refusals_do_not_end_the_socket(playing, gateway):
    for _ in range(2 * limits.FAULTS_PER_SOCKET_MAX):
        playing.say("answer", opening=1, choices=[0])
        gateway.submitted[-1][1](FaultReply("late", "why", False))
    assert playing.closed == []


async def test_too_many_messages_in_a_second(connect):
    client = connect(message_rate(limits.MESSAGES_PER_S_MAX))
    for _ in range(limits.MESSAGES_PER_S_MAX * limits.MESSAGES_BURST_S):
        assert client.say("ping") == [Pong()]
    assert client.connection.rests_ms == []
    faults = 0
    while not client.closed:
        for message in client.say("ping"):
            if isinstance(message, Fault):
                assert (message.code, message.retryable) == ("too_many", True)
                faults += 1
    assert client.closed == ["too_many_faults"]
    assert faults == limits.FAULTS_PER_SOCKET_MAX
    assert client.connection.rests_ms == [limits.MESSAGES_REST_MS] * faults


@pytest.mark.usefixtures("self_paced")
async def test_the_fastest_person_is_not_told_to_slow_down(enter, gateway, monkeypatch):
    """Six questions a second for two minutes, each asked for and answered, and a page's pings."""
    clock = SimpleNamespace(now=1_000.0)
    rate = message_rate(limits.MESSAGES_PER_S_MAX)
    bucket = TokenBucket(rate, lambda: clock.now)
    monkeypatch.setattr(viewer_module, "TokenBucket", lambda _rate: bucket)
    client = await enter(MIA, rate)
    for question in range(720):
        clock.now += 1 / 6
        assert isinstance(client.say("ask", opening=1)[0], QuestionMessage)
        assert client.say("answer", opening=1, choices=[0]) == []
        item, done = gateway.submitted[-1]
        done(receipt(item))
        if question % 30 == 0:
            client.say("ping")
    assert client.closed == []
    client.connection.take()


# --- slow sockets -----------------------------------------------------------------------------------


async def test_a_slow_socket_gets_the_newest_once_it_has_caught_up(playing, actor, subscriber):
    playing.viewer.on_unwritable(playing.connection)
    actor.driver.answer(1, 1)
    subscriber.publish(actor.moved(Step.CLOSE))
    subscriber.publish(actor.results())
    assert playing.connection.raw == []
    playing.viewer.on_writable(playing.connection)
    snapshot, result = playing.connection.take()
    assert isinstance(snapshot, Snapshot)
    assert snapshot.view == actor.view
    assert isinstance(result, ResultMessage)
    assert result.result.correct
    subscriber.publish(actor.moved(Step.NEXT))
    assert [type(message) for message in playing.connection.sent] == [DeltaFrame]


async def test_a_slow_socket_is_told_what_became_of_its_answers(playing, gateway):
    playing.viewer.on_unwritable(playing.connection)
    playing.say("answer", opening=1, choices=[0])
    item, done = gateway.submitted[0]
    done(receipt(item))
    assert [type(message) for message in playing.connection.take()] == [Receipt]
    for code in ("late", "retry"):
        playing.say("answer", opening=1, choices=[0])
        gateway.submitted[-1][1](FaultReply(code, "why", code == "retry"))
        assert [message.code for message in playing.connection.take()] == [code]


async def test_a_slow_host_is_told_what_became_of_its_moves(enter, gateway):
    client = await enter(HOST)
    client.viewer.on_unwritable(client.connection)
    client.say("move", **MOVE)
    gateway.submitted[0][1](DoneReply("command-1", Phase.QUESTION_OPEN, OpeningNo(1)))
    assert [type(message) for message in client.connection.sent] == [DoneMessage]
    client.say("move", **MOVE)
    gateway.submitted[1][1](FaultReply("stale_command", "why", False))
    assert [type(message) for message in client.connection.sent] == [Fault]


@pytest.mark.usefixtures("self_paced")
async def test_nothing_else_is_written_to_a_slow_socket_or_made_for_it(enter, monkeypatch):
    client = await enter(MIA)
    client.viewer.on_unwritable(client.connection)
    monkeypatch.setattr(viewer_module, "encode_json", pytest.fail)
    for kind, fields in [
        ("ask", {"opening": 1}),
        ("ask", {"opening": 99}),
        ("ping", {"n": 1}),
        ("hello", {"token": MIA}),
        ("answer", {"opening": 1, "choices": [99]}),
        ("move", MOVE),
    ]:
        payload = msgspec.json.encode({"type": kind, **fields})
        client.viewer.on_text(client.connection, payload)
    assert client.connection.raw == []


@pytest.mark.usefixtures("self_paced")
async def test_a_socket_that_has_caught_up_is_shown_the_question_that_it_asked_for_last(enter):
    client = await enter(MIA)
    client.viewer.on_unwritable(client.connection)
    for opening in (1, 2, 3, 99):
        client.say("ask", opening=opening)
    assert client.viewer._asked_ns == {}, "its time begins when the question is written"
    client.viewer.on_writable(client.connection)
    snapshot, shown = client.connection.take()
    assert isinstance(snapshot, Snapshot)
    assert shown.question.opening_no == 3
    assert list(client.viewer._asked_ns) == [3]
    client.viewer.on_unwritable(client.connection)
    client.viewer.on_writable(client.connection)
    assert [type(message) for message in client.connection.take()] == [Snapshot]


async def test_a_slow_socket_that_sends_rubbish_is_closed_all_the_same(playing):
    playing.viewer.on_unwritable(playing.connection)
    for _ in range(limits.FAULTS_PER_SOCKET_MAX):
        playing.say_bytes(b"{")
    assert playing.connection.raw == []
    assert playing.closed == ["too_many_faults"]


async def test_a_socket_that_is_slow_before_its_welcome_gets_none(connect, gateway, settle):
    gateway.place_gate.clear()
    client = connect()
    client.say("hello", token=MIA)
    await settle()
    client.viewer.on_unwritable(client.connection)
    gateway.place_gate.set()
    await settle()
    assert client.connection.raw == []
    assert client.closed == ["slow_consumer"]


# --- ends -------------------------------------------------------------------------------------------


async def test_the_end_is_counted_and_the_room_is_left(playing, hub, outcomes):
    playing.viewer.on_close(playing.connection, 1001)
    assert outcomes["closed_1001"] == 1
    assert hub._rooms == {}


async def test_a_frame_after_the_end_goes_nowhere(playing, actor, subscriber, enter):
    await enter(WATCHER)
    playing.viewer.on_close(playing.connection, 1006)
    subscriber.publish(actor.joined("Zoe"))
    assert playing.connection.raw == []


async def test_the_key_is_never_told_before_the_close(enter, actor, subscriber):
    clients = [await enter(token) for token in (HOST, WATCHER, MIA)]
    subscriber.publish(actor.moved(Step.START))
    clients.append(await enter(BEN))
    actor.driver.answer(1, 1)
    subscriber.publish(actor.frame())
    for client in clients:
        client.viewer.on_unwritable(client.connection)
        client.viewer.on_writable(client.connection)
        told = [*client.connection.raw, encode_json(client.welcome)]
        fields = {key for payload in told for key in _keys(msgspec.json.decode(payload))}
        assert "question" in fields
        assert not fields & {"correct", "accepted", "reveal", "distribution", "explanation"}


def _keys(value):
    """Every key in a JSON value whose own value says something."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if inner is not None:
                yield key
            yield from _keys(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _keys(inner)
