"""The real HAProxy, started through the program that stands in its place."""

import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

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
    server replica 127.0.0.1:{replica_port}
"""


@pytest.fixture
def replica():
    """A port on which a test may listen, or let nobody listen."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        yield one


@pytest.fixture
def front(tmp_path, replica):
    """The address of HAProxy in front of that port."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    error, config = tmp_path / "500.http", tmp_path / "haproxy.cfg"
    error.write_text("HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n")
    config.write_text(_CONFIG.format(error=error, port=port, replica_port=replica.getsockname()[1]))
    program = haproxy_wrapper.install(
        tmp_path, haproxy_binary(), port, "127.0.0.1", away_response()
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
    yield url
    process.terminate()
    process.wait(10)


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
