"""Websockets through HAProxy to the Notificator, as a page and as a stranger use them."""

import asyncio
import json
import time
from contextlib import suppress
from urllib.parse import urlsplit

import httpx
import msgspec
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from engine import limits
from engine.model import QuestionKind
from engine.testing.factories import make_question, make_quiz
from engine.view import Delta, apply
from engine.wire import (
    Answer,
    Ask,
    DeltaFrame,
    DoneMessage,
    Fault,
    Hello,
    HostMove,
    Ping,
    Pong,
    QuestionMessage,
    Receipt,
    ResultMessage,
    Snapshot,
    Welcome,
    decode_server_message,
    encode_json,
)

QUIZ = msgspec.to_builtins(
    make_quiz(
        make_question(explanation="because", time_limit_ms=600_000),
        make_question(QuestionKind.TYPED, time_limit_ms=600_000),
    )
)
PLAIN = {"preview_ms": 0, "close_when_all_answered": False}
_WAIT_S_MAX = 30


class Socket:
    """One websocket: what it said, what it was told, and the view that follows from it."""

    def __init__(self, connection):
        self._connection = connection
        self.view = None
        self.told = []

    async def say(self, message):
        await self._connection.send(encode_json(message).decode())

    async def next(self):
        """The next message; the view is kept up to date on the way."""
        payload = await asyncio.wait_for(self._connection.recv(), _WAIT_S_MAX)
        self.told.append(payload)
        message = decode_server_message(payload.encode())
        if isinstance(message, Welcome | Snapshot):
            self.view = message.view or self.view
        elif isinstance(message, DeltaFrame):
            delta = Delta(message.epoch, message.version, message.changes)
            self.view = apply(delta, self.view)
        return message

    async def until(self, kind, holds=lambda _message: True):
        """The next message of a kind for which something holds."""
        while True:
            message = await self.next()
            if isinstance(message, kind) and holds(message):
                return message

    async def until_phase(self, phase):
        while self.view.phase != phase:
            await self.next()

    async def closed(self):
        """The code and reason with which the server closes; None when the socket is cut."""
        try:
            while True:
                await self.next()
        except ConnectionClosed as end:
            return (end.rcvd.code, end.rcvd.reason) if end.rcvd is not None else None

    async def cut(self):
        self._connection.transport.abort()
        await self._connection.wait_closed()


class Game:
    """One session, its tokens, and sockets with them."""

    def __init__(self, site, opened, sockets):
        self.site = site
        self._sockets = sockets
        self.opened = opened
        self.session_id, self.pin = self.opened["session_id"], self.opened["pin"]
        self.host_token, self.viewer_token = self.opened["host_token"], self.opened["viewer_token"]
        self._commands = 0

    def join(self, nickname):
        body = {"nickname": nickname, "join_key": f"key-of-{nickname}"}
        path = f"{self.site.base_url}/api/pins/{self.pin}/participants"
        return httpx.post(path, json=body, timeout=_WAIT_S_MAX).json()["token"]

    async def enter(self, token, epoch=0, version=0):
        """A socket that has been welcomed, and its welcome."""
        while True:
            socket = await self._sockets()
            await socket.say(Hello(token, epoch, version))
            reply = await socket.next()
            if not (isinstance(reply, Fault) and reply.retryable):
                break
            await asyncio.sleep(reply.retry_after_ms / 1000)
        assert isinstance(reply, Welcome), reply
        return socket, reply

    async def move(self, host, step, phase, opening, **changes):
        self._commands += 1
        command_id = f"command-{self._commands}"
        await host.say(HostMove(command_id, step, phase, opening, **changes))
        reply = await host.until((DoneMessage, Fault))
        assert reply.command_id == command_id
        return reply


@pytest.fixture
async def sockets(live_site):
    """Open websockets that have said nothing yet."""
    opened = []

    async def open_one(**options):
        connection = await connect(live_site.ws_url, ping_interval=None, **options)
        opened.append(connection)
        return Socket(connection)

    yield open_one
    for connection in opened:
        connection.transport.abort()


@pytest.fixture
def make_game(live_site, open_session, sockets):
    return lambda **changes: Game(live_site, open_session(QUIZ, {**PLAIN, **changes}), sockets)


def metric(site, name):
    """The sum of a metric's values over all processes."""
    text = httpx.get(site.stack.metrics_url, timeout=_WAIT_S_MAX).text
    lines = [line for line in text.splitlines() if line.startswith((f"{name} ", f"{name}{{"))]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


async def until(holds):
    """Wait for something outside that tells nobody."""
    deadline = time.monotonic() + _WAIT_S_MAX
    while not await asyncio.to_thread(holds):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)


# --- a quiz from the lobby to its end ---------------------------------------------------------------


async def test_a_whole_quiz_over_websockets(make_game):
    game = make_game()
    host, welcome = await game.enter(game.host_token)
    assert (welcome.role, welcome.view.phase, welcome.you) == ("host", "lobby", None)
    projector, _ = await game.enter(game.viewer_token)
    mia, welcome = await game.enter(game.join("Mia"))
    assert (welcome.you.participant_id, welcome.you.nickname) == (1, "Mia")
    ben, _ = await game.enter(game.join("Ben"))
    while projector.view.participants_count < 2:
        await projector.next()
    assert [row.nickname for row in projector.view.roster] == ["Ben", "Mia"]

    done = await game.move(host, "start", "lobby", 0)
    assert (done.phase, done.opening) == ("question_open", 1)
    for socket in (host, projector, mia, ben):
        await socket.until_phase("question_open")
    await mia.say(Answer(1, (1,)))
    receipt = await mia.until(Receipt)
    assert (receipt.opening, receipt.choices, receipt.correct) == (1, (1,), None)
    assert 0 <= receipt.elapsed_ms < 20_000
    await mia.say(Answer(1, (0,)))
    assert await mia.until(Receipt) == receipt, "the first one stands"
    while projector.view.answers_count < 1:
        await projector.next()

    stale = await game.move(host, "start", "lobby", 0)
    assert stale.code == "stale_command"
    await game.move(host, "close", "question_open", 1)
    for socket in (host, projector, mia, ben):
        await socket.until_phase("question_closed")
    result = (await mia.until(ResultMessage)).result
    assert (result.correct, result.rank, result.ahead) == (True, 1, None)
    assert (await ben.until(ResultMessage)).result.ahead == ("Mia", result.points)
    assert projector.view.reveal.correct == (1,)
    assert [row.nickname for row in projector.view.scoreboard] == ["Mia", "Ben"]
    await ben.say(Answer(1, (1,)))
    assert (await ben.until(Fault)).code == "late"

    await game.move(host, "next", "question_closed", 1)
    await game.move(host, "next", "scoreboard", 1)
    await mia.until_phase("question_open")
    await mia.say(Answer(2, text=" CANBERRA "))
    assert (await mia.until(Receipt)).text == " CANBERRA "
    await game.move(host, "finish", "question_open", 2)
    for socket in (host, projector, mia, ben):
        await socket.until_phase("finished")
    assert host.view == projector.view == mia.view == ben.view


async def test_self_paced_play(make_game):
    game = make_game(mode="self_paced", scoring="accuracy.v1")
    host, _ = await game.enter(game.host_token)
    mia, _ = await game.enter(game.join("Mia"))
    await mia.say(Ask(1))
    assert (await mia.until(Fault)).code == "not_open"
    await game.move(host, "start", "lobby", 0)
    await mia.until_phase("self_paced_open")
    await mia.say(Ask(2))
    assert (await mia.until(QuestionMessage)).question.opening_no == 2
    await mia.say(Answer(2, text="Canberra"))
    receipt = await mia.until(Receipt)
    assert (receipt.correct, receipt.points) == (True, 1_000)
    _, welcome = await game.enter(game.join("Mia"))
    assert (welcome.you.points, welcome.you.next_opening) == (1_000, 1)


async def test_the_key_is_on_no_wire_before_the_close(make_game):
    game = make_game()
    sockets = [(await game.enter(token))[0] for token in
               (game.host_token, game.viewer_token, game.join("Mia"), game.join("Ben"))]  # fmt: skip
    host, _, mia, _ = sockets
    await game.move(host, "start", "lobby", 0)
    sockets.append((await game.enter(game.viewer_token))[0])
    for socket in sockets:
        await socket.until_phase("question_open")
    await mia.say(Answer(1, (1,)))
    await mia.until(Receipt)
    for socket in sockets:
        while socket.view.answers_count < 1:
            await socket.next()
        for payload in socket.told:
            assert "because" not in payload
            assert not _told(json.loads(payload)) & {"correct", "accepted", "reveal", "points_won"}
        assert socket.view.scoreboard == ()
    await game.move(host, "close", "question_open", 1)
    await mia.until_phase("question_closed")
    assert "because" in mia.told[-1]


def _told(value):
    """Every key in a JSON value whose own value says something."""
    if isinstance(value, dict):
        inner = [_told(each) for each in value.values()]
        return {key for key, each in value.items() if each is not None}.union(*inner)
    if isinstance(value, list):
        return set().union(*(_told(each) for each in value))
    return set()


# --- coming back ------------------------------------------------------------------------------------


async def test_a_resume_with_the_newest_view_gets_no_view(make_game):
    game = make_game()
    token = game.join("Mia")
    mia, _ = await game.enter(token)
    while not mia.view.participants_count:  # the frame that tells of the join may come behind
        await mia.next()
    seen = (mia.view.epoch, mia.view.version)
    await mia.cut()
    _, welcome = await game.enter(token, *seen)
    assert (welcome.view, welcome.you.participant_id) == (None, 1)


async def test_a_cut_in_a_question_loses_nothing(make_game):
    game = make_game()
    host, _ = await game.enter(game.host_token)
    token = game.join("Mia")
    mia, _ = await game.enter(token)
    seen = (mia.view.epoch, mia.view.version)
    await game.move(host, "start", "lobby", 0)
    await mia.until_phase("question_open")
    await mia.say(Answer(1, (1,)))
    receipt = await mia.until(Receipt)
    await mia.cut()
    mia, welcome = await game.enter(token, *seen)
    assert welcome.view.phase == "question_open"
    assert welcome.you.receipt == receipt
    await mia.say(Answer(1, (2,)))
    assert await mia.until(Receipt) == receipt
    await game.move(host, "close", "question_open", 1)
    await mia.cut()
    _, welcome = await game.enter(token)
    assert welcome.you.result.correct
    assert welcome.you.points == welcome.you.result.points


async def test_the_same_participant_elsewhere_replaces_the_first(make_game):
    game = make_game()
    token = game.join("Mia")
    first, _ = await game.enter(token)
    second, _ = await game.enter(token)
    assert await first.closed() == (4007, "replaced")
    await second.say(Ping(1))
    assert await second.until(Pong) == Pong(1)


async def test_a_removed_participant_is_closed(make_game):
    game = make_game()
    host, _ = await game.enter(game.host_token)
    token = game.join("Mia")
    mia, _ = await game.enter(token)
    while host.view.participants_count < 1:  # a host removes whom it sees
        await host.next()
    done = await game.move(host, "remove", "lobby", 0, participant=1)
    assert isinstance(done, DoneMessage)
    assert await mia.closed() == (4003, "removed")


async def test_many_are_removed_at_once_and_the_rest_of_a_locked_game_plays_on(make_game):
    game = make_game()
    host, _ = await game.enter(game.host_token)
    sockets = [(await game.enter(game.join(name)))[0] for name in ("Mia", "Bot 1", "Bot 2")]
    while host.view.participants_count < 3:
        await host.next()
    assert isinstance(await game.move(host, "lock", "lobby", 0), DoneMessage)
    done = await game.move(host, "remove", "lobby", 0, participants=(2, 3))
    assert isinstance(done, DoneMessage)
    assert [await bot.closed() for bot in sockets[1:]] == [(4003, "removed")] * 2
    await game.move(host, "start", "lobby", 0)
    await sockets[0].until_phase("question_open")
    assert sockets[0].view.lock == "host"
    assert sockets[0].view.participants_count == 1


# --- elapsed time -----------------------------------------------------------------------------------


async def test_no_way_to_answer_makes_an_answer_quicker_than_it_was(make_game):
    """A socket that was there when the question came, a fresh one, HTTP, and a repeat."""
    game = make_game(close_when_all_answered=False)
    host, _ = await game.enter(game.host_token)
    tokens = [game.join(name) for name in ("Early", "Fresh", "Plain")]
    early, _ = await game.enter(tokens[0])
    begun = time.monotonic()
    await game.move(host, "start", "lobby", 0)
    await early.until_phase("question_open")
    seen = time.monotonic()
    await asyncio.sleep(0.7)

    def waited_ms():
        return (time.monotonic() - seen) * 1000, (time.monotonic() - begun) * 1000

    asked = {}
    at_least, _ = waited_ms()
    await early.say(Answer(1, (1,)))
    asked["early"] = (at_least, (await early.until(Receipt)).elapsed_ms, waited_ms()[1])

    fresh, _ = await game.enter(tokens[1])
    at_least, _ = waited_ms()
    await fresh.say(Answer(1, (1,)))
    receipt = await fresh.until(Receipt)
    asked["fresh"] = (at_least, receipt.elapsed_ms, waited_ms()[1])

    url = f"{game.site.base_url}/api/sessions/{game.session_id}/answers"
    headers = {"authorization": f"Bearer {tokens[2]}"}
    body = {"opening": 1, "choices": [1]}
    async with httpx.AsyncClient(headers=headers, timeout=_WAIT_S_MAX) as http:
        at_least, _ = waited_ms()
        told = (await http.post(url, json=body)).json()
        asked["http"] = (at_least, told["elapsed_ms"], waited_ms()[1])
        assert (await http.post(url, json=body)).json() == told
    for way, (at_least, elapsed_ms, at_most) in asked.items():
        # Two clocks that count milliseconds.
        assert at_least - 5 <= elapsed_ms <= at_most + 5, (way, at_least, elapsed_ms, at_most)
    await game.move(host, "finish", "question_open", 1)
    results = await asyncio.to_thread(game.site.results, game.opened)
    assert not any(answer["too_fast"] for answer in results["answers"])


async def test_an_answer_at_once_is_marked_whatever_way_it_came(make_game):
    game = make_game(close_when_all_answered=False)
    host, _ = await game.enter(game.host_token)
    early, _ = await game.enter(game.join("Early"))
    await game.move(host, "start", "lobby", 0)
    await early.until_phase("question_open")
    await early.say(Answer(1, (1,)))
    receipt = await early.until(Receipt)
    await game.move(host, "finish", "question_open", 1)
    results = await asyncio.to_thread(game.site.results, game.opened)
    [answer] = results["answers"]
    assert answer["elapsed_ms"] == receipt.elapsed_ms
    # The socket's own time counts, within 2 s of the actor's: a busy machine makes a bot no slower.
    assert answer["too_fast"] == (receipt.elapsed_ms < limits.HUMAN_MS_MIN)
    assert results["scoreboard"][0]["too_fast"] == answer["too_fast"]


# --- strangers --------------------------------------------------------------------------------------


async def test_a_wrong_token(sockets):
    socket = await sockets()
    await socket.say(Hello("eyJhbGciOiJub25lIn0.e30."))
    assert (await socket.next()).code == "unauthorized"
    assert await socket.closed() == (4001, "unauthorized")


async def test_something_else_than_hello(sockets):
    socket = await sockets()
    await socket.say(Answer(1, (0,)))
    assert (await socket.next()).code == "hello_expected"
    assert await socket.closed() == (4000, "hello_expected")


async def test_no_hello(sockets):
    """Takes as long as the server waits: the limit is the server's, not the test's.

    In that time HAProxy may cut the socket, once, for replicas that an earlier test changed.
    """
    ended = await (await sockets()).closed() or await (await sockets()).closed()
    assert ended == (4008, "hello_late")


async def test_half_a_request_is_cut_and_whoever_has_made_one_is_not_in_the_way(
    live_site, make_game
):
    """Takes as long as HAProxy waits."""
    address = urlsplit(live_site.base_url)
    halves = [await asyncio.open_connection(address.hostname, address.port) for _ in range(50)]
    for number, (_, writer) in enumerate(halves):
        writer.write([b"", b"GET /api/", b"POST /api/quizzes HTTP/1.1\r\nhost: x\r\n"][number % 3])
    game = make_game()
    mia, _ = await game.enter(game.join("Mia"))
    await mia.say(Ping(1))
    for reader, writer in halves:
        assert (await asyncio.wait_for(reader.read(), _WAIT_S_MAX))[:12] in (b"", b"HTTP/1.1 408")
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
    assert await mia.until(Pong) == Pong(1)


@pytest.mark.parametrize(
    ("payload", "code"),
    [("x" * (limits.MESSAGE_BYTES_MAX + 1), 1009), (b"binary", 1003)],
)
async def test_messages_that_end_the_socket(sockets, payload, code):
    socket = await sockets()
    await socket._connection.send(payload)
    assert (await socket.closed())[0] == code


async def test_nothing_is_compressed_however_much_it_is_offered(live_site):
    async with connect(live_site.ws_url, compression="deflate") as client:
        assert "Sec-WebSocket-Extensions" not in client.response.headers
        assert client.protocol.extensions == []


async def test_rubbish_of_every_kind_leaves_the_session_unharmed(make_game):
    game = make_game()
    host, _ = await game.enter(game.host_token)
    mia, _ = await game.enter(game.join("Mia"))
    await game.move(host, "start", "lobby", 0)
    await mia.until_phase("question_open")
    move = {"type": "move", "command_id": "command-x", "step": "close",
            "phase": "question_open", "opening": 1}  # fmt: skip
    rubbish = [
        "",
        "{",
        "null",
        "[]",
        '{"type":"dance"}',
        '{"type":"answer"}',
        "[" * 4_000,
        '{"type":"answer","opening":1,"choices":[1],"extra":1}',
        '{"type":"hello","token":"x"}',
        json.dumps(move),
        '{"type":"answer","opening":7,"choices":[1]}',
        '{"type":"answer","opening":1,"choices":[3,2]}',
    ]
    codes = []
    for payload in rubbish:
        await mia._connection.send(payload)
        codes.append((await mia.until(Fault)).code)
    assert codes == ["malformed"] * 8 + ["hello_twice", "unauthorized", "not_found", "bad_choice"]
    await mia.say(Answer(1, (1,)))
    assert (await mia.until(Receipt)).choices == (1,)


# --- what operators see -----------------------------------------------------------------------------


def ongoing():
    """Requests that Serve counts as under way, for each replica of the Notificator."""
    import ray  # noqa: PLC0415 - only once the stack has set its environment

    names = [
        actor["name"]
        for actor in ray.util.list_named_actors(all_namespaces=True)
        if actor["name"].startswith("SERVE_REPLICA::notificator#")
    ]
    replicas = [ray.get_actor(name, namespace="serve") for name in names]
    return ray.get([replica.get_num_ongoing_requests.remote() for replica in replicas])


async def test_serve_counts_a_websocket_as_ongoing_for_its_whole_life(make_game, live_site):
    game = make_game()
    await until(lambda: ongoing() == [0])
    opened = [(await game.enter(game.viewer_token))[0] for _ in range(3)]
    assert await asyncio.to_thread(ongoing) == [3], "so that autoscaling sees them"
    await opened[0].cut()
    await until(lambda: ongoing() == [2])
    for socket in opened[1:]:
        await socket.cut()
    await until(lambda: ongoing() == [0])


async def test_open_websockets_are_counted(live_site, make_game):
    game = make_game()
    before = metric(live_site, "quiz_hub_connections")
    opened = [(await game.enter(game.viewer_token))[0] for _ in range(3)]
    await until(lambda: metric(live_site, "quiz_hub_connections") == before + 3)
    for socket in opened:
        await socket.cut()
    await until(lambda: metric(live_site, "quiz_hub_connections") == before)
    assert metric(live_site, "quiz_hub_outcomes_total") > 0


async def test_a_replica_that_goes_closes_its_sockets_with_1012(live_site, make_game):
    from serve_app.deploy import deploy  # noqa: PLC0415 - imports ray, after its environment

    def scale(replicas):
        changes = {"notificator_replicas": replicas}
        stack = live_site.stack
        deploy(stack.settings.model_copy(update=changes), stack.local_url)

    game = make_game()
    sockets = []
    try:
        await asyncio.to_thread(scale, 2)
        async with asyncio.timeout(_WAIT_S_MAX):
            while True:
                counts = await asyncio.to_thread(ongoing)
                if len(counts) == 2 and min(counts) > 0:
                    break
                sockets.append((await game.enter(game.viewer_token))[0])
    finally:
        await asyncio.to_thread(scale, 1)
    # HAProxy may cut some of them itself, and starts anew for those that it keeps.
    ends = await asyncio.gather(*(socket.closed() for socket in sockets), return_exceptions=True)
    assert (1012, "restart") in ends
    _, welcome = await game.enter(game.viewer_token)
    assert welcome.view.phase == "lobby"
