"""What every websocket layer keeps to, whoever made it: ``serve_app/websocket/connection.py``."""

import asyncio
import gc
import json
import weakref
from itertools import pairwise

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode, Opcode

from engine import limits
from serve_app.errors import CLOSE_CODES
from serve_app.rate import Rate
from serve_app.websocket import uvicorn_picows
from serve_app.websocket.entrance import PACE, Entrance
from serve_app.websocket.waiting import WaitingBytes


@pytest.fixture
async def client(site):
    """A well-behaved client whose connection the listener has seen open."""
    async with connect(site.url, ping_interval=None) as client:
        assert await site.listener.next() == "open"
        yield client


async def closed(client):
    """The code and reason with which the server closes."""
    with pytest.raises(ConnectionClosed) as caught:
        await asyncio.wait_for(client.recv(), 10)
    assert caught.value.rcvd is not None, "cut without a close frame"
    return caught.value.rcvd.code, caught.value.rcvd.reason


# --- messages -------------------------------------------------------------------------------------


async def test_a_text_comes_and_goes(site, client):
    site.listener.react = lambda connection, payload: connection.send_text(payload)
    for text in ("hello", "", "Grüße 🎈", "x" * limits.MESSAGE_BYTES_MAX):
        await client.send(text)
        assert await site.listener.next() == text.encode()
        assert await client.recv() == text


async def test_fragments_are_joined(site, client):
    await client.send(["a", "", "b", "c" * 1_000])
    assert await site.listener.next() == b"ab" + b"c" * 1_000
    await client.send("whole")
    assert await site.listener.next() == b"whole"


async def test_control_frames_may_come_between_fragments(site, raw):
    client = await raw()
    client.writer.write(client.handshake())
    await client.response()
    client.text(b"a", fin=False)
    client.writer.write(client.frame(Opcode.PING, b"n"))
    client.writer.write(client.frame(Opcode.PONG, b"unasked"))
    client.writer.write(client.frame(Opcode.CONT, b"b"))
    assert await client.next_frame() == (Opcode.PONG, b"n")
    assert (await site.listener.next(), await site.listener.next()) == ("open", b"ab")


@pytest.mark.parametrize("fragments", [1, 3])
async def test_one_byte_too_many(site, client, fragments):
    whole = "x" * (limits.MESSAGE_BYTES_MAX + 1)
    size = -(-len(whole) // fragments)
    parts = [whole[at : at + size] for at in range(0, len(whole), size)]
    await client.send(parts if fragments > 1 else whole)
    assert (await closed(client))[0] == CloseCode.MESSAGE_TOO_BIG
    assert await site.listener.next() == CloseCode.MESSAGE_TOO_BIG


async def test_the_longest_message_may_come_in_fragments(site, client):
    half = "x" * (limits.MESSAGE_BYTES_MAX // 2)
    await client.send([half, half])
    assert len(await site.listener.next()) == limits.MESSAGE_BYTES_MAX


async def test_binary_is_refused(site, client):
    await client.send(b"x")
    assert (await closed(client))[0] == CloseCode.UNSUPPORTED_DATA
    assert await site.listener.next() == CloseCode.UNSUPPORTED_DATA


async def test_utf8_is_the_listener_s_to_check(site, raw):
    client = await raw()
    client.writer.write(client.handshake())
    client.text(b"\xff\xfe")
    assert (await site.listener.next(), await site.listener.next()) == ("open", b"\xff\xfe")


@pytest.mark.parametrize(
    "frames",
    [
        [(Opcode.CONT, b"x", True)],
        [(Opcode.TEXT, b"x", False), (Opcode.TEXT, b"y", True)],
        [(Opcode.TEXT, b"", False), (Opcode.TEXT, b"", True)],
    ],
)
async def test_fragments_out_of_order(site, raw, frames):
    client = await raw()
    client.writer.write(client.handshake())
    for opcode, data, fin in frames:
        client.writer.write(client.frame(opcode, data, fin=fin))
    await client.response()
    opcode, payload = await client.next_frame()
    assert (opcode, int.from_bytes(payload[:2], "big")) == (Opcode.CLOSE, CloseCode.PROTOCOL_ERROR)
    assert (await site.listener.next(), await site.listener.next()) == ("open", 1002)


async def test_an_unmasked_frame_is_refused(site, raw):
    client = await raw()
    client.writer.write(client.handshake() + b"\x81\x01x")
    await client.response()
    opcode, payload = await client.next_frame()
    assert (opcode, int.from_bytes(payload[:2], "big")) == (Opcode.CLOSE, CloseCode.PROTOCOL_ERROR)


async def test_two_messages_in_one_segment(site, raw):
    client = await raw()
    client.writer.write(client.handshake())
    await client.response()
    client.writer.write(client.frame(Opcode.TEXT, b"one") + client.frame(Opcode.TEXT, b"two"))
    assert [await site.listener.next() for _ in range(3)] == ["open", b"one", b"two"]


async def test_a_message_in_many_segments(site, raw):
    client = await raw()
    client.writer.write(client.handshake())
    await client.response()
    for byte in client.frame(Opcode.TEXT, b"slowly"):
        client.writer.write(bytes([byte]))
        await client.writer.drain()
        await asyncio.sleep(0)
    assert [await site.listener.next() for _ in range(2)] == ["open", b"slowly"]


# --- what comes with the handshake ----------------------------------------------------------------


@pytest.mark.parametrize("size", [1, limits.MESSAGE_BYTES_MAX])
async def test_a_message_in_the_segment_of_the_handshake(site, raw, size):
    client = await raw()
    first, second = b"x" * size, b"and another"
    frames = client.frame(Opcode.TEXT, first) + client.frame(Opcode.TEXT, second)
    client.writer.write(client.handshake() + frames)
    assert [await site.listener.next() for _ in range(3)] == ["open", first, second]
    assert (await client.response()).startswith(b"HTTP/1.1 101 ")


async def test_part_of_a_message_in_the_segment_of_the_handshake(site, raw):
    client = await raw()
    frame = client.frame(Opcode.TEXT, b"in two parts")
    client.writer.write(client.handshake() + frame[:5])
    await client.response()
    client.writer.write(frame[5:])
    assert [await site.listener.next() for _ in range(2)] == ["open", b"in two parts"]


async def test_a_crowd_of_handshakes_leaves_the_loop_to_others(site, raw):
    clients = [await raw() for _ in range(10 * limits.HANDSHAKES_PER_TURN_MAX)]
    for client in clients:
        client.writer.write(client.handshake())
    counts = [site.running]
    async with asyncio.timeout(10):
        while site.running < len(clients):
            await asyncio.sleep(0)
            counts.append(site.running)
    for client in clients:
        assert b" 101 " in await client.response()
    most = max(after - before for before, after in pairwise(counts))
    assert 0 < most <= limits.HANDSHAKES_PER_TURN_MAX


@pytest.fixture
def entrance(monkeypatch):
    """An entrance of the test's own, at the pace of the limits."""
    entrance = Entrance()
    monkeypatch.setattr(uvicorn_picows, "ENTRANCE", entrance)
    return entrance


async def test_a_stranger_is_refused_before_anything_is_made_for_it(site, raw, entrance):
    for _ in range(limits.SILENT_COUNTED_MAX):
        entrance.note_silence("192.0.2.1")
    allowed = limits.STRANGER_HANDSHAKES_BURST_MAX + limits.STRANGER_WAITING_MAX
    for _ in range(allowed):
        client = await raw()
        client.writer.write(client.handshake(X_Forwarded_For="192.0.2.1"))
    await site.until(lambda: site.running == limits.STRANGER_HANDSHAKES_BURST_MAX)
    await site.until(lambda: len(entrance) > 0)
    # More than one second's worth, however long the second takes.
    tried = [await raw() for _ in range(4 * allowed)]
    for client in tried:
        client.writer.write(client.handshake(X_Forwarded_For="192.0.2.1"))
    refused = 0
    for client in tried:
        async with asyncio.timeout(20):
            head = await client.reader.readuntil(b"\r\n\r\n")
        if b" 101 " not in head:
            refused += 1
            assert head.startswith(b"HTTP/1.1 429 Too Many Requests\r\n")
            assert b"\r\nretry-after: 1\r\n" in head
            assert json.loads(await client.reader.read())["code"] == "too_many"
    assert refused > 0
    other = await raw()
    other.writer.write(other.handshake(X_Forwarded_For="192.0.2.2"))
    assert b" 101 " in await other.response()


async def test_where_too_many_wait_the_next_one_is_to_come_again(site, raw, monkeypatch):
    none = PACE._replace(waiting_max=0)
    monkeypatch.setattr(uvicorn_picows, "ENTRANCE", Entrance(none))
    client = await raw()
    client.writer.write(client.handshake())
    assert (await client.response()).startswith(b"HTTP/1.1 503 ")
    problem = json.loads(await client.reader.read())
    assert (problem["code"], problem["retryable"]) == ("overloaded", True)
    assert site.running == 0


async def test_who_leaves_while_waiting_is_forgotten(site, raw, monkeypatch):
    entrance = Entrance(PACE._replace(unproven=Rate(per_s=0.001, burst=1)))
    monkeypatch.setattr(uvicorn_picows, "ENTRANCE", entrance)
    first, second = await raw(), await raw()
    first.writer.write(first.handshake())
    assert b" 101 " in await first.response()
    second.writer.write(second.handshake() + second.frame(Opcode.TEXT, b"behind it"))
    await site.until(lambda: len(entrance) == 1)
    second.writer.transport.abort()
    await site.until(lambda: len(entrance) == 0)
    await site.until(lambda: len(site.server.server_state.connections) == 1)
    assert site.running == 1


async def test_a_handshake_in_parts_keeps_its_order(site, raw):
    client = await raw()
    handshake = client.handshake() + client.frame(Opcode.TEXT, b"behind it")
    for place in range(0, len(handshake), 40):
        client.writer.write(handshake[place : place + 40])
        await client.writer.drain()
        await asyncio.sleep(0)
    assert await site.listener.next() == "open"
    assert await site.listener.next() == b"behind it"


@pytest.mark.parametrize("path", ["/ws", "/plain"])
async def test_messages_before_the_application_accepts(site, raw, path):
    site.may_accept.clear()
    client = await raw()
    client.writer.write(client.handshake(path))
    assert (await site.next_seen())["type"] == "websocket.connect"
    # More than may be held: the rest waits in the socket until it is accepted.
    texts = [bytes([ord("a") + n]) * 1_000 for n in range(20)]
    for text in texts:
        client.text(text)
        await client.writer.drain()
    (protocol,) = site.server.server_state.connections
    await site.until(lambda: len(protocol._behind) > limits.MESSAGE_BYTES_MAX)
    site.may_accept.set()
    if path == "/ws":
        assert [await site.listener.next() for _ in range(21)] == ["open", *texts]
    else:
        assert [(await site.next_seen())["text"].encode() for _ in range(20)] == texts


async def test_compression_is_not_negotiated(site, raw):
    client = await raw()
    offered = "permessage-deflate; client_max_window_bits"
    client.writer.write(client.handshake(Sec_WebSocket_Extensions=offered))
    response = (await client.response()).lower()
    assert response.startswith(b"http/1.1 101 ")
    assert b"sec-websocket-extensions" not in response


# --- pings ----------------------------------------------------------------------------------------


async def test_a_ping_is_answered(site, client):
    assert await asyncio.wait_for(await client.ping(b"n"), 10) >= 0
    assert site.listener.is_quiet


async def test_an_idle_peer_is_asked_and_cut_when_it_does_not_reply(site, raw, monkeypatch):
    monkeypatch.setattr(uvicorn_picows, "PING_IDLE_S", 0.02)
    monkeypatch.setattr(uvicorn_picows, "PING_REPLY_S", 0.02)
    client = await raw()
    client.writer.write(client.handshake())
    await client.response()
    assert (await client.next_frame())[0] is Opcode.PING
    assert (await client.next_frame())[0] is Opcode.CLOSE
    assert [await site.listener.next() for _ in range(2)] == ["open", CloseCode.GOING_AWAY]


# --- ends -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("code", "reason"), [(4002, "session_over"), (1000, ""), (1012, "x")])
async def test_the_listener_closes(site, client, code, reason):
    site.listener.connection.close(code, reason)
    assert await closed(client) == (code, reason)
    assert await site.listener.next() == code


@pytest.mark.parametrize(("code", "told"), [(1000, 1000), (1001, 1001), (4999, 4999)])
async def test_the_peer_closes(site, client, code, told):
    await client.close(code, "bye")
    assert await site.listener.next() == told
    assert client.close_code == code


async def test_the_peer_closes_without_a_code(site, raw):
    client = await raw()
    client.writer.write(client.handshake() + client.frame(Opcode.CLOSE, b""))
    await client.response()
    assert (await client.next_frame())[0] is Opcode.CLOSE
    assert [await site.listener.next() for _ in range(2)] == ["open", CloseCode.NO_STATUS_RCVD]


@pytest.mark.parametrize("code", [999, 1004, 1005, 1006, 1015, 2999])
async def test_a_code_that_may_not_stand_on_the_wire_is_not_echoed(site, raw, code):
    client = await raw()
    client.writer.write(client.handshake() + client.frame(Opcode.CLOSE, code.to_bytes(2, "big")))
    await client.response()
    opcode, payload = await client.next_frame()
    assert opcode is Opcode.CLOSE
    assert int.from_bytes(payload[:2], "big") in (CloseCode.NORMAL_CLOSURE, 1002)


async def test_a_cut_without_a_close(site, client):
    client.transport.abort()
    assert await site.listener.next() == CloseCode.ABNORMAL_CLOSURE


async def test_messages_behind_a_close_are_ignored(site, raw):
    client = await raw()
    client.writer.write(client.handshake())
    assert await site.listener.next() == "open"
    site.listener.connection.close(4000, "enough")
    client.text(b"too late")
    client.writer.write(client.frame(Opcode.CLOSE, (4000).to_bytes(2, "big")))
    assert await site.listener.next() == 4000
    assert site.listener.is_quiet


async def test_sends_and_closes_after_the_end_are_ignored(site, client):
    connection = site.listener.connection
    await client.close()
    assert await site.listener.next() == 1000
    connection.send_text(b"x")
    connection.close(4000)
    assert site.listener.is_quiet


async def test_only_the_first_close_counts(site, client):
    site.listener.connection.close(4000, "first")
    site.listener.connection.close(4001, "second")
    assert await closed(client) == (4000, "first")
    assert await site.listener.next() == 4000


@pytest.mark.parametrize("callback", ["on_open", "on_text", "on_close"])
async def test_a_listener_that_fails_ends_its_own_connection_only(site, callback, caplog):
    def fail(*_arguments):
        raise LookupError("a fault of the listener")

    good, site.listener.react = site.listener, lambda connection, _: connection.send_text(b"fine")
    async with connect(site.url, ping_interval=None) as unharmed:
        assert await good.next() == "open"
        site.listener = type(good)()
        setattr(site.listener, callback, fail)
        async with connect(site.url, ping_interval=None) as client:
            if callback == "on_text":
                await client.send("x")
            if callback != "on_close":
                assert (await closed(client))[0] == CloseCode.INTERNAL_ERROR
        await site.until(lambda: len(site.server.server_state.connections) == 1)
        await unharmed.send("x")
        assert await unharmed.recv() == "fine"
    assert "LookupError: a fault of the listener" in caplog.text


# --- slow peers -----------------------------------------------------------------------------------


@pytest.fixture
def _short_close(monkeypatch):
    monkeypatch.setattr(uvicorn_picows, "CLOSE_WAIT_S", 0.02)


async def stuff(site):
    """Send until the peer's buffers and ours are full."""
    assert await site.listener.next() == "open"
    payload = b"x" * limits.FRAME_BYTES_MAX
    count = 0
    while site.listener.is_quiet:
        site.listener.connection.send_text(payload)
        count += 1
        assert count < 10_000
    assert await site.listener.next() == "unwritable"
    return count


async def test_a_slow_reader_is_told_of_and_catches_up(site, raw):
    client = await raw()
    client.writer.write(client.handshake())
    count = await stuff(site)
    await client.response()
    for _ in range(count):
        opcode, payload = await client.next_frame()
        assert (opcode, len(payload)) == (Opcode.TEXT, limits.FRAME_BYTES_MAX)
    assert await site.listener.next() == "writable"
    site.listener.connection.send_text(b"news")
    assert await client.next_frame() == (Opcode.TEXT, b"news")


@pytest.mark.usefixtures("_short_close")
async def test_a_peer_that_never_reads_can_be_closed(site, raw):
    client = await raw()
    client.writer.write(client.handshake())
    await stuff(site)
    site.listener.connection.close(4004, "slow_consumer")
    assert await site.listener.next() == 4004


@pytest.mark.usefixtures("_short_close")
async def test_a_peer_that_closes_and_does_not_read_is_cut(site, raw):
    client = await raw()
    client.writer.write(client.handshake())
    await stuff(site)
    client.writer.write(client.frame(Opcode.CLOSE, (1000).to_bytes(2, "big")))
    assert await site.listener.next() == 1000


def waiting_for(site):
    """How much waits for the peer of the newest connection."""
    transport = site.listener.connection._transport
    return transport.underlying_transport.get_write_buffer_size() if transport else 0


async def test_pongs_do_not_pile_up_for_a_peer_that_does_not_read(site, raw):
    client = await raw()
    client.writer.write(client.handshake())
    await stuff(site)
    before = waiting_for(site)
    client.writer.write(client.frame(Opcode.PING, b"x" * 100) * limits.SMALL_FRAMES_BURST_MAX)
    client.text(b"behind the pings")
    assert await site.listener.next() == b"behind the pings"
    assert waiting_for(site) <= before


@pytest.mark.usefixtures("_short_close")
async def test_so_much_waits_for_a_peer_and_no_more(site, raw):
    client = await raw()
    client.writer.write(client.handshake())
    await stuff(site)
    payload = b"x" * 1_000
    for _ in range(2 * limits.SOCKET_WAITING_BYTES_MAX // len(payload)):
        site.listener.connection.send_text(payload)
        assert waiting_for(site) <= limits.SOCKET_WAITING_BYTES_MAX + 2 * len(payload)
    assert waiting_for(site) > limits.SOCKET_WAITING_BYTES_MAX
    assert await site.listener.next() == CLOSE_CODES["slow_consumer"].code


@pytest.mark.usefixtures("_short_close")
async def test_a_peer_that_never_catches_up_is_closed_however_little_waits(site, raw, monkeypatch):
    monkeypatch.setattr(limits, "SLOW_MS_MAX", 20)
    client = await raw()
    client.writer.write(client.handshake())
    assert await site.listener.next() == "open"
    while not waiting_for(site):
        site.listener.connection.send_text(b"x" * 1_000)
    assert waiting_for(site) <= limits.SOCKET_BUFFER_BYTES_MAX
    assert await site.listener.next() == CLOSE_CODES["slow_consumer"].code


async def test_a_peer_that_reads_again_in_time_is_not_closed(site, raw):
    client = await raw()
    client.writer.write(client.handshake())
    count = await stuff(site)
    connection = site.listener.connection
    timer = connection._slow_timer
    await client.response()
    for _ in range(count):
        await client.next_frame()
    assert await site.listener.next() == "writable"
    assert timer.cancelled()
    assert (connection._slow_timer, connection.held_bytes()) == (None, 0)


async def test_all_peers_together_are_waited_for_with_so_much_and_no_more(site, raw, monkeypatch):
    """The socket for which most waits goes, at once; one for which little waits stays."""
    bound = limits.SOCKET_BUFFER_BYTES_MAX
    waiting = WaitingBytes(bound)
    monkeypatch.setattr(uvicorn_picows, "WAITING", waiting)
    listeners = []
    for _ in range(3):
        client = await raw()
        site.listener = type(site.listener)()
        client.writer.write(client.handshake())
        assert await site.listener.next() == "open"
        while not waiting_for(site):
            site.listener.connection.send_text(b"x" * 1_000)
        listeners.append(site.listener)
    assert waiting.holders == 3
    most = listeners[1]
    while most.is_quiet and most.connection._transport.is_close_frame_sent is False:
        most.connection.send_text(b"x" * 1_000)
        assert waiting.total <= bound
    assert await most.next() == CLOSE_CODES["slow_consumer"].code
    assert [listener.is_quiet for listener in listeners] == [True, True, True]
    assert waiting.holders == 2


async def test_nothing_is_known_of_peers_that_read_or_have_gone(site, raw, client):
    site.listener.connection.send_text(b"x" * limits.FRAME_BYTES_MAX)
    await client.recv()
    site.listener = type(site.listener)()
    gone = await raw()
    gone.writer.write(gone.handshake())
    await stuff(site)
    assert uvicorn_picows.WAITING.holders == 1
    gone.writer.transport.abort()
    assert await site.listener.next() == CloseCode.ABNORMAL_CLOSURE
    assert (uvicorn_picows.WAITING.holders, uvicorn_picows.WAITING.total) == (0, 0)


@pytest.mark.parametrize(
    "frames",
    [
        [(Opcode.PING, b"x", True)],
        [(Opcode.PONG, b"x", True)],
        [(Opcode.TEXT, b"", False), (Opcode.CONT, b"", True)],
        [(Opcode.TEXT, b"", False), *[(Opcode.CONT, b"", False)] * limits.SMALL_FRAMES_BURST_MAX],
    ],
)
@pytest.mark.usefixtures("_short_close")
async def test_frames_that_say_nothing_may_come_so_often_and_no_more(site, raw, frames):
    client = await raw()
    client.writer.write(client.handshake())
    assert await site.listener.next() == "open"
    for _ in range(limits.SMALL_FRAMES_BURST_MAX + 20):
        for opcode, data, fin in frames:
            client.writer.write(client.frame(opcode, data, fin=fin))
    while (said := await site.listener.next()) == b"":
        pass
    assert said == CLOSE_CODES["too_many_faults"].code


async def test_a_peer_is_not_read_from_while_it_rests(site, client):
    begun = asyncio.get_running_loop().time()
    site.listener.connection.rest(100)
    site.listener.connection.rest(60_000)  # it rests already
    await client.send("later")
    assert await site.listener.next() == b"later"
    # The loop counts whole milliseconds, as fractions of a second.
    assert round((asyncio.get_running_loop().time() - begun) * 1000) >= 100


@pytest.mark.usefixtures("_short_close")
async def test_a_peer_that_rests_is_closed_with_a_code(site, client):
    site.listener.connection.rest(60_000)
    site.listener.connection.close(4004, "slow_consumer")
    assert await closed(client) == (4004, "slow_consumer")
    assert await site.listener.next() == 4004
    site.listener.connection.rest(60_000)  # it has gone


# --- the server's books ---------------------------------------------------------------------------


async def test_the_application_lives_as_long_as_the_connection(site, client):
    assert (await site.next_seen())["type"] == "websocket.connect"
    await client.send("a message is not the application's")
    assert await site.listener.next() == b"a message is not the application's"
    assert (site.running, len(site.server.server_state.connections)) == (1, 1)
    assert site.seen.empty()
    await client.close(4999)
    last = await site.next_seen()
    assert (last["type"], last["code"]) == ("websocket.disconnect", 4999)
    await site.until(lambda: site.running == 0)
    assert site.seen.empty()
    assert site.server.server_state.connections == set()


async def test_a_server_that_goes_says_so(site, client):
    site.server.should_exit = True
    assert await closed(client) == (CloseCode.SERVICE_RESTART, "restart")
    assert await site.listener.next() == CloseCode.SERVICE_RESTART
    seen = [await site.next_seen() for _ in range(2)]
    assert [message["type"] for message in seen] == ["websocket.connect", "websocket.disconnect"]
    assert seen[1]["code"] == CloseCode.SERVICE_RESTART
    await site.until(lambda: site.running == 0)


async def test_a_server_that_goes_before_the_application_has_accepted(site, raw):
    site.may_accept.clear()
    client = await raw()
    client.writer.write(client.handshake())
    assert (await site.next_seen())["type"] == "websocket.connect"
    site.server.should_exit = True
    assert b" 500 " in await client.response()
    site.may_accept.set()
    await site.until(lambda: site.running == 0)
    assert site.listener.is_quiet


async def test_a_peer_that_leaves_before_the_application_has_accepted(site, raw):
    site.may_accept.clear()
    client = await raw()
    client.writer.write(client.handshake())
    assert (await site.next_seen())["type"] == "websocket.connect"
    client.writer.transport.abort()
    await site.until(lambda: not site.server.server_state.connections)
    site.may_accept.set()
    await site.until(lambda: site.running == 0)
    assert site.listener.is_quiet


@pytest.fixture
def _uncollected():
    """Nothing but reference counts frees anything."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_uncollected")
@pytest.mark.parametrize("who", ["client", "server"])
async def test_what_is_gone_is_freed_without_a_collection(site, raw, who):
    client = await raw()
    client.writer.write(client.handshake())
    assert await site.listener.next() == "open"
    await client.response()
    alive = weakref.WeakSet([site.listener.connection])
    alive.update(site.server.server_state.connections)
    # Whatever uvicorn made for this connection before its books changed hands.
    alive.update(
        one for one in gc.get_objects() if isinstance(one, uvicorn_picows.PacedHttpProtocol)
    )
    assert len(alive) == 2
    if who == "server":
        site.listener.connection.close(1000)
    site.listener.connection = None
    client.writer.write(client.frame(Opcode.CLOSE, (1000).to_bytes(2, "big")))
    assert await site.listener.next() == 1000
    await site.until(lambda: site.running == 0)
    await site.until(lambda: len(alive) == 0)


async def test_the_application_may_close(site):
    site.afterwards = [{"type": "websocket.close", "code": 4006, "reason": "replica_full"}]
    async with connect(site.url, ping_interval=None) as client:
        assert await closed(client) == (4006, "replica_full")
    assert [await site.listener.next() for _ in range(2)] == ["open", 4006]


async def test_the_application_may_not_send(site, caplog):
    site.afterwards = [{"type": "websocket.send", "text": "x"}]
    async with connect(site.url, ping_interval=None) as client:
        with pytest.raises(ConnectionClosed):
            await client.recv()
    assert "the listener's connection sends" in caplog.text


async def test_what_the_listener_sends_first_follows_the_handshake(site):
    site.listener.greeting = b"welcome"
    async with connect(site.url, ping_interval=None) as client:
        assert await client.recv() == "welcome"


async def test_an_application_that_attaches_nothing_gets_the_servers_own_layer(site):
    async with connect(site.url.replace("/ws", "/plain"), ping_interval=None) as client:
        await client.send("x")
        assert await client.recv() == "x"
    seen = [(await site.next_seen())["type"] for _ in range(3)]
    assert seen == ["websocket.connect", "websocket.receive", "websocket.disconnect"]
    assert site.listener.is_quiet
