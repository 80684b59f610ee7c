"""The real HAProxy, started through the program that stands in its place."""

import asyncio
import contextlib
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
import uvicorn
from websockets.asyncio.client import connect

from serve_app.client_address import ClientAddresses
from serve_app.embedded import haproxy_wrapper
from serve_app.embedded.ray_environment import away_response, client_bounds, haproxy_binary

#: As Serve writes it: every error of HAProxy's own becomes the file, and the file says 500.
_CONFIG = """\
defaults
    mode http
    timeout connect 1s
    timeout client 3600s
    timeout server {server_s}s
    errorfile 502 {error}
    errorfile 503 {error}
    errorfile 504 {error}
frontend http_frontend
    bind 127.0.0.1:{port}
    default_backend replicas
backend replicas
    server replica 127.0.0.1:{replica_port} source {source}
"""
_BOUNDS = client_bounds(connections=7_000, proxies=())
#: Where the proxy in front of HAProxy reaches it from.
_PROXY = "127.0.0.9"


@pytest.fixture
def replica():
    """A port on which a test may listen, or let nobody listen."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        yield one


@contextlib.contextmanager
def _haproxy(folder, to, source="127.0.0.1", bounds=_BOUNDS, server_s=1):
    """The address of a HAProxy in front of a port, which it reaches from an address of its own."""
    folder.mkdir()
    port = _free_port()
    error, config = folder / "500.http", folder / "haproxy.cfg"
    error.write_text("HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n")
    config.write_text(
        _CONFIG.format(error=error, port=port, replica_port=to, source=source, server_s=server_s)
    )
    program = haproxy_wrapper.install(
        folder, haproxy_binary(), port, "127.0.0.1", away_response(), bounds
    )
    process = subprocess.Popen([program, "-db", "-f", config], stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            httpx.get(url)
            break
        except httpx.TransportError:
            time.sleep(0.05)
    try:
        yield url
    finally:
        process.terminate()
        process.wait(10)


def _free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture
def front(tmp_path, replica):
    """The address of HAProxy in front of that port."""
    with _haproxy(tmp_path / "front", replica.getsockname()[1]) as url:
        yield url


@pytest.fixture
def addresses_front(tmp_path, monkeypatch):
    """HAProxy before a replica that tells everybody's address; and a proxy in front of HAProxy."""
    addresses = ClientAddresses([_PROXY])

    async def tell(scope, _receive, send):
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": addresses.of(scope).encode()})

    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "")  # as serve_app.applications has it in replicas
    with (
        _served(tell) as port,
        _haproxy(tmp_path / "front", port) as front,
        _haproxy(tmp_path / "proxy", int(front.rpartition(":")[2]), _PROXY) as proxy,
    ):
        yield front, proxy


@contextlib.contextmanager
def _served(app):
    """The port of a replica that runs an ASGI application."""
    port = _free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error", lifespan="off"))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    try:
        yield port
    finally:
        server.should_exit = True
        thread.join(10)


def _asked_from(address, url, **headers):
    transport = httpx.HTTPTransport(local_address=address)
    with httpx.Client(transport=transport) as client:
        return client.get(url, headers=headers).text


def test_replicas_know_where_a_request_came_from_whatever_it_says(addresses_front):
    front, proxy = addresses_front
    for url in (front, proxy):
        assert _asked_from("127.0.0.5", url) == "127.0.0.5"
        forged = {"x-forwarded-for": "198.51.100.1"}
        assert _asked_from("127.0.0.5", url, **forged) == "127.0.0.5"
        forged = {"X-Forwarded-For": f"198.51.100.1, {_PROXY}, 127.0.0.1"}
        assert _asked_from("127.0.0.5", url, **forged) == "127.0.0.5"


def test_whoever_finds_no_replica_is_told_to_try_again(front):
    _expect_excuse(httpx.post(front, content=b"x"))


def test_so_is_whoever_was_there_when_it_hung_or_died(front, replica):
    replica.listen()
    _expect_excuse(httpx.post(front, content=b"x"))
    with ThreadPoolExecutor(1) as pool:
        dying = pool.submit(lambda: [replica.accept()[0].close() for _ in range(2)])
        _expect_excuse(httpx.post(front, content=b"x"))
        dying.result(10)


def _expect_excuse(response):
    assert response.status_code == 503
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["retry-after"] == "1"
    problem = response.json()
    assert (problem["code"], problem["retryable"], problem["status"]) == ("retry", True, 503)


# --- what one client may take -------------------------------------------------------------------------

#: Short times; and so few connections that a test reaches it.
_TIGHT = _BOUNDS._replace(
    request_ms=400, keep_alive_ms=400, silence_ms=700, connections_max=3, trusted=(_PROXY,)
)
_LARGE = 64 * 1024 * 1024
_WAIT_S_MAX = 20


class _Replica:
    """An application that tells which requests reached it, and what became of them."""

    def __init__(self):
        self.asked = []
        self.ended = threading.Event()

    async def __call__(self, scope, receive, send):
        self.asked.append(scope["path"])
        if scope["type"] == "websocket":
            await self._echo(receive, send)
            return
        size, more = 0, True
        while more:
            message = await receive()
            size += len(message.get("body", b""))
            more = message.get("more_body", False)
        if scope["path"] == "/slow":
            await asyncio.sleep(2 * _TIGHT.silence_ms / 1000)
        body = bytes(_LARGE) if scope["path"] == "/large" else str(size).encode()
        length = (b"content-length", str(len(body)).encode())
        await send({"type": "http.response.start", "status": 200, "headers": [length]})
        await send({"type": "http.response.body", "body": body})
        self.ended.set()

    async def _echo(self, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"]})


@pytest.fixture
def behind():
    return _Replica()


@pytest.fixture
def tight(tmp_path, behind):
    """Where HAProxy with tight bounds listens, in front of that application."""
    with (
        _served(behind) as port,
        _haproxy(tmp_path / "front", port, bounds=_TIGHT, server_s=_WAIT_S_MAX) as url,
    ):
        behind.asked.clear()
        yield "127.0.0.1", int(url.rpartition(":")[2])


@contextlib.contextmanager
def _connected(address, source="127.0.0.5"):
    with socket.create_connection(address, _WAIT_S_MAX, (source, 0)) as client:
        yield client


def _rest(client):
    """All that comes until the other end closes."""
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while part := client.recv(65_536):
            found += part
    return found


_HALVES = {
    "nothing": b"",
    "half a line": b"GET /ha",
    "half of the headers": b"GET / HTTP/1.1\r\nhost: x\r\nx-lon",
    "half a body": b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nhalf",
    "half a chunk": b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n64\r\nhalf",
}


@pytest.mark.parametrize("half", _HALVES.values(), ids=_HALVES)
def test_half_a_request_is_not_waited_for_and_reaches_no_replica(tight, behind, half):
    with _connected(tight) as client:
        client.sendall(half)
        assert _rest(client)[:12] in (b"", b"HTTP/1.1 408")
    assert behind.asked == []


def test_neither_is_one_that_comes_byte_by_byte(tight, behind):
    deadline = time.monotonic() + _WAIT_S_MAX
    with _connected(tight) as client, contextlib.suppress(OSError):
        client.sendall(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 15000\r\n\r\n")
        while time.monotonic() < deadline:
            client.sendall(b"x")
            time.sleep(0.02)
    assert time.monotonic() < deadline, "it was not closed"
    assert behind.asked == []


def test_a_long_body_may_take_longer(tight):
    """What fills HAProxy's buffer is handed on; the application bounds the time of the rest."""
    with _connected(tight) as client:
        size = 200_000
        client.sendall(b"POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n")
        client.sendall(b"content-length: %d\r\n\r\n" % size)
        client.sendall(bytes(size // 2))
        time.sleep(1.25 * _TIGHT.request_ms / 1000)
        client.sendall(bytes(size - size // 2))
        assert _rest(client).endswith(b"\r\n\r\n200000")


def test_an_idle_connection_is_closed(tight):
    with _connected(tight) as client:
        client.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        assert _rest(client).startswith(b"HTTP/1.1 200 ")


def test_a_client_that_does_not_take_its_response_is_cut(tight, behind):
    with _connected(tight) as client:
        client.sendall(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n")
        time.sleep(2 * _TIGHT.silence_ms / 1000)
        assert len(_rest(client)) < _LARGE
    assert behind.ended.wait(_WAIT_S_MAX)


def test_a_client_that_waits_for_its_response_is_not(tight):
    """The time runs against clients only: this one has nothing to do."""
    with _connected(tight) as client:
        client.sendall(b"GET /slow HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert _rest(client).startswith(b"HTTP/1.1 200 ")


async def test_a_websocket_lives_on_in_silence(tight):
    async with connect("ws://{}:{}/".format(*tight), ping_interval=None) as client:
        await asyncio.sleep(2 * _TIGHT.silence_ms / 1000)
        await client.send("still there?")
        assert await client.recv() == "still there?"


def test_http_2_is_not_spoken(tight):
    with _connected(tight) as client:
        client.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        assert _rest(client)[:12] in (b"", b"HTTP/1.1 400")


def _is_let_in(address, source, keep):
    with contextlib.suppress(OSError):
        client = keep.enter_context(_connected(address, source))
        client.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        return client.recv(12) == b"HTTP/1.1 200"
    return False


def test_one_address_has_so_many_connections_and_others_get_in(tight):
    with contextlib.ExitStack() as keep:
        let_in = [_is_let_in(tight, "127.0.0.5", keep) for _ in range(5)]
        assert let_in == [True] * 3 + [False] * 2
        assert _is_let_in(tight, "127.0.0.6", keep)
    with contextlib.ExitStack() as keep:
        deadline = time.monotonic() + _WAIT_S_MAX
        while not _is_let_in(tight, "127.0.0.5", keep):  # it has to hear of the ends first
            assert time.monotonic() < deadline


def test_a_proxy_in_front_is_many_clients(tight):
    with contextlib.ExitStack() as keep:
        assert [_is_let_in(tight, _PROXY, keep) for _ in range(10)] == [True] * 10


def test_one_address_opens_so_many_connections_in_ten_seconds(tmp_path, behind):
    bounds = _BOUNDS._replace(connections_per_10_s_max=20)
    with (
        _served(behind) as port,
        _haproxy(tmp_path / "front", port, bounds=bounds) as url,
    ):
        address = ("127.0.0.1", int(url.rpartition(":")[2]))

        def let_in(source):
            with contextlib.ExitStack() as keep:
                return _is_let_in(address, source, keep)

        assert [let_in("127.0.0.5") for _ in range(30)] == [True] * 20 + [False] * 10
        assert let_in("127.0.0.6")


# --- strangers ----------------------------------------------------------------------------------------

_FEW_STRANGERS = _BOUNDS._replace(
    strangers_10_s_max=3, strangers_per_s_max=2, strangers_held_ms=300
)


def _upgrade(address, source, value=b"websocket"):
    """The status that a websocket's handshake is answered with."""
    with _connected(address, source) as client:
        client.sendall(
            b"GET /ws HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\n"
            b"sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\nupgrade: " + value + b"\r\n\r\n"
        )
        return int(client.recv(12).split()[1])


def test_websockets_of_a_stranger_are_handed_on_seldom_and_nothing_else_is_held_up(tmp_path):
    asked = []

    async def refuse(scope, receive, send):
        await receive()
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"here"})
            return
        (name,) = [value for key, value in scope["headers"] if key == b"x-forwarded-for"]
        asked.append(name)
        status = 429 if name == b"127.0.0.5" else 403
        await send({"type": "websocket.http.response.start", "status": status, "headers": []})
        await send({"type": "websocket.http.response.body", "body": b""})

    with (
        _served(refuse) as port,
        _haproxy(tmp_path / "front", port, bounds=_FEW_STRANGERS, server_s=_WAIT_S_MAX) as url,
    ):
        address = ("127.0.0.1", int(url.rpartition(":")[2]))
        begun = time.monotonic()
        with ThreadPoolExecutor(8) as pool:
            tries = [pool.submit(_upgrade, address, "127.0.0.5") for _ in range(60)]
            assert {one.result(_WAIT_S_MAX) for one in tries} == {429}
        seconds = time.monotonic() - begun
        # Eight at once may have come before the first refusal was counted.
        most = _FEW_STRANGERS.strangers_10_s_max + 8
        most += (seconds + 1) * _FEW_STRANGERS.strangers_per_s_max * 2
        assert len(asked) <= most < len(tries)
        assert _asked_from("127.0.0.5", url) == "here"
        assert [_upgrade(address, "127.0.0.6") for _ in range(10)] == [403] * 10
        # Some still get through, so that the replica finds out when it is no stranger any more.
        deadline, before = time.monotonic() + _WAIT_S_MAX, len(asked)
        while len([name for name in asked[before:] if name == b"127.0.0.5"]) < 3:
            _upgrade(address, "127.0.0.5", b"WebSocket")
            assert time.monotonic() < deadline
