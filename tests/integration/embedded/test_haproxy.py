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

from serve_app.client_address import ClientAddresses
from serve_app.embedded import haproxy_wrapper
from serve_app.embedded.ray_environment import away_response, haproxy_binary

#: As Serve writes it: every error of HAProxy's own becomes the file, and the file says 500.
_CONFIG = """\
defaults
    mode http
    timeout connect 1s
    timeout client 1s
    timeout server 1s
    errorfile 502 {error}
    errorfile 503 {error}
    errorfile 504 {error}
frontend front
    bind 127.0.0.1:{port}
    default_backend replicas
backend replicas
    server replica 127.0.0.1:{replica_port} source {source}
"""
#: Where the proxy in front of HAProxy reaches it from.
_PROXY = "127.0.0.9"


@pytest.fixture
def replica():
    """A port on which a test may listen, or let nobody listen."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        yield one


@contextlib.contextmanager
def _haproxy(folder, to, source="127.0.0.1"):
    """The address of a HAProxy in front of a port, which it reaches from an address of its own."""
    folder.mkdir()
    port = _free_port()
    error, config = folder / "500.http", folder / "haproxy.cfg"
    error.write_text("HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n")
    config.write_text(_CONFIG.format(error=error, port=port, replica_port=to, source=source))
    program = haproxy_wrapper.install(folder, haproxy_binary(), port, "127.0.0.1", away_response())
    process = subprocess.Popen([program, "-db", "-f", config], stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            httpx.get(url)
            break
        except httpx.TransportError:
            time.sleep(0.05)
    yield url
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

    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "")  # as serve_app.deploy has it in replicas
    port = _free_port()
    server = uvicorn.Server(uvicorn.Config(tell, port=port, log_level="error", lifespan="off"))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()))
    thread.start()
    with (
        _haproxy(tmp_path / "front", port) as front,
        _haproxy(tmp_path / "proxy", int(front.rpartition(":")[2]), _PROXY) as proxy,
    ):
        yield front, proxy
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
